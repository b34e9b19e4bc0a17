"""Things that happen once, and who is told: from any task, thread or loop.

Contract: ``Signal.fire`` calls each waker once, in the thread that fires; a ``Guard`` cancels its task at most once, and takes
back only that.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from asyncio import events
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_HAS_UNCANCEL = hasattr(asyncio.Task, "uncancel")


class Signal:
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
        waker = functools.partial(in_loop, loop, resolve, future)
        if not self.subscribe(waker):
            return
        timer = None if timeout is None else loop.call_later(timeout, resolve, future)
        try:
            await future
        finally:
            self.unsubscribe(waker)
            if timer is not None:
                timer.cancel()


def resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def in_loop(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: object) -> bool:
    """Call it in the loop's thread: now if that is here. False if the loop is closed."""
    if events._get_running_loop() is loop:
        callback(*args)
        return True
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        return False
    return True


class Guard:
    """A task that wants to be cancelled when the resource is lost."""

    __slots__ = ("cancelling", "fired", "loop", "over", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop, task: Any) -> None:
        self.loop = loop
        self.task = task
        self.fired = False
        self.over = False
        self.cancelling = task.cancelling() if _HAS_UNCANCEL else 0

    def __call__(self) -> None:
        in_loop(self.loop, self._fire)

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
