"""hosted(cm): an asynchronous resource that lives in a task of its own.

An asynchronous context manager that holds a task group or a cancel scope (an MCP session, an anyio stream, a pool)
must be left by the task that entered it. Here that is always so: an *owner task* enters it, waits, and leaves it.
Others only ask, from any task, thread or loop, in any order.

Contract
  * The owner task lives on the loop that runs where ``enter()`` is awaited. What ``__aenter__`` gave is handed out as
    is.
  * The owner never references the handle, so a forgotten handle is noticed, reported, and its resource left.
  * One outcome: an error of ``__aenter__`` goes to ``enter()``, one of ``__aexit__`` to the first ``leave()``. A
    resource that ends without having been asked to is *lost*: ``guard()``, ``call()`` and ``on_lost()`` are told at
    once, and if none of them was told, ``leave()`` is.
  * Nobody is cancelled but the owner task and the callers of ``guard()`` and ``call()``.
  * A cancelled ``enter()`` or ``leave()`` hands the cancellation on to the owner, once, and returns when that has
    ended.

States: NEW -> ENTERING -> OPEN -> LEAVING -> GONE; ENTERING -> GONE (refused); OPEN -> LOST -> GONE.
Thread: the owner's fields are written by its loop's thread, but for ``state`` NEW -> ENTERING and OPEN -> LEAVING
(under its lock) and the fork handler.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import threading
import warnings
from asyncio import coroutines, events
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from . import _foreign
from ._errors import ResourceLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from typing_extensions import TypeVarTuple, Unpack

    Ts = TypeVarTuple("Ts")

__all__ = ["Hosted", "hosted"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")

CAUSE_WAIT = 0.1  # seconds that the news of a loss waits for its cause: a failed resource may take long to come down
LOOK_AGAIN = 0.1  # seconds between looks at a loop in another thread that may have stopped meanwhile

NEW, ENTERING, OPEN, LEAVING, LOST, GONE = "not entered", "entering", "open", "leaving", "lost", "gone"

_HAS_UNCANCEL = hasattr(asyncio.Task, "uncancel")
_owners: dict[_Owner[Any], None] = {}  # strong, oldest first: a task that waits is known to its loop only weakly
owners_that_stayed: list[_Owner[Any]] = []  # in the parent, when this process was forked


def _name_of(cm: Any) -> str:
    function = getattr(cm, "func", None) or cm  # contextlib's managers know the function that they are made of
    return getattr(function, "__qualname__", None) or type(cm).__qualname__


def _from_scope(exc: BaseException) -> bool:
    """Is it anyio that cancels? It says so in the message, and there is no other sign."""
    return bool(exc.args) and isinstance(exc.args[0], str) and " cancel scope " in exc.args[0]


def _anyio_scope() -> Any:
    """A cancel scope around the owner's work, where anyio is in use.

    Cancelling through it respects shielded parts of the resource's clean-up, which ``Task.cancel()`` would break into.
    """
    return getattr(sys.modules.get("anyio"), "CancelScope", lambda: None)()


class _Signal:
    """Something that happens once. Waited for from any loop."""

    __slots__ = ("_lock", "_wakers", "fired")

    def __init__(self) -> None:
        self.fired = False
        self._lock = threading.Lock()
        self._wakers: dict[Callable[[], object], None] = {}

    def fire(self) -> None:
        with self._lock:
            self.fired = True
            wakers, self._wakers = self._wakers, {}
        for waker in wakers:
            waker()

    def subscribe(self, waker: Callable[[], object]) -> bool:
        """Have ``waker`` called by ``fire()``; False if that was called already."""
        with self._lock:
            if not self.fired:
                self._wakers[waker] = None
            return not self.fired

    def unsubscribe(self, waker: Callable[[], object]) -> None:
        with self._lock:
            self._wakers.pop(waker, None)

    async def wait(self, timeout: float | None = None) -> None:
        """Return when it has happened, or after ``timeout`` seconds."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        waker = functools.partial(_in_loop, loop, _resolve, future)
        if not self.subscribe(waker):
            return
        timer = None if timeout is None else loop.call_later(timeout, _resolve, future)
        try:
            await future
        finally:
            self.unsubscribe(waker)
            if timer is not None:
                timer.cancel()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _in_loop(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: Any) -> bool:
    """Call it in the loop's thread: now if that is here. False if the loop is closed."""
    if events._get_running_loop() is loop:
        callback(*args)
        return True
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        return False
    return True


