"""The loop behind a portal, its thread, and the works that it carries out.

Contract
  * A work is ended by exactly one of: its outcome, its timeout, an exception in the waiting thread (Ctrl-C), the
    runner's end. In the last three cases it is cancelled first. No caller hangs.
  * A work stands in ``pending`` before it is posted and until it is done or dropped; its lock is released by then. So
    the end of the loop finds everybody who waits, whatever was lost on the way.
  * Where a loop runs in the calling thread, the caller's stack is suspended instead of the thread: on the runner's
    own thread that is a nested run, on another loop's the other tasks go on. Only a loop that aionest cannot drive is
    blocked.
  * The end: new works are refused, those under way cancelled, what was entered is left (newest first), then the loop is
    closed as asyncio.run does it.
  * A runner never references its portal.

Thread: ``Runner`` says which part runs where. Works are finished in the loop's thread, but for those that never began.
"""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures
import inspect
import os
import select
import sys
import threading
import types
from asyncio import coroutines, events
from typing import TYPE_CHECKING, Any, TypeVar

from . import _apply, _core, _foreign, _run, _streamlit
from ._anyio.asyncgens import kept_on
from ._errors import PortalClosed
from .hosted import leave_all, open_on, owners_that_stayed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")

GRACE = 1.0  # seconds that a caller whose time is up waits for the cancelled work to end

CO_COROUTINE = inspect.CO_COROUTINE
_get_running_loop = events._get_running_loop
_Gate = _core.Gate
_modules = sys.modules


class _EventfdLoop(asyncio.SelectorEventLoop):
    """Woken by an eventfd instead of asyncio's pair of sockets: a third less for each call from another thread.

    The eventfd is watched edge-triggered, so it need not be read, and behind the selector's back, which ignores events of
    descriptors that it does not know.
    """

    def __init__(self) -> None:
        super().__init__()
        self._eventfd = -1
        poll = getattr(self._selector, "_selector", None)  # type: ignore[attr-defined]
        if isinstance(poll, select.epoll):
            self._eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            poll.register(self._eventfd, select.EPOLLIN | select.EPOLLET)
            _core.set_eventfd(self, self._eventfd)

    def _write_to_self(self) -> None:
        try:
            os.eventfd_write(self._eventfd, 1)
        except (OSError, ValueError):  # never opened, or closed by now
            super()._write_to_self()  # type: ignore[misc]

    def close(self) -> None:
        super().close()
        self._close_eventfd()

    def _close_eventfd(self, forked: bool = False) -> None:
        fd, self._eventfd = self._eventfd, -1
        if fd >= 0:
            _core.set_eventfd(self, -2 if forked else -1)
            os.close(fd)


def _new_loop() -> asyncio.AbstractEventLoop:
    """A loop that the engine can drive, whatever the policy makes (uvloop's, for one)."""
    if sys.platform == "win32":
        return asyncio.ProactorEventLoop()  # subprocesses need it
    return _EventfdLoop() if _core.LINUX_PATHS and hasattr(os, "eventfd") else asyncio.SelectorEventLoop()


def seconds_of(timeout: float | None) -> float | None:
    """Check a timeout before anything is started."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or None, not {type(timeout).__qualname__}")
    if timeout != timeout:
        raise ValueError("timeout must be a number of seconds, not nan")
    return None if timeout > threading.TIMEOUT_MAX else max(0.0, timeout)


async def _invoke(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Call any callable in the portal's thread, as part of the task, and await what it gives if it has to be."""
    result = function(*args)
    return await result if hasattr(type(result), "__await__") or coroutines.iscoroutine(result) else result


def _nothing() -> None:
    """Wakes a loop up."""


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


# ---- waiting ---------------------------------------------------------------------------------------------------------


class LoopLock:
    """What a plain lock is to a thread, to code on a loop: acquire() suspends the stack, the loop goes on."""

    __slots__ = ("future", "loop", "released")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.future: asyncio.Future[bool] | None = None
        self.released = False

    def release(self) -> None:
        try:
            self.loop.call_soon_threadsafe(self._release)
        except RuntimeError:  # closed: nobody waits there any more
            pass

    def _release(self) -> None:
        self.released = True
        self._set(True)

    def _set(self, value: bool) -> None:
        if self.future is not None and not self.future.done():
            self.future.set_result(value)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        # first the future: a finalizer that runs while it is made may sleep, and the release come meanwhile
        self.future = self.loop.create_future()
        if self.released:
            return True
        timer = self.loop.call_later(timeout, self._set, False) if timeout >= 0 else None
        try:
            return _core.block_on(self.future)  # type: ignore[no-any-return]
        finally:
            if timer is not None:
                timer.cancel()


def new_lock(running: asyncio.AbstractEventLoop | None) -> Any:
    """Something that is held, and that release() in another thread lets us have."""
    if running is not None and _foreign.supported(running):
        return LoopLock(running)
    return _Gate()


