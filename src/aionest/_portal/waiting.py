"""What a caller waits on: a lock that blocks its thread, or where a loop runs there, one that suspends its stack.

Contract: both are made held, and ``release()`` in any thread lets ``acquire()`` return, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import _core
from .._engine.checks import supported

if TYPE_CHECKING:
    import asyncio

Gate = _core.Gate


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
    if running is not None and supported(running):
        return LoopLock(running)
    return Gate()
