"""Tool calls over a pipe without the SDK's models and streams in between, on its 1.x line.

There the request of a call passes through five models and its answer through a stream that is made for it, which takes more
time than everything else that a call needs. (2.x: ``shortcut_v2``.)

Contract
  * A call means the same as ``ClientSession.call_tool``: the same request on the wire (but for the order of its fields), the same
    result, the same errors. What is not the usual case is left to the SDK: arguments that are not plain data, an answer that is
    no result, SDK methods that somebody has wrapped, an SDK that keeps its requests otherwise.
  * Messages stay in order: an answer is taken here only while the session has nothing to do with what came before it.
  * The SDK's own table has all requests in flight, so that it answers them when the connection ends.

On the session's loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mcp import ClientSession, McpError, types
from mcp.client.streamable_http import StreamableHTTPTransport

from .._json import JsonObject, RequestId
from .asked import Table
from .contents import tool_result
from .line import SessionMessage
from .shortcut import HttpOut, PipeIn, PipeOut, Waiting, is_own, line_of, result_of
from .surface import absent, step_aside

if TYPE_CHECKING:
    from mcp.shared.session import ProgressFnT

_SDK = ("mcp.client.session", "mcp.shared.session", "mcp.client.streamable_http")


Answer = JsonObject | types.JSONRPCResponse | types.JSONRPCError


class _Waiting(Waiting[Answer]):
    __slots__ = ()

    async def send(self, answer: types.JSONRPCResponse | types.JSONRPCError) -> None:
        self.send_nowait(answer)

    async def aclose(self) -> None: ...


class Direct:
    """The tool calls of one session.

    :param session: a 1.x session, whose requests go to ``outgoing``.
    """

    def __init__(self, session: ClientSession, outgoing: PipeOut | HttpOut) -> None:
        self._session = session
        self._pipe = outgoing if isinstance(outgoing, PipeOut) else None
        self._http = outgoing if isinstance(outgoing, HttpOut) else None
        self._loop = asyncio.get_running_loop()
        self._answered = -1  # the latest of them
        self._call_tool, self._send_request = ClientSession.call_tool, ClientSession.send_request

    @classmethod
    def of(cls, session: ClientSession, incoming: object, outgoing: object) -> Direct | None:
        """For a session with these streams, or None if its calls have to go the SDK's way."""
        pipe = incoming if isinstance(incoming, PipeIn) and isinstance(outgoing, PipeOut) else None
        if pipe is None and not isinstance(outgoing, HttpOut):
            return None
        known = (
            isinstance(getattr(session, "_request_id", None), int)
            and isinstance(getattr(session, "_response_streams", None), dict)
            and isinstance(getattr(session, "_progress_callbacks", None), dict)
            and getattr(session, "_session_read_timeout_seconds", 0) is None
        )
        lacking = absent("shortcut", session)
        if lacking or not known:
            step_aside("shortcut", f"no {lacking[0].attribute}" if lacking else "requests are kept otherwise")
            return None
        if not is_own(ClientSession.call_tool, *_SDK) or not is_own(ClientSession.send_request, *_SDK):
            step_aside("shortcut", "somebody has wrapped the SDK's methods")
            return None
        if pipe is None and not is_own(getattr(StreamableHTTPTransport, "_handle_post_request", None), *_SDK):
            step_aside("shortcut", "somebody has wrapped the SDK's transport")
            return None
        assert isinstance(outgoing, (PipeOut, HttpOut))
        direct = cls(session, outgoing)
        if pipe is not None:
            pipe.direct = direct
        return direct

    async def call(
        self, name: str, arguments: JsonObject, *, progress_callback: ProgressFnT | None = None
    ) -> types.CallToolResult:
        """As ``ClientSession.call_tool``."""
        session = self._session
        if ClientSession.call_tool is not self._call_tool or ClientSession.send_request is not self._send_request:
            return await session.call_tool(name, arguments, progress_callback=progress_callback)
        requests = session._response_streams
        number = session._request_id
        params: JsonObject = {"name": name, "arguments": arguments}
        if progress_callback is not None:
            params["_meta"] = {"progressToken": number}
        try:
            if not all(isinstance(key, str) for key in arguments):
                raise TypeError
            line = line_of(number, params)
        except Exception:
            _model(name, arguments).model_dump(by_alias=True, mode="json", exclude_none=True)  # it says what is wrong
            return await session.call_tool(name, arguments, progress_callback=progress_callback)
        session._request_id = number + 1
        future = self._loop.create_future()
        requests[number] = _Waiting(future)  # type: ignore[assignment]  # it has what the SDK asks of a stream
        if progress_callback is not None:
            session._progress_callbacks[number] = progress_callback
        try:
            answer = await self._asked(number, line, future)
        finally:
            requests.pop(number, None)
            if progress_callback is not None:
                session._progress_callbacks.pop(number, None)
        if isinstance(answer, types.JSONRPCError):
            raise McpError(answer.error)
        result = tool_result(answer if isinstance(answer, dict) else answer.result)
        if not result.isError:
            await session._validate_tool_result(name, result)
        return result

    async def _asked(self, number: int, line: bytes, future: asyncio.Future[Answer]) -> Answer:
        """The answer: a result, or the SDK's message."""
        if self._pipe is not None:
            await self._pipe.send_line(line)
        elif self._http is not None:
            result = await self._http.ask(number, line[:-1], {})
            if result is not None:
                return result
            await self._http.hand_over(SessionMessage(types.JSONRPCMessage.model_validate_json(line)))
        return await future

    def table(self) -> Table:
        """The requests in flight."""
        return Table(self._session._response_streams.keys(), self._session._request_id, self._answered)

    def take(self, line: bytes) -> bool:
        """Hand a line to the call that it is the result of. False: it is something else, and the session's.

        Not to be called while the session has messages that came before it, or deals with one.
        """
        session = self._session
        requests = session._response_streams
        if not requests or getattr(session, "_response_routers", None):
            return False
        found = result_of(line)
        if found is None:
            return False
        number, result = found
        there: Mapping[RequestId, object] = requests
        waiting = there.get(number)
        if type(waiting) is not _Waiting:
            return False
        del requests[number]
        self._answered = number
        waiting.send_nowait(result)
        return True


def _model(name: str, arguments: JsonObject) -> types.ClientRequest:
    """As the SDK makes it; where that fails, it leaves the streams open that it has made for the answer."""
    params = types.CallToolRequestParams(name=name, arguments=arguments)
    return types.ClientRequest(types.CallToolRequest(params=params))


__all__ = ["Direct"]
