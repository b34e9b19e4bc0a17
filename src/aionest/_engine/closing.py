"""What comes before and after a loop's run; who is asked before it closes, and at interpreter exit.

Contract
  * ``setup`` and ``cleanup`` come in pairs, around everything that carries a loop. Both leave asyncio's own account of the loop (its
    thread, the running loop, the hooks for asynchronous generators) as asyncio's would, on every version.
  * The engine and the runs name nobody above them: a layer that keeps something on loops enters its functions in these lists
    when it is imported, and they are called in the order in which they stand. Two are single functions, since ``apply()`` puts
    them there and ``unapply()`` takes them away, as it does with asyncio's own: ``adopt_hooks`` and ``close_kept``.
  * ``opened`` looks and changes nothing. The others give a coroutine to be run on the loop, or None where there is nothing to do.
  * At exit: what stands in ``at_exit`` first, then runs that are suspended still end. This handler is registered when aionest is
    imported, so exit handlers that are registered later may use all of it.
Thread: lists are changed on import and read anywhere; the functions are called in the loop's thread.
"""

from __future__ import annotations

import atexit
import gc
import sys
import threading
from asyncio import base_events, events
from typing import TYPE_CHECKING, Any

from .. import _core

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    Ending = Callable[[Any], Coroutine[Any, Any, None] | None]

_COLLECTS_LATER = sys.version_info >= (3, 12)  # between two lines of Python code
_HAS_SETUP = hasattr(base_events.BaseEventLoop, "_run_forever_setup")

# What is told of a loop that begins to run, when it has set its hooks for asynchronous generators, with those that were set before;
# and the coroutine function that closes generators which were left on a loop, before it shuts down those that it knows itself
adopt_hooks: Callable[[Any, Any], object] | None = None
close_kept: Callable[[Any], Coroutine[Any, Any, None]] | None = None

opened: list[Callable[[Any], list[Any]]] = []  # what is open on a loop that a later run may use
owned: list[Ending] = []  # leaves what is open, while all else on the loop still works
left_behind: list[Ending] = []  # closes what tasks that are done have left; loop.close() does it, too
at_exit: list[Callable[[], None]] = []

# loops that count as closed while their parts are still to be closed, and what closes them in the place of asyncio's own: the
# methods of BaseSelectorEventLoop and of BaseEventLoop
sealed: dict[Any, tuple[Callable[[Any], None], Callable[[Any], None]]] = {}
exiting = False  # the interpreter is


def agen_hooks() -> tuple[Any, Any]:
    """The thread's hooks for asynchronous generators (firstiter, finalizer), which refer to a loop, in a form that the garbage
    collector follows: what sys.get_asyncgen_hooks() gives is not.

    Before 3.12 garbage may be collected amid that function, which does not hold on to the two: not while they are read here, since
    a finalizer that nests sets others.
    """
    collects = not _COLLECTS_LATER and gc.isenabled()
    if collects:
        gc.disable()
    try:
        firstiter, finalizer = sys.get_asyncgen_hooks()
    finally:
        if collects:
            gc.enable()
    return firstiter, finalizer


def setup(loop: Any) -> None:
    """What asyncio does before a loop runs, on every version."""
    if _HAS_SETUP:
        loop._run_forever_setup()
        return
    loop._check_closed()
    loop._check_running()
    loop._set_coroutine_origin_tracking(loop._debug)
    loop._aionest_agen_hooks = agen_hooks()
    loop._thread_id = threading.get_ident()
    sys.set_asyncgen_hooks(firstiter=loop._asyncgen_firstiter_hook, finalizer=loop._asyncgen_finalizer_hook)
    events._set_running_loop(loop)


def check_not_running(loop: Any) -> None:
    """asyncio's check, less the part that refuses nesting."""
    if loop.is_running():
        raise RuntimeError("This event loop is already running")


def setup_nested(loop: Any) -> None:
    """setup() inside a running loop; the caller puts the running loop back."""
    events._set_running_loop(None)
    setup(loop)


def cleanup(loop: Any) -> None:
    """What asyncio does after a loop ran."""
    if _HAS_SETUP:
        loop._run_forever_cleanup()
        return
    loop._stopping = False
    loop._thread_id = None
    events._set_running_loop(None)
    loop._set_coroutine_origin_tracking(False)
    hooks = loop.__dict__.pop("_aionest_agen_hooks", None)
    if hooks is not None:
        sys.set_asyncgen_hooks(*hooks)


def end_suspended(loop: Any, message: str) -> None:
    """Runs that are suspended on this loop, or on any, end with RuntimeError."""
    hooks = agen_hooks()
    try:
        _core.end_suspended(loop, message)
    finally:
        # a loop that ends inside puts back those of the loop around it, whose run is over
        sys.set_asyncgen_hooks(*hooks)


# ---- the end ----------------------------------------------------------------------------------------------------------------


def endings(loop: Any, which: list[Ending]) -> Iterator[Coroutine[Any, Any, None]]:
    """The coroutines to be run on this loop, one after the other."""
    for end in which:
        coro = end(loop)
        if coro is not None:
            yield coro


def close_left_behind(loop: Any) -> None:
    """Close what tasks that are done have left on a loop that is about to be closed.

    Where another loop runs, this one runs as its guest: the caller sees to it that it can.
    """
    if not loop.is_running() and not loop.is_closed():
        for coro in endings(loop, left_behind):
            _finish(loop, coro)


def _finish(loop: Any, coro: Any) -> None:
    """Run a closing coroutine; its error is reported, since the loop is closed in any case."""
    try:
        loop.run_until_complete(coro)
    except Exception as exc:
        loop.call_exception_handler({"message": "Exception while a loop's resources were closed", "exception": exc})


def _at_exit() -> None:
    global exiting
    exiting = True
    for end in at_exit:  # what one of them loads may add to it
        end()
    end_suspended(None, "the interpreter is exiting: this nested run cannot be completed")


atexit.register(_at_exit)
