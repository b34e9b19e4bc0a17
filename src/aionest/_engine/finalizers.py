"""Cancellation that comes while a finalizer nests.

A finalizer runs amid whatever code is under way, and what it raises goes no further. So a CancelledError that ends its nested run
would be lost, though it was meant for the task in whose coroutine the finalizer was called.

Contract: what interrupts a nested run inside of a finalizer is not used up by it. A cancellation ends that run, and reaches the
task at its next ``await``, too, as on stock one does that comes while a step is under way; one that is due already waits for that
``await``. Ctrl-C raises KeyboardInterrupt in the run around, as if the finalizer's run was not there (``signals.c``).
A finalizer is ``__del__``, ``weakref.finalize``'s function, or the thread's hook for asynchronous generators. Other callbacks of weak
references look like any function, and are taken for one.
Thread: the loop's. Called by ``_core``, when an exception comes out of a nested run or a cancellation is due: not at each run.
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING

from . import frames

if TYPE_CHECKING:
    import asyncio
    from types import FrameType

_BOTTOM = (frames._run.__code__, frames._run_once.__code__)
_FINALIZE = weakref.finalize.__call__.__code__


def amid(task: asyncio.Task[object] | None, frame: FrameType | None = None) -> bool:
    """Is ``frame``, or the caller's, that of a finalizer called in the coroutine of ``task``, or of code that it calls?"""
    coro = getattr(task, "get_coro", None)  # (a task of somebody's own making may have none)
    last = getattr(coro() if coro is not None else None, "cr_frame", None)
    hook = sys.get_asyncgen_hooks().finalizer
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
