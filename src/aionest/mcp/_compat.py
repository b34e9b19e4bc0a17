"""The one place that knows how the SDK's 1.x and 2.x lines differ.

Contract: everything else of this package calls these functions and sees plain dictionaries with the protocol's own
(camelCase) names. Imports of this module fail with advice if the SDK is missing or of another line.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
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
    from pydantic import ValidationError
except ImportError as exc:
    raise ImportError(
        'aionest.mcp needs the MCP SDK, 1.24 up to (not including) 3: pip install "aionest[mcp]"'
    ) from exc

from .errors import UsageError, briefly, flatten

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

log = logging.getLogger("aionest.mcp")
VERSION = metadata.version("mcp")
V2 = int(VERSION.split(".")[0]) >= 2

__all__ = [
    "V2",
    "VERSION",
    "ClientSession",
    "Session",
    "SessionMessage",
    "anyio",
    "call_tool",
    "dump",
    "dump_result",
    "elicited",
    "encode",
    "get_prompt",
    "has_ping",
    "http_streams",
    "initialize",
    "is_cancellation",
    "notification",
    "pages",
    "parse",
    "rooted",
    "read_resource",
    "read_tools",
    "refusal",
    "request_id",
    "sampled",
    "types",
    "watch_changes",
    "with_status",
]

MODERN = "2026-07-28"  # from this revision on: no handshake, no ping, changes only for who listens
ROUNDS = 10  # questions of the server within one request, as in the SDK


class _Lenient(ClientSession):
    """The SDK refuses a whole list of tools for one that is described wrongly: here only that one is left out."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.left_out: list[str] = []  # what was wrong with them, since ``read_tools`` began

    async def _list_as_it_is(self, params: Any) -> dict[str, Any]:
        raise NotImplementedError

    def _noted(self, result: Any, params: Any) -> Any:
        raise NotImplementedError

    async def list_tools(self, *args: Any, **keywords: Any) -> Any:
        try:
            return await super().list_tools(*args, **keywords)
        except ValidationError as exc:
            wrong = exc
        params = keywords.get("params")
        raw = await self._list_as_it_is(params)
        if not isinstance(raw.get("tools"), list):
            raise wrong
        good = []
        for number, one in enumerate(raw["tools"]):
            try:
                types.Tool.model_validate(one)
                good.append(one)
            except ValidationError as exc:
                name = one.get("name") if isinstance(one, dict) else None
                what = repr(name) if isinstance(name, str) else f"number {number + 1}"
                self.left_out.append(f"tool {what} is described wrongly: {briefly(exc)}")
        result = types.ListToolsResult.model_validate({**raw, "tools": good})
        return self._noted(result, params)


if V2:
    try:
        from ._dispatcher import PipeDispatcher
    except (ImportError, AttributeError):  # a release that is built otherwise
        PipeDispatcher = None  # type: ignore[assignment,misc]

    class Session(_Lenient):
        def __init__(self, read: Any, write: Any, **keywords: Any) -> None:
            self.direct = PipeDispatcher.of(read, write) if PipeDispatcher is not None else None
            if self.direct is None:
                super().__init__(read, write, **keywords)
            else:
                super().__init__(dispatcher=self.direct, **keywords)

        async def _list_as_it_is(self, params: Any) -> dict[str, Any]:
            request = types.ListToolsRequest(params=params)
            data = request.model_dump(by_alias=True, mode="json", exclude_none=True)
            options: dict[str, Any] = {}
            self._stamp(data, options)  # type: ignore[attr-defined]
            dispatcher: Any = self._dispatcher  # type: ignore[attr-defined]
            return dict(await dispatcher.send_raw_request(data["method"], data.get("params"), options))

        def _noted(self, result: Any, params: Any) -> Any:
            whole = (params is None or params.cursor is None) and result.next_cursor is None
            return self._absorb_tool_listing(result, complete=whole)  # type: ignore[attr-defined]

    def parse(line: bytes) -> Any:
        """One line of a server's output as a session message. Raises ValueError for anything else."""
        adapter: Any = types.jsonrpc_message_adapter  # type: ignore[attr-defined]
        return SessionMessage(adapter.validate_json(line, by_name=False))

    def encode(message: Any) -> bytes:
        """A session message as one line."""
        return bytes(message.message.model_dump_json(by_alias=True, exclude_unset=True), "utf-8") + b"\n"

