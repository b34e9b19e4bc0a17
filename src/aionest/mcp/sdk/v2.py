"""The SDK's 2.x line.

Contract: the names of ``v1``, for the other line. Nothing of the SDK's private names is used without a look at ``surface``.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio

from .._json import JsonObject
from ..errors import Unanswerable
from .convert import dump
from .failures import is_said
from .lenient import LenientSession
from .line import Incoming, Outgoing, SDKError, SessionMessage, log
from .line import types as _types
from .outputs import bounded
from .shortcut import is_pipe
from .surface import step_aside, steps_aside

if TYPE_CHECKING:
    from jsonschema.protocols import Validator
    from mcp.shared.session import ProgressFnT
    from mcp.types import (
        CallToolResult,
        GetPromptResult,
        InitializeResult,
        ListToolsResult,
        PaginatedRequestParams,
        ReadResourceResult,
    )
    from pydantic import BaseModel

R = TypeVar("R")

types: ModuleType = _types  # what is in it is this line's, and it is checked with the other's
_mcp = importlib.import_module("mcp")
NEEDS_2 = ""  # this is it
ROUNDS = 10  # questions of the server within one request, as in the SDK
PROBE = 2.0  # seconds for a server on a pipe to say what it speaks, before the handshake is made as well; the SDK gives it ten
PROBE_HTTP = 10.0  # the same for one that is reached by a URL, at most
MODERN = "2026-07-28"
_CLOSED, _REQUEST_TIMEOUT = -32000, -32001

try:
    from .shortcut_v2 import DirectDispatcher
except (ImportError, AttributeError) as exc:  # a release that is built otherwise
    DirectDispatcher = None  # type: ignore[assignment,misc]
    step_aside("shortcut", str(exc))


class Dispatcher(Protocol):
    """What carries a session's requests."""

    send_raw_request: Callable[..., Awaitable[JsonObject]]


if TYPE_CHECKING:

    class _Session(LenientSession):
        """What this line's sessions have beside the other's, as far as it is relied on."""

        _dispatcher: Dispatcher
        _tool_output_validators: dict[str, Validator]
        protocol_version: str | None
        discover_result: BaseModel | None
        initialize_result: BaseModel

        async def initialize(self) -> InitializeResult: ...
        async def discover(self) -> BaseModel: ...
        async def send_discover(self, version: str) -> JsonObject: ...
        def adopt(self, result: BaseModel) -> None: ...
        async def dispatch_input_request(self, context: object, question: object) -> object: ...
        def _output_schema_validator(self, name: str, output_schema: JsonObject) -> Validator: ...
        def _stamp(self, data: JsonObject, options: JsonObject) -> None: ...
        def _absorb_tool_listing(self, result: ListToolsResult, *, complete: bool) -> ListToolsResult: ...
else:
    _Session = LenientSession


class Session(_Session):
    """A session; with a dispatcher of our own where that can be."""

    def __init__(self, read: Incoming, write: Outgoing, *, log_level: str = "warning", **keywords: object) -> None:
        keywords["log_level"] = log_level  # where there is no handshake, servers send only what is asked for
        self.direct = DirectDispatcher.of(read, write) if DirectDispatcher is not None else None
        if self.direct is None:
            super().__init__(read, write, **keywords)
        else:
            super().__init__(dispatcher=self.direct, **keywords)
        self._on_pipe = is_pipe(read, write)
        self.probing = False  # is it asked first what it speaks?
        self.only_probed = False  # and nothing else yet
        self.patience = PROBE if self._on_pipe else PROBE_HTTP
        self.probe: asyncio.Future[JsonObject] | None = None  # the answer, on a pipe
        if not steps_aside("results", self):
            self._assume_complete()

    def _assume_complete(self) -> None:
        """A result that does not say so is complete, as the protocol has it; the SDK refuses it."""
        dispatcher = self._dispatcher
        send = dispatcher.send_raw_request

        async def send_raw_request(*args: object, **keywords: object) -> JsonObject:
            raw = await send(*args, **keywords)
            if type(raw) is dict and "resultType" not in raw and protocol_of(self) >= MODERN:
                raw["resultType"] = "complete"
            return raw

        dispatcher.send_raw_request = send_raw_request

    async def send_discover(self, version: str) -> JsonObject:
        """As the SDK's; where a server leaves it unanswered it is given up before the SDK would, but the answer still taken."""
        sending = super().send_discover(version)
        if not self.probing or self.probe is not None:
            return await sending
        self.only_probed = True
        self.probe = asyncio.ensure_future(sending)
        self.probe.add_done_callback(_is_known)
        await asyncio.wait({self.probe}, timeout=self.patience)
        if not self.probe.done():
            raise _mcp.MCPError(code=_REQUEST_TIMEOUT, message="server/discover is not answered")
        try:
            return self.probe.result()
        except SDKError as exc:
            if self._on_pipe and exc.error.code == _CLOSED and not is_said(exc.error):
                raise anyio.EndOfStream from exc  # the handshake could not be made any more
            raise

    async def initialize(self) -> InitializeResult:
        self.only_probed = False
        return await super().initialize()

    def _output_schema_validator(self, name: str, output_schema: JsonObject) -> Validator:
        if steps_aside("patterns", self):
            return super()._output_schema_validator(name, output_schema)
        known = self._tool_output_validators.get(name)
        if known is not None:
            return known
        made = bounded(super()._output_schema_validator(name, output_schema), output_schema)
        self._tool_output_validators[name] = made
        return made

    async def list_as_it_is(self, params: PaginatedRequestParams | None) -> JsonObject:
        request = types.ListToolsRequest(params=params)
        data = request.model_dump(by_alias=True, mode="json", exclude_none=True)
        options: JsonObject = {}
        self._stamp(data, options)
        return dict(await self._dispatcher.send_raw_request(data["method"], data.get("params"), options))

    async def ask(self, method: str, params: JsonObject) -> JsonObject:
        """What is answered to a request, not checked."""
        data: JsonObject = {"method": method, "params": params}
        options: JsonObject = {}
        self._stamp(data, options)
        # not to be taken for a plain call
        return dict(await self._dispatcher.send_raw_request(method, data["params"], options))

    def noted(self, result: Any, params: PaginatedRequestParams | None) -> ListToolsResult:
        whole = (params is None or params.cursor is None) and result.next_cursor is None
        return self._absorb_tool_listing(result, complete=whole)


