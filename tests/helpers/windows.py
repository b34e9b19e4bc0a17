"""Which tests are not run on Windows, by the beginning of their names, and why.

``WINDOWS``: what Windows, or asyncio there, has not. ``WINE``: what wine cannot do, which is how CI runs these tests; on a real Windows
``AIONEST_WINE=no`` runs them.
"""

from __future__ import annotations

import os
import sys

POSIX_SIGNALS = "Windows has no signals but Ctrl-C"
PROGRAMS = "its programs patch EpollSelector and use signals"
NO_UVLOOP = "uvloop is not made for Windows"

WINDOWS = {
    "tests/core/test_chunks.py": "the allocator for frames is Linux only",
    "tests/core/test_engine.py::test_from_the_garbage_collector_at_any_allocation": "a proactor is Python code, in which finalizers "
    "run too: those still asleep at the end of the run are ended with it",
    "tests/core/test_foreign_greenlets.py::test_a_finalizer_that_nests_in_the_midst_of_a_switch_loses_no_wake_up": "its program counts "
    "the frames of a selector loop",
    "tests/core/test_foreign_loops.py": NO_UVLOOP,
    "tests/core/test_frames.py::test_frames_are_as_on_stock[frame_of_a_signal_handler]": POSIX_SIGNALS,
    "tests/core/test_guest_signals.py": POSIX_SIGNALS,
    "tests/core/test_patched.py": PROGRAMS,
    "tests/core/test_runloop.py::test_order_of_everything": "add_reader: a proactor has none",
    "tests/core/test_runloop.py::test_signal_handlers": POSIX_SIGNALS,
    "tests/core/test_runloop.py::test_subprocess_and_pipes": "lines end otherwise",
    "tests/core/test_runloop.py::test_transport_errors_reach_the_protocol": "a proactor's transport reports a reset otherwise",
}
WINE = {
    "debug": "in debug mode each task looks at the files of its traceback: seconds for each under wine",
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