else:
    from ._direct import Direct

    class Session(_Lenient):  # type: ignore[no-redef]
        """1.x answers a server's request before it reads on: a callback that asks a person would stop everything else."""

        def __init__(self, read: Any, write: Any, **keywords: Any) -> None:
            super().__init__(read, write, **keywords)
            self.direct = Direct.of(self, read, write)

        async def _received_request(self, responder: Any) -> None:
            self._task_group.start_soon(self._answer, responder)

        async def _answer(self, responder: Any) -> None:
            try:
                await super()._received_request(responder)
            except Exception:  # such as a session that is gone: nobody is there to answer to
                log.debug("a request of the server was not answered", exc_info=True)

        async def _list_as_it_is(self, params: Any) -> dict[str, Any]:
            request = types.ClientRequest(types.ListToolsRequest(params=params))
            return dict((await self.send_request(request, types.Result)).model_dump(by_alias=True))

        def _noted(self, result: Any, params: Any) -> Any:
            for tool in result.tools:  # against which results are checked
                self._tool_output_schemas[tool.name] = tool.outputSchema
            return result

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
    for one in flatten(exc) if status else ():
        if getattr(getattr(one, "error", None), "message", None) in ("Server returned an error response", "Not Found"):
            return Refused(status)
    return exc


def request_id(item: Any) -> Any:
    """The id of a session message that is a request, or None."""
    message = getattr(item.message, "root", item.message)
    return getattr(message, "id", None) if hasattr(message, "method") else None


def is_cancellation(item: Any) -> bool:
    """Does a session message tell the server that nobody waits for an answer any more?"""
    return getattr(getattr(item.message, "root", item.message), "method", "") == "notifications/cancelled"


def notification(message: Any) -> str:
    """The method of a notification that came in, or an empty string."""
    return str(getattr(getattr(message, "root", message), "method", ""))


def refusal(message: str) -> Any:
    """What a callback answers when it has failed."""
    return types.ErrorData(code=-32603, message=message)


async def initialize(session: Any, protocol: str = "auto") -> dict[str, Any]:
    """Agree on a protocol; what the server says of itself.

    :param protocol: auto tries the handshake, which nearly all servers know, and does without if the server does not know it;
        modern does without it in any case, legacy never.
    """
    if protocol == "modern":
        if not V2:
            raise Unanswerable(_NEEDS_2)
        return await _discover(session)
    try:
        result = await session.initialize()
    except Exception as exc:
        code = getattr(getattr(exc, "error", None), "code", None)
        if protocol == "legacy" or code not in (-32601, -32600, -32602, -32022):
            raise
        if not V2:
            raise Unanswerable(f"it does not take the handshake ({exc}): {_NEEDS_2}") from exc
        try:
            return await _discover(session)
        except Exception:
            raise exc from None
    return dump(result)  # type: ignore[no-any-return]


_NEEDS_2 = f'protocol {MODERN} needs the SDK\'s 2.x line (pip install "mcp>=2")'


async def _discover(session: Any) -> dict[str, Any]:
    found = dump(await session.discover())
    info = (found.get("_meta") or {}).get("io.modelcontextprotocol/serverInfo")
    return {"protocolVersion": session.protocol_version, "serverInfo": info, **found}


def has_ping(session: Any) -> bool:
    """Does the protocol that was agreed on have a ping?"""
    return not V2 or (session.protocol_version or "") < MODERN


async def watch_changes(session: Any, on_change: Callable[[], None]) -> None:
    """Where notifications come only to who listens: call back at each change of the tools, until the session ends."""
    if has_ping(session):
        return
    subscriptions: Any = importlib.import_module("mcp.client.subscriptions")
    while True:
        try:
            async with subscriptions.listen(session, tools_list_changed=True) as events:
                async for _ in events:
                    on_change()
        except subscriptions.SubscriptionLost:
            pass
        except Exception:
            log.debug("the server's changes cannot be listened to", exc_info=True)
            return
        await asyncio.sleep(1)
        on_change()  # there may have been some meanwhile


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


