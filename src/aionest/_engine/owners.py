"""Which of several nested ``run_forever`` calls a ``loop.stop()`` is meant for.

Contract
  * A call owns what waits to be run when it begins and nobody owns yet: the callbacks that its caller has scheduled to stop
    it (``tornado``'s ``IOLoop.run_sync``, ``call_later(1, loop.stop)``, a done callback of a new task). The owner is a variable
    of their contexts, so it goes along to all that comes of them.
  * ``stop()`` called in such a context ends its owner's call. Elsewhere, or when that is over, it ends the newest.
  * Steps of tasks that have begun are nobody's: such a task goes on after the call.
Thread: the one that runs the loop.
"""

from __future__ import annotations

import contextvars
import inspect
from asyncio import base_events, futures
from typing import TYPE_CHECKING, Any

from .. import _core

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Call:
    """One nested run_forever, which returns when ``stopped`` is done."""

    def __init__(self, stopped: Any) -> None:
        self.stopped = stopped
        self.contexts: dict[int, Any] = {}  # those that were marked, not those that are copies of them


_owner: contextvars.ContextVar[_Call | None] = contextvars.ContextVar("aionest run_forever", default=None)


def wait_for_stop(loop: Any) -> None:
    """A nested run_forever on the loop that runs: the caller's stack is suspended until stop() is called."""
    stopped = loop.create_future()
    waiters = _core.stop_waiters(loop)
    call = _own(loop, stopped)
    waiters.append(stopped)
    try:
        _core.block_on(stopped)
    finally:
        call.contexts.clear()  # those that live on keep no others
        if stopped in waiters:
            waiters.remove(stopped)


def _own(loop: Any, stopped: Any) -> _Call:
    """Let what is scheduled on the loop belong to the run_forever that waits for ``stopped``."""
    call, around = _Call(stopped), _owner.get()
    for callback, context in _waiting(loop):
        task = getattr(callback, "__self__", None)
        if callback is None:
            continue
        if task is not None and futures.isfuture(task):
            coro = getattr(task, "get_coro", _none)()
            if not inspect.iscoroutine(coro) or inspect.getcoroutinestate(coro) != inspect.CORO_CREATED:
                continue
            for entry in getattr(task, "_callbacks", None) or ():
                _mark(entry[1], call, around)
        _mark(context, call, around)
    return call


def _waiting(loop: Any) -> Iterable[tuple[Any, Any]]:
    """The callbacks that wait to be run and their contexts, without what was there before the caller's step began."""
    if not isinstance(loop, base_events.BaseEventLoop):
        return _core.foreign_pending(loop)
    before = (_core.loop_info(loop) or {}).get("todo", 0)
    handles = [*list(loop._ready)[before:], *loop._scheduled]  # type: ignore[attr-defined]
    return [(getattr(handle, "_callback", None), getattr(handle, "_context", None)) for handle in handles]


def _none() -> None:
    return None


def _mark(context: Any, call: _Call, around: _Call | None) -> None:
    if not isinstance(context, contextvars.Context):
        return
    owner = context.get(_owner)
    # one that the caller's own context was copied from has no claim, unless it marked this very context
    if owner is None or owner.stopped.done() or (owner is around and id(context) not in owner.contexts):
        try:
            context.run(_owner.set, call)
        except RuntimeError:  # it is entered: not one that waits to be run
            return
        call.contexts[id(context)] = context


def stop_owner(waiters: list[Any]) -> bool:
    """stop() was called: if it is meant for one of these nested run_forever calls, that one returns."""
    call = _owner.get()
    if call is None or call.stopped not in waiters:
        return False
    waiters.remove(call.stopped)
    if not call.stopped.done():
        call.stopped.set_result(None)
    return True
