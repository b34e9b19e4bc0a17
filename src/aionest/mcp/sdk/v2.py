"""The SDK's 2.x line.

Contract: the names of ``v1``, for the other line. Nothing of the SDK's private names is used without a look at ``surface``.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

from ..errors import Unanswerable
from .convert import dump
from .lenient import LenientSession
from .line import SessionMessage, log
from .line import types as _types
from .surface import step_aside

types: Any = _types  # it is checked with the other line's
NEEDS_2 = ""  # this is it
ROUNDS = 10  # questions of the server within one request, as in the SDK

try:
    from .shortcut_v2 import PipeDispatcher
except (ImportError, AttributeError) as exc:  # a release that is built otherwise
    PipeDispatcher = None  # type: ignore[assignment,misc]
    step_aside("shortcut", str(exc))


class Session(LenientSession):
    """A session; over a pipe with a dispatcher of our own."""

    def __init__(self, read: Any, write: Any, *, log_level: str = "warning", **keywords: Any) -> None:
        keywords["log_level"] = log_level  # where there is no handshake, servers send only what is asked for
        self.direct = PipeDispatcher.of(read, write) if PipeDispatcher is not None else None
        if self.direct is None:
            super().__init__(read, write, **keywords)
        else:
            super().__init__(dispatcher=self.direct, **keywords)

    async def list_as_it_is(self, params: Any) -> dict[str, Any]:
        request = types.ListToolsRequest(params=params)
        data = request.model_dump(by_alias=True, mode="json", exclude_none=True)
        options: dict[str, Any] = {}
        self._stamp(data, options)  # type: ignore[attr-defined]
        dispatcher: Any = self._dispatcher  # type: ignore[attr-defined]
        return dict(await dispatcher.send_raw_request(data["method"], data.get("params"), options))

    def noted(self, result: Any, params: Any) -> Any:
        whole = (params is None or params.cursor is None) and result.next_cursor is None
        return self._absorb_tool_listing(result, complete=whole)  # type: ignore[attr-defined]


def parse(line: bytes) -> SessionMessage:
    """One line of a server's output as a session message. Raises ValueError for anything else."""
    message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    if getattr(message, "id", "") is None:  # of an error: the SDK would drop it
        raise ValueError("id: nobody's")
    return SessionMessage(message)


def encode(message: SessionMessage) -> bytes:
    """A session message as one line."""
    return bytes(message.message.model_dump_json(by_alias=True, exclude_unset=True), "utf-8") + b"\n"


async def discover(session: Any) -> dict[str, Any]:
    """What a server says of itself without a handshake."""
    found = (await session.discover()).model_dump(mode="json", by_alias=True, exclude_none=True)
    info = (found.get("_meta") or {}).get("io.modelcontextprotocol/serverInfo")
    return {"protocolVersion": session.protocol_version, "serverInfo": info, **found}


async def negotiate(session: Any) -> dict[str, Any]:
    """Agree on a protocol as the SDK's own client does: without a handshake if the server knows that, else with one."""
    await _negotiate_auto(session)
    return await discover(session) if session.discover_result is not None else dump(session.initialize_result)


async def _negotiate_auto(session: Any) -> None:
    try:
        negotiate_auto: Any = importlib.import_module("mcp.client._probe").negotiate_auto
    except (ImportError, AttributeError) as exc:
        step_aside("probe", str(exc))
        await session.initialize()
    else:
        await negotiate_auto(session)


def protocol_of(session: Any) -> str:
    """The revision of the protocol that was agreed on."""
    return session.protocol_version or ""


async def call_tool(session: Any, name: str, arguments: dict[str, Any], progress: Any) -> Any:
    """Call a tool; an SDK result."""
    return await _with_answers(session, session.call_tool, name, arguments, progress_callback=progress)


async def read_resource(session: Any, uri: str) -> Any:
    """A resource's contents; an SDK result."""
    return await _with_answers(session, session.read_resource, uri)


async def get_prompt(session: Any, name: str, arguments: dict[str, str]) -> Any:
    """A prompt's messages; an SDK result."""
    return await _with_answers(session, session.get_prompt, name, arguments)


async def _with_answers(session: Any, method: Any, *args: Any, **keywords: Any) -> Any:
    """A request whose result may be questions, which the callbacks answer, after which it is made again."""
    answers, state = None, None
    for _ in range(ROUNDS):
        result = await method(
            *args, **keywords, input_responses=answers, request_state=state, allow_input_required=True
        )
        if not isinstance(result, types.InputRequiredResult):
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


async def listen(session: Any, on_change: Callable[[], None]) -> None:
    """Where notifications come only to who listens: call back at each change of the tools, until the session ends."""
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


def outcome(result: Any) -> tuple[Any, bool | None]:
    """The structured content of a tool's result, and whether it is an error."""
    return result.structured_content, result.is_error
