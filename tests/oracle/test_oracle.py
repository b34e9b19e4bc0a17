"""Random programs do the same on stock asyncio (nesting replaced by await) and nested on aionest, step by step."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aionest

sys.path.insert(0, str(Path(__file__).parent))
from programs import OverridingLoop, VirtualForeignLoop, VirtualLoop, trace

NAMES = st.sampled_from("abc")
# distinct sums: no two timers of a program are meant to fall together, but some do, and their order must agree then, too
DELAYS = st.sampled_from([0.013, 0.029, 0.0611, 0.127])


def blocks(children):
    bodies = st.lists(children, max_size=4)
    few = st.lists(bodies, min_size=1, max_size=3)
    return st.one_of(
        st.tuples(st.just("nest"), st.sampled_from(["run", "complete", "await"]), bodies),
        st.tuples(st.just("nest"), st.sampled_from(["run", "complete", "await"]), bodies),
        st.tuples(st.just("spawn"), NAMES, bodies),
        st.tuples(st.just("timeout"), DELAYS, bodies),
        st.tuples(st.just("scope"), DELAYS, bodies),
        st.tuples(st.just("gather"), few),
        st.tuples(st.just("group"), few),
        *(st.tuples(st.just(op), bodies) for op in ("locked", "shield", "catch", "swallow", "finally")),
    )


SIMPLE = st.one_of(
    *(st.just((op,)) for op in ("yield", "raise", "var", "callback", "cancel_self")),
    *(st.tuples(st.just(op), DELAYS) for op in ("sleep", "later")),
    *(st.tuples(st.just(op), NAMES) for op in ("cancel", "join")),
    *(st.tuples(st.just(op), st.integers(0, 2)) for op in ("set", "clear", "wait")),
    *(st.tuples(st.just(op), st.integers(0, 1)) for op in ("put", "get")),
)
PROGRAMS = st.lists(st.recursive(SIMPLE, blocks, max_leaves=25), min_size=1, max_size=6)


def compare(program, loop_class, debug=False):
    expected = trace(program, nested=False, loop_class=loop_class, debug=debug)
    aionest.apply()
    try:
        got = trace(program, nested=True, loop_class=loop_class, debug=debug)
    finally:
        aionest.unapply()
    assert got == expected


EXAMPLES = int(os.environ.get("AIONEST_ORACLE_EXAMPLES", "300"))
common = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="AIONEST_ORACLE_EXAMPLES" not in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


@common
@given(PROGRAMS)
def test_same_trace(program):
    compare(program, VirtualLoop)


@settings(common, max_examples=EXAMPLES // 3)
@given(PROGRAMS)
def test_same_trace_on_a_loop_with_overrides(program):
    compare(program, OverridingLoop)


@settings(common, max_examples=EXAMPLES // 3)
@given(PROGRAMS)
def test_same_trace_on_a_loop_that_is_not_asyncios_own(program):
    compare(program, VirtualForeignLoop)


@settings(common, max_examples=EXAMPLES // 6)
@given(PROGRAMS)
def test_same_trace_in_debug_mode(program):
    compare(program, VirtualLoop, debug=True)


@pytest.mark.parametrize("loop_class", [VirtualLoop, VirtualForeignLoop])
@settings(common, max_examples=EXAMPLES // 3)
@given(PROGRAMS)
def test_same_trace_without_nesting(loop_class, program):
    """What nests nothing is not changed by apply() either."""
    expected = trace(program, nested=False, loop_class=loop_class)
    aionest.apply()
    try:
        got = trace(program, nested=False, loop_class=loop_class)
    finally:
        aionest.unapply()
    assert got == expected


REGRESSIONS = [
    [("spawn", "a", [("nest", "run", [("wait", 0)])]), ("yield",), ("cancel", "a"), ("join", "a")],
    [("spawn", "a", [("nest", "await", [("sleep", 0.013)])]), ("yield",), ("yield",), ("cancel", "a"), ("join", "a")],
    [("cancel_self",), ("nest", "run", [("yield",)])],
    [("scope", 0.013, [("nest", "run", [("sleep", 0.127)])]), ("nest", "complete", [("callback",), ("yield",)])],
]


@pytest.mark.parametrize("program", REGRESSIONS)
def test_programs_of_interest(program):
    compare(program, VirtualLoop)
