"""The owner task of a hosted resource: it enters it, waits, and leaves it. Others only ask.

Contract
  * The owner task lives on the loop that runs where ``start()`` is called. What ``__aenter__`` gave is handed out as is.
  * The owner never references the handle, so a forgotten handle is noticed, reported, and its resource left.
  * One outcome: an error of ``__aenter__`` goes to who enters, one of ``__aexit__`` to the first who asks for the leaving. A
    resource that ends without having been asked to is *lost*: who listens is told at once, and if nobody was, who leaves it is.
  * Nobody is cancelled but the owner task. Who waits for it and is cancelled hands that on to the owner, once, and goes on
    when that has ended.

States: NEW -> ENTERING -> OPEN -> LEAVING -> GONE; ENTERING -> GONE (refused); OPEN -> LOST -> GONE.
Thread: fields are written by the loop's thread, but for ``state`` NEW -> ENTERING and OPEN -> LEAVING (under the lock) and the
fork handler.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._engine import closing
from .._engine.checks import supported
from .._engine.install import install
from .._errors import ResourceLost
from .notices import Signal, in_loop, resolve

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from anyio import CancelScope

T = TypeVar("T")

CAUSE_WAIT = 0.1  # seconds that the news of a loss waits for its cause: a failed resource may take long to come down
LOOK_AGAIN = 0.1  # seconds between looks at a loop in another thread that may have stopped meanwhile

NEW, ENTERING, OPEN, LEAVING, LOST, GONE = "not entered", "entering", "open", "leaving", "lost", "gone"

_owners: dict[Owner[Any], None] = {}  # strong, oldest first: a task that waits is known to its loop only weakly
owners_that_stayed: list[Owner[Any]] = []  # in the parent, when this process was forked


def _name_of(cm: object) -> str:
    function = getattr(cm, "func", None) or cm  # contextlib's managers know the function that they are made of
    return getattr(function, "__qualname__", None) or type(cm).__qualname__


def _from_scope(exc: BaseException) -> bool:
    """Is it anyio that cancels? It says so in the message, and there is no other sign."""
    return bool(exc.args) and isinstance(exc.args[0], str) and " cancel scope " in exc.args[0]


def _anyio_scope() -> CancelScope | None:
    """A cancel scope around the owner's work, where anyio is in use.

    Cancelling through it respects shielded parts of the resource's clean-up, which ``Task.cancel()`` would break into.
    """
    make: Callable[[], CancelScope | None] = getattr(sys.modules.get("anyio"), "CancelScope", lambda: None)
    return make()


class Owner(Generic[T]):
    """The task that owns the resource, and what there is to know about it."""

    def __init__(self, cm: AbstractAsyncContextManager[T]) -> None:
        self.cm = cm
        self.name = _name_of(cm)
        self.state = NEW
        self.lock = threading.Lock()
        self.loop: asyncio.AbstractEventLoop = None  # type: ignore[assignment]
        self.task: asyncio.Task[None] | None = None
        self.scope: CancelScope | None = None
        self.value: T = None  # type: ignore[assignment]  # until it was entered
        self.entered = Signal()  # or refused
        self.lost = Signal()
        self.ended = Signal()
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
                raise RuntimeError(
                    f"{self.name} has already been entered: a hosted resource can be entered only once; make a new one"
                )
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
        in_loop(self.loop, resolve, self.leave_asked)
        return True

    def cancel(self, exc: BaseException) -> None:
        """Hand the caller's cancellation on to the owner task, in the same manner."""
        in_loop(self.loop, self._cancel, _from_scope(exc))

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

    async def until(self, signal: Signal) -> None:
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

    async def wait(self, signal: Signal) -> None:
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

    async def carry(self, running: asyncio.AbstractEventLoop, signal: Signal) -> None:
        """Nobody runs the owner's loop at present: run it from here until the signal."""
        waiting = self.loop.create_task(signal.wait())
        try:
            if supported(running):
                install()
                self.loop.run_until_complete(waiting)  # as a guest of the loop that runs here
            else:
                await running.run_in_executor(None, self.loop.run_until_complete, waiting)
        except RuntimeError:
            if not self.loop.is_running():  # else its own thread has come back to it
                raise
        finally:
            waiting.cancel()


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


closing.opened.append(owner_tasks)
closing.owned.append(lambda loop: leave_all(loop) if open_on(loop) else None)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
