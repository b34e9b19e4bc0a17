"""Closing a loop while other threads post to it: nothing that they post is lost unheard.

Contract: what is posted before the loop counts as closed runs, and a task that comes of it begins, is cancelled and awaited;
afterwards, who posts is told so. Who posts on and on is told after a few rounds.
What slips in between is called on the closed loop, where whatever it starts is refused.
A sealed loop stands in ``closing.sealed`` and may only be closed.
Thread: the loop's own, while it does not run.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from asyncio import base_events, selector_events, tasks
from typing import TYPE_CHECKING, Any

from .closing import sealed

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Collection

ROUNDS = 16  # how often what comes anew is ended, before it is left alone
UnixLoop: Any = None  # asyncio's own, where it has it
if sys.platform != "win32":
    from asyncio import unix_events

    UnixLoop = unix_events._UnixSelectorEventLoop


def cancel_all_tasks(loop: Any) -> None:
    """Cancel the loop's tasks and wait for their end; their errors go to the exception handler. As asyncio.Runner does it."""
    cancel_some(loop, tasks.all_tasks(loop))


def cancel_some(loop: Any, some: Collection[asyncio.Task[Any]]) -> None:
    """The same for these tasks."""
    for task in some:
        task.cancel()
    if some:
        loop.run_until_complete(_all_ended(loop, some))
    for task in some:
        exc = None if task.cancelled() else task.exception()
        if exc is not None:
            report(loop, "unhandled exception during asyncio.run() shutdown", exc, task=task)


# What is waited for here is a future, not a coroutine: an interrupt may come before a task would have begun, and Python would
# warn of it. Nor does a future take a number from the names of the program's tasks.


def _all_ended(loop: asyncio.AbstractEventLoop, some: Collection[asyncio.Task[Any]]) -> asyncio.Future[None]:
    """Done when all of them are. gather() would wait for ever if a finalizer amid its call ran them to their end."""
    ended = loop.create_future()
    left = len(some)

    def one_ended(_: asyncio.Task[Any]) -> None:
        nonlocal left
        left -= 1
        if not left and not ended.done():
            ended.set_result(None)

    for task in some:
        task.add_done_callback(one_ended)
    return ended


def _turn(loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
    """Done when all that was there has run, and tasks that came of it have begun."""
    over = loop.create_future()

    def second() -> None:
        if not over.done():
            over.set_result(None)

    loop.call_soon(loop.call_soon, second)
    return over


def report(loop: Any, message: str, exception: BaseException | None, **details: Any) -> None:
    loop.call_exception_handler({"message": message, "exception": exception, **details})


def seal(loop: Any, idle: bool = False) -> None:
    """Carry out what was posted meanwhile, and let the loop count as closed from the moment when nothing is left.

    From then on only ``loop.close()`` may be called.
    """
    if type(loop) is not UnixLoop or "close" in loop.__dict__ or loop.is_closed():
        return  # closing may mean anything there
    try:
        for n in range(ROUNDS):
            # no other thread can post between these two lines and be neither refused nor seen
            loop._closed = True
            if not loop._ready and (idle or not asyncio.all_tasks(loop)):
                break
            idle = False
            loop._closed = False
            if n == ROUNDS // 8:
                loop.call_soon_threadsafe = _refusing_others(loop)
            loop.run_until_complete(_turn(loop))
            cancel_all_tasks(loop)
    finally:
        loop.__dict__.pop("call_soon_threadsafe", None)
        loop._closed = True
        sealed[loop] = close_selector_loop, close_base_loop


def _refusing_others(loop: Any) -> Callable[..., asyncio.Handle]:
    """call_soon_threadsafe() of a loop that is closed to other threads: who posts faster than the rounds go is told."""
    own = threading.get_ident()

    def call_soon_threadsafe(
        callback: Callable[..., object], *args: object, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        if threading.get_ident() != own:
            raise RuntimeError("Event loop is closed")
        handle: asyncio.Handle = UnixLoop.call_soon_threadsafe(loop, callback, *args, context=context)
        return handle

    return call_soon_threadsafe


def close_selector_loop(loop: Any) -> None:
    """BaseSelectorEventLoop.close() of a sealed loop."""
    key = loop._selector._fd_to_key.get(loop._ssock.fileno())
    if key is not None:  # a closed loop does not remove its readers
        loop._selector.unregister(key.fd)
        for handle in key.data:
            if handle is not None:
                handle.cancel()
    loop._close_self_pipe()
    try:
        super(selector_events.BaseSelectorEventLoop, loop).close()
    finally:
        if loop._selector is not None:
            loop._selector.close()
            loop._selector = None


def close_base_loop(loop: Any) -> None:
    """BaseEventLoop.close() of a sealed loop. What slipped in is called: all that it starts is refused by the closed loop."""
    sealed.pop(loop, None)
    if loop._debug:
        # it counts as closed already, for other threads
        was = repr(loop).replace("closed=True", "closed=False", 1)
        base_events.logger.debug("Close %s", was)  # type: ignore[attr-defined]
    left = [handle for handle in loop._ready if not handle._cancelled]
    loop._ready.clear()
    loop._scheduled.clear()
    loop._executor_shutdown_called = True
    executor, loop._default_executor = loop._default_executor, None
    if executor is not None:
        executor.shutdown(wait=False)
    for handle in left:
        try:
            handle._context.run(handle._callback, *handle._args)
        except RuntimeError as exc:
            if str(exc) != "Event loop is closed":
                report(loop, f"Exception in callback {handle!r}", exc, handle=handle)
        except Exception as exc:
            report(loop, f"Exception in callback {handle!r}", exc, handle=handle)