class _Guard:
    """A task that wants to be cancelled when the resource is lost."""

    __slots__ = ("cancelling", "fired", "loop", "over", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop, task: Any) -> None:
        self.loop = loop
        self.task = task
        self.fired = False
        self.over = False
        self.cancelling = task.cancelling() if _HAS_UNCANCEL else 0

    def __call__(self) -> None:
        _in_loop(self.loop, self._fire)

    def _fire(self) -> None:
        if not self.over:  # else the notice comes too late, from another thread
            self.fired = True
            self.task.cancel()

    def take_back(self) -> bool:
        """Take our cancellation back. True if the task was not cancelled by somebody else as well."""
        if self.over or not self.fired:
            return False
        self.over = True
        return not _HAS_UNCANCEL or self.task.uncancel() <= self.cancelling


class _Owner(Generic[T]):
    """The task that owns the resource, and what there is to know about it."""

    def __init__(self, cm: AbstractAsyncContextManager[T]) -> None:
        self.cm = cm
        self.name = _name_of(cm)
        self.state = NEW
        self.lock = threading.Lock()
        self.loop: asyncio.AbstractEventLoop = None  # type: ignore[assignment]
        self.task: asyncio.Task[None] | None = None
        self.scope: Any = None
        self.value: Any = None
        self.entered = _Signal()  # or refused
        self.lost = _Signal()
        self.ended = _Signal()
        self.enter_error: BaseException | None = None
        self.exit_error: BaseException | None = None
        self.leave_asked: asyncio.Future[None] | None = None
        self.leave_exc: BaseException | None = None
        self.unwanted = False  # who entered it was cancelled meanwhile
        self.suppressed = False
        self.is_lost = False
        self.cause: BaseException | None = None
        self.told = False  # somebody was told of the loss
        self.notices: list[ResourceLost] = []  # given out before the cause was known

    # -- the owner task

    def start(self) -> None:
        with self.lock:
            if self.state != NEW:
                raise RuntimeError(f"{self.name} was entered already: a hosted resource is for one use, make a new one")
            self.state = ENTERING
        self.loop = asyncio.get_running_loop()
        self.leave_asked = self.loop.create_future()
        _owners[self] = None
        self.task = self.loop.create_task(self.main())
        self.task.set_name(f"owner of {self.name}")
        self.task.add_done_callback(self.finish)

    async def main(self) -> None:
        try:
            self.scope = _anyio_scope()
            if self.scope is None:
                await self.own()
            else:
                with self.scope:
                    await self.own()
        finally:
            self.finish()

    async def own(self) -> None:
        try:
            self.value = await type(self.cm).__aenter__(self.cm)
        except GeneratorExit:
            raise
        except BaseException as exc:
            self.enter_error = exc
            return
        assert self.leave_asked is not None
        with self.lock:
            self.state = OPEN
        self.entered.fire()
        if self.unwanted:
            self.ask()
        exc_: BaseException | None
        try:
            await self.leave_asked
            exc_ = self.leave_exc
        except GeneratorExit:
            raise
        except BaseException as exc:
            exc_ = exc
            self.begin_loss()
        try:
            kind = None if exc_ is None else type(exc_)
            tb = None if exc_ is None else exc_.__traceback__
            self.suppressed = bool(await type(self.cm).__aexit__(self.cm, kind, exc_, tb))
        except GeneratorExit:
            raise
        except BaseException as exc:
            self.exit_error = exc
        if self.is_lost:
            self.cause = self.exit_error or exc_

    def begin_loss(self) -> None:
        """The wait was cut short: the resource comes down by itself, or the loop does."""
        with self.lock:
            if self.state != OPEN:
                return  # it was to be left anyway
            self.state = LOST
        self.is_lost = True
        self.loop.call_later(CAUSE_WAIT, self.lost.fire)

    def finish(self, task: object = None) -> None:
        if self.ended.fired:
            return
        _owners.pop(self, None)
        if not self.entered.fired and self.enter_error is None:
            self.enter_error = asyncio.CancelledError()  # cancelled before its first step
        with self.lock:
            self.state = GONE
        self.leave_exc = None
        if self.is_lost:
            for notice in self.notices:
                notice.__cause__ = self.cause
            if self.cause is None or isinstance(self.cause, asyncio.CancelledError):
                self.told = True  # the loop is being closed: no news
        self.notices.clear()
        self.entered.fire()
        if self.is_lost:
            self.lost.fire()
        self.ended.fire()

    # -- what others do

    def ask(self, exc: BaseException | None = None) -> bool:
        """Have it left. True for the first who asks, whose business the outcome is."""
        with self.lock:
            if self.state != OPEN:
                return False
            self.state = LEAVING
        self.leave_exc = exc
        _in_loop(self.loop, _resolve, self.leave_asked)
        return True

    def cancel(self, exc: BaseException) -> None:
        """Hand the caller's cancellation on to the owner task, in the same manner."""
        _in_loop(self.loop, self._cancel, _from_scope(exc))

    def _cancel(self, by_scope: bool) -> None:
        if self.state == ENTERING:
            self.unwanted = True  # should it open nevertheless
        if self.state == OPEN:
            self.ask()
        elif self.scope is not None and by_scope:
            self.scope.cancel()
        elif self.task is not None:
            self.task.cancel()

    def error(self) -> ResourceLost:
        """A new exception for somebody who is told of the loss."""
        self.told = True
        exc = ResourceLost(f"{self.name} is lost: it failed while it was open. Leave it and enter a new one")
        if self.state == GONE:
            exc.__cause__ = self.cause
        else:
            self.notices.append(exc)
        return exc

    async def until(self, signal: _Signal) -> None:
        """Wait; a cancellation is handed on to the owner and raised once that has ended."""
        cancelled: asyncio.CancelledError | None = None
        while not signal.fired:
            try:
                await self.wait(signal)
            except asyncio.CancelledError as exc:
                if cancelled is None:
                    cancelled = exc
                    signal = self.ended
                    self.cancel(exc)
                # anyio repeats itself until the scope is left: the owner has been told
        if cancelled is not None:
            try:
                raise cancelled
            finally:
                del cancelled

    async def wait(self, signal: _Signal) -> None:
        """Wait on whatever loop runs here; the owner's loop may be another one, in any state."""
        running = asyncio.get_running_loop()
        if running is self.loop:
            await signal.wait()
        elif self.loop.is_running():
            await signal.wait(LOOK_AGAIN)  # it may stop before it has come to what we wait for
        elif self.loop.is_closed():
            self.abandon()
        else:
            await self.carry(running, signal)

    def abandon(self) -> None:
        """The loop was closed under the owner task: that will never run again."""
        if not self.ended.fired:
            self.is_lost = True
            self.cause = RuntimeError(f"the event loop was closed while {self.name} was {self.state}")
            self.enter_error = self.enter_error or self.cause
            self.finish()

    async def carry(self, running: asyncio.AbstractEventLoop, signal: _Signal) -> None:
        """Nobody runs the owner's loop at present: run it from here until the signal."""
        waiting = self.loop.create_task(signal.wait())
        try:
            if _foreign.supported(running):
                from . import _apply

                _apply.engine()
                self.loop.run_until_complete(waiting)  # as a guest of the loop that runs here
            else:
                await running.run_in_executor(None, self.loop.run_until_complete, waiting)
        except RuntimeError:
            if not self.loop.is_running():  # else its own thread has come back to it
                raise
        finally:
            waiting.cancel()


