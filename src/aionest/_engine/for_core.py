"""What the C engine calls in Python: the frames under a hub, reports, what interrupts a finalizer that nests, and gather() amid which
other tasks have run.

Frames: every step of a loop stands on them as on stock asyncio. What looks for its caller finds ``_run``, ``_run_once``, and then
whoever called ``run_forever`` (``src/core/frames.h``).

Finalizers run amid whatever code is under way, and what one raises goes no further. So a CancelledError that ends its nested run
would be lost, though it was meant for the task in whose coroutine the finalizer was called.

Contract
  * Called by ``_core`` only, ``gather`` by asyncio; in the thread that runs the loop.
  * Frames once for each stack that carries loops; ``carry`` returns when that stack ends.
  * Messages and context keys of reports are those of ``asyncio.events.Handle._run`` and ``asyncio.base_events.BaseEventLoop._run_once``
    of the running Python version.
  * What interrupts a nested run inside of a finalizer is not used up by it. A cancellation ends that run, and reaches the
    task at its next ``await``, too, as on stock one does that comes while a step is under way; one that is due already waits for
    that ``await``. Ctrl-C raises KeyboardInterrupt in the run around, as if the finalizer's run was not there (``signals.c``).
    Asked when an exception comes out of a nested run or a cancellation is due: not at each run.
  * A finalizer is ``__del__``, ``weakref.finalize``'s function, or the thread's hook for asynchronous generators. Other callbacks of
    weak references look like any function, and are taken for one.
"""

from __future__ import annotations

import sys
import weakref
from asyncio import base_events, format_helpers, tasks
from typing import TYPE_CHECKING, Any

from .. import _core
from .closing import agen_hooks

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from types import FrameType


def _run(carry: Callable[[], Any]) -> None:
    carry()


def _run_once(carry: Callable[[], Any]) -> None:
    _run(carry)


# ---- reports --------------------------------------------------------------------------------------------------------------

_RUN_CODES = {
    getattr(base_events.BaseEventLoop, name).__code__
    for name in ("run_forever", "_run_once")
    if hasattr(getattr(base_events.BaseEventLoop, name), "__code__")
}


def _source(handle: Any) -> str:
    try:
        return format_helpers._format_callback_source(  # type: ignore[attr-defined,no-any-return,call-arg]
            handle._callback, handle._args, debug=handle._loop.get_debug()
        )
    except TypeError:  # before the keyword came
        return format_helpers._format_callback_source(handle._callback, handle._args)  # type: ignore[attr-defined,no-any-return]


def callback_error(handle: Any, exc: BaseException) -> None:
    """An exception came out of a callback: tell the loop's exception handler."""
    # uvloop's own words for its loops
    source = _source(handle) if isinstance(handle._loop, base_events.BaseEventLoop) else handle._callback
    context: dict[str, Any] = {
        "message": f"Exception in callback {source}",
        "exception": exc,
        "handle": handle,
    }
    if handle._source_traceback:
        context["source_traceback"] = handle._source_traceback
    handle._loop.call_exception_handler(context)


def slow_callback(handle: Any, duration: float) -> None:
    """Debug mode: a callback took longer than ``slow_callback_duration`` seconds, suspension not counted."""
    base_events.logger.warning("Executing %s took %.3f seconds", base_events._format_handle(handle), duration)  # type: ignore[attr-defined]


def runs_in_asyncio(loop: Any) -> bool:
    """Is one of asyncio's own functions that run a loop under way for this one, in a frame of the caller's stack?"""
    frame: Any = sys._getframe(0)
    while frame is not None:
        if frame.f_code in _RUN_CODES and frame.f_locals.get("self") is loop:
            return True
        frame = frame.f_back
    return False


def stop_owner(waiters: list[Any]) -> bool:
    """stop() was called: if it is meant for one of these nested run_forever calls, that one returns."""
    from . import owners  # there is one: so it is there

    return owners.stop_owner(waiters)


# ---- finalizers -----------------------------------------------------------------------------------------------------------

