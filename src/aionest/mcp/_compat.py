"""The one place that knows how the SDK's 1.x and 2.x lines differ.

Contract: everything else of this package calls these functions and sees plain dictionaries with the protocol's own
(camelCase) names. Imports of this module fail with advice if the SDK is missing or of another line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

try:
    import anyio
    from mcp import ClientSession, types
    from mcp.client.sse import sse_client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client
    from mcp.shared.message import SessionMessage
except ImportError as exc:
    raise ImportError(
        'aionest.mcp needs the MCP SDK, 1.24 up to (not including) 3: pip install "aionest[mcp]"'
    ) from exc

from .errors import leaves

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

VERSION = metadata.version("mcp")
V2 = int(VERSION.split(".")[0]) >= 2

__all__ = [
    "V2",
    "VERSION",
    "ClientSession",
    "SessionMessage",
    "anyio",
    "call_tool",
    "dump",
    "elicited",
    "encode",
    "http_streams",
    "initialize",
    "notification",
    "pages",
    "parse",
    "rooted",
    "sampled",
    "types",
    "with_status",
]

if V2:

    def parse(line: bytes) -> Any:
        """One line of a server's output as a session message. Raises ValueError for anything else."""
        adapter: Any = types.jsonrpc_message_adapter  # type: ignore[attr-defined]
        return SessionMessage(adapter.validate_json(line, by_name=False))

    def encode(message: Any) -> bytes:
        """A session message as one line."""
        return bytes(message.message.model_dump_json(by_alias=True, exclude_unset=True), "utf-8") + b"\n"

else:

    def parse(line: bytes) -> Any:
        """One line of a server's output as a session message. Raises ValueError for anything else."""
        return SessionMessage(types.JSONRPCMessage.model_validate_json(line))

    def encode(message: Any) -> bytes:
        """A session message as one line."""
        return bytes(message.message.model_dump_json(by_alias=True, exclude_none=True), "utf-8") + b"\n"


def dump(model: Any) -> Any:
    """An SDK model as a plain dictionary with the protocol's names."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


class Refused(Exception):
    """An answer with an HTTP status that says no."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.response = SimpleNamespace(status_code=status)


def with_status(exc: BaseException, status: int) -> BaseException:
    """The failure itself, or the refusal with that status which 2.x has put into general words."""
    for one in leaves(exc) if status else ():
        if getattr(getattr(one, "error", None), "message", None) in ("Server returned an error response", "Not Found"):
            return Refused(status)
    return exc


def notification(message: Any) -> str:
    """The method of a notification that came in, or an empty string."""
    return str(getattr(getattr(message, "root", message), "method", ""))


def _seconds(timeout: float | None) -> Any:
    if timeout is None or V2:
        return timeout
    return timedelta(seconds=timeout)


async def initialize(session: Any) -> dict[str, Any]:
    """Shake hands, in whichever form the server speaks."""
    try:
        result = await session.initialize()
    except Exception as exc:
        error = getattr(exc, "error", None)
        if V2 and getattr(error, "code", None) == -32601 and hasattr(session, "discover"):
            return dump(await session.discover())  # type: ignore[no-any-return]
        raise
    return dump(result)  # type: ignore[no-any-return]


async def pages(session: Any, what: str, field: str) -> list[dict[str, Any]]:
    """All pages of a list: ``what`` is tools, resources, resource_templates or prompts."""
    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    cursor: str | None = None
    while True:
        params = types.PaginatedRequestParams(cursor=cursor) if cursor is not None else None
        result = dump(await getattr(session, f"list_{what}")(params=params))
        found += result.get(field, [])
        cursor = result.get("nextCursor")
        if not cursor or cursor in seen:  # a server that gives the same page for ever
            return found
        seen.add(cursor)


async def call_tool(session: Any, name: str, arguments: dict[str, Any], timeout: float | None, progress: Any) -> Any:
    """Call a tool; an SDK result. The SDK's own deadline comes a little after ours, as a net."""
    net = None if timeout is None else timeout + 1.0
    # 1.x takes the next number for the request before it first waits, and does not tell the server of a cancellation
    request = None if V2 else getattr(session, "_request_id", None)
    try:
        return await session.call_tool(name, arguments, read_timeout_seconds=_seconds(net), progress_callback=progress)
    except asyncio.CancelledError:
        if request is not None:
            # in a task of its own: the caller does not wait for a server that may not be reading
            task = asyncio.ensure_future(_tell_cancelled(session, request))
            _telling.add(task)
            task.add_done_callback(_telling.discard)
        raise


_telling: set[asyncio.Future[None]] = set()


async def _tell_cancelled(session: Any, request: Any) -> None:
    params = types.CancelledNotificationParams(requestId=request, reason="the caller does not wait any more")
    notice: Any = types.CancelledNotification(method="notifications/cancelled", params=params)
    with contextlib.suppress(Exception):  # the session may be gone: then there is nobody to tell
        await asyncio.wait_for(session.send_notification(types.ClientNotification(notice)), 1.0)


def sampled(answer: Any) -> Any:
    """What a sampling callback gave, as the SDK's type: a string is the assistant's text, a mapping holds the fields."""
    if isinstance(answer, str):
        answer = {"content": {"type": "text", "text": answer}}
    if isinstance(answer, Mapping):
        return types.CreateMessageResult.model_validate({"role": "assistant", "model": "unnamed", **answer})
    return answer


def elicited(answer: Any) -> Any:
    """What an elicitation callback gave, as the SDK's type: a mapping is accepted content, None declines."""
    if answer is None:
        return types.ElicitResult(action="decline")
    if isinstance(answer, Mapping):
        return types.ElicitResult(action="accept", content=dict(answer))
    return answer


def rooted(answer: Any) -> Any:
    """What a roots callback gave, as the SDK's type: an iterable of paths or ``file:`` URIs."""
    if isinstance(answer, (str, os.PathLike)):
        answer = [answer]
    if isinstance(answer, Iterable) and not hasattr(answer, "roots"):
        uris = [str(a) if "://" in str(a) else Path(a).absolute().as_uri() for a in answer]
        return types.ListRootsResult.model_validate({"roots": [{"uri": uri} for uri in uris]})
    return answer


async def read_resource(session: Any, uri: str) -> dict[str, Any]:
    """A resource's contents."""
    if V2:
        return dump(await session.read_resource(uri))  # type: ignore[no-any-return]
    from pydantic import AnyUrl

    return dump(await session.read_resource(AnyUrl(uri)))  # type: ignore[no-any-return]


@contextlib.asynccontextmanager
async def http_streams(
    transport: str,
    url: str,
    headers: dict[str, str],
    connect_timeout: float,
    auth: Any,
    on_refused: Callable[[int], None],
) -> AsyncIterator[tuple[Any, Any]]:
    """The two streams of an HTTP server; 1.x yields three things, 2.x two.

    :param on_refused: called with the status of answers of 400 and above. 2.x does not tell it in its errors.
    """
    if transport == "sse":
        async with sse_client(url, headers=headers or None, timeout=connect_timeout, auth=auth) as streams:
            yield streams[0], streams[1]
        return

    async def look(response: Any) -> None:
        # 405 is fine: the server has no stream of its own
        if response.status_code >= 400 and response.status_code != 405:
            on_refused(response.status_code)

    client = create_mcp_http_client(headers=headers or None, auth=auth)
    client.event_hooks["response"].append(look)
    async with client, streamable_http_client(url, http_client=client) as streams:
        yield streams[0], streams[1]
