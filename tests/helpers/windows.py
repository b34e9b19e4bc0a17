"""Which tests are not run on Windows, by the beginning of their names, and why.

``WINDOWS``: what Windows, or asyncio there, has not. ``WINE``: what wine cannot do, which is how CI runs these tests; on a real Windows
``AIONEST_WINE=no`` runs them.
"""

from __future__ import annotations

import os
import sys

POSIX_SIGNALS = "Windows has no signals but Ctrl-C"
PROGRAMS = "its programs patch EpollSelector and use signals"
HANDED = "threads hand work to a loop directly where it has an eventfd, on Linux; elsewhere by call_soon_threadsafe"
NO_READERS = "add_reader: a proactor has none"
NO_UVLOOP = "uvloop is not made for Windows"
NO_FORK = "Windows has no fork"
SLOW_DEBUG = "in debug mode each task looks at the files of its traceback: seconds for each under wine"

WINDOWS = {
    "tests/apply/test_run_ends.py::test_a_loop_stays_open_while_it_holds[asyncio-descriptor]": NO_READERS,
    "tests/apply/test_run_ends.py::test_a_task_that_waits_for_a_socket_by_itself_keeps_no_loop": NO_READERS,
    "tests/apply/test_run_ends.py::test_looking_runs_nobody_s_code": NO_READERS,
    "tests/apply/test_run_ends.py::test_what_other_threads_post_while_a_loop_closes_runs_or_is_told": "a proactor that closes loses what "
    "is posted in the last moment, as on stock asyncio: only asyncio's Unix loop is sealed",
    "tests/core/test_chunks.py": "the allocator for frames is Linux only",
    "tests/core/test_callers.py::test_from_the_garbage_collector_at_any_allocation": "a proactor is Python code, in which finalizers "
    "run too: those still asleep at the end of the run are ended with it",
    "tests/core/test_foreign_greenlets.py::test_a_finalizer_that_nests_in_the_midst_of_a_switch_loses_no_wake_up": "its program counts "
    "the frames of a selector loop",
    "tests/core/test_foreign_loops.py": NO_UVLOOP,
    "tests/core/test_frames.py::test_frames_are_as_on_stock[frame_of_a_signal_handler]": POSIX_SIGNALS,
    "tests/core/test_guest_signals.py": POSIX_SIGNALS,
    "tests/core/test_patched.py": PROGRAMS,
    "tests/core/test_runloop.py::test_order_of_everything": NO_READERS,
    "tests/core/test_runloop.py::test_signal_handlers": POSIX_SIGNALS,
    "tests/core/test_runloop.py::test_subprocess_and_pipes": "lines end otherwise",
    "tests/core/test_runloop.py::test_transport_errors_reach_the_protocol": "a proactor's transport reports a reset otherwise",
    "tests/loader/test_config.py::test_a_link_stays_a_link_and_is_trusted_as_what_it_leads_to": "links are for who has the privilege",
    "tests/loader/test_host_death.py": "its hosts end by signals and fork; tests/loader/test_windows.py has what Windows has of it",
    "tests/loader/test_loader.py::test_after_fork_the_child_has_its_own": NO_FORK,
    "tests/portal/test_gate.py::test_a_signal_that_came_just_before_the_wait": HANDED,
    "tests/portal/test_gate.py::test_a_task_is_made_here_and_runs_there": HANDED,
    "tests/portal/test_gate.py::test_a_wait_that_is_over_in_time_or_not": HANDED,
    "tests/portal/test_gate.py::test_work_that_cannot_be_queued": HANDED,
    "tests/portal/test_portal_close.py::test_a_loop_that_breaks_tells_everybody": "it breaks the loop's selector: a proactor has none",
    "tests/portal/test_relay.py": HANDED,
    "tests/scopes/test_sessions.py": "its programs use langchain-mcp-adapters, fork and signals; tests/scopes/test_sdk_sessions.py has the "
    "SDK's sessions",
}
WINE = {
    "tests/apply/test_run_ends.py::test_a_plain_program_sees_no_difference": SLOW_DEBUG,
    "debug": SLOW_DEBUG,
    "tests/loader/test_windows.py::test_a_ctrl_c_in_the_console_of_the_host_is_not_for_its_servers": "wine makes no console where "
    "there is no terminal",
    "tests/core/test_runloop.py::test_timers_against_a_model": "wine's clock stands still for up to 16 ms",
}
on_wine = sys.platform == "win32" and os.environ.get("AIONEST_WINE") != "no"


def reason_not_to_run(name, params):
    """Why this test is not run here, or None."""
    name = name.replace(os.sep, "/")
    if sys.platform != "win32":
        return None
    for lists in (WINDOWS, WINE) if on_wine else (WINDOWS,):
        for beginning, reason in lists.items():
            if name.startswith(beginning) or beginning in params:
                return reason
    return None
