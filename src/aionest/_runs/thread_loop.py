"""The loop that top-level runs of a thread have left open for the next ones.

Contract: each thread owns its loop, and closes it at its end; the main thread's is closed at interpreter exit. After fork() the
child has none, and touches nothing of its parent's.
Thread: each function is about the loop of the thread that calls it; ``_after_fork`` runs in the child's only one.
"""

from __future__ import annotations

import os
import sys
import threading
from asyncio import base_events, events
from typing import Any

from .. import _core
from .._engine import checks, closing
from .._engine.sealing import cancel_all_tasks, seal
from . import ending


class _Persistent(threading.local):
    """The loop that a top-level run of this thread has left open for the next ones, and its end."""

    loop: Any = None
    policy: Any = None  # the event loop policy that it was made under
    closers: tuple[Any, ...] = ()


_persistent = _Persistent()
_all_loops: set[Any] = set()  # strong: a loop lives as long as its thread


class _Closer:
    """Lives in a thread's local storage: its finalizer runs in that thread, at its end."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop

    def __del__(self) -> None:
        if self.loop is not None and not closing.exiting and not sys.is_finalizing():
            close_in_order(self.loop)
            _forget_dummy_thread()


def _forget_dummy_thread() -> None:
    """A finalizer that runs this late makes threading invent an entry for the ending thread: take it out."""
    # since 3.13: what would take it out at the thread's end; made now, it would stay until the interpreter's, and fail there
    local = getattr(threading, "_thread_local_info", None)
    if local is not None:
        local.__dict__.pop("_track_dummy_thread_ref", None)
    active = getattr(threading, "_active", {})
    ident = threading.get_ident()
    if isinstance(active.get(ident), threading._DummyThread):  # type: ignore[attr-defined]
        del active[ident]


def policy_loop() -> Any:
    """The current event loop that was set for this thread, without making one."""
    policy = getattr(events, "_event_loop_policy", None)
    return getattr(getattr(policy, "_local", None), "_loop", None)


def kept_loop() -> Any:
    """The loop that stayed open after a run of this thread, None if there is none."""
    loop = _persistent.loop
    policy = getattr(events, "_event_loop_policy", None)
    if loop is None or loop.is_closed() or _persistent.policy not in (None, policy):
        return None
    return loop


def persistent_loop() -> Any:
    """The loop that all top-level runs of this thread use (``close_loop=False``); made when there is none."""
    loop = kept_loop()
    if loop is not None:
        return loop
    loop = policy_loop()
    if loop is not None and checks.supported(loop) and not loop.is_closed() and not loop.is_running():
        # somebody else's: used, not owned
        return loop
    loop = events.new_event_loop()
    events.set_event_loop(loop)
    keep(loop)
    return loop


def keep(loop: Any) -> None:
    """Have this loop used by the next runs of this thread, and closed at its end."""
    if _persistent.loop is loop:
        return
    # one that was made under another policy stays open until the thread's end: it may hold things of the caller's
    _persistent.loop, _persistent.policy = loop, getattr(events, "_event_loop_policy", None)
    others = (c for c in _persistent.closers if c.loop is not None and not c.loop.is_closed())
    _persistent.closers = (*others, _Closer(loop))
    _all_loops.add(loop)


def let_go(loop: Any) -> None:
    """This loop is closed by its last run."""
    _all_loops.discard(loop)
    if _persistent.loop is loop:
        _persistent.loop = _persistent.policy = None
    for closer in _persistent.closers:
        if closer.loop is loop:
            closer.loop = None
    _persistent.closers = tuple(c for c in _persistent.closers if c.loop is not None)


def close_in_order(loop: Any) -> None:
    """Cancel what is left, close asynchronous generators and the executor, then the loop."""
    _all_loops.discard(loop)
    if loop.is_closed() or loop.is_running():
        return
    try:
        for which in (closing.owned, closing.left_behind):
            for coro in closing.endings(loop, which):
                loop.run_until_complete(coro)
        cancel_all_tasks(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
        ending.end_executor(loop)
        seal(loop)
    except BaseException as exc:
        loop.call_exception_handler({"message": "Exception while a thread's event loop was closed", "exception": exc})
    finally:
        if policy_loop() is loop:
            events.set_event_loop(None)
        loop.close()


def close_persistent_loops() -> None:
    """Close the loops that top-level runs of this thread have used, the newest first."""
    closers, _persistent.closers = _persistent.closers, ()
    _persistent.loop = _persistent.policy = None
    for closer in reversed(closers):
        loop, closer.loop = closer.loop, None
        close_in_order(loop)


def _after_fork() -> None:
    """The child must not touch the parent's epoll object: drop the loops without unregistering anything."""
    for loop in list(_all_loops):
        _abandon(loop)
    _all_loops.clear()
    loop = _persistent.loop
    for closer in _persistent.closers:
        closer.loop = None
    _persistent.closers = ()
    _persistent.loop = _persistent.policy = None
    if loop is not None and policy_loop() is loop:
        events.set_event_loop(None)


def _abandon(loop: Any) -> None:
    if loop.is_running():
        return  # the forking thread may go on with it
    asyncios = isinstance(loop, base_events.BaseEventLoop)
    if not asyncios:
        # what it would do at its end, or at that of its transports, is done to the parent's descriptors
        _core.keep_for_ever(loop)
        return
    selector = getattr(getattr(loop, "_selector", None), "_selector", None)
    for part in (selector, getattr(loop, "_ssock", None), getattr(loop, "_csock", None)):
        if part is not None:
            part.close()
    loop._closed = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
