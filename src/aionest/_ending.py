"""How a top-level run ends: what is left is cancelled and awaited, and the loop closed, as asyncio.Runner does it.

Contract
  * ``end`` closes the loop whatever happens. Steps and their order are asyncio's.
  * Nothing is lost that another thread posts meanwhile: it runs, and a task that comes of it begins, is cancelled and
    awaited; once the loop counts as closed, who posts is told so. What slips in between is called on the closed loop, where
    whatever it starts is refused.
  * ``end_some`` ends tasks and generators of a loop that stays open.
Thread: the loop's own, while it does not run.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import base_events, constants, events, runners, selector_events, tasks, unix_events
from typing import TYPE_CHECKING, Any

from ._anyio import asyncgens

if TYPE_CHECKING:
    from collections.abc import Iterable

ROUNDS = 16  # how often what comes anew is ended, before it is left alone

_UnixLoop: Any = unix_events._UnixSelectorEventLoop
_TIMEOUT: tuple[Any, ...] = (constants.THREAD_JOIN_TIMEOUT,) if hasattr(constants, "THREAD_JOIN_TIMEOUT") else ()

_STEPS = frozenset(
    ("shutdown_asyncgens", "shutdown_default_executor", "run_until_complete", "run_forever", "_run_once")
)
_stock_asyncgens: Any = base_events.BaseEventLoop.shutdown_asyncgens
_stock_executor: Any = base_events.BaseEventLoop.shutdown_default_executor

sealed: set[Any] = set()  # loops that count as closed while their parts are still to be closed


def end(loop: Any) -> None:
    """End what is left on the loop and close it."""
    try:
        idle = _is_idle(loop)
        if not idle:
            cancel_all_tasks(loop)
            idle = _is_idle(loop)
        if idle:
            loop._asyncgens_shutdown_called = loop._executor_shutdown_called = True
        else:
            loop.run_until_complete(loop.shutdown_asyncgens())
            end_executor(loop)
        seal(loop, idle)
    finally:
        events.set_event_loop(None)
        loop.close()


def _is_idle(loop: Any) -> bool:
    """Is there nothing to end, and nothing that could happen meanwhile? Then asyncio's steps do not need the loop to run."""
    return (
        type(loop) is _UnixLoop
        and not loop._ready
        and all(timer._cancelled for timer in loop._scheduled)
        and not loop._asyncgens
        and loop._default_executor is None
        and _STEPS.isdisjoint(loop.__dict__)
        and _UnixLoop.shutdown_asyncgens in (_stock_asyncgens, asyncgens.shutdown)
        and _UnixLoop.shutdown_default_executor is _stock_executor
        and not asyncgens.abandoned
        and len(getattr(loop._selector, "_fd_to_key", ())) == 1
        and not asyncio.all_tasks(loop)
    )


def cancel_all_tasks(loop: Any) -> None:
    """Cancel the loop's tasks and wait for their end; their errors go to the exception handler."""
    if events._get_running_loop() is None:
        runners._cancel_all_tasks(loop)  # type: ignore[attr-defined]
        return
    some = tasks.all_tasks(loop)
    for task in some:
        task.cancel()
    if some:
        loop.run_until_complete(_gathered(some))
    for task in some:
        exc = None if task.cancelled() else task.exception()
        if exc is not None:
            message = "unhandled exception during asyncio.run() shutdown"
            loop.call_exception_handler({"message": message, "exception": exc, "task": task})


async def _gathered(some: Iterable[asyncio.Future[Any]]) -> None:
    """Wait for all of them, in their own loop: where another one runs, gather() takes that one for theirs since 3.14."""
    await tasks.gather(*some, return_exceptions=True)


def end_executor(loop: Any) -> None:
    """Shut the default executor down; its threads are waited for."""
    try:
        loop.run_until_complete(loop.shutdown_default_executor(*_TIMEOUT))
    except RuntimeError:
        executor = getattr(loop, "_default_executor", None)
        # since 3.12 no thread can be started at interpreter exit, not even asyncio's own that waits for the others
        if executor is None or not (sys.is_finalizing() or _threads_are_over()):
            raise
        executor.shutdown()


def _threads_are_over() -> bool:
    from . import _run

    return _run.options.exiting


def end_some(loop: Any, some: list[Any], generators: Any = ()) -> None:
    """Cancel these tasks, close these generators, and wait for their end."""
    if some:
        for task in some:
            task._log_destroy_pending = False  # a further Ctrl-C ends the waiting
            task.cancel()
        loop.run_until_complete(
            _gathered(some) if events._get_running_loop() else tasks.gather(*some, return_exceptions=True)
        )
        for task in some:
            if not task.cancelled() and task.exception() is not None:
                _report(loop, "unhandled exception during asyncio.run() shutdown", task.exception(), task=task)
    if generators:
        results = loop.run_until_complete(_close(generators))
        for agen, result in zip(generators, results):
            if isinstance(result, Exception):
                _report(
                    loop, f"an error occurred during closing of asynchronous generator {agen!r}", result, asyncgen=agen
                )


async def _close(generators: Any) -> list[Any]:
    return await tasks.gather(*[agen.aclose() for agen in generators], return_exceptions=True)


def _report(loop: Any, message: str, exception: BaseException | None, **details: Any) -> None:
    loop.call_exception_handler({"message": message, "exception": exception, **details})


# ---- closing while others post ------------------------------------------------------------------------------------------


def seal(loop: Any, idle: bool = False) -> None:
    """Carry out what was posted meanwhile, and let the loop count as closed from the moment when nothing is left.

    From then on only ``loop.close()`` may be called.
    """
    if type(loop) is not _UnixLoop or "close" in loop.__dict__ or loop.is_closed():
        return  # closing may mean anything there
    for _ in range(ROUNDS):
        # no other thread can post between these two lines and be neither refused nor seen
        loop._closed = True
        if not loop._ready and (idle or not asyncio.all_tasks(loop)):
            break
        idle = False
        loop._closed = False
        loop.run_until_complete(_turn())
        cancel_all_tasks(loop)
    loop._closed = True
    sealed.add(loop)


async def _turn() -> None:
    """Ends when all that was there has run, and tasks that came of it have begun."""
    await asyncio.sleep(0)


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
    sealed.discard(loop)
    if loop._debug:
        base_events.logger.debug("Close %r", loop)  # type: ignore[attr-defined]
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
                _report(loop, f"Exception in callback {handle!r}", exc, handle=handle)
        except Exception as exc:
            _report(loop, f"Exception in callback {handle!r}", exc, handle=handle)