async def read_tools(session: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """All tools, and what is wrong with those that were left out."""
    session.left_out = []
    return await pages(session, "tools", "tools"), session.left_out


async def call_tool(session: Any, name: str, arguments: dict[str, Any], progress: Any) -> Any:
    """Call a tool; an SDK result."""
    if V2:
        return await _with_answers(session, session.call_tool, name, arguments, progress_callback=progress)
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


_TEXT = {"type", "text"}
_ANSWER = {"content", "isError", "is_error", "structuredContent", "structured_content"}


def dump_result(result: Any) -> dict[str, Any]:
    """A tool's result as a dictionary; quicker than ``dump()`` where there is nothing in it but text."""
    if result.model_fields_set <= _ANSWER:
        texts = []
        for block in result.content:
            if type(block) is not types.TextContent or block.model_fields_set != _TEXT:
                break
            texts.append({"type": "text", "text": block.text})
        else:
            return {
                "content": texts,
                "structuredContent": result.structured_content if V2 else result.structuredContent,
                "isError": result.is_error if V2 else result.isError,
            }
    return result.model_dump(mode="json", by_alias=True)  # type: ignore[no-any-return]


async def _with_answers(session: Any, method: Any, *args: Any, **keywords: Any) -> Any:
    """A request whose result may be questions, which the callbacks answer, after which it is made again."""
    questions: Any = types.InputRequiredResult  # type: ignore[attr-defined]
    answers, state = None, None
    for _ in range(ROUNDS):
        result = await method(
            *args, **keywords, input_responses=answers, request_state=state, allow_input_required=True
        )
        if not isinstance(result, questions):
            return result
        make_context: Any = importlib.import_module("mcp.client.session").ClientRequestContext  # type: ignore[attr-defined]
        answers, state = {}, result.request_state
        if not result.input_requests:
            await asyncio.sleep(0.1)
        for key, question in (result.input_requests or {}).items():
            context = make_context(session=session, request_id=key, meta=None)
            answer = await session.dispatch_input_request(context, question)
            if isinstance(answer, types.ErrorData):
                raise Unanswerable(f"the server asked for {question.method}, and got: {answer.message}")
            answers[key] = answer
    raise Unanswerable(f"the server asked more than {ROUNDS} times")


class Unanswerable(Exception):
    """The server wants what this client does not give."""


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
        return dump(await _with_answers(session, session.read_resource, uri))  # type: ignore[no-any-return]
    from pydantic import AnyUrl

    try:
        url = AnyUrl(uri)
    except ValidationError as exc:
        raise UsageError(f"{uri!r} is no URI: {briefly(exc)}") from None
    return dump(await session.read_resource(url))  # type: ignore[no-any-return]


async def get_prompt(session: Any, name: str, arguments: dict[str, str]) -> dict[str, Any]:
    """A prompt's messages."""
    if V2:
        return dump(await _with_answers(session, session.get_prompt, name, arguments))  # type: ignore[no-any-return]
    return dump(await session.get_prompt(name, arguments))  # type: ignore[no-any-return]


class Answers:
    """1.x only: notices that the stream which was to bring an answer has ended without it, where the SDK waits for ever.

    2.x sees to it itself.
    """

    PATIENCE = 8.0  # seconds for the SDK's own attempts to take up a stream that can be taken up

    def __init__(self) -> None:
        self.session: Any = None
        self._watched: dict[Any, Any] = {}  # by request: the timer, or None

    def look(self, response: Any) -> None:
        """Called with each response of the HTTP client, before its body is read."""
        if V2 or not response.headers.get("content-type", "").startswith("text/event-stream"):
            return
        request = response.request
        if request.method == "POST":
            try:
                number = json.loads(request.content).get("id")
            except (ValueError, AttributeError):
                return
            if number is not None:
                response.stream = self._watch(response.stream, number)
        elif request.method == "GET" and "last-event-id" in request.headers and self._watched:
            # which of them it continues is not said: the first one that waits
            number = next(iter(self._watched))
            timer = self._watched.pop(number)
            timer.cancel()
            response.stream = self._watch(response.stream, number)

    def _watch(self, stream: Any, number: Any) -> Any:
        from httpx import AsyncByteStream  # the SDK's own, on this line

        owner = self

        class Watched(AsyncByteStream):
            async def __aiter__(self) -> Any:
                resumable = False
                try:
                    async for chunk in stream:
                        resumable = resumable or chunk.startswith(b"id:") or b"\nid:" in chunk
                        yield chunk
                finally:
                    owner._ended(number, resumable)

            async def aclose(self) -> None:
                await stream.aclose()

        return Watched()

    def _ended(self, number: Any, resumable: bool) -> None:
        loop = asyncio.get_running_loop()
        self._watched[number] = loop.call_later(self.PATIENCE if resumable else 0.5, self._give_up, number)

    def _give_up(self, number: Any) -> None:
        self._watched.pop(number, None)
        waiting = getattr(self.session, "_response_streams", {}).get(number)
        if waiting is not None:
            error = types.ErrorData(code=-32000, message="the connection ended without an answer")
            with contextlib.suppress(anyio.WouldBlock, anyio.ClosedResourceError, anyio.BrokenResourceError):
                waiting.send_nowait(types.JSONRPCError(jsonrpc="2.0", id=number, error=error))

    def close(self) -> None:
        """Forget all."""
        for timer in self._watched.values():
            timer.cancel()
        self._watched.clear()
        self.session = None


async def _no_haste(request: Any) -> None:
    """A stream, or an answer that may be one, takes the time that it takes: calls have deadlines of their own."""
    limits = request.extensions.get("timeout")
    if limits and request.method != "DELETE" and "text/event-stream" in request.headers.get("accept", ""):
        limits["read"] = None


class _Wrapped:
    """One of the SDK's streams, which is entered and left as it is."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aenter__(self) -> Any:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> Any:
        return await self._stream.__aexit__(*exc)


class _Outgoing(_Wrapped):
    """A message that a stream does not take was not sent."""

    async def send(self, item: Any) -> None:
        try:
            await self._stream.send(item)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as exc:
            from ._stdio import NotSent

            raise NotSent("the connection takes no more messages") from exc


class _Incoming(_Wrapped):
    """Tells of its end, of which the SDK's session tells nobody."""

    def __init__(self, stream: Any, on_end: Callable[[BaseException], None]) -> None:
        super().__init__(stream)
        self._on_end = on_end
        self._latest: Any = None

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        try:
            item = await self._stream.__anext__()
        except StopAsyncIteration:
            ended = ConnectionError("the server has ended its stream of events")
            ended.__cause__ = self._latest
            self._on_end(ended)
            raise
        self._latest = item if isinstance(item, Exception) else None
        return item


@contextlib.asynccontextmanager
async def http_streams(
    transport: str,
    url: str,
    headers: dict[str, str],
    connect_timeout: float,
    auth: Any,
    on_refused: Callable[[int], None],
    answers: Answers,
    posts: Any,
) -> AsyncIterator[tuple[Any, Any]]:
    """The two streams of an HTTP server; 1.x yields three things, 2.x two.

    :param on_refused: called with the status of answers of 400 and above. 2.x does not tell it in its errors.
    :param posts: follows the requests (``Posts``).
    """
    if transport == "sse":
        async with _event_streams(url, headers, connect_timeout, auth, on_refused, posts) as (read, write):
            yield read, posts.stream(write, request_id)
        return

    async def look(response: Any) -> None:
        # 405 to a GET is fine: the server has no stream of its own
        if response.status_code >= 400 and (response.status_code != 405 or response.request.method == "POST"):
            on_refused(response.status_code)
        answers.look(response)

    client = create_mcp_http_client(headers=headers or None, auth=auth)
    client.event_hooks["request"].append(_no_haste)
    client.event_hooks["response"].append(look)
    posts.watch(client)
    async with client, streamable_http_client(url, http_client=client) as streams:
        yield streams[0], posts.stream(_Outgoing(streams[1]), request_id)


@contextlib.asynccontextmanager
async def _event_streams(
    url: str, headers: dict[str, str], connect_timeout: float, auth: Any, on_refused: Callable[[int], None], posts: Any
) -> AsyncIterator[tuple[Any, Any]]:
    """The older transport. The SDK only logs that a message could not be posted, or that the stream has ended, on both lines: here
    that ends the session."""
    failure: BaseException | None = None
    failed = anyio.Event()

    def end(exc: BaseException) -> None:
        nonlocal failure
        failure = failure or exc
        failed.set()

    def factory(headers: Any = None, timeout: Any = None, auth: Any = None) -> Any:
        client = create_mcp_http_client(headers=headers, timeout=timeout, auth=auth)
        client.event_hooks["request"].append(_no_haste)
        send = client.send

        async def watched(request: Any, **options: Any) -> Any:
            try:
                response = await send(request, **options)
            except Exception as exc:
                if request.method == "POST":
                    end(exc)
                raise
            if response.status_code >= 400:
                on_refused(response.status_code)
                if request.method == "POST":
                    end(Refused(response.status_code))
            return response

        client.send = watched  # type: ignore[method-assign]
        posts.watch(client)
        return client

    async def watch() -> None:
        await failed.wait()
        assert failure is not None
        raise failure

    client = sse_client(url, headers=headers or None, timeout=connect_timeout, auth=auth, httpx_client_factory=factory)
    async with client as streams, anyio.create_task_group() as group:
        group.start_soon(watch)
        try:
            yield _Incoming(streams[0], end), _Outgoing(streams[1])
        finally:
            group.cancel_scope.cancel()