class Hosted(Generic[T_co]):
    """The handle of a resource that lives in its own task. Made by ``hosted()``.

    Thread-safety: every method may be used from any task, thread or loop. Cancellation: see each method.
    """

    __slots__ = ("__weakref__", "_owner")

    def __init__(self, cm: AbstractAsyncContextManager[T_co]) -> None:
        if not (hasattr(type(cm), "__aenter__") and hasattr(type(cm), "__aexit__")):
            _refuse(cm)
            raise TypeError(f"hosted() takes an asynchronous context manager, not {type(cm).__qualname__}")
        self._owner: _Owner[T_co] = _Owner(cm)

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
            _refuse(awaitable)
            raise RuntimeError("guard() must be awaited in a task")
        guard = _Guard(asyncio.get_running_loop(), task)
        if owner.is_lost or not owner.lost.subscribe(guard):
            _refuse(awaitable)
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
        done = _Signal()
        box: list[asyncio.Task[R]] = []

        def begin() -> None:
            box.append(owner.loop.create_task(self._call(function, args)))
            box[0].add_done_callback(lambda _: done.fire())

        if not _in_loop(owner.loop, begin):
            owner.abandon()
            raise owner.error()
        cancelled: asyncio.CancelledError | None = None
        while not done.fired and not (owner.ended.fired and owner.loop.is_closed()):
            try:
                await owner.wait(done)
            except asyncio.CancelledError as exc:
                if cancelled is None:
                    cancelled = exc
                    _in_loop(owner.loop, lambda: box and box[0].cancel())
        if cancelled is not None:
            try:
                raise cancelled
            finally:
                del cancelled
        if not done.fired:
            raise owner.error()
        return box[0].result()

    async def _call(self, function: Callable[..., Awaitable[R]], args: tuple[Any, ...]) -> R:
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
            context = {"message": f"{owner.name} was lost and nobody was told", "exception": owner.cause}
            owner.loop.call_exception_handler(context)


