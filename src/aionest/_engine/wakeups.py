"""Which loop a Ctrl-C wakes on Windows. A proactor waits for its completion port, which no signal ends: it is woken through the
interpreter's one wake-up descriptor. A proactor loop takes that when it is made in the main thread, and drops it when it is closed there,
also when another loop runs, or will: so where we make, use and close loops it is given back to the one that needs it.

Contract: nothing is done on other systems, in other threads, and for other loops than asyncio's proactor loop.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def give(loop: object) -> None:
    """A signal wakes this loop from now on, as if it had just been made."""
    if sys.platform == "win32" and threading.current_thread() is threading.main_thread():
        from asyncio import proactor_events

        if isinstance(loop, proactor_events.BaseProactorEventLoop) and not loop.is_closed():
            _set(loop._csock.fileno())  # type: ignore[attr-defined]


@contextlib.contextmanager
def stay() -> Iterator[None]:
    """Who makes a loop for another thread in here takes nothing from the one that a signal wakes."""
    if sys.platform != "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = _set(-1)
    try:
        yield
    finally:
        _set(before)


def _set(descriptor: int) -> int:
    try:
        return signal.set_wakeup_fd(descriptor)
    except (OSError, ValueError):  # closed meanwhile, or no signals in this interpreter
        return -1
