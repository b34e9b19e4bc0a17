"""Blocking functions beside the loop, also while the interpreter ends.

Contract
  * ``in_thread`` is for short work of our own, such as reading a file: it is carried out to its end, the interpreter's exit waits.
  * ``in_own_thread`` is for functions of others, which may take for ever: nothing else waits for them, not the default executor's
    queue, a loop's end or the interpreter's. However many wait, the next one gets a thread; idle ones are taken first, and end.
  * Both run the function in a copy of the context. When no thread can be started any more, it is called where it is: what it
    blocks has little left to do.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import queue
import threading
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")
IDLE = 5.0  # seconds after which a thread without work ends
_TOO_LATE = ("cannot schedule new futures", "can't start new thread", "can't create new thread")


async def in_thread(function: Callable[P, R], *args: P.args, **keywords: P.kwargs) -> R:
    """Call it in a thread of the loop's, and wait for what it gives."""
    try:
        return await asyncio.to_thread(function, *args, **keywords)
    except RuntimeError as exc:
        if not str(exc).startswith(_TOO_LATE):
            raise
    return function(*args, **keywords)


async def in_own_thread(function: Callable[P, R], *args: P.args, **keywords: P.kwargs) -> R:
    """Call it in a daemon thread, and wait for what it gives. If the waiting is cancelled, it goes on, and nobody is told."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()
    call = functools.partial(contextvars.copy_context().run, function, *args, **keywords)
    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
        try:
            worker.start()
        except RuntimeError as exc:
            if not str(exc).startswith(_TOO_LATE):
                raise
            return function(*args, **keywords)
    worker.work.put((loop, future, call))
    del call  # of what goes on, this coroutine holds nothing
    return await future


class _Worker(threading.Thread):
    """Carries out one call after the other. In ``_idle`` while it has none: whoever takes it out gives it one."""

    def __init__(self) -> None:
        super().__init__(name="aionest-callback", daemon=True)
        self.work: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Future[Any], Callable[[], object]]] = (
            queue.SimpleQueue()
        )

    def run(self) -> None:
        while True:
            try:
                loop, future, call = self.work.get(timeout=IDLE)
            except queue.Empty:
                try:
                    _idle.remove(self)
                except ValueError:
                    continue  # it was taken just now
                return
            result, error = None, None
            try:
                result = call()
            except BaseException as exc:
                error = exc
            del call
            _idle.append(self)
            try:
                loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:
                pass  # the loop is closed: nobody waits
            del loop, future, result, error


def _settle(future: asyncio.Future[object], result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if isinstance(error, StopIteration):  # no future takes it
        error = RuntimeError(f"{type(error).__name__}: {error}")
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


_idle: list[_Worker] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)
