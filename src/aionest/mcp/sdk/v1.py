"""The SDK's 1.x line.

Contract: the names of ``v2``, for the other line. Nothing of the SDK's private names is used without a look at ``surface``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from mcp import types
from pydantic import AnyUrl, ValidationError

from ..errors import Unanswerable, UsageError
from .convert import dump
from .failures import briefly, rpc_code
from .lenient import LenientSession
from .line import Incoming, Outgoing, SessionMessage, log
from .outputs import check, compiled
from .shortcut_v1 import Direct
from .surface import absent, step_aside

if TYPE_CHECKING:
    from jsonschema.protocols import Validator
    from mcp.shared.session import ProgressFnT, RequestResponder

    from .._json import JsonObject

NEEDS_2 = 'protocol 2026-07-28 needs the SDK\'s 2.x line (pip install "mcp>=2")'


class Session(LenientSession):
    """1.x answers a server's request before it reads on: a callback that asks a person would stop everything else."""

    def __init__(self, read: Incoming, write: Outgoing, *, log_level: str = "warning", **keywords: object) -> None:
        super().__init__(read, write, **keywords)
        self.direct = Direct.of(self, read, write)
        self._validators: dict[
            str, tuple[Validator, JsonObject]
        ] = {}  # of tools' results, with the schemas that they are made of

    async def _received_request(self, responder: RequestResponder[types.ServerRequest, types.ClientResult]) -> None:
        if absent("answers beside", self):
            step_aside("answers beside", "no _task_group")
            await super()._received_request(responder)
        else:
            self._task_group.start_soon(self._answer, responder)

    async def _answer(self, responder: RequestResponder[types.ServerRequest, types.ClientResult]) -> None:
        try:
            await super()._received_request(responder)
        except Exception:  # such as a session that is gone: nobody is there to answer to
            log.debug("a request of the server was not answered", exc_info=True)

    async def _validate_tool_result(self, name: str, result: types.CallToolResult) -> None:
        schema = getattr(self, "_tool_output_schemas", {}).get(name)
        if schema is None or result.structuredContent is None:
            return await super()._validate_tool_result(name, result)
        known = self._validators.get(name)
        if known is None or known[1] is not schema:
            known = (compiled(name, schema), schema)
            self._validators[name] = known
        check(known[0], name, result.structuredContent)

    async def list_as_it_is(self, params: types.PaginatedRequestParams | None) -> JsonObject:
        request = types.ClientRequest(types.ListToolsRequest(params=params))
        return dict((await self.send_request(request, types.Result)).model_dump(by_alias=True))

    async def ask(self, method: str, params: JsonObject) -> JsonObject:
        """What is answered to a request, not checked."""
        request = types.Request[dict[str, object], str](method=method, params=params)
        answer = await self.send_request(request, types.Result)  # type: ignore[arg-type]  # it only writes it
        return dict(answer.model_dump(by_alias=True))

    def noted(
        self, result: types.ListToolsResult, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        for tool in result.tools:  # against which results are checked
            self._tool_output_schemas[tool.name] = tool.outputSchema
        return result


def parse(line: bytes) -> SessionMessage:
    """One line of a server's output as a session message. Raises ValueError for anything else."""
    return SessionMessage(types.JSONRPCMessage.model_validate_json(line))


def encode(message: SessionMessage) -> bytes:
    """A session message as one line."""
    return bytes(message.message.model_dump_json(by_alias=True, exclude_none=True), "utf-8") + b"\n"


# how a server of protocol 2026-07-28, and no other, takes what this line sends
_MODERN_CODES = {-32020, -32021, -32022}
_MAY_BE_MODERN = {*_MODERN_CODES, -32601, -32600, -32602}


async def negotiate(session: Session, seconds: float) -> dict[str, object]:
    """Agree on a protocol, by a handshake."""
    try:
        return dump(await session.initialize())
    except Exception as exc:
        if rpc_code(exc) not in _MAY_BE_MODERN:
            raise
        raise Unanswerable(f"it rejected the handshake ({exc}): {NEEDS_2}") from exc


def ignores_probe(session: Session) -> bool:
    """(There is none on this line.)"""
    return False


def only_probed(session: Session) -> bool:
    """(It is never asked.)"""
    return False


async def discover(session: Session) -> dict[str, object]:
    """What a server says of itself without a handshake: this line does not know how to ask."""
    raise Unanswerable(NEEDS_2)


def protocol_of(session: Session) -> str:
    """The revision of the protocol that was agreed on, as far as this line tells."""
    return ""


async def call_tool(
    session: Session, name: str, arguments: JsonObject, progress: ProgressFnT | None
) -> types.CallToolResult:
    """Call a tool; an SDK result."""
    # 1.x takes the next number for the request before it first waits, and does not tell the server of a cancellation
    request = getattr(session, "_request_id", None)
    call = session.call_tool if session.direct is None else session.direct.call
    try:
        return await call(name, arguments, progress_callback=progress)
    except asyncio.CancelledError:
        if request is not None:
            # in a task of its own: the caller does not wait for a server that may not be reading
            task = asyncio.ensure_future(_tell_cancelled(session, request))
            _telling.add(task)
            task.add_done_callback(_telling.discard)
        raise


_telling: set[asyncio.Future[None]] = set()


async def _tell_cancelled(session: Session, request: types.RequestId) -> None:
    params = types.CancelledNotificationParams(requestId=request, reason="the caller is no longer waiting")
    notice = types.CancelledNotification(method="notifications/cancelled", params=params)
    with contextlib.suppress(Exception):  # the session may be gone: then there is nobody to tell
        await asyncio.wait_for(session.send_notification(types.ClientNotification(notice)), 1.0)


async def read_resource(session: Session, uri: str) -> types.ReadResourceResult:
    """A resource's contents; an SDK result."""
    try:
        url = AnyUrl(uri)
    except ValidationError as exc:
        raise UsageError(f"{uri!r} is not a URI: {briefly(exc)}") from None
    return await session.read_resource(url)


async def get_prompt(session: Session, name: str, arguments: dict[str, str]) -> types.GetPromptResult:
    """A prompt's messages; an SDK result."""
    return await session.get_prompt(name, arguments)


async def listen(session: Session, on_change: Callable[[], None]) -> None:
    """Changes come by themselves on this line."""


def outcome(result: types.CallToolResult) -> tuple[object, bool | None]:
    """The structured content of a tool's result, and whether it is an error."""
    return result.structuredContent, result.isError