class Work:
    """One coroutine to be carried out by a runner."""

    __slots__ = ("cancelled", "coro", "dropped", "lock", "runner", "task")

    def __init__(self, runner: Runner, coro: Coroutine[Any, Any, Any], lock: Any) -> None:
        self.runner: Runner = runner
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
        task.add_done_callback(self.lock if type(self.lock) is _Gate else self.done)

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

    def __init__(self, runner: Runner, coro: Coroutine[Any, Any, Any], future: Future[Any]) -> None:
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


# ---- the loop and its thread -----------------------------------------------------------------------------------------


class Runner:
    """A loop in a thread, from start to end."""

    def __init__(self, name: str, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
        _apply.engine()
        self.name = name
        self.loop: Any = _new_loop() if loop_factory is None else _run.checked(loop_factory)()
        self.create_task: Any = self.loop.create_task
        self.post: Any = self.loop.call_soon_threadsafe
        self.pending: set[Work] = set()
        self.closing: bool = False  # no new work; set by any thread, never taken back
        self.death: BaseException | None = None
        self.ending: asyncio.Task[None] | None = None
        self.stayed: Any = None
        self.ended: Future[None] = Future()
        self.thread: threading.Thread = _streamlit.PortalThread(target=self.main, name=name, daemon=True)
        runners[self] = None
        try:
            self.thread.start()
        except BaseException:
            del runners[self]
            self.loop.close()
            raise

    # -- in any thread

    def carry_out(self, coro: Coroutine[Any, Any, T], timeout: float | None = None, grace: float | None = GRACE) -> T:
        """Have a coroutine carried out and return its result. The hot path: its few steps are written out here."""
        task: asyncio.Future[T] | None
        running = _get_running_loop()
        if running is None:
            lock: Any = _Gate()
        elif running is self.loop:
            return self.nest(coro, timeout)
        else:
            lock = new_lock(running)
        work = Work(self, coro, lock)
        self.pending.add(work)  # before it is posted: the end of the loop looks here for whom to tell
        try:
            try:
                in_time = None
                if running is None and not self.closing:
                    context = _streamlit.context() if "streamlit" in _modules else None
                    if context is None:
                        in_time = lock.run(self.loop, coro, work, timeout)
                    else:
                        in_time = context.run(lock.run, self.loop, coro, work, timeout)
                if in_time is None:
                    self.send(work)
                    in_time = lock.acquire(True, -1 if timeout is None else timeout)
            except BaseException as exc:
                self.interrupted(work, exc, grace)
                raise
            if in_time:
                self.pending.discard(work)
            else:
                self.give_up(work, timeout or 0.0, grace)
            task = work.task
            if self.closing or task is None:
                return work.outcome()  # type: ignore[no-any-return]
            return task.result()  # type: ignore[no-any-return]
        finally:
            task = None
            del work  # these hold the exception, whose traceback holds this frame

    async def carry_over(self, coro: Coroutine[Any, Any, T]) -> T:
        """``carry_out()`` for a coroutine of another loop, of any kind. Cancelling it cancels the work."""
        lock = LoopLock(asyncio.get_running_loop())
        lock.future = lock.loop.create_future()
        work = Work(self, coro, lock)
        self.pending.add(work)
        try:
            try:
                self.send(work)
                await lock.future
            except BaseException as exc:
                if not self.post_quietly(work.cancel):
                    work.drop()
                if isinstance(exc, RuntimeError) and self.closing and not isinstance(exc, PortalClosed):
                    raise self.refusal("is closed") from self.death
                raise
            return work.outcome()  # type: ignore[no-any-return]
        finally:
            del work  # it holds the exception, whose traceback holds this frame

    def send(self, work: Work) -> None:
        """Post it with what else there is to see to."""
        if self.closing:
            raise self.refusal("is closed") from self.death
        context = _streamlit.context() if "streamlit" in _modules else None
        if context is None:
            self.post(work.start)
        else:
            self.post(work.start, context=context)

    def interrupted(self, work: Work, exc: BaseException, grace: float | None) -> None:
        """It could not be posted, or an exception came up in the waiting thread."""
        if isinstance(exc, RuntimeError) and self.closing and work.task is None:
            # refused, or posted too late: a closed loop says so itself
            work.drop()
            if not isinstance(exc, PortalClosed):
                raise self.refusal("is closed") from self.death
        else:
            self.abandon(work, grace)

    def refusal(self, what: str) -> PortalClosed:
        return PortalClosed(f"portal {self.name!r} {what}")

    def abandon(self, work: Work, grace: float | None) -> bool:
        """Cancel what nobody wants any more and wait a little for its end. True if it has ended."""
        if work not in self.pending:
            return True
        if not self.post_quietly(work.cancel if not work.revoke() else _nothing):
            work.drop()
            return True
        ended = work.lock.acquire(True, -1 if grace is None else grace)
        if ended:
            self.pending.discard(work)
        elif work.task is not None:
            self.post_quietly(work.task.add_done_callback, work.done)
        return bool(ended)

    def give_up(self, work: Work, timeout: float, grace: float | None) -> None:
        """Its time is up. Returns if it ended with something better to tell."""
        ended = self.abandon(work, grace)
        if ended and (self.closing or (work.task is not None and not work.task.cancelled())):
            return
        raise TimeoutError(_too_late(timeout, ended))

    def nest(self, coro: Coroutine[Any, Any, T], timeout: float | None) -> T:
        """On the loop's own thread: a nested run."""
        if timeout is not None:
            coro = _limit(coro, timeout)
        return _core.run_nested(coro)  # type: ignore[no-any-return]

    def post_quietly(self, callback: Callable[..., object], *args: Any) -> bool:
        try:
            self.post(callback, *args)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def close(self, timeout: float | None) -> bool:
        """Ask for the end and wait for it; on the loop's own thread, only ask."""
        if not self.closing:
            self.closing = True
            for work in list(self.pending):
                work.revoke()
            self.post_quietly(self.begin_end)
        if self.thread.ident == _thread.get_ident():
            return True
        try:
            self.ended.result(timeout)
        except (TimeoutError, concurrent.futures.TimeoutError):
            return False
        self.thread.join(timeout)
        return True

    def load(self) -> int:
        """How much there is to end or leave: less and less while it is being closed."""
        loop = self.loop
        try:
            return (
                len(self.pending)
                + len(asyncio.all_tasks(loop))
                + len(getattr(loop, "_asyncgens", ()))
                + open_on(loop)
                + kept_on(loop)
            )
        except RuntimeError:  # changed while it was counted
            return sys.maxsize

    # -- in the loop's thread

    def main(self) -> None:
        loop, broken = self.loop, False
        try:
            events.set_event_loop(loop)
            self.forever()
            if not self.closing:
                self.closing = True
                self.death = RuntimeError("its event loop was stopped by code that ran in it")
                loop.run_until_complete(self.end())
        except BaseException as exc:
            self.closing = True
            self.death = exc
            broken = True  # it can run nothing any more
            self.report(f"The event loop of portal {self.name!r} failed", exc)
        try:
            if not broken:
                _run.close_in_order(loop)
            self.last_resort()
        finally:
            for work in list(self.pending):
                work.drop()
            runners.pop(self, None)
            self.ended.set_result(None)

    def last_resort(self) -> None:
        """Close a loop that could not be closed in good order."""
        if self.loop.is_closed():
            return
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # the callers are told
        try:
            self.loop.close()
        except Exception:  # its selector is broken
            self.close_descriptors()

    def forever(self) -> None:
        while True:
            try:
                return self.loop.run_forever()  # type: ignore[no-any-return]
            except (SystemExit, KeyboardInterrupt) as exc:
                # out of a task: no reason to end a loop that serves the whole process
                if not any(_failed_with(work.task, exc) for work in list(self.pending)):
                    self.report(f"{type(exc).__name__} in a task of portal {self.name!r}", exc)

    def report(self, message: str, exc: BaseException) -> None:
        self.loop.call_exception_handler({"message": message, "exception": exc})

    def begin_end(self) -> None:
        if self.ending is None:  # two threads may have asked at the same time
            ending = self.ending = self.loop.create_task(self.end())
            ending.add_done_callback(lambda _: self.loop.stop())

    async def end(self) -> None:
        """Calls first, then what they used, newest first. The rest is asyncio's."""
        tasks = []
        for work in list(self.pending):
            work.cancel()
            if work.task is not None:
                tasks.append(work.task)
        if tasks:
            await asyncio.wait(tasks)
        await leave_all(self.loop)

    def close_descriptors(self, forked: bool = False) -> None:
        """Close without asking the selector for anything."""
        loop = self.loop
        selector = getattr(getattr(loop, "_selector", None), "_selector", None)
        for part in (selector, getattr(loop, "_ssock", None), getattr(loop, "_csock", None)):
            if part is not None:
                part.close()
        if isinstance(loop, _EventfdLoop):
            loop._close_eventfd(forked)
        loop._closed = True

    # -- after fork(), in the child

    def forget(self) -> None:
        """The thread stayed in the parent. Close our copies of its descriptors; the epoll object itself is shared."""
        self.closing = True
        self.close_descriptors(forked=True)
        # Never let go of what was under way: dropping a coroutine runs its clean-up, and that is the parent's business.
        # The thread that is no more keeps this runner alive for ever.
        self.stayed = self.pending, owners_that_stayed
        self.pending = set()
        self.ended = Future()
        self.ended.set_result(None)


def _failed_with(task: asyncio.Future[Any] | None, exc: BaseException) -> bool:
    return task is not None and task.done() and not task.cancelled() and task.exception() is exc


async def _limit(coro: Coroutine[Any, Any, T], timeout: float) -> T:
    """A timeout with the same outcomes as for a caller in another thread."""
    task = asyncio.get_running_loop().create_task(coro)
    try:
        if not (await asyncio.wait([task], timeout=timeout))[0]:
            task.cancel()
            ended = (await asyncio.wait([task], timeout=GRACE))[0]
            if not ended or task.cancelled():
                raise TimeoutError(_too_late(timeout, bool(ended)))
        return task.result()
    except asyncio.CancelledError:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        raise


def _too_late(timeout: float, ended: bool) -> str:
    return f"the call was not done within {timeout:g} s" + (
        " and was cancelled" if ended else ", and has not ended since it was cancelled"
    )


runners: dict[Runner, None] = {}  # those whose thread runs, oldest first
