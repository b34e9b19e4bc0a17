"""News: a server says that its tools have changed, and they are read again - now and then, however often it says so.

Contract: what is told is followed by a reading that begins later. One reading at a time; a server that always has news gets a
small share of the loop, which is that of other servers too. On the loop only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

DEBOUNCE = 0.1  # seconds between the news that a list has changed and its reading
SHARE = 20  # times as long as a reading took passes before the next one
LONGEST = 10.0  # seconds at most between two of them


class News:
    """Reads again what has changed.

    :param read: does it. It sees to its own errors.
    """

    def __init__(self, read: Callable[[], Awaitable[None]]) -> None:
        self._read = read
        self._task: asyncio.Task[None] | None = None
        self._reading = asyncio.Lock()
        self.not_before = 0.0

    def told(self) -> None:
        """There are some."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._again())

    async def _again(self) -> None:
        try:
            await asyncio.sleep(DEBOUNCE)
            async with self._reading:
                await asyncio.sleep(max(0.0, self.not_before - time.monotonic()))
                self._task = None  # news from now on want another reading
                begin = time.monotonic()
                try:
                    await self._read()
                finally:
                    end = time.monotonic()
                    self.not_before = end + min((end - begin) * SHARE, LONGEST)
        finally:
            if self._task is asyncio.current_task():
                self._task = None

    def stop(self) -> None:
        """There will be no reading that has not begun."""
        if self._task is not None:
            self._task.cancel()


__all__ = ["News"]
