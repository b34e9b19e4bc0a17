"""The loop that a portal makes for itself: asyncio's own, woken by an eventfd where the system has them."""

from __future__ import annotations

import asyncio
import os
import select
import sys

from .. import _core
from .._scopes import asyncios


class PortalLoop(asyncio.SelectorEventLoop):
    """It starts child processes under any policy; uvloop's, for one, has nothing for asyncio's own loops before Python 3.14."""

    async def _make_subprocess_transport(self, *args: object, **kwargs: object) -> object:
        asyncios.watch_children()
        return await super()._make_subprocess_transport(*args, **kwargs)  # type: ignore[misc]


class EventfdLoop(PortalLoop):
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


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop that the engine can drive, whatever the policy makes (uvloop's, for one)."""
    if sys.platform == "win32":
        return asyncio.ProactorEventLoop()  # subprocesses need it
    return EventfdLoop() if _core.LINUX_PATHS and hasattr(os, "eventfd") else PortalLoop()
