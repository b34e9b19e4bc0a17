"""Tool calls over a pipe without a stream and models for each message, on the SDK's 2.x line (1.x: ``shortcut_v1``).

Contract
  * The SDK's session makes the request and checks the result; this is the dispatcher between it and the pipe, the SDK's own but for
    tools/call. What is not the usual case is left to that: time limits of the SDK, traces that somebody records, a dispatcher that
    somebody has wrapped or that keeps its requests otherwise.
  * Messages stay in order: an answer is taken here only while the dispatcher has nothing to do with what came before it.
  * The dispatcher's own table has all requests in flight: it answers them when the connection ends, and knows whom progress is for.
  * A call that is cancelled is cancelled at the server, as the dispatcher does it.

On the session's loop only.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping

import anyio
from mcp import types
from mcp.client.streamable_http import StreamableHTTPTransport
from mcp.shared import jsonrpc_dispatcher as sdk  # type: ignore[attr-defined]
from mcp.shared.message import ClientMessageMetadata
from opentelemetry import trace

from .._json import JsonObject, RequestId
from .asked import Table
from .line import SessionMessage
from .shortcut import HttpOut, PipeIn, PipeOut, Waiting, is_own, line_of, result_of
from .surface import absent, step_aside

_PLAIN = {"on_progress", "headers"}  # options that a call over a pipe may have
CANCEL_TIMEOUT = 5.0  # seconds for telling the server of a cancellation, as in the SDK

JSONRPCDispatcher = sdk.JSONRPCDispatcher
MCPError = sdk.MCPError
inject_trace_context = sdk.inject_trace_context
CONNECTION_CLOSED: int = sdk.CONNECTION_CLOSED


Answer = JsonObject | types.ErrorData


class _Waiting(Waiting[Answer]):
    __slots__ = ("on_progress",)

    def __init__(self, answer: asyncio.Future[JsonObject | types.ErrorData], on_progress: object) -> None:
        super().__init__(answer)
        self.on_progress = on_progress

    @property
    def send(self) -> _Waiting:
        """(The end of a stream that is sent to.)"""
        return self


class DirectDispatcher(sdk.JSONRPCDispatcher):  # type: ignore[misc]
    """The dispatcher of one session."""

    @classmethod
    def of(cls, incoming: object, outgoing: object) -> DirectDispatcher | None:
        """For these streams, or None if the SDK's own is needed."""
        pipe = incoming if isinstance(incoming, PipeIn) and isinstance(outgoing, PipeOut) else None
        if pipe is None and not isinstance(outgoing, HttpOut):
            return None
        if not is_own(getattr(JSONRPCDispatcher, "send_raw_request", None), sdk.__name__):
            step_aside("shortcut", "somebody has wrapped the SDK's dispatcher")
            return None
        post = getattr(StreamableHTTPTransport, "_handle_post_request", None)
        if pipe is None and not is_own(post, StreamableHTTPTransport.__module__):
            step_aside("shortcut", "somebody has wrapped the SDK's transport")
            return None
        made = cls(incoming, outgoing)
        lacking = absent("shortcut", made)
        if lacking or not isinstance(made._pending, dict):
            step_aside("shortcut", f"no {lacking[0].attribute}" if lacking else "requests are kept otherwise")
            return None
        if pipe is not None:
            pipe.direct = made
        return made

    def __init__(self, incoming: object, outgoing: object) -> None:
        super().__init__(incoming, outgoing)
        self._pipe = outgoing if isinstance(outgoing, PipeOut) else None
        self._http = outgoing if isinstance(outgoing, HttpOut) else None
        self._loop = asyncio.get_running_loop()
        self._answered = -1  # the latest of them
        self._usual = JSONRPCDispatcher.send_raw_request

    async def send_raw_request(
        self,
        method: str,
        params: Mapping[str, object] | None,
        opts: Mapping[str, object] | None = None,
        *,
        _related_request_id: RequestId | None = None,
    ) -> JsonObject:
        """As the SDK's."""
        if (
            method != "tools/call"
            or not params
            or not self._running
            or self._closed
            or _related_request_id is not None
            or (opts and not opts.keys() <= _PLAIN)
            or JSONRPCDispatcher.send_raw_request is not self._usual
            or not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)  # somebody has set one
        ):
            found = await super().send_raw_request(method, params, opts, _related_request_id=_related_request_id)
            return found  # type: ignore[no-any-return]
        number = self._allocate_id()
        while number in self._pending:
            number = self._allocate_id()
        on_progress = opts.get("on_progress") if opts else None
        headers = opts.get("headers") if opts else None
        given = dict(params)
        meta = given.pop("_meta", None)
        meta = dict(meta) if isinstance(meta, Mapping) else {}
        if on_progress is not None:
            meta["progressToken"] = number
        inject_trace_context(meta)
        if meta:
            given["_meta"] = meta
        line = line_of(number, given)
        await anyio.lowlevel.checkpoint_if_cancelled()  # from here on it counts as sent
        future = self._loop.create_future()
        self._pending[number] = _Waiting(future, on_progress)
        try:
            try:
                outcome = await self._asked(number, line, headers, future)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                raise MCPError(code=CONNECTION_CLOSED, message="Connection closed") from None
        except asyncio.CancelledError:
            tell = functools.partial(self._cancel_outbound, number, "caller cancelled", None)
            await self._final_write(
                tell, shield=True, timeout=CANCEL_TIMEOUT, describe=f"cancel for caller-cancelled request {number!r}"
            )
            raise
        finally:
            self._pending.pop(number, None)
        if isinstance(outcome, types.ErrorData):
            raise MCPError(code=outcome.code, message=outcome.message, data=outcome.data)
        return outcome  # type: ignore[no-any-return]

    async def _asked(self, number: int, line: bytes, headers: object, future: asyncio.Future[Answer]) -> Answer:
        """The result, or what the dispatcher has been told instead."""
        if self._pipe is not None:
            await self._pipe.send_line(line)
        elif self._http is not None:
            given = dict(headers) if isinstance(headers, Mapping) else {}
            result = await self._http.ask(number, line[:-1], given)
            if result is not None:
                return result
            message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)  # type: ignore[attr-defined]
            metadata = ClientMessageMetadata(headers=given) if given else None  # type: ignore[call-arg]
            await self._http.hand_over(SessionMessage(message, metadata))
        return await future

    def table(self) -> Table:
        """The requests in flight."""
        latest = getattr(self, "_next_id", None)
        return Table(self._pending.keys(), latest + 1 if isinstance(latest, int) else None, self._answered)

    def take(self, line: bytes) -> bool:
        """Hand a line to the call that it is the result of. False: it is something else, and the dispatcher's.

        Not to be called while the dispatcher has messages that came before it, or deals with one.
        """
        found = result_of(line) if self._pending else None
        waiting = self._pending.get(found[0]) if found is not None else None
        if found is None or type(waiting) is not _Waiting:
            return False
        self._answered = found[0]
        waiting.send_nowait(found[1])
        return True


__all__ = ["DirectDispatcher"]
