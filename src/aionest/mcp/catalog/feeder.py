"""Feeder: keeps a retriever in step with the bundles of tools.

Contract
  * An entry that others have put into the retriever is never removed or replaced.
  * The retriever may take its time and fail: it is fed in a thread, one exchange at a time, and nobody has to wait. One entry that
    fails keeps no other out.

``soon`` and ``settle`` are called on a loop; ``exchange`` in any thread, one at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from .._threads import in_own_thread
from ..errors import UsageError
from .bundle import ToolsBundle

log = logging.getLogger("aionest.mcp")


class Retriever(Protocol):
    """A registry that gets a bundle per server."""

    def get(self, name: str, /) -> object:
        """The entry of that name, or None."""
        ...

    def add(self, bundle: ToolsBundle, /) -> object:
        """Put one in."""
        ...

    def remove(self, name: str, /) -> object:
        """Take one out."""
        ...


class Feeder:
    """What feeds a retriever.

    :param retriever: a registry with ``get``, ``add`` and ``remove``, or None.
    """

    def __init__(self, retriever: Retriever | None) -> None:
        self.retriever = retriever
        self.errors: dict[str, str] = {}  # by server
        self._bundles: Mapping[str, ToolsBundle] = {}  # the latest
        self._fed: dict[str, ToolsBundle] = {}  # what the retriever holds of it
        self._fed_from: Mapping[str, ToolsBundle] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    def publish(self, bundles: Mapping[str, ToolsBundle]) -> None:
        """These are the bundles from now on. Where a loop runs, the retriever is fed in the background."""
        self._bundles = bundles
        if self.retriever is not None and asyncio._get_running_loop() is not None:
            self._soon()

    def retry(self) -> bool:
        """Have it tried again what has failed. Was there anything?"""
        if not self.errors:
            return False
        self._fed_from = None
        return True

    async def settle(self, seconds: float) -> None:
        """Wait until the retriever is in step, or that long. It goes on by itself."""
        if self.retriever is not None:
            await asyncio.wait({self._soon()}, timeout=seconds)

    def _soon(self) -> asyncio.Task[None]:
        task = asyncio.ensure_future(self._feed())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _feed(self) -> None:
        loop = asyncio.get_running_loop()
        if self._lock is None or self._lock[0] is not loop:
            self._lock = (loop, asyncio.Lock())
        async with self._lock[1]:
            bundles = self._bundles
            if bundles is not self._fed_from:
                await in_own_thread(self._exchange, bundles)
                self._fed_from = bundles

    def exchange(self) -> None:
        """Feed it here and now."""
        if self.retriever is not None:
            self._fed_from = self._bundles
            self._exchange(self._bundles)

    def _exchange(self, bundles: Mapping[str, ToolsBundle]) -> None:
        retriever, errors = self.retriever, {}
        assert retriever is not None
        wanted = {name: bundle for name, bundle in bundles.items() if bundle.description.strip()}

        def attempt(step: Callable[[str], None], name: str) -> None:
            try:
                step(name)
            except Exception as exc:
                errors[name] = str(exc) if isinstance(exc, UsageError) else f"{type(exc).__name__}: {exc}"
                if errors[name] != self.errors.get(name):  # not again at each try
                    said = "could not update the retriever's entry for server %r: %s"
                    log.warning(said, name, errors[name], exc_info=exc)

        def take_out(name: str) -> None:
            if retriever.get(name) is self._fed[name]:
                retriever.remove(name)
            del self._fed[name]

        def put_in(name: str) -> None:
            if retriever.get(name) is not None:
                raise UsageError(f"it has another entry {name!r}, which is kept: rename the server")
            retriever.add(wanted[name])
            self._fed[name] = wanted[name]

        for name in [name for name, bundle in self._fed.items() if wanted.get(name) is not bundle]:
            attempt(take_out, name)
        for name in wanted:
            if name not in self._fed:
                attempt(put_in, name)
        self.errors = errors


__all__ = ["Feeder", "Retriever"]
