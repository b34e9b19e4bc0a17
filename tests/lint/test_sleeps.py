"""Waiting is for events (``eventually`` where there is none): how often each file of the tests sleeps for a while, which may only
become less.

Sleeps that are the subject of a test (a timer, a slow server, a task amid an await) count, too: a new one takes the place of an old one, or
is written as ``asyncio.sleep(0)``, an event, or one of ten seconds and more, which stands for work that never ends.
``python tests/lint/test_sleeps.py`` prints the table as it would be.
"""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
SLEEP = re.compile(r"\b(?:time|asyncio|anyio|trio)\.sleep\((?=[0-9.]*[1-9])([0-9.]+)\)")
MOST = {
    "apply/test_anyio_run.py": 4,
    "apply/test_apply.py": 4,
    "apply/test_run_ends.py": 7,
    "cli/test_cli.py": 3,
    "conftest.py": 1,
    "core/frame_programs.py": 2,
    "core/patched_programs.py": 5,
    "core/test_amid_a_step.py": 4,
    "core/test_amid_a_switch.py": 6,
    "core/test_chunks.py": 1,
    "core/test_engine.py": 27,
    "core/test_foreign_greenlets.py": 21,
    "core/test_foreign_loops.py": 12,
    "core/test_frames.py": 4,
    "core/test_gather.py": 1,
    "core/test_guest_kinds.py": 3,
    "core/test_guest_signals.py": 3,
    "core/test_lost_wakeups.py": 1,
    "core/test_nested.py": 6,
    "core/test_odd_loops.py": 2,
    "core/test_runloop.py": 2,
    "cpython/test_runner.py": 2,
    "faults/programs.py": 7,
    "helpers/support.py": 1,
    "hosted/test_hosted.py": 14,
    "isolated/as_stock/ends_with_an_error.py": 1,
    "isolated/test_children.py": 9,
    "isolated/test_ctrl_c.py": 8,
    "isolated/test_evil.py": 7,
    "isolated/test_trio_asyncio.py": 1,
    "isolated/test_uvicorn.py": 2,
    "jupyter/session.py": 3,
    "lint/test_forked.py": 1,
    "loader/test_bounds.py": 1,
    "loader/test_call_path.py": 2,
    "loader/test_callbacks.py": 4,
    "loader/test_flat.py": 1,
    "loader/test_host_death.py": 1,
    "loader/test_http_faults.py": 4,
    "loader/test_loader.py": 1,
    "loader/test_oauth.py": 2,
    "loader/test_reload.py": 1,
    "loader/test_stdio_faults.py": 2,
    "loader/test_windows.py": 1,
    "oracle/chaos.py": 2,
    "portal/conftest.py": 1,
    "portal/test_gate.py": 1,
    "portal/test_portal_calls.py": 4,
    "portal/test_portal_close.py": 4,
    "portal/test_portal_process.py": 5,
    "portal/test_portal_submit.py": 3,
    "portal/test_relay.py": 3,
    "portal/test_shared_run.py": 1,
    "scopes/test_generators.py": 4,
    "scopes/test_left_elsewhere.py": 10,
    "scopes/test_sessions.py": 6,
    "streamlit_app/test_runtime.py": 2,
    "suites/test_supervise.py": 1,
    "tools/test_demo.py": 1,
}
SLACK = 2  # for one that is the subject of a new test


def counted():
    found = {}
    for path in sorted(TESTS.rglob("*.py")):
        number = sum(float(seconds) < 10 for seconds in SLEEP.findall(path.read_text()))
        if number:
            found[str(path.relative_to(TESTS))] = number
    return found


def test_nobody_sleeps_more_than_before():
    more = {name: number for name, number in counted().items() if number > MOST.get(name, 0) + SLACK}
    assert not more, (
        f"wait for an event, or with eventually(): {more}, where there may be { ({n: MOST.get(n, 0) for n in more}) }"
    )


def test_what_has_become_less_is_taken_out_of_the_table():
    now = counted()
    assert {name: now.get(name, 0) for name, most in MOST.items() if now.get(name, 0) < most - SLACK} == {}


if __name__ == "__main__":
    print("MOST = {")
    for name, number in counted().items():
        print(f'    "{name}": {number},')
    print("}")