def _refuse(awaitable: Any) -> None:
    """A refused call leaves no 'never awaited' behind."""
    if coroutines.iscoroutine(awaitable):
        awaitable.close()


def _tell(owner: _Owner[Any], callback: Callable[[ResourceLost], object]) -> None:
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


def open_on(loop: asyncio.AbstractEventLoop) -> int:
    """How many resources this loop has yet to leave. Any thread."""
    return sum(owner.loop is loop for owner in list(_owners))


def owner_tasks(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[None]]:
    """The tasks that own what this loop has yet to leave. Any thread."""
    return [owner.task for owner in list(_owners) if owner.loop is loop and owner.task is not None]


async def leave_all(loop: asyncio.AbstractEventLoop) -> None:
    """Leave everything that is open on the running loop, newest first, one after the other. For whoever closes it."""
    for owner in reversed([o for o in _owners if o.loop is loop]):
        if owner.state == ENTERING and owner.task is not None:
            owner.task.cancel()
        first = owner.ask()
        await owner.ended.wait()
        error, owner.exit_error = (owner.exit_error if first else None), None
        if error is not None and not isinstance(error, asyncio.CancelledError):
            context = {"message": f"Exception while {owner.name} was left at the end of its loop", "exception": error}
            loop.call_exception_handler(context)


def _after_fork() -> None:
    """The owner tasks stayed in the parent: everything here is gone, without anything being closed."""
    for owner in list(_owners):
        owner.lock = threading.Lock()
        if owner.state in (OPEN, ENTERING):
            owner.is_lost = True
        owner.state = GONE
        owner.cause = RuntimeError("the resource stayed in the parent process: enter a new one after fork()")
        owner.told = True
        for signal in (owner.entered, owner.lost, owner.ended):
            signal._lock = threading.Lock()
            signal._wakers.clear()
            signal.fired = True
        if owner.task is not None:
            owner.task._log_destroy_pending = False  # type: ignore[attr-defined]
    # Not let go: dropping a coroutine runs its clean-up, and that is the parent's business.
    owners_that_stayed.extend(_owners)
    _owners.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