_BOTTOM = (_run.__code__, _run_once.__code__)
_FINALIZE = weakref.finalize.__call__.__code__


def amid(task: asyncio.Task[object] | None, frame: FrameType | None = None) -> bool:
    """Is ``frame``, or the caller's, that of a finalizer called in the coroutine of ``task``, or of code that it calls?"""
    coro = getattr(task, "get_coro", None)  # (a task of somebody's own making may have none)
    last = getattr(coro() if coro is not None else None, "cr_frame", None)
    hook = agen_hooks()[1]
    code = getattr(getattr(hook, "__func__", hook), "__code__", None)
    frame = sys._getframe(1) if frame is None else frame
    while frame is not None and frame is not last and frame.f_code not in _BOTTOM:
        its = frame.f_code
        if its.co_name == "__del__" or its is code or (its is _FINALIZE and frame.f_locals.get("_") is not None):
            return True
        frame = frame.f_back
    return False


def cancelled(task: asyncio.Task[object], exc: asyncio.CancelledError) -> None:
    """A nested run of ``task`` has ended with a CancelledError: if that goes no further, the task gets it once more."""
    cancelling, uncancel = (getattr(task, name, None) for name in ("cancelling", "uncancel"))  # 3.11
    if (cancelling is None or cancelling() > 0) and amid(task, sys._getframe(1)):  # (else the run has cancelled itself)
        task.cancel(*exc.args[:1])
        if uncancel is not None:
            uncancel()  # it is asked for once, and counted once


# ---- gather() ---------------------------------------------------------------------------------------------------------------
#
# gather() takes for granted that nothing runs while it is called: what a child that is done meanwhile calls back is counted, and
# else forgotten, since there is no future yet to tell. A finalizer that nests just then, or an eager child that nests in its
# first step, puts the stack to sleep there, and the loop goes on.

gathering_future: Any = tasks._GatheringFuture  # type: ignore[attr-defined]
_init: Any = gathering_future.__base__.__init__
_CODE = tasks.gather.__code__
_CALLBACK: Any = next((c for c in _CODE.co_consts if getattr(c, "co_name", "") == "_done_callback"), None)
_VARIABLES: tuple[str, ...] = getattr(_CALLBACK, "co_freevars", ())
_KNOWN = frozenset(("children", "nfinished", "nfuts", "outer", "return_exceptions")).issubset(_VARIABLES)
_OUTER = _VARIABLES.index("outer") if _KNOWN else -1


def gather(self: Any, children: Any, *, loop: Any) -> None:
    """In the place of ``_GatheringFuture.__init__``, which is all that gather() calls between its children and its end.

    First it tells the children's callback of the future, as gather() does when it has it, so none is forgotten from then on: a
    finalizer may nest behind any line of it, and behind the last one before gather() goes on. Then it makes up for the calls
    that came before, if the stack has been asleep.
    """
    assert loop is not None
    _init(self, loop=loop)
    self._children = children
    self._cancel_requested = False
    if _KNOWN and _core.gather_known(self, children, loop, _CALLBACK, _OUTER):
        _make_up(self, sys._getframe(1))


def _make_up(outer: Any, frame: Any) -> None:
    callback = frame.f_locals.get("_done_callback") if frame.f_code is _CODE else None
    if callback is None:
        return
    cells = dict(zip(_VARIABLES, callback.__closure__))
    cells["outer"].cell_contents = outer
    children, finished = cells["children"].cell_contents, cells["nfinished"]
    if finished.cell_contents == 0 or outer.done():
        return
    first = None
    if not cells["return_exceptions"].cell_contents:
        first = next((child for child in children if child.done() and _failed(child)), None)
    if first is None and finished.cell_contents == cells["nfuts"].cell_contents:
        first = children[-1]
    if first is not None:
        finished.cell_contents -= 1  # it is counted already, or will be once more when that does not matter
        callback(first)


def _failed(future: Any) -> bool:
    return future.cancelled() or future.exception() is not None
