"""Portal: an event loop in a thread of its own, callable from everywhere.

Contract
  * A portal's loop starts with the first use and runs in a daemon thread until close(). What is carried out there
    runs in a copy of the caller's context; changes to context variables stay there.
  * A ``Portal`` keeps its runner, never the reverse, so a forgotten portal is noticed and its thread ended.

How calls are carried out is in ``runner``; what becomes of portals at exit and after fork() in ``process``.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import itertools
import sys
import threading
import time
import types
import warnings
from asyncio import events
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from .. import _core
from .._errors import PortalClosed
from .._hosted.resource import Hosted
from .._times import seconds_of
from . import process
from .iterate import Steps, results
from .runner import Runner
from .work import CO_COROUTINE, Future, Submitted, begin, coroutine_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Generator, Iterable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from typing_extensions import Self, TypeVarTuple, Unpack

    from .._errors import ResourceLost

    Ts = TypeVarTuple("Ts")

__all__ = ["Held", "Portal"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")

_Function = types.FunctionType
_get_running_loop = events._get_running_loop

_numbers = itertools.count(1)


class Held(Generic[T_co]):
    """A resource that a portal holds open, made by ``Portal.enter()``. Leaves it at the end of a ``with``.

    Thread-safety: every method may be used from any thread, the portal's own included.
    """

    __slots__ = ("__weakref__", "_hosted", "_portal", "_runner")

    def __init__(self, portal: Portal, runner: Runner, resource: Hosted[T_co]) -> None:
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
        seconds = seconds_of(timeout)
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
        timeout = seconds_of(timeout)
        runner = self._runner
        try:
            return runner.carry_out(self._hosted.leave(exc), timeout)
        except PortalClosed:
            # its end leaves everything
            if not runner.close(timeout):
                raise TimeoutError(f"portal {runner.name!r} is closing and has not ended yet") from None
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
    :param loop_factory: makes the portal's loop, for instance ``uvloop.new_event_loop``; the default is asyncio's own,
        which is the fastest one for calls.

    Thread-safety: every method may be used from any thread, the portal's own included: there a call is a nested run,
    so a portal cannot deadlock on itself.
    """

    def __init__(
        self, name: str | None = None, *, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    ) -> None:
        self._loop_factory = loop_factory
        self._name = f"aionest-portal-{next(_numbers)}" if name is None else name
        self._runner: Runner | None = None
        self._lock = threading.Lock()
        self._closed = False
        process.portals.add(self)

    def _start(self) -> Runner:
        with self._lock:
            runner = self._runner
            if runner is None:
                if self._closed:
                    raise PortalClosed(f"portal {self._name!r} is closed")
                if sys.is_finalizing():
                    raise PortalClosed(f"portal {self._name!r} cannot start: the interpreter is shutting down")
                try:
                    runner = self._runner = Runner(self._name, self._loop_factory)
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
    def call(self, function: Callable[[Unpack[Ts]], Any], /, *args: Unpack[Ts], timeout: float | None = None) -> Any:
        """Call a function in the portal's loop and return its result.

        :param function: an asynchronous function. A plain one is called in the loop's thread, inside a task, and what
            it returns is awaited if it is awaitable.
        :param args: its positional arguments.
        :param timeout: seconds; ``None`` means no limit.
        :raises TimeoutError: it was not done in time. It was cancelled, and given a second to end.
        :raises PortalClosed: the portal is closed, or was closed meanwhile.

        Whatever the function raises is raised here, with its traceback. It runs in a copy of the caller's context: it
        sees the caller's context variables, and what it sets is not seen here.

        Thread-safety: any thread. Where a loop runs in the calling thread, that loop goes on meanwhile.
        Cancellation: an exception in the waiting thread, such as ``KeyboardInterrupt``, cancels the call, gives it a
        second to end and is raised; cancelling the calling task cancels the call.
        """
        seconds = None if timeout is None else seconds_of(timeout)
        runner = self._runner or self._start()
        # the hot path: what begin() and carry_out() do in the usual cases
        if type(function) is _Function and function.__code__.co_flags & CO_COROUTINE:
            coro = function(*args)
        else:
            coro = begin(function, args)
        if timeout is None and _get_running_loop() is runner.loop:
            return _core.run_nested(coro)
        return runner.carry_out(coro, seconds)

    async def call_async(self, function: Callable[[Unpack[Ts]], Awaitable[R]], /, *args: Unpack[Ts]) -> R:
        """``call()`` of an asynchronous function for coroutines of any loop, the portal's own included.

        :param function: an asynchronous function.
        :param args: its positional arguments.
        :raises PortalClosed: the portal is closed, or was closed meanwhile.

        On the portal's own loop it runs in the caller's task; from elsewhere in a copy of the caller's context.

        Thread-safety: any thread with a running loop. Cancellation: cancelling the caller cancels the call.
        """
        runner = self._runner or self._start()
        if _get_running_loop() is runner.loop:
            return await function(*args)
        return await runner.carry_over(begin(function, args))  # type: ignore[no-any-return]

    def run(self, awaitable: Awaitable[R], *, timeout: float | None = None) -> R:
        """Run a coroutine, or wait for another awaitable, in the portal's loop, and return its result.

        :param timeout: seconds; ``None`` means no limit.
        :raises TimeoutError: it was not done in time; it was cancelled.
        :raises PortalClosed: the portal is closed, or was closed meanwhile.
        :raises TypeError: no awaitable.

        Thread-safety: any thread. Cancellation: as ``call()``.
        """
        coro = coroutine_of(awaitable)
        try:
            seconds, runner = seconds_of(timeout), self._runner or self._start()
        except BaseException:
            coro.close()
            raise
        return runner.carry_out(coro, seconds)  # type: ignore[no-any-return]

    @overload
    def submit(
        self, function: Callable[[Unpack[Ts]], Awaitable[R]], /, *args: Unpack[Ts]
    ) -> concurrent.futures.Future[R]: ...
    @overload
    def submit(self, function: Callable[[Unpack[Ts]], R], /, *args: Unpack[Ts]) -> concurrent.futures.Future[R]: ...
    def submit(self, function: Callable[[Unpack[Ts]], Any], /, *args: Unpack[Ts]) -> concurrent.futures.Future[Any]:
        """Start a call and return a future for it at once.

        Cancelling the future cancels the call. Its ``result()`` may be waited for on any thread, the portal's own too.

        :raises PortalClosed: the portal is closed. If it is closed later, the future gets this exception.

        Thread-safety: any thread. Cancellation: does not wait.
        """
        runner = self._runner or self._start()
        future: Future[Any] = Future()
        work = future._work = Submitted(runner, begin(function, args), future)
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
        *iterables: Iterable[object],
        timeout: float | None = None,
        buffersize: int | None = None,
    ) -> Generator[R, None, None]: ...
    @overload
    def map(
        self,
        function: Callable[[Unpack[Ts]], R],
        /,
        *iterables: Iterable[object],
        timeout: float | None = None,
        buffersize: int | None = None,
    ) -> Generator[R, None, None]: ...
    def map(
        self,
        function: Callable[..., Any],
        /,
        *iterables: Iterable[object],
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
        Cancellation: when the iterator is closed or dropped, or a call fails, the calls that are not done are
        cancelled.
        """
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be at least 1, or None")
        seconds = seconds_of(timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        items = zip(*iterables)  # noqa: B905 - ends with the shortest, as map() does
        futures = collections.deque(self.submit(function, *args) for args in itertools.islice(items, buffersize))
        generator = results(self.submit, function, items, futures, deadline, timeout)
        next(generator)  # into its try, so that dropping it cancels
        return generator

    def iterate(self, iterable: AsyncIterable[T]) -> Generator[T, None, None]:
        """Iterate over an asynchronous iterable from synchronous code.

        All steps are taken by one task, on demand: nothing is fetched ahead. When the loop is left early, or the
        iterator is closed or dropped, an asynchronous generator is closed, by the same task, before this goes on.

        :raises TypeError: no asynchronous iterable.
        :raises PortalClosed: the portal is closed, or was closed meanwhile.

        Thread-safety: any thread; the iterator is for one at a time.
        Cancellation: an exception in the waiting thread cancels the current step and closes the generator.
        """
        if not hasattr(type(iterable), "__aiter__"):
            raise TypeError(f"an asynchronous iterable was expected, not {type(iterable).__qualname__}")
        steps = Steps(self._runner or self._start(), iterable)
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
        seconds = seconds_of(timeout)
        runner = self._runner or self._start()
        runner.carry_out(resource.enter(), seconds)
        return Held(self, runner, resource)

    # -- end

    def close(self, *, timeout: float | None = None) -> None:
        """Close the portal: cancel its calls, leave what was entered, close the loop, and wait for the end of its
        thread.

        Calls in flight raise ``PortalClosed``. Closing a closed portal does nothing. On the portal's own thread this
        returns at once, and the closing begins when the calling code waits next.

        :param timeout: seconds to wait; ``None`` means no limit.
        :raises TimeoutError: it has not ended yet; the closing goes on.

        Thread-safety: any thread. Cancellation: the waiting can be interrupted, the closing cannot.
        """
        seconds = seconds_of(timeout)
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
