"""Signal handlers of several loops in the main thread: what a loop takes while another one runs there it gives back.

Contract
  * asyncio has one place for each signal's handler and one for the descriptor that wakes a loop up, and a loop that lets go of
    them resets both. That is right for loops that run one after the other. Here a loop that runs inside another one
    (``_guest``) notes what it has replaced, and its ``remove_signal_handler`` and ``close`` put that back.
  * While loops run inside one another, the outermost is the one that signals wake up, since it is always polled. It hands a
    signal over to the innermost loop that has a handler for it.
  * Where one loop runs, everything is asyncio's own.
Thread: the main one; elsewhere asyncio's own methods refuse.
"""

from __future__ import annotations

import functools
import signal
import threading
import weakref
from asyncio import events
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    from asyncio import unix_events

    _UnixLoop: Any = unix_events._UnixSelectorEventLoop
    _noop: Any = unix_events._sighandler_noop  # type: ignore[attr-defined]
    _stock_add: Any = _UnixLoop.add_signal_handler
    _stock_remove: Any = _UnixLoop.remove_signal_handler
    _stock_handle: Any = _UnixLoop._handle_signal
except (ImportError, AttributeError):  # no signals in asyncio here
    _UnixLoop = None

guests: dict[Any, Any] = {}  # loops that run inside another one, and what pumps them (_guest.Guest)
_refs: list[
    weakref.ref[Any]
] = []  # the loops that have had signal handlers, in the order in which they took them first


def _holders() -> list[Any]:
    """The open loops that have signal handlers."""
    found = [(ref, ref()) for ref in _refs]
    _refs[:] = [ref for ref, loop in found if loop is not None and not loop.is_closed()]
    return [loop for _, loop in found if loop is not None and not loop.is_closed() and loop._signal_handlers]


def _running() -> list[Any]:
    """The loops that run in this thread, the innermost first."""
    loops, loop = [], events._get_running_loop()
    while loop is not None:
        loops.append(loop)
        guest = guests.get(loop)
        loop = None if guest is None else guest.outer
    return loops


def _watch(loop: Any) -> None:
    """Let signals wake this loop up."""
    try:
        signal.set_wakeup_fd(loop._csock.fileno())
    except (ValueError, OSError, AttributeError):
        pass  # no main thread, or a loop that is just being closed: as asyncio leaves it


def _route() -> None:
    running, holders = _running(), _holders()
    if not holders or not running or holders == running[-1:]:
        return  # asyncio's own way
    if isinstance(running[-1], _UnixLoop):
        _watch(running[-1])


def add_signal_handler(self: Any, sig: Any, callback: Callable[..., Any], *args: Any) -> None:
    """Add a handler for a signal; see asyncio. Taken inside another running loop, it is given back on removal."""
    running = events._get_running_loop()
    inside = running is not None and (running is not self or self in guests)
    before: Any = None
    if inside and threading.current_thread() is threading.main_thread() and sig not in self._signal_handlers:
        try:
            before = signal.getsignal(sig)
        except (TypeError, ValueError):
            before = None  # asyncio's own method says what is wrong
    _stock_add(self, sig, callback, *args)
    if before is not None:
        self.__dict__.setdefault("_aionest_signals", {})[sig] = before
    if all(ref() is not self for ref in _refs):
        _refs.append(weakref.ref(self))
    _route()


def remove_signal_handler(self: Any, sig: Any) -> bool:
    """Remove a handler for a signal; see asyncio. What was in its place before this loop ran inside another one comes back."""
    before = self.__dict__.get("_aionest_signals", {}).pop(sig, None)
    if sig not in self._signal_handlers:
        return bool(_stock_remove(self, sig))
    others = [loop for loop in _holders() if loop is not self]
    if any(sig in loop._signal_handlers for loop in others):
        before = _noop
    elif before is _noop:
        before = None  # whose it was has let go of it
    if before is None:
        _stock_remove(self, sig)
    else:
        del self._signal_handlers[sig]
        signal.signal(sig, before)  # never the default in between: that would end the process
        if before is _noop:
            signal.siginterrupt(sig, False)
        if not self._signal_handlers and not others:
            signal.set_wakeup_fd(-1)
    if others:
        if not self._signal_handlers:
            _watch(others[-1])
        _route()
    return True


def handle_signal(self: Any, sig: int) -> None:
    """A signal has woken this loop up: its handler is called, or that of the loop which has one."""
    if len(_refs) > 1 or sig not in self._signal_handlers:
        for loop in [*reversed(list(guests)), *_running(), *reversed(_holders())]:
            if sig in getattr(loop, "_signal_handlers", ()):
                _stock_handle(loop, sig)
                return
    _stock_handle(self, sig)


def guest_ended(outer: Any) -> None:
    """A loop has ended to run inside ``outer``: signals wake up a loop that runs, or the one that has handlers."""
    if not _refs or _UnixLoop is None or threading.current_thread() is not threading.main_thread():
        return
    holders = _holders()
    outermost = _running()[-1:] or [outer]
    if holders and outermost[0] not in holders and not any(loop in guests for loop in holders):
        _watch(holders[-1])
    else:
        _route()


def replacements() -> dict[str, Any]:
    """The methods of asyncio's loop for Unix that are replaced, by name."""
    if _UnixLoop is None:
        return {}
    return {
        "add_signal_handler": functools.wraps(_stock_add)(add_signal_handler),
        "remove_signal_handler": functools.wraps(_stock_remove)(remove_signal_handler),
        "_handle_signal": functools.wraps(_stock_handle)(handle_signal),
    }


def loop_class() -> Any:
    """asyncio's loop for Unix, or None."""
    return _UnixLoop
