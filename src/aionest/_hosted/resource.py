"""hosted(cm): an asynchronous resource that lives in a task of its own.

An asynchronous context manager that holds a task group or a cancel scope (an MCP session, an anyio stream, a pool)
must be left by the task that entered it. Here that is always so: an *owner task* (``owner``) enters it, waits, and leaves it.
Others only ask, from any task, thread or loop, in any order.

Contract
  * The handle asks, the owner acts. Errors of ``__aenter__`` go to ``enter()``, those of ``__aexit__`` to the first ``leave()``;
    a loss is told to ``guard()``, ``call()`` and ``on_lost()``, and if to none of them, to ``leave()``.
  * Nobody is cancelled but the owner task and the callers of ``guard()`` and ``call()``.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import warnings
from typing import TYPE_CHECKING, Generic, TypeVar

from .._engine.checks import refuse
from .notices import Guard, Signal, in_loop
from .owner import ENTERING, GONE, LOST, NEW, OPEN, Owner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from typing_extensions import TypeVarTuple, Unpack

    from .._errors import ResourceLost

    Ts = TypeVarTuple("Ts")

__all__ = ["Hosted", "hosted"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")


class Hosted(Generic[T_co]):
    """The handle of a resource that lives in its own task. Made by ``hosted()``.

    Thread-safety: every method may be used from any task, thread or loop. Cancellation: see each method.
    """

    __slots__ = ("__weakref__", "_owner")

    def __init__(self, cm: AbstractAsyncContextManager[T_co]) -> None:
        if not (hasattr(type(cm), "__aenter__") and hasattr(type(cm), "__aexit__")):
            refuse(cm)
            raise TypeError(f"hosted() takes an asynchronous context manager, not {type(cm).__qualname__}")
        self._owner: Owner[T_co] = Owner(cm)

    async def enter(self) -> T_co:
        """Enter the context manager in a new task of the running loop and return what it gives, as is.

        :raises RuntimeError: it was entered before.

        Whatever ``__aenter__`` raises is raised here.

        Thread-safety: the resource belongs to the loop that runs here.
        Cancellation: the entering is cancelled too; what was entered by then is left before this returns.
        """
        owner = self._owner
        owner.start()
        await owner.until(owner.entered)
        if owner.enter_error is not None:
            try:
                raise owner.enter_error
            finally:
                owner.enter_error = owner.enter_error.with_traceback(None)
        return self.value

    async def leave(self, exc: BaseException | None = None) -> bool:
        """Leave the context manager, in the task that entered it, and return when that is done.

        Leaving what is left already does nothing.

        :param exc: the exception to tell ``__aexit__`` of.
        :return: True if ``__aexit__`` asked for ``exc`` to be suppressed.
        :raises ResourceLost: the resource failed while it was open, and nobody was told so far.
        :raises RuntimeError: it was never entered, or is left by code that runs in its own task.

        Whatever ``__aexit__`` raises is raised to the first caller.

        Thread-safety: any task, thread or loop, in any order with other resources.
        Cancellation: the leaving is cancelled too, as in a plain ``async with``, and this returns when it has ended.
        """
        owner = self._owner
        if owner.state == NEW:
            raise RuntimeError(f"{owner.name} was never entered")
        if owner.task is not None and owner.task is asyncio.current_task():
            raise RuntimeError(f"{owner.name} cannot be left by the task that owns it: it would wait for itself")
        first = owner.ask(exc)
        try:
            await owner.until(owner.ended)
        except asyncio.CancelledError as cancelled:
            if first and cancelled.__context__ is None and owner.exit_error is not cancelled:
                cancelled.__context__ = owner.exit_error
            raise
        if first and not owner.is_lost:
            error, owner.exit_error = owner.exit_error, None
            if error is not None and error is not exc:
                try:
                    raise error
                finally:
                    del error
            return owner.suppressed
        if owner.is_lost and not owner.told and exc is None:
            raise owner.error()
        return False

    async def __aenter__(self) -> T_co:
        return await self.enter()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        return await self.leave(exc)

    async def guard(self, awaitable: Awaitable[R]) -> R:
        """Await something that needs the resource, and stop waiting as soon as the resource is lost.

        The awaitable runs in the calling task; nothing is added to it but one entry in a list.

        :raises ResourceLost: the resource is lost; ``__cause__`` says why. The awaitable was cancelled.

        Thread-safety: any task on any loop. Cancellation: as a plain ``await``.
        """
        owner = self._owner
        task = asyncio.current_task()
        if task is None:
            refuse(awaitable)
            raise RuntimeError("guard() must be awaited in a task")
        guard = Guard(asyncio.get_running_loop(), task)
        if owner.is_lost or not owner.lost.subscribe(guard):
            refuse(awaitable)
            raise owner.error()
        try:
            return await awaitable
        except asyncio.CancelledError:
            if guard.take_back():
                exc = owner.error()
                raise exc from exc.__cause__
            raise
        finally:
            owner.lost.unsubscribe(guard)
            guard.take_back()  # the awaitable swallowed it, or had something else to say
            guard.over = True

    async def call(self, function: Callable[[Unpack[Ts]], Awaitable[R]], /, *args: Unpack[Ts]) -> R:
        """Call an asynchronous function of the resource on the loop that the resource belongs to, guarded.

        On that loop itself this is ``await h.guard(function(*args))``; on another loop, or in another thread, the
        call is carried over and its outcome comes back.

        :raises ResourceLost: the resource is lost; the call was cancelled.
        :raises RuntimeError: the resource is not open.

        Thread-safety: any task, thread or loop. Cancellation: the call is cancelled too.
        """
        owner = self._owner
        if owner.is_lost:
            raise owner.error()
        if owner.state != OPEN:
            raise RuntimeError(f"{owner.name} is {owner.state}")
        if asyncio.get_running_loop() is owner.loop:
            return await self.guard(function(*args))
        done = Signal()
        box: list[asyncio.Task[R]] = []

        def begin() -> None:
            box.append(owner.loop.create_task(self._call(function, args)))
            box[0].add_done_callback(lambda _: done.fire())

        if not in_loop(owner.loop, begin):
            owner.abandon()
            raise owner.error()
        cancelled: asyncio.CancelledError | None = None
        while not done.fired and not (owner.ended.fired and owner.loop.is_closed()):
            try:
                await owner.wait(done)
            except asyncio.CancelledError as exc:
                if cancelled is None:
                    cancelled = exc
                    in_loop(owner.loop, lambda: box and box[0].cancel())
        if cancelled is not None:
            try:
                raise cancelled
            finally:
                del cancelled
        if not done.fired:
            raise owner.error()
        return box[0].result()

    async def _call(self, function: Callable[..., Awaitable[R]], args: tuple[object, ...]) -> R:
        return await self.guard(function(*args))

    def on_lost(self, callback: Callable[[ResourceLost], object]) -> None:
        """Have ``callback`` called once with a ``ResourceLost`` when the resource is lost; at once if it is already.

        It is called in the thread of the resource's loop and must not wait. An exception that it raises goes to that
        loop's exception handler.

        Thread-safety: any thread. Cancellation: does not wait.
        """
        owner = self._owner
        told = functools.partial(_tell, owner, callback)
        if not owner.lost.subscribe(told):
            told()

    @property
    def value(self) -> T_co:
        """What ``__aenter__`` gave.

        :raises RuntimeError: it was not entered.
        """
        owner = self._owner
        if not owner.entered.fired or owner.enter_error is not None:
            raise RuntimeError(f"{owner.name} is {owner.state}")
        return owner.value  # type: ignore[no-any-return]

    @property
    def lost(self) -> ResourceLost | None:
        """None while all is well; else a ``ResourceLost`` whose ``__cause__`` is what happened."""
        return self._owner.error() if self._owner.is_lost else None

    @property
    def is_open(self) -> bool:
        """True between the end of ``enter()`` and the beginning of ``leave()`` or of a failure."""
        return self._owner.state == OPEN

    def __repr__(self) -> str:
        return f"<hosted {self._owner.name}: {'lost' if self._owner.is_lost else self._owner.state}>"

    def __del__(self) -> None:
        owner = getattr(self, "_owner", None)
        if owner is None or owner.state not in (ENTERING, OPEN, LOST, GONE) or sys.is_finalizing():
            return
        if owner.state == OPEN:
            warnings.warn(f"{self!r} was never left: its owner task leaves it now", ResourceWarning, 2, source=self)
            owner.ask()
        elif owner.is_lost and not owner.told and not owner.loop.is_closed():
            owner.told = True
            context = {"message": f"{owner.name} failed, and its failure was never retrieved", "exception": owner.cause}
            owner.loop.call_exception_handler(context)


def _tell(owner: Owner[T_co], callback: Callable[[ResourceLost], object]) -> None:
    try:
        callback(owner.error())
    except Exception as exc:
        owner.loop.call_exception_handler({"message": f"Exception in on_lost callback {callback!r}", "exception": exc})


def hosted(cm: AbstractAsyncContextManager[T]) -> Hosted[T]:
    """Return a handle for an asynchronous context manager whose body and exit live in a task of their own.

    ::

        async with aionest.hosted(cm) as x: ...          # like `async with cm as x`, but never tied to this task

        h = aionest.hosted(cm)                            # or in separate steps,
        x = await h.enter()
        ...
        await h.leave()                                   # by any task, in any thread or loop, in any order

    :param cm: an asynchronous context manager that was not entered yet.
    :return: the handle; what ``enter()`` gives is the context manager's own value, so using it costs nothing extra.
    :raises TypeError: ``cm`` is no asynchronous context manager.

    Context variables that ``cm`` sets are set in the owner task only. The owner's context is a copy of that of
    ``enter()``.

    Thread-safety: any thread. Cancellation: does not wait.
    """
    return Hosted(cm)
