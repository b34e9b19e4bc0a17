"""Random programs that nest from everywhere, with cancellation, guests, greenlets, finalizers and threads."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

MODES = [
    "plain",
    "debug",
    "adopted",
    "foreign",
    *(["eager"] if sys.version_info >= (3, 12) else []),
    *(["uvloop"] if importlib.util.find_spec("uvloop") else []),
]


def run(first, last, mode):
    r = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("chaos.py")), str(first), str(last), mode],
        capture_output=True,
        text=True,
    )
    assert (r.returncode, r.stdout) == (0, "clean\n"), r.stdout + r.stderr[-50000:]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("mode", MODES)
def test_nothing_breaks(mode):
    run(0, 15, mode)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("mode", MODES)
def test_nothing_breaks_where_garbage_nests(mode):
    run(1_000_000, 1_000_008, mode)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("mode", [m for m in MODES if m != "eager"])
def test_nothing_breaks_where_greenlets_outlive_what_they_stand_on(mode):
    run(2_000_000, 2_000_010, mode)


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
def test_nothing_breaks_in_many_programs(mode):
    run(1000, 1400, mode)


@pytest.mark.long
@pytest.mark.parametrize("mode", [m for m in MODES if m != "eager"])
def test_nothing_breaks_in_many_programs_whose_greenlets_outlive_what_they_stand_on(mode):
    run(2_001_000, 2_001_300, mode)


def test_a_program_that_hangs_tells_what_it_waits_for(tmp_path):
    program = tmp_path / "hangs.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import chaos, asyncio, greenlet\n"
        "class Forever(asyncio.Future): pass\n"
        "async def waits():\n    await Forever()\n"
        "def nests_in_a_greenlet():\n    asyncio.run(waits())\n"
        "async def work(rng, depth):\n    greenlet.greenlet(nests_in_a_greenlet).switch()\n"
        "chaos.work = work\n"
        "sys.exit(chaos.main())\n"
    )
    r = subprocess.run(
        [sys.executable, str(program), "0", "1", "adopted"],
        capture_output=True,
        text=True,
        env={**os.environ, "CHAOS_LIMIT": "0.3"},
    )
    assert r.returncode == 1, r.stdout + r.stderr
    for what in (
        "run 0: waiting told",
        "<Forever pending",
        " nests_in_a_greenlet",
        "greenlet <greenlet.greenlet",
        "    below ",
        "ready: ",
    ):
        assert what in r.stderr, r.stderr