def parse(line: bytes) -> SessionMessage:
    """One line of a server's output as a session message. Raises ValueError for anything else."""
    message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    if getattr(message, "id", "") is None:  # of an error: the SDK would drop it
        raise ValueError("id: nobody's")
    return SessionMessage(message)


def encode(message: SessionMessage) -> bytes:
    """A session message as one line."""
    return bytes(message.message.model_dump_json(by_alias=True, exclude_unset=True), "utf-8") + b"\n"


async def discover(session: Session) -> JsonObject:
    """What a server says of itself without a handshake."""
    found = (await session.discover()).model_dump(mode="json", by_alias=True, exclude_none=True)
    info = (found.get("_meta") or {}).get("io.modelcontextprotocol/serverInfo")
    return {"protocolVersion": session.protocol_version, "serverInfo": info, **found}


def _is_known(answer: asyncio.Future[JsonObject]) -> None:
    if not answer.cancelled():
        answer.exception()


def ignores_probe(session: Session) -> bool:
    """Has the server left the question unanswered what it speaks, and made the handshake?"""
    return session.probe is not None and (session.probe.cancelled() or not session.probe.done())


def only_probed(session: Session) -> bool:
    """Was it asked what it speaks, and nothing else?"""
    return session.only_probed and session.discover_result is None


async def negotiate(session: Session, seconds: float) -> JsonObject:
    """Agree on a protocol as the SDK's own client does: without a handshake if the server knows that, else with one.

    :param seconds: that all of it may take.
    """
    session.probing = True
    session.patience = min(session.patience, seconds / 3)
    try:
        await _negotiate_auto(session)
    except SDKError:
        # one that was slow to start has read both, and may take the handshake amiss
        if session.probe is None or session.discover_result is not None:
            raise
        try:
            session.adopt(types.DiscoverResult.model_validate(await session.probe))
        except (SDKError, ValueError, RuntimeError):
            session.probe = None
        if session.discover_result is None:
            raise
    finally:
        session.probing = False
        if session.probe is not None:
            session.probe.cancel()
    return await discover(session) if session.discover_result is not None else dump(session.initialize_result)


async def _negotiate_auto(session: Session) -> None:
    try:
        negotiate_auto = importlib.import_module("mcp.client._probe").negotiate_auto
    except (ImportError, AttributeError) as exc:
        step_aside("probe", str(exc))
        await session.initialize()
    else:
        await negotiate_auto(session)


def protocol_of(session: Session) -> str:
    """The revision of the protocol that was agreed on."""
    return session.protocol_version or ""


async def call_tool(session: Session, name: str, arguments: JsonObject, progress: ProgressFnT | None) -> CallToolResult:
    """Call a tool; an SDK result."""
    return await _with_answers(session, session.call_tool, name, arguments, progress_callback=progress)


async def read_resource(session: Session, uri: str) -> ReadResourceResult:
    """A resource's contents; an SDK result."""
    return await _with_answers(session, session.read_resource, uri)


async def get_prompt(session: Session, name: str, arguments: dict[str, str]) -> GetPromptResult:
    """A prompt's messages; an SDK result."""
    return await _with_answers(session, session.get_prompt, name, arguments)


async def _with_answers(session: Session, method: Callable[..., Awaitable[R]], *args: object, **keywords: object) -> R:
    """A request whose result may be questions, which the callbacks answer, after which it is made again."""
    answers: JsonObject | None = None
    state = None
    for _ in range(ROUNDS):
        result = await method(
            *args, **keywords, input_responses=answers, request_state=state, allow_input_required=True
        )
        if not isinstance(result, types.InputRequiredResult):
            return result
        make_context = importlib.import_module("mcp.client.session").ClientRequestContext
        questions = result.input_requests or {}
        answers, state = {}, result.request_state
        if not questions:
            await asyncio.sleep(0.1)
        for key, question in questions.items():
            context = make_context(session=session, request_id=key, meta=None)
            answer = await session.dispatch_input_request(context, question)
            if isinstance(answer, types.ErrorData):
                raise Unanswerable(f"the server asked for {question.method}, and got: {answer.message}")
            answers[key] = answer
    raise Unanswerable(f"the server asked more than {ROUNDS} times")


async def listen(session: Session, on_change: Callable[[], None]) -> None:
    """Where notifications come only to who listens: call back at each change of the tools, until the session ends."""
    subscriptions = importlib.import_module("mcp.client.subscriptions")
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


def outcome(result: Any) -> tuple[object, bool | None]:
    """The structured content of a tool's result, and whether it is an error."""
    return result.structured_content, result.is_error
