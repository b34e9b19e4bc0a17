"""Fleet: the connections of all servers, and how they become what is wanted.

Contract
  * All coroutines run on the portal's loop, and begin with ``bind_loop``: if it is another loop than before, that one is gone, and
    all that was on it. What is known of the servers stays.
  * A reload opens what is new first, then exchanges the tables, then leaves what was replaced to the calls in flight.
  * A connection in ``connections`` is never closed: what replaces or removes one exchanges it there first. Who has waited for
    one that was replaced meanwhile goes on with its successor (``_on_present``), so that nobody is told of the exchange.
  * A connection that is in ``connections`` no longer is in ``_leaving`` until it is closed, or in ``_coming``.
  * After ``close_all`` nothing starts until a reload that was asked for later.
  * After fork() the child has the servers' names and none of their sessions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from ..errors import ServerUnavailable, ToolsError
from .callbacks import Callbacks, Notifier, call_back, log
from .connection import Connection, Replaced
from .status import ServerStatus, State

if TYPE_CHECKING:
    from ..config import ServerConfig
    from ..sdk import Session
    from ..wanted import Wanted
    from .plan import Plan

R = TypeVar("R")
Progress = Callable[[ServerStatus], object]


class Fleet:
    """All connections of a loader.

    :param wanted: says which servers may be started.
    :param on_tools: called when the tools of any server are others.
    """

    def __init__(self, wanted: Wanted, callbacks: Callbacks, on_tools: Callable[[], None]) -> None:
        self._wanted = wanted
        self.callbacks = callbacks
        self._on_tools = on_tools
        self.on_state: Progress | None = None
        self.connections: dict[str, Connection] = {}
        self.loop: asyncio.AbstractEventLoop | None = None  # that the connections belong to
        self.over = False  # cleaned up, and not loaded again
        self.loaded = False
        self.ends = 0  # how often there was a cleanup
        self._reset()

    def _reset(self) -> None:
        self._coming: set[Connection] = set()  # being opened by a reload
        self._leaving: dict[Connection, asyncio.Task[None]] = {}  # replaced, with calls in flight
        self._states: Notifier | None = None
        self._changing = asyncio.Lock()
        self.loop, self.loaded = None, False

    # -- where it lives

    def bind_loop(self) -> None:
        """First thing on the portal's loop."""
        loop = asyncio.get_running_loop()
        if self.loop is not loop:
            self._reset()
            # what is known of the servers stays: each is opened when it is asked, or loaded
            self.connections = {name: self._like(old) for name, old in self.connections.items()}
            self.loop = loop

    def changing(self) -> asyncio.Lock:
        """Held by who changes it: one reload at a time."""
        self.bind_loop()
        return self._changing

    @property
    def is_orphaned(self) -> bool:
        """Has the loop ended, and all with it?"""
        return self.loop is None or self.loop.is_closed()

    def forget(self) -> None:
        """Where the loop has ended: nothing is there any more."""
        self._reset()
        self.connections = {}

    def forked(self) -> None:
        """In the child after fork(): nothing of the parent's is ours."""
        for connection in [*self.connections.values(), *self._coming, *self._leaving]:
            if connection.process is not None:
                connection.process.close_in_child()
        self._reset()

    # -- single connections

    def _new(self, config: ServerConfig) -> Connection:
        return Connection(config, self.callbacks, lambda connection: self._on_tools(), self._state_changed)

    def _like(self, old: Connection) -> Connection:
        """One that takes the place of another, and offers the same tools until it knows better."""
        new = self._new(old.config)
        new.tools, new.capabilities = old.tools, old.capabilities
        new.status.tools, new.status.connections = old.status.tools, old.status.connections
        return new

    def _state_changed(self, connection: Connection) -> None:
        if self.on_state is not None:
            if self._states is None:
                self._states = Notifier(lambda status: self.on_state(status) if self.on_state is not None else None)
            self._states.notify(connection.snapshot())

    def connection(self, server: str) -> Connection:
        """The connection of a server, made if need be.

        :raises UsageError: no such server is configured, or it must not be started.
        """
        self.bind_loop()
        found = self.connections.get(server)
        if found is None:  # a child after fork(), or a server that was not loaded yet
            config = self._wanted.server(server)
            if self.over:  # what was started now would be ended by nobody
                raise ServerUnavailable(
                    f"server {server!r} was closed by the loader's cleanup(): load() it again", server=server
                )
            found = self.connections[server] = self._new(config)
        return found

    async def _on_present(self, server: str, operation: Callable[[Connection], Awaitable[R]]) -> R:
        """Have something done with the server's connection; with the one that has replaced it, if that was before it was done."""
        while True:
            connection = self.connection(server)
            try:
                return await operation(connection)
            except Replaced as exc:
                if self.connections.get(server) in (None, connection):
                    raise ServerUnavailable(str(exc), server=server) from None

    async def request(
        self,
        server: str,
        make: Callable[[Session], Awaitable[R]],
        *,
        timeout: float | None,
        repeatable: bool,
        what: str,
    ) -> R:
        """A request on the server's present connection."""
        begin = time.monotonic()
        return await self._on_present(
            server, lambda c: c.request(make, timeout=timeout, repeatable=repeatable, what=what, begin=begin)
        )

    def silent(self, names: Iterable[str]) -> str | None:
        """The first of these servers none of whose tools is known yet because it has failed, or was not tried."""
        for name in names:
            found = self.connections.get(name)
            if found is not None and not found.tools and (found.failure is not None or found.untried):
                return name
        return None

    async def open(self, server: str) -> None:
        """Have it opened."""
        await self._on_present(server, lambda connection: connection.connect())

    async def ping(self, server: str, timeout: float | None) -> float:
        """Seconds that it takes to answer."""
        return await self._on_present(server, lambda connection: connection.ping(timeout))

    async def restart(self, server: str) -> ServerStatus:
        """End a session and open a new one, with the same settings."""
        old = self.connection(server)
        # with the settings that it has: what the file says by now, and whether that was accepted, is for a reload to find out
        self.connections[server] = self._like(old)
        await asyncio.wait({self._until_gone(old, old.close())})

        async def opened(connection: Connection) -> ServerStatus:
            await connection.connect(now=True)
            return connection.snapshot()

        return await self._on_present(server, opened)

    def _until_gone(self, connection: Connection, ending: Awaitable[None]) -> asyncio.Task[None]:
        """Have it end in a task, which goes on whoever stops waiting for it."""
        task: asyncio.Task[None] = asyncio.ensure_future(ending)  # type: ignore[assignment]

        def gone(task: asyncio.Task[None]) -> None:
            if self._leaving.get(connection) is task:
                del self._leaving[connection]

        self._leaving[connection] = task
        task.add_done_callback(gone)
        return task

    async def _closed(self, connections: Iterable[Connection]) -> None:
        """Close them all."""
        closing = {self._until_gone(connection, connection.close()) for connection in connections}
        if closing:
            await asyncio.wait(closing)

    # -- all of them

    def status(self) -> dict[str, ServerStatus]:
        """What is known of each server now. Any thread."""
        found = {name: connection.snapshot() for name, connection in list(self.connections.items())}
        if self.is_orphaned:  # whoever has not noticed yet
            for one in found.values():
                if one.state in (State.CONNECTING, State.CONNECTED):
                    one.state = State.CLOSED
                one.pid = None
        return found

    def failures(self) -> dict[str, ToolsError]:
        """Why servers could not be opened. Any thread."""
        return {name: c.failure for name, c in list(self.connections.items()) if c.failure is not None}

    def disabled(self) -> list[str]:
        """Names of those that are disabled. Any thread."""
        return [name for name, c in list(self.connections.items()) if c.config.disabled]

    async def health(self, timeout: float) -> dict[str, ServerStatus]:
        """Ask all at once whether they answer, and give their status."""
        self.bind_loop()
        asked = [name for name, c in self.connections.items() if not c.config.disabled]
        await asyncio.gather(*(self.ping(name, timeout) for name in asked), return_exceptions=True)
        return {name: connection.snapshot() for name, connection in self.connections.items()}

    async def carry_out(self, plan: Plan, progress: Progress | None) -> bool:
        """Do what is planned. False if there was a cleanup meanwhile, which has undone it.

        :param progress: called as servers come up or fail.
        """
        ends = self.ends
        fresh = {name: self._new(plan.wanted[name]) for name in (*plan.added, *plan.changed)}
        for name in plan.updated:
            self.connections[name].config = plan.wanted[name]
        for name in plan.woken:
            self.connections[name].wake()
        await self._open(plan, fresh, progress)
        if self.ends != ends:
            await self._closed(fresh.values())
            return False
        await self._exchange(plan, fresh)
        return True

    async def _open(self, plan: Plan, fresh: dict[str, Connection], progress: Progress | None) -> None:
        """Bring up what is new, and what is to be waited for. Nothing of it stays if that is interrupted."""
        for name in plan.added:  # what was not there before is seen coming
            self.connections[name] = fresh[name]
        coming = [connection for connection in fresh.values() if not connection.config.disabled]
        waited = [*coming, *(self.connections[name] for name in plan.opened)]
        self._coming.update(coming)
        try:
            if waited:
                await asyncio.gather(*(self._bring_up(connection, progress) for connection in waited))
        except BaseException:
            for name in plan.added:  # what a restart has put there instead stays
                if self.connections.get(name) is fresh[name]:
                    del self.connections[name]
            await self._closed(fresh.values())
            raise
        finally:
            self._coming.difference_update(coming)

    async def _exchange(self, plan: Plan, fresh: dict[str, Connection]) -> None:
        """Put the new ones in the place of the old, which go when their calls have ended."""
        replaced = [self.connections[name] for name in (*plan.changed, *plan.removed)]
        there = self.connections  # a restart may have replaced what was added; and what was asked for meanwhile stays
        present = {name: fresh[name] if name in plan.changed else there[name] for name in plan.wanted}
        known = {*plan.wanted, *plan.removed}
        self.connections = {**present, **{name: c for name, c in there.items() if name not in known}}
        self.loaded, first = True, not self.loaded
        if plan.is_change or first:
            self._on_tools()
        leaving = {connection: self._until_gone(connection, connection.drain()) for connection in replaced}
        # those with no calls in flight are gone when this returns
        quiet = [task for connection, task in leaving.items() if not connection.status.open_calls]
        if quiet:
            await asyncio.wait(quiet)

    async def _bring_up(self, connection: Connection, progress: Progress | None) -> None:
        try:
            await connection.connect(now=True)
        except Replaced:
            connection = await self._successor(connection)
        except ToolsError:
            pass  # its status says it
        if progress is not None:
            try:
                await call_back(progress, connection.snapshot())
            except Exception:
                log.exception("a callback has failed: %r", progress)

    async def _successor(self, connection: Connection) -> Connection:
        """What has replaced a connection, once it is open or has failed; or that one, if nothing has."""
        name = connection.name
        while (there := self.connections.get(name)) not in (None, connection):
            connection = there
            try:
                await connection.connect(now=True)
                break
            except Replaced:
                continue
            except ToolsError:
                break
        return connection

    async def told(self) -> None:
        """Wait, for some seconds, until who listens to states has heard of all."""
        if self._states is not None:
            await self._states.drained()

    async def close_all(self) -> None:
        """End all sessions and their servers, and the calls in flight."""
        self.bind_loop()
        self.ends += 1
        self.over = True  # also if a load has begun meanwhile
        everything = {*self.connections.values(), *self._coming, *self._leaving}
        self.connections = {}
        self._on_tools()
        self.loaded = False
        await self._closed(everything)


__all__ = ["Fleet"]
