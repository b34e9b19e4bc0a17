"""The loop behind a portal, its thread, and the works that it carries out.

Contract
  * No caller hangs: the end of the loop finds everybody who waits in ``pending``, whatever was lost on the way. A work that
    times out, or whose caller is interrupted, is cancelled first.
  * Where a loop runs in the calling thread, the caller's stack is suspended instead of the thread: on the runner's
    own thread that is a nested run, on another loop's the other tasks go on. Only a loop that aionest cannot drive is
    blocked.
  * The end: new works are refused, those in flight cancelled, what was entered is left (newest first), then the loop is
    closed as asyncio.run does it.
  * A runner never references its portal.

Thread: ``Runner`` says which part runs where.
"""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures
import sys
import threading
from asyncio import base_events, events
from typing import TYPE_CHECKING, Any, TypeVar

from .. import _core
from .._engine import wakeups
from .._engine.checks import checked
from .._engine.install import install
from .._errors import PortalClosed
from .._hosted.owner import leave_all, open_on, owners_that_stayed
from .._runs.thread_loop import close_in_order
from .._scopes.asyncgens import kept_on
from . import script_run
from .waiting import Gate, LoopLock, new_lock
from .wakeup_loop import EventfdLoop, new_loop
from .work import Future, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

GRACE = 1.0  # seconds that a caller whose time is up waits for the cancelled work to end

_get_running_loop = events._get_running_loop
_modules = sys.modules


def _nothing() -> None:
    """Wakes a loop up."""


class Runner:
    """A loop in a thread, from start to end."""

    def __init__(self, name: str, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
        install()
        self.name = name
        with wakeups.stay():
            self.loop: Any = new_loop() if loop_factory is None else checked(loop_factory)()
        self.create_task: Any = self.loop.create_task
        self.post: Any = self.loop.call_soon_threadsafe
        self.pending: set[Work] = set()
        self.closing: bool = False  # no new work; set by any thread, never taken back
        self.death: BaseException | None = None
        self.ending: asyncio.Task[None] | None = None
        self.stayed: Any = None
        self.ended: Future[None] = Future()
        self.thread: threading.Thread = script_run.PortalThread(target=self.main, name=name, daemon=True)
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
            lock: Any = Gate()
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
                    context = script_run.context() if "streamlit" in _modules else None
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
        context = script_run.context() if "streamlit" in _modules else None
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
                close_in_order(loop)
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
        if not isinstance(loop, base_events.BaseEventLoop):
            return  # uvloop's own: not to be had one by one, and in a forked child its end would be the parent's, too
        selector = getattr(getattr(loop, "_selector", None), "_selector", None)
        for part in (selector, getattr(loop, "_ssock", None), getattr(loop, "_csock", None)):
            if part is not None:
                part.close()
        if isinstance(loop, EventfdLoop):
            loop._close_eventfd(forked)
        loop._closed = True  # type: ignore[attr-defined]

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
    return f"the call did not finish within {timeout:g} s" + (
        " and was cancelled" if ended else ", and has not ended since its cancellation"
    )


runners: dict[Runner, None] = {}  # those whose thread runs, oldest first
