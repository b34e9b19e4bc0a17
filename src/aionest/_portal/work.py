"""One call that is carried out in a portal's loop, and its outcome.

Contract: a work is ended by exactly one of its outcome, its timeout, an exception in the waiting thread, and the end of its home.
It stands in its home's ``pending`` before it is posted and until it is done or dropped; its lock is released by then.
Thread: marked below. Works are finished in the loop's thread, but for those that never began.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import types
from asyncio import coroutines, events
from typing import TYPE_CHECKING, Any, TypeVar

from .waiting import Gate, LoopLock, new_lock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Protocol

    from .._errors import PortalClosed

    class Home(Protocol):
        """What a work knows of the runner that carries it out."""

        loop: Any
        closing: bool
        death: BaseException | None
        pending: set[Work]
        create_task: Any

        def post_quietly(self, callback: Callable[..., object], *args: Any) -> bool: ...
        def refusal(self, what: str) -> PortalClosed: ...


T = TypeVar("T")

CO_COROUTINE = inspect.CO_COROUTINE
_get_running_loop = events._get_running_loop


async def _invoke(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Call any callable in the portal's thread, as part of the task, and await what it gives if it has to be."""
    result = function(*args)
    return await result if hasattr(type(result), "__await__") or coroutines.iscoroutine(result) else result


def _look_at(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


def begin(function: Callable[..., Any], args: tuple[Any, ...]) -> Coroutine[Any, Any, Any]:
    """The coroutine that makes this call. A coroutine function's own, so that the task shows it."""
    plain: Any = function.__func__ if isinstance(function, types.MethodType) else function
    if type(plain) is types.FunctionType and plain.__code__.co_flags & CO_COROUTINE:
        return function(*args)  # type: ignore[no-any-return]
    if not callable(function):
        if coroutines.iscoroutine(function):
            function.close()
            raise TypeError("an asynchronous function was expected, not a coroutine: use run(coroutine)")
        raise TypeError(f"an asynchronous function was expected, not {type(function).__qualname__}")
    return _invoke(function, args)


def coroutine_of(awaitable: Any) -> Coroutine[Any, Any, Any]:
    if type(awaitable) is types.CoroutineType:
        return awaitable
    if coroutines.iscoroutine(awaitable) or hasattr(type(awaitable), "__await__"):
        return _await(awaitable)
    raise TypeError(f"a coroutine or other awaitable was expected, not {type(awaitable).__qualname__}")


class Work:
    """One coroutine to be carried out by a runner."""

    __slots__ = ("cancelled", "coro", "dropped", "lock", "runner", "task")

    def __init__(self, runner: Home, coro: Coroutine[Any, Any, Any], lock: Any) -> None:
        self.runner: Home = runner
        self.coro: Coroutine[Any, Any, Any] = coro
        self.lock: Any = lock
        self.task: asyncio.Future[Any] | None = None
        self.cancelled: bool = False
        self.dropped: bool = False

    # in the loop's thread

    def start(self) -> None:
        runner = self.runner
        if runner.closing or self.cancelled:
            self.drop()
            return
        try:
            task = self.task = runner.create_task(self.coro)
        except Exception as exc:  # a task factory's
            self.coro.close()
            task = self.task = runner.loop.create_future()
            task.set_exception(exc)
        # a thread that waits takes it out of pending itself
        task.add_done_callback(self.lock if type(self.lock) is Gate else self.done)

    def done(self, task: asyncio.Future[Any]) -> None:
        self.runner.pending.discard(self)
        self.lock.release()

    def drop(self) -> None:
        """It will not be done, or not be finished. Only the first one that comes here does it, in whatever thread."""
        try:
            self.runner.pending.remove(self)
        except KeyError:
            return
        if self.task is None:
            self.dropped = True
            self.coro.close()
        elif not self.task.done():
            self.dropped = True
            self.task._log_destroy_pending = False  # type: ignore[attr-defined]  # the caller is told
            if inspect.getcoroutinestate(self.coro) == inspect.CORO_CREATED:
                self.coro.close()
        self.lock.release()

    def cancel(self) -> None:
        self.cancelled = True
        if self.task is None:
            self.drop()  # its start may never have been posted
        else:
            self.task.cancel()

    # in the waiting thread

    def revoke(self) -> bool:
        """Cancel a task that has not begun, so that it never does: its first step is queued already. True if so."""
        if self.task is None or inspect.getcoroutinestate(self.coro) != inspect.CORO_CREATED:
            return False
        self.cancelled = True
        self.task.cancel()
        return True

    def outcome(self) -> Any:
        task, runner = self.task, self.runner
        try:
            if task is not None and self.dropped:
                runner.post_quietly(task.add_done_callback, _look_at)  # dropped while it was being made
            if task is None or self.dropped or not task.done():
                raise runner.refusal("was closed before this call was done") from runner.death
            if runner.closing and task.cancelled():
                raise runner.refusal("was closed during this call") from None
            return task.result()
        finally:
            del task, self  # they hold the exception, whose traceback holds this frame


class Submitted(Work):
    """A work whose outcome goes to a concurrent future."""

    __slots__ = ("future",)

    def __init__(self, runner: Home, coro: Coroutine[Any, Any, Any], future: Future[Any]) -> None:
        super().__init__(runner, coro, self)
        self.future = future

    def release(self) -> None:  # it is its own lock
        future, task = self.future, self.task
        future._work = None
        if not self.runner.closing and (self.cancelled if task is None else task.cancelled()):
            future.cancel()
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = self.outcome()
        except BaseException as exc:
            future.set_exception(exc)
        else:
            future.set_result(result)


class Future(concurrent.futures.Future[T]):
    """A concurrent future that may be waited for on any thread, the portal's own included."""

    _work: Work | None = None

    def cancel(self) -> bool:
        """Cancel the work. False if it is done already."""
        if not super().cancel():
            return False
        work, self._work = self._work, None
        if work is not None:
            work.runner.post_quietly(work.cancel)
        return True

    def result(self, timeout: float | None = None) -> T:
        self._suspend(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._suspend(timeout)
        return super().exception(timeout)

    def _suspend(self, timeout: float | None) -> None:
        running = _get_running_loop()
        if running is None or self.done():
            return
        lock = new_lock(running)
        if isinstance(lock, LoopLock):
            self.add_done_callback(lambda _: lock.release())
            lock.acquire(True, -1 if timeout is None else max(0.0, timeout))
