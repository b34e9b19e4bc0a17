"""Portal: an event loop in a thread of its own, callable from everywhere.

Contract
  * A portal's loop starts with the first use and runs in a daemon thread until close(). What is carried out there runs in a
    copy of the caller's context; changes to context variables stay there.
  * A call that waits is ended by exactly one of: its outcome, its timeout, an exception in the waiting thread (Ctrl-C), the
    portal's end. In the last three cases the work is cancelled first. None of them hangs.
  * Where a loop runs in the calling thread, the caller's stack is suspended instead of the thread: on the portal's own thread
    that is a nested run, on another loop's the other tasks go on. Only a loop that aionest cannot drive is blocked.
  * close() refuses new calls, cancels those under way, leaves what was entered (newest first), then ends as asyncio.run does.
  * After fork() a child's portals are as if never used. At interpreter exit all portals are closed, after those exit handlers
    that were registered after aionest was imported.

Who keeps whom: a ``Portal`` keeps its ``_Runner``, never the reverse, so a forgotten portal is noticed; a runner keeps its
loop, thread and the works under way; a work keeps the waiting side's lock. Works are finished in the loop's thread only.
"""

from __future__ import annotations

import _thread
import asyncio
import atexit
import collections
import concurrent.futures
import itertools
import os
import sys
import threading
import time
import types
import warnings
import weakref
from asyncio import base_events, coroutines, events
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from . import _apply, _core, _run, _streamlit
from ._errors import PortalClosed
from .hosted import Hosted, _owners_that_stayed, leave_all

if TYPE_CHECKING:
    import contextvars
    from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Generator, Iterable, Iterator
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from typing_extensions import Self, TypeVarTuple, Unpack

    from ._errors import ResourceLost

    Ts = TypeVarTuple("Ts")

