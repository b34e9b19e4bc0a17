"""Calls of tools, and what else servers are asked for: through the fleet, with results that may be kept.

Contract: results of read-only tools are kept for as long as the server's settings say, and forgotten when any tools change. On the
portal's loop.
"""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._untrusted import for_log
from .. import sdk
from ..errors import ToolFailed, ToolsError
from ..tools import Tool, ToolResult
from .callbacks import Notifier, log
from .tracing import span

if TYPE_CHECKING:
    from mcp.shared.session import ProgressFnT
    from mcp.types import CallToolResult

    from .connection import Connection
    from .fleet import Fleet

CACHE_SIZE = 256  # results kept of read-only tools
Blocks = list[dict[str, Any]]  # as the protocol has them, for the caller to take apart


class Listing(NamedTuple):
    """What servers list beside tools."""

    method: str  # of the session, after list_
    field: str  # of its result
    capability: str


RESOURCES = Listing("resources", "resources", "resources")
TEMPLATES = Listing("resource_templates", "resourceTemplates", "resources")
PROMPTS = Listing("prompts", "prompts", "prompts")


class ToolCall(NamedTuple):
    """A call whose arguments were checked."""

    tool: Tool
    arguments: dict[str, object]
    timeout: float | None = None
    progress: Callable[..., object] | None = None
    check: bool = False  # raise what the tool reports


class Calls:
    """What is asked of servers.

    :param fleet: has the connections.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.on_progress: Callable[..., object] | None = None  # of calls that give no callback of their own
        self._kept: dict[tuple[str, str], tuple[float, ToolResult]] = {}

    def forget(self) -> None:
        """Keep no results any longer."""
        self._kept.clear()

    def redact(self, server: str, text: str) -> str:
        """A text without the server's secrets."""
        connection = self._fleet.connections.get(server)
        return connection.secrets.hide(text) if connection is not None else text

    async def call(self, call: ToolCall) -> ToolResult:
        """Call a tool."""
        tool, connection = call.tool, self._fleet.connection(call.tool.server)
        ttl = connection.config.cache_ttl if tool.read_only else 0
        key = (tool.name, json.dumps(call.arguments, sort_keys=True, default=str)) if ttl else None
        if key is not None:
            kept = self._kept.get(key)
            if kept is not None and kept[0] > time.monotonic():
                return kept[1]
        notifier = self._notifier(call)
        result = await self._sent(call, connection, notifier)
        if notifier is not None:
            await notifier.drained()
        if key is not None and not result.is_error:
            while len(self._kept) >= CACHE_SIZE:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = (time.monotonic() + ttl, result)
        if call.check and result.is_error:
            said = self.redact(tool.server, result.text) or "it did not say why"
            raise ToolFailed(f"tool {tool.name!r} failed: {said}", server=tool.server, result=result)
        return result

    async def _sent(self, call: ToolCall, connection: Connection, notifier: Notifier | None) -> ToolResult:
        tool, begin = call.tool, time.monotonic()
        listener = _listener(notifier) if notifier is not None else None
        with span(tool, connection) as ended:
            try:
                raw = await self._fleet.request(
                    tool.server,
                    lambda session: _called(session, connection, call, listener),
                    timeout=call.timeout,
                    repeatable=tool.read_only or tool.idempotent,
                    what=f"call of {tool.original_name!r}",
                )
            except BaseException:
                if notifier is not None:
                    notifier.stop()
                raise
            answer = sdk.dump_result(raw)
            result = ToolResult.from_sdk(answer, server=tool.server, tool=tool.name, duration=time.monotonic() - begin)
            ended(result)
        return result

    def _notifier(self, call: ToolCall) -> Notifier | None:
        if call.progress is not None:
            return Notifier(call.progress)
        if self.on_progress is not None:
            return Notifier(functools.partial(self.on_progress, call.tool.name))
        return None

    # -- resources and prompts

    async def listed(self, server: str | None, what: Listing) -> dict[str, Blocks]:
        """A list of one or all servers, by server. Of all, those that are unavailable or have none are left out."""

        async def of(name: str) -> Blocks:
            limit = self._fleet.connection(name).config.max_listed
            return await self._fleet.request(
                name,
                lambda session: sdk.pages(session, what.method, what.field, limit),
                timeout=None,
                repeatable=True,
                what=f"list of {what.method}",
            )

        self._fleet.bind_loop()
        if server is not None:
            return {server: await of(server)}
        there = self._fleet.connections
        asked = [name for name, c in there.items() if c.is_open and what.capability in c.capabilities]
        lists = await asyncio.gather(*map(of, asked), return_exceptions=True)
        found: dict[str, Blocks] = {}
        for name, one in zip(asked, lists):
            if isinstance(one, ToolsError):
                log.warning("server %r: the list of %s is unavailable: %s", name, what.method, for_log(one))
            elif isinstance(one, BaseException):
                raise one
            else:
                found[name] = one
        return found

    async def read(self, server: str, uri: str, timeout: float | None) -> Blocks:
        """The contents of a resource."""
        result = await self._fleet.request(
            server,
            lambda session: sdk.read_resource(session, uri),
            timeout=timeout,
            repeatable=True,
            what="reading of a resource",
        )
        return _blocks(result.get("contents"))

    async def prompt(self, server: str, name: str, arguments: Mapping[str, str], timeout: float | None) -> Blocks:
        """The messages of a prompt."""
        result = await self._fleet.request(
            server,
            lambda session: sdk.get_prompt(session, name, dict(arguments)),
            timeout=timeout,
            repeatable=True,
            what=f"prompt {name!r}",
        )
        return _blocks(result.get("messages"))


def _called(
    session: sdk.Session, connection: Connection, call: ToolCall, listener: ProgressFnT | None
) -> Awaitable[CallToolResult]:
    tool = call.tool
    if tool.task_support == "required" and sdk.takes_tasks(connection.capabilities):
        return sdk.call_task(session, tool.original_name, call.arguments)
    return sdk.call_tool(session, tool.original_name, call.arguments, listener)


def _blocks(value: object) -> Blocks:
    return list(value) if isinstance(value, list) else []


def _listener(notifier: Notifier) -> ProgressFnT:
    async def listen(progress: float, total: float | None = None, message: str | None = None) -> None:
        notifier.notify(progress, total, message)

    return listen


__all__ = ["PROMPTS", "RESOURCES", "TEMPLATES", "Calls", "ToolCall"]
