"""Waiting is for events (``eventually`` where there is none): how often each file of the tests sleeps for a while, which may only
become less.

Sleeps that are the subject of a test (a timer, a slow server, a task amid an await) count, too: a new one takes the place of an old one, or
is written as ``asyncio.sleep(0)``, an event, or one of ten seconds and more, which stands for work that never ends. How long one is that is
given a name: the longest of what the file gives this name, as far as that can be read; what cannot be read does not count. The sources of
programs count as the rest does.
``python tests/lint/test_sleeps.py`` prints the table as it would be.
"""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

TESTS = Path(__file__).parent.parent
MODULES = ("time", "asyncio", "anyio", "trio")
SLEEP = re.compile(r"\b(?:time|asyncio|anyio|trio)\.sleep\((?=[0-9.]*[1-9])([0-9.]+)\)")
MOST = {
    "apply/test_anyio_run.py": 3,
    "apply/test_apply.py": 7,
    "apply/test_run_ends.py": 7,
    "cli/test_cli.py": 3,
    "conftest.py": 1,
    "core/frame_programs.py": 2,
    "core/patched_programs.py": 5,
    "core/test_amid_a_step.py": 3,
    "core/test_amid_a_switch.py": 8,
    "core/test_batches.py": 1,
    "core/test_callers.py": 3,
    "core/test_chunks.py": 1,
    "core/test_ended_hubs.py": 1,
    "core/test_engine.py": 14,
    "core/test_finalizers.py": 1,
    "core/test_foreign_greenlets.py": 36,
    "core/test_foreign_loops.py": 16,
    "core/test_foreign_loops_in_place.py": 1,
    "core/test_frames.py": 4,
    "core/test_gather.py": 2,
    "core/test_guests.py": 9,
    "core/test_guest_kinds.py": 5,
    "core/test_guest_signals.py": 2,
    "core/test_joining_batches.py": 1,
    "core/test_lost_wakeups.py": 2,
    "core/test_loop_classes.py": 1,
    "core/test_nested.py": 5,
    "core/test_odd_loops.py": 2,
    "core/test_parents_of_stacks.py": 2,
    "core/test_runloop.py": 1,
    "core/test_task_factory.py": 1,
    "core/test_timers.py": 1,
    "cpython/supervise.py": 1,
    "faults/programs.py": 8,
    "helpers/support.py": 4,
    "hosted/test_hosted.py": 14,
    "isolated/as_stock/ends_with_an_error.py": 1,
    "isolated/as_stock/exits_of_a_process.py": 2,
    "isolated/test_children.py": 9,
    "isolated/test_ctrl_c.py": 16,
    "isolated/test_evil.py": 7,
    "isolated/test_trio_asyncio.py": 5,
    "isolated/test_uvicorn.py": 3,
    "jupyter/session.py": 4,
    "lint/test_forked.py": 3,
    "loader/test_bounds.py": 1,
    "loader/test_call_path.py": 1,
    "loader/test_callbacks.py": 4,
    "loader/test_flat.py": 1,
    "loader/test_host_death.py": 1,
    "loader/test_http_faults.py": 3,
    "loader/test_loader.py": 1,
    "loader/test_oauth.py": 2,
    "loader/test_reload.py": 1,
    "loader/test_stdio_faults.py": 2,
    "loader/test_windows.py": 1,
    "oracle/chaos.py": 8,
    "portal/conftest.py": 1,
    "portal/test_gate.py": 1,
    "portal/test_portal_calls.py": 3,
    "portal/test_portal_close.py": 1,
    "portal/test_portal_process.py": 6,
    "portal/test_portal_submit.py": 3,
    "portal/test_relay.py": 3,
    "portal/test_shared_run.py": 3,
    "scopes/test_generators.py": 3,
    "scopes/test_left_elsewhere.py": 12,
    "scopes/test_sessions.py": 6,
    "streamlit_app/test_runtime.py": 2,
    "streamlit_app/test_uvloop.py": 1,
    "suites/test_supervise.py": 1,
}


def numbers(node, named):
    """All in an expression, and all that its names stand for."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and type(part.value) in (int, float):
            yield part.value
        elif isinstance(part, ast.Name):
            yield from named.get(part.id, ())


def given(tree):
    """Name -> the numbers that are assigned to it, are its default, or are passed by it."""
    named = {}

    def note(name, value):
        if isinstance(value, ast.Constant) and type(value.value) in (int, float):
            named.setdefault(name, []).append(value.value)

    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    note(target.id, node.value)
        elif isinstance(node, ast.arguments):
            positional = [*node.posonlyargs, *node.args]
            for argument, value in zip(positional[len(positional) - len(node.defaults) :], node.defaults, strict=True):
                note(argument.arg, value)
            for argument, value in zip(node.kwonlyargs, node.kw_defaults, strict=True):
                note(argument.arg, value)
        elif isinstance(node, ast.keyword) and node.arg:
            note(node.arg, node.value)
    return named


def sleeps(tree):
    """How many last less than ten seconds."""
    named = given(tree)
    short = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in MODULES
        for alias in node.names
        if alias.name == "sleep"
    }
    count = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            function = node.func
            by_module = (
                isinstance(function, ast.Attribute)
                and function.attr == "sleep"
                and isinstance(function.value, ast.Name)
                and function.value.id in MODULES
            )
            if by_module or (isinstance(function, ast.Name) and function.id in short):
                count += 0 < max(numbers(node.args[0], named), default=0) < 10
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "sleep(" in node.value:
            count += in_text(node.value)
    return count


def in_text(text):
    try:
        return sleeps(ast.parse(textwrap.dedent(text)))
    except SyntaxError:  # a part of a program, or one that is still to be filled in
        return sum(float(seconds) < 10 for seconds in SLEEP.findall(text))


def counted():
    found = {}
    for path in sorted(TESTS.rglob("*.py")):
        number = sleeps(ast.parse(path.read_text("utf-8")))
        if number and path != Path(__file__):
            found[path.relative_to(TESTS).as_posix()] = number
    return found


def test_nobody_sleeps_more_than_before():
    more = {name: number for name, number in counted().items() if number > MOST.get(name, 0)}
    assert not more, (
        f"wait for an event, or with eventually(): {more}, where there may be { ({n: MOST.get(n, 0) for n in more}) }"
    )


def test_what_has_become_less_is_taken_out_of_the_table():
    now = counted()
    assert {name: now.get(name, 0) for name, most in MOST.items() if now.get(name, 0) < most} == {}


def test_what_counts():
    source = """
        import time
        from asyncio import sleep as pause
        step = 0.5
        end = 60
        def waits(delay=0.1, never=0, unknown=None):
            time.sleep(1)
            time.sleep(step)
            time.sleep(2 * delay)
            time.sleep(end / 2)
            time.sleep(never)
            time.sleep(unknown)
            time.sleep(10)
            pause(0.2)
            pause(0)
            run("import time; time.sleep(3)")
            run("{setup}; time.sleep(3)")
    """
    assert in_text(source) == 6


if __name__ == "__main__":
    print("MOST = {")
    for name, number in counted().items():
        print(f'    "{name}": {number},')
    print("}")