__all__ = ["Held", "Portal", "portal", "shared_run"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")

GRACE = 1.0  # seconds that a caller whose time is up waits for the cancelled work to end
EXIT_GRACE = 5.0  # seconds that interpreter exit waits for a portal

_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE, without importing inspect
_get_running_loop = events._get_running_loop
_allocate_lock = _thread.allocate_lock
_modules = sys.modules


def _new_loop() -> asyncio.AbstractEventLoop:
    """A loop that the engine can drive, whatever the policy makes (uvloop's, for one)."""
    if sys.platform == "win32":
        return asyncio.ProactorEventLoop()  # subprocesses need it
    return asyncio.SelectorEventLoop()


def _seconds(timeout: float | None) -> float | None:
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


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _begin(function: Callable[..., Any], args: tuple[Any, ...]) -> Coroutine[Any, Any, Any]:
    """The coroutine that makes this call. A coroutine function's own, so that the task shows it."""
    plain = function.__func__ if type(function) is types.MethodType else function
    if type(plain) is types.FunctionType and plain.__code__.co_flags & _CO_COROUTINE:
        return function(*args)  # type: ignore[no-any-return]
    if not callable(function):
        if coroutines.iscoroutine(function):
            function.close()
            raise TypeError("an asynchronous function was expected, not a coroutine: use run(coroutine)")
        raise TypeError(f"an asynchronous function was expected, not {type(function).__qualname__}")
    return _invoke(function, args)


def _coroutine(awaitable: Any) -> Coroutine[Any, Any, Any]:
    if type(awaitable) is types.CoroutineType:
        return awaitable
    if coroutines.iscoroutine(awaitable) or hasattr(type(awaitable), "__await__"):
        return _await(awaitable)
    raise TypeError(f"a coroutine or other awaitable was expected, not {type(awaitable).__qualname__}")


# ---- waiting ----------------------------------------------------------------------------------------------------------


class _LoopLock:
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
        if self.released:
            return True
        self.future = self.loop.create_future()
        timer = self.loop.call_later(timeout, self._set, False) if timeout >= 0 else None
        try:
            return _core.block_on(self.future)  # type: ignore[no-any-return]
        finally:
            if timer is not None:
                timer.cancel()


def _new_lock(running: asyncio.AbstractEventLoop | None) -> Any:
    """Something that is held, and that release() in another thread lets us have."""
    if running is not None and isinstance(running, base_events.BaseEventLoop):
        return _LoopLock(running)
    lock = _allocate_lock()
    lock.acquire()
    return lock


class _Work:
    """One coroutine to be carried out by a runner."""

    __slots__ = ("cancelled", "coro", "lock", "runner", "task")

    def __init__(self, runner: _Runner, coro: Coroutine[Any, Any, Any], lock: Any) -> None:
        self.runner = runner
        self.coro = coro
        self.lock = lock
        self.task: asyncio.Future[Any] | None = None
        self.cancelled = False

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
        task.add_done_callback(self.done)

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
            self.coro.close()
        self.lock.release()

    def cancel(self) -> None:
        self.cancelled = True
        if self.task is None:
            self.drop()  # its start may never have been posted
        else:
            self.task.cancel()

    # in the waiting thread, once it is done

    def outcome(self) -> Any:
        task, runner = self.task, self.runner
        try:
            if task is None or not task.done():
                raise runner.refusal("was closed before this call was done") from runner.death
            if runner.closing and task.cancelled():
                raise runner.refusal("was closed during this call") from None
            return task.result()
        finally:
            del task, self  # they hold the exception, whose traceback holds this frame


class _Submitted(_Work):
    """A work whose outcome goes to a concurrent future."""

    __slots__ = ("future",)

    def __init__(self, runner: _Runner, coro: Coroutine[Any, Any, Any], future: _Future[Any]) -> None:
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


class _Future(concurrent.futures.Future[T] if TYPE_CHECKING else concurrent.futures.Future):
    """A concurrent future that may be waited for on any thread, the portal's own included."""

    _work: _Work | None = None

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
        lock = _new_lock(running)
        if isinstance(lock, _LoopLock):
            self.add_done_callback(lambda _: lock.release())
            lock.acquire(True, -1 if timeout is None else max(0.0, timeout))


# ---- the loop and its thread ------------------------------------------------------------------------------------------


class _Runner:
    """A loop in a thread, from start to end."""

    def __init__(self, name: str) -> None:
        _apply.engine()
        self.name = name
        self.loop: Any = _new_loop()
        self.create_task = self.loop.create_task
        self.post = self.loop.call_soon_threadsafe
        self.pending: set[_Work] = set()
        self.closing = False  # no new work; set by any thread, never taken back
        self.death: BaseException | None = None
        self.ending: asyncio.Task[None] | None = None
        self.stayed: Any = None
        self.ended: _Future[None] = _Future()
        self.thread = _streamlit.PortalThread(target=self.main, name=name, daemon=True)
        try:
            self.thread.start()
        except BaseException:
            self.loop.close()
            raise
        _runners[self] = None

    # -- in any thread

    def carry_out(self, coro: Coroutine[Any, Any, T], timeout: float | None = None, grace: float | None = GRACE) -> T:
        """Have a coroutine carried out and return its result. The hot path: its few steps are written out here."""
        task: asyncio.Future[T] | None
        running = _get_running_loop()
        if running is None:
            lock: Any = _allocate_lock()
            lock.acquire()
        elif running is self.loop:
            return self.nest(coro, timeout)
        else:
            lock = _new_lock(running)
        work = _Work(self, coro, lock)
        self.pending.add(work)  # before it is posted: the end of the loop looks here for whom to tell
        try:
            try:
                if self.closing or "streamlit" in _modules:
                    self.send(work)
                else:
                    self.post(work.start)
                in_time = lock.acquire() if timeout is None else lock.acquire(True, timeout)
            except BaseException as exc:
                self.interrupted(work, exc, grace)
                raise
            if not in_time:
                self.give_up(work, timeout, grace)
            task = work.task
            if self.closing or task is None:
                return work.outcome()  # type: ignore[no-any-return]
            return task.result()  # type: ignore[no-any-return]
        finally:
            task = None
            del work  # these hold the exception, whose traceback holds this frame

    def send(self, work: _Work) -> None:
        """Post it with what else there is to see to."""
        if self.closing:
            raise self.refusal("is closed") from self.death
        context = _streamlit.context() if "streamlit" in _modules else None
        if context is None:
            self.post(work.start)
        else:
            self.post(work.start, context=context)

    def interrupted(self, work: _Work, exc: BaseException, grace: float | None) -> None:
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

    def abandon(self, work: _Work, grace: float | None) -> bool:
        """Cancel what nobody wants any more and wait a little for its end. True if it has ended."""
        if work not in self.pending:
            return True
        if not self.post_quietly(work.cancel):
            work.drop()
            return True
        return bool(work.lock.acquire(True, -1 if grace is None else grace))

    def give_up(self, work: _Work, timeout: float, grace: float | None) -> None:
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
            self.post_quietly(self.begin_end)
        if self.thread.ident == _thread.get_ident():
            return True
        try:
            self.ended.result(timeout)
        except (TimeoutError, concurrent.futures.TimeoutError):
            return False
        self.thread.join(timeout)
        return True

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
            _runners.pop(self, None)
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
            self.ending = self.loop.create_task(self.end())
            self.ending.add_done_callback(lambda _: self.loop.stop())

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

    def close_descriptors(self) -> None:
        """Close without asking the selector for anything."""
        loop = self.loop
        selector = getattr(getattr(loop, "_selector", None), "_selector", None)
        for part in (selector, getattr(loop, "_ssock", None), getattr(loop, "_csock", None)):
            if part is not None:
                part.close()
        loop._closed = True

    # -- after fork(), in the child

    def forget(self) -> None:
        """The thread stayed in the parent. Close our copies of its descriptors; the epoll object itself is shared."""
        self.closing = True
        self.close_descriptors()
        # Never let go of what was under way: dropping a coroutine runs its clean-up, and that is the parent's business.
        # The thread that is no more keeps this runner alive for ever.
        self.stayed = self.pending, _owners_that_stayed
        self.pending = set()
        self.ended = _Future()
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


_runners: dict[_Runner, None] = {}  # those whose thread runs, oldest first


# ---- what users see ---------------------------------------------------------------------------------------------------


class Held(Generic[T_co]):
    """A resource that a portal holds open, made by ``Portal.enter()``. Leaves it at the end of a ``with``.

    Thread-safety: every method may be used from any thread, the portal's own included.
    """

    __slots__ = ("__weakref__", "_hosted", "_portal", "_runner")

    def __init__(self, portal: Portal, runner: _Runner, resource: Hosted[T_co]) -> None:
        self._portal = portal
        self._runner = runner
        self._hosted = resource

    @property
    def value(self) -> T_co:
        """What the context manager gave. It belongs to the portal's loop: use it in calls carried out there."""
        return self._hosted.value

    @property
    def lost(self) -> ResourceLost | None:
        """None while all is well; else a ``ResourceLost`` whose ``__cause__`` is what happened."""
        return self._hosted.lost

    @property
    def is_open(self) -> bool:
        """True until it is closed or lost."""
        return self._hosted.is_open

    def on_lost(self, callback: Callable[[ResourceLost], object]) -> None:
        """Have ``callback`` called once, in the portal's thread, when the resource is lost. It must not wait."""
        self._hosted.on_lost(callback)

    def call(
        self, function: Callable[[Unpack[Ts]], Awaitable[R]], /, *args: Unpack[Ts], timeout: float | None = None
    ) -> R:
        """Like ``Portal.call()``, and ended at once when the resource is lost.

        :param timeout: seconds; ``None`` means no limit.
        :raises ResourceLost: the resource is lost; ``__cause__`` says why.
        :raises TimeoutError: it was not done in time; it was cancelled.
        :raises PortalClosed: the portal is closed, or was closed meanwhile.

        Thread-safety: any thread. Cancellation: as ``Portal.call()``.
        """
        seconds = _seconds(timeout)
        return self._runner.carry_out(self._hosted.call(function, *args), seconds)

    def close(self, exc: BaseException | None = None, *, timeout: float | None = None) -> bool:
        """Leave the context manager, in the task that entered it. Closing twice, or after the portal, does nothing.

        :param exc: the exception to tell ``__aexit__`` of.
        :param timeout: seconds; ``None`` means no limit.
        :return: True if ``__aexit__`` asked for ``exc`` to be suppressed.
        :raises ResourceLost: the resource failed while it was open, and nobody was told so far.
        :raises TimeoutError: it was not left in time; the leaving was cancelled.

        Whatever ``__aexit__`` raises is raised here.

        Thread-safety: any thread, in any order with other resources. Cancellation: Ctrl-C cancels the leaving.
        """
        timeout = _seconds(timeout)
        runner = self._runner
        try:
            return runner.carry_out(self._hosted.leave(exc), timeout)
        except PortalClosed:
            # its end leaves everything
            if not runner.close(timeout):
                raise TimeoutError(f"portal {runner.name!r} is being closed and has not ended yet") from None
            return False

    def __enter__(self) -> T_co:
        return self.value

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        return self.close(exc)

    def __repr__(self) -> str:
        return f"<held in portal {self._runner.name!r}: {self._hosted!r}>"


class Portal:
    """An event loop in a daemon thread, for synchronous code to use asynchronous code through.

    ::

        with aionest.Portal() as p:
            page = p.call(fetch, "https://example.org", timeout=10)

    The loop starts with the first use. ``with`` closes the portal at its end.

    :param name: the thread's name.

    Thread-safety: every method may be used from any thread, the portal's own included: there a call is a nested run, so a
    portal cannot deadlock on itself.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = f"aionest-portal-{next(_numbers)}" if name is None else name
        self._runner: _Runner | None = None
        self._lock = threading.Lock()
        self._closed = False
        _portals.add(self)

    def _start(self) -> _Runner:
        with self._lock:
            runner = self._runner
            if runner is None:
                if self._closed:
                    raise PortalClosed(f"portal {self._name!r} is closed")
                if sys.is_finalizing():
                    raise PortalClosed(f"portal {self._name!r} cannot start: the interpreter is shutting down")
                try:
                    runner = self._runner = _Runner(self._name)
                except RuntimeError as exc:
                    if "shutdown" not in str(exc):
                        raise
                    raise PortalClosed(f"portal {self._name!r} cannot start: {exc}") from exc
        return runner

    # -- calls

    @overload
    def call(
        self, function: Callable[[Unpack[Ts]], Awaitable[R]], /, *args: Unpack[Ts], timeout: float | None = None
    ) -> R: ...
    @overload
    def call(self, function: Callable[[Unpack[Ts]], R], /, *args: Unpack[Ts], timeout: float | None = None) -> R: ...
    def call(self, function: Callable[..., Any], /, *args: Any, timeout: float | None = None) -> Any:
        """Call a function in the portal's loop and return its result.

        :param function: an asynchronous function. A plain one is called in the loop's thread, inside a task, and what it
            returns is awaited if it is awaitable.
        :param args: its positional arguments.
        :param timeout: seconds; ``None`` means no limit.
        :raises TimeoutError: it was not done in time. It was cancelled, and given a second to end.
        :raises PortalClosed: the portal is closed, or was closed meanwhile.

        Whatever the function raises is raised here, with its traceback. It runs in a copy of the caller's context: it sees
        the caller's context variables, and what it sets is not seen here.

        Thread-safety: any thread. Where a loop runs in the calling thread, that loop goes on meanwhile.
        Cancellation: an exception in the waiting thread, such as ``KeyboardInterrupt``, cancels the call, gives it a
        second to end and is raised; cancelling the calling task cancels the call.
        """
        seconds = None if timeout is None else _seconds(timeout)
        runner = self._runner or self._start()
        return runner.carry_out(_begin(function, args), seconds)

    def run(self, awaitable: Awaitable[R], *, timeout: float | None = None) -> R:
        """Run a coroutine, or wait for another awaitable, in the portal's loop, and return its result.

        :param timeout: seconds; ``None`` means no limit.
        :raises TimeoutError: it was not done in time; it was cancelled.
        :raises PortalClosed: the portal is closed, or was closed meanwhile.
        :raises TypeError: no awaitable.

        Thread-safety: any thread. Cancellation: as ``call()``.
        """
        coro = _coroutine(awaitable)
        try:
            seconds, runner = _seconds(timeout), self._runner or self._start()
        except BaseException:
            coro.close()
            raise
        return runner.carry_out(coro, seconds)

    @overload
    def submit(
        self, function: Callable[[Unpack[Ts]], Awaitable[R]], /, *args: Unpack[Ts]
    ) -> concurrent.futures.Future[R]: ...
    @overload
    def submit(self, function: Callable[[Unpack[Ts]], R], /, *args: Unpack[Ts]) -> concurrent.futures.Future[R]: ...
    def submit(self, function: Callable[..., Any], /, *args: Any) -> concurrent.futures.Future[Any]:
        """Start a call and return a future for it at once.

        Cancelling the future cancels the call. Its ``result()`` may be waited for on any thread, the portal's own too.

        :raises PortalClosed: the portal is closed. If it is closed later, the future gets this exception.

        Thread-safety: any thread. Cancellation: does not wait.
        """
        runner = self._runner or self._start()
        future: _Future[Any] = _Future()
        work = future._work = _Submitted(runner, _begin(function, args), future)
        runner.pending.add(work)
        try:
            runner.send(work)
        except BaseException as exc:
            runner.interrupted(work, exc, 0)
            raise
        return future

    @overload
    def map(
        self,
        function: Callable[[Unpack[Ts]], Awaitable[R]],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        buffersize: int | None = None,
    ) -> Generator[R, None, None]: ...
    @overload
    def map(
        self,
        function: Callable[[Unpack[Ts]], R],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        buffersize: int | None = None,
    ) -> Generator[R, None, None]: ...
    def map(
        self,
        function: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        buffersize: int | None = None,
    ) -> Generator[Any, None, None]:
        """Call a function for each item, all at once, and give the results in the order of the items.

        As ``concurrent.futures.Executor.map``: the calls start now, not when the first result is asked for.

        :param timeout: seconds from now in which every result must be there; ``None`` means no limit.
        :param buffersize: at most so many calls whose results were not fetched; ``None`` means no limit.
        :raises TimeoutError: a result was not there in time. The calls that are not done are cancelled.
        :raises ValueError: ``buffersize`` is less than 1.

        Thread-safety: any thread; the iterator is for one at a time.
        Cancellation: when the iterator is closed or dropped, or a call fails, the calls that are not done are cancelled.
        """
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be at least 1, or None")
        seconds = _seconds(timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        items = zip(*iterables)  # noqa: B905 - ends with the shortest, as map() does
        futures = collections.deque(self.submit(function, *args) for args in itertools.islice(items, buffersize))
        results = _results(self, function, items, futures, deadline, timeout)
        next(results)  # into its try, so that dropping it cancels
        return results

    def iterate(self, iterable: AsyncIterable[T]) -> Generator[T, None, None]:
        """Iterate over an asynchronous iterable from synchronous code.

        All steps are taken by one task, on demand: nothing is fetched ahead. When the loop is left early, or the iterator
        is closed or dropped, an asynchronous generator is closed, by the same task, before this goes on.

        :raises TypeError: no asynchronous iterable.
        :raises PortalClosed: the portal is closed, or was closed meanwhile.

        Thread-safety: any thread; the iterator is for one at a time.
        Cancellation: an exception in the waiting thread cancels the step that is under way and closes the generator.
        """
        if not hasattr(type(iterable), "__aiter__"):
            raise TypeError(f"an asynchronous iterable was expected, not {type(iterable).__qualname__}")
        steps = _Steps(self._runner or self._start(), iterable)
        generator = steps.generate()
        next(generator)
        return generator

    def enter(self, cm: AbstractAsyncContextManager[T], *, timeout: float | None = None) -> Held[T]:
        """Enter an asynchronous context manager and keep it open until the returned handle is closed.

        ::

            held = portal.enter(cm)
            held.call(held.value.fetch, key)
            held.close()                      # from any thread, in any order with others

        It lives in a task of its own. What is still open when the portal is closed is left then, newest first.

        :param timeout: seconds for entering; ``None`` means no limit.
        :raises TimeoutError: it was not entered in time; what was entered by then was left.
        :raises PortalClosed: the portal is closed, or was closed meanwhile.
        :raises TypeError: ``cm`` is no asynchronous context manager.

        Whatever ``__aenter__`` raises is raised here. A handle that is dropped without being closed gives a
        ``ResourceWarning``, and its resource is left then.

        Thread-safety: any thread. Cancellation: as ``call()``; what was entered by then is left.
        """
        resource = Hosted(cm)
        seconds = _seconds(timeout)
        runner = self._runner or self._start()
        runner.carry_out(resource.enter(), seconds)
        return Held(self, runner, resource)

    # -- end

    def close(self, *, timeout: float | None = None) -> None:
        """Close the portal: cancel its calls, leave what was entered, close the loop, and wait for the end of its thread.

        Calls under way raise ``PortalClosed``. Closing a closed portal does nothing. On the portal's own thread this
        returns at once, and the closing begins when the calling code waits next.

        :param timeout: seconds to wait; ``None`` means no limit.
        :raises TimeoutError: it has not ended yet; the closing goes on.

        Thread-safety: any thread. Cancellation: the waiting can be interrupted, the closing cannot.
        """
        seconds = _seconds(timeout)
        with self._lock:
            self._closed = True
            runner = self._runner
        if runner is not None and not runner.close(seconds):
            raise TimeoutError(f"portal {self._name!r} has not ended within {seconds:g} s")

    @property
    def closed(self) -> bool:
        """True once the portal takes no more calls."""
        runner = self._runner
        return self._closed or (runner is not None and runner.closing)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "not started" if self._runner is None else "running"
        return f"<Portal {self._name!r}: {state}>"

    def __del__(self) -> None:
        runner = getattr(self, "_runner", None)
        if runner is not None and not runner.closing and not sys.is_finalizing():
            warnings.warn(f"{self!r} was never closed: it is closed now", ResourceWarning, 2, source=self)
            runner.closing = True
            runner.post_quietly(runner.begin_end)


def _results(
    portal: Portal,
    function: Callable[..., Any],
    items: Iterator[tuple[Any, ...]],
    futures: collections.deque[concurrent.futures.Future[Any]],
    deadline: float | None,
    timeout: float | None,
) -> Generator[Any, None, None]:
    try:
        yield
        while futures:
            future = futures.popleft()
            try:
                result = future.result(None if deadline is None else max(0.0, deadline - time.monotonic()))
            except (TimeoutError, concurrent.futures.TimeoutError) as exc:
                if future.done():
                    raise  # its own
                raise TimeoutError(f"a result was not there within {timeout:g} s") from exc
            finally:
                future.cancel()
            for args in itertools.islice(items, 1):
                futures.append(portal.submit(function, *args))
            yield result
            del result
    finally:
        for future in futures:
            future.cancel()


class _Steps:
    """Takes the steps of an asynchronous iterator, all in one task."""

    END: Any = object()

    def __init__(self, runner: _Runner, iterable: AsyncIterable[Any]) -> None:
        self.runner = runner
        self.iterable = iterable
        self.driver: asyncio.Task[None] | None = None
        self.requests: Any = None
        self.reply: asyncio.Future[Any] | None = None

    def generate(self) -> Generator[Any, None, None]:
        try:
            yield
            while True:
                item = self.runner.carry_out(self.step())
                if item is self.END:
                    return
                yield item
                del item
        finally:
            self.close()

    def close(self) -> None:
        if self.driver is not None and not self.driver.done() and not self.runner.closing:
            try:
                self.runner.carry_out(self.finish())
            except PortalClosed:
                pass  # its end closes asynchronous generators

    async def step(self) -> Any:
        loop = self.runner.loop
        if self.driver is None:
            self.requests = asyncio.Queue()
            self.driver = loop.create_task(self.drive())
        elif self.driver.done():
            raise self.runner.refusal("was closed during this iteration")
        self.reply = loop.create_future()
        self.requests.put_nowait(self.reply)
        try:
            return await self.reply
        except asyncio.CancelledError:
            self.driver.cancel()
            await asyncio.wait([self.driver])
            raise

    async def finish(self) -> None:
        assert self.driver is not None
        self.requests.put_nowait(None)
        try:
            await asyncio.shield(self.driver)
        except asyncio.CancelledError:
            self.driver.cancel()
            await asyncio.wait([self.driver])
            raise

    async def drive(self) -> None:
        iterator: Any = None
        try:
            while (reply := await self.requests.get()) is not None:
                try:
                    if iterator is None:
                        iterator = self.iterable.__aiter__()
                    item = await iterator.__anext__()
                except StopAsyncIteration:
                    item = self.END
                except asyncio.CancelledError:
                    raise
                except BaseException as exc:
                    if not reply.done():
                        reply.set_exception(exc)
                    return
                if not reply.done():
                    reply.set_result(item)
                if item is self.END:
                    return
                del item, reply
        finally:
            try:
                aclose = getattr(self.iterable if iterator is None else iterator, "aclose", None)
                if aclose is not None:
                    await aclose()
            finally:
                if self.reply is not None:
                    self.reply.cancel()  # nobody will answer that one


# ---- the process's portal ---------------------------------------------------------------------------------------------

_numbers = itertools.count(1)
_portals: weakref.WeakSet[Portal] = weakref.WeakSet()
_default: Portal | None = None
_default_lock = threading.Lock()
_exiting = False


def portal() -> Portal:
    """Return the portal of this process, which everybody shares. It is made when it is needed, or was closed.

    It is closed when the interpreter exits, after the exit handlers that were registered after aionest was imported: they
    may still use it.

    Thread-safety: any thread. Cancellation: does not wait.
    """
    global _default
    current = _default
    if current is not None and not current.closed:
        return current
    with _default_lock:
        if _default is None or (_default.closed and not _exiting):
            _default = Portal("aionest-portal")
        return _default


def shared_run(
    main: Coroutine[Any, Any, T],
    *,
    debug: bool | None = None,
) -> T:
    """``asyncio.run(main)``, carried out on the process's portal, in a copy of the caller's context.

    :param debug: debug mode of the portal's loop during the run; ``None`` leaves it.
    Once the portal was closed because the interpreter exits, the calling thread runs it, on a loop of its own.

    Thread-safety: any thread; on the portal's own this is a nested run. Cancellation: Ctrl-C in the waiting thread cancels
    the coroutine, waits for its end and raises ``KeyboardInterrupt``; a second one raises at once.
    """
    coro = _run.check_coroutine(main)
    try:
        current = portal()
        runner = current._runner or current._start()
    except PortalClosed:
        # the interpreter exits, and an exit handler that comes after the portal's own still wants to run something
        return _run._run_slow(coro, debug, None, True)  # type: ignore[no-any-return]
    except BaseException:
        coro.close()
        raise
    if runner.closing and _exiting:
        return _run._run_slow(coro, debug, None, True)  # type: ignore[no-any-return]
    return runner.carry_out(coro if debug is None else _debugging(coro, debug), None, None)


async def _debugging(coro: Coroutine[Any, Any, T], debug: bool) -> T:
    loop = asyncio.get_running_loop()
    before = loop.get_debug()
    loop.set_debug(debug)
    try:
        return await coro
    finally:
        loop.set_debug(before)


def _at_exit() -> None:
    global _exiting
    _exiting = True
    for runner in reversed(list(_runners)):
        if not runner.close(EXIT_GRACE):
            runner.report(f"Portal {runner.name!r} did not end within {EXIT_GRACE:g} s of interpreter exit", TimeoutError())


def _after_fork() -> None:
    global _default_lock
    _default_lock = threading.Lock()
    for runner in list(_runners):
        runner.forget()
    _runners.clear()
    for each in list(_portals):
        each._lock = threading.Lock()
        each._runner = None


# Handlers run in the reverse order: the main thread's own loop first, whose tasks may use portals, then the portals.
atexit.unregister(_run._at_exit)
atexit.register(_at_exit)
atexit.register(_run._at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
