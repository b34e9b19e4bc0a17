"""Who is asked before a loop closes, and at interpreter exit.

Contract
  * The engine and the runs name nobody above them: a layer that keeps something on loops enters its functions in these lists
    when it is imported, and they are called in the order in which they stand.
  * ``opened`` looks and changes nothing. The others give a coroutine to be run on the loop, or None where there is nothing to do.
  * At exit: what stands in ``at_exit`` first, then runs that are suspended still end. This handler is registered when aionest is
    imported, so exit handlers that are registered later may use all of it.
Thread: lists are changed on import and read anywhere; the functions are called in the loop's thread.
"""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any

from .bracket import end_suspended

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    Ending = Callable[[Any], Coroutine[Any, Any, None] | None]

opened: list[Callable[[Any], list[Any]]] = []  # what is open on a loop that a later run may use
owned: list[Ending] = []  # leaves what is open, while all else on the loop still works
left_behind: list[Ending] = []  # closes what tasks that are done have left; loop.close() does it, too
at_exit: list[Callable[[], None]] = []

# loops that count as closed while their parts are still to be closed, and what closes them in the place of asyncio's own: the
# methods of BaseSelectorEventLoop and of BaseEventLoop
sealed: dict[Any, tuple[Callable[[Any], None], Callable[[Any], None]]] = {}
exiting = False  # the interpreter is


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
