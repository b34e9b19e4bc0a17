"""The one place that knows how the SDK's 1.x and 2.x lines differ.

Contract: everything else of this package calls these functions and sees plain dictionaries with the protocol's own
(camelCase) names. Every name of the SDK that is relied on is in ``surface``. Errors that the SDK raises in words only are
raised here as ``Unanswerable``.
"""

from __future__ import annotations

from .line import V2, VERSION, ClientSession, types  # first: it says what is missing

# isort: split
from collections.abc import Callable
from typing import TYPE_CHECKING

from .._json import JsonObject
from ..errors import Unanswerable
from .answers import DroppedStreamWatch
from .convert import as_said, dump, elicited, is_cancellation, notification, refusal, request_id, rooted, sampled
from .failures import Failure, briefly, classify, explain, rpc_code, status_of
from .listing import page
from .surface import report
from .tasks import call_as_task, takes_tasks

if TYPE_CHECKING:
    from mcp.shared.session import ProgressFnT
    from mcp.types import CallToolResult

if V2:
    from . import v2 as of_line
    from .v2 import Session
else:
    from . import v1 as of_line  # type: ignore[no-redef]
    from .v1 import Session  # type: ignore[assignment]

parse, encode = of_line.parse, of_line.encode
MODERN = "2026-07-28"  # from this revision on: no handshake, no ping, changes only for who listens
_WORDS_ONLY = "mcp.client.session"  # where the SDK raises a RuntimeError for what a server has answered


def _is_about_the_answer(exc: RuntimeError) -> bool:
    """Has the SDK's session raised it itself?"""
    at = exc.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return type(exc) is RuntimeError and at is not None and at.tb_frame.f_globals.get("__name__") == _WORDS_ONLY


async def initialize(session: Session, protocol: str = "auto", seconds: float = 30.0) -> JsonObject:
    """Agree on a protocol; what the server says of itself.

    :param protocol: modern does without a handshake in any case, legacy never; auto asks first whether the server does.
    :param seconds: that all of it may take.
    """
    try:
        return await _agreed(session, protocol, seconds)
    except RuntimeError as exc:
        if _is_about_the_answer(exc):
            raise Unanswerable(str(exc)) from exc
        raise


async def _agreed(session: Session, protocol: str, seconds: float) -> JsonObject:
    if protocol == "modern":
        return await of_line.discover(session)
    return dump(await session.initialize()) if protocol == "legacy" else await of_line.negotiate(session, seconds)


def refused_hint(status: int) -> str:
    """What a server that refuses the handshake with an HTTP status may want, where that is known."""
    return f"if it speaks no older protocol than {MODERN}: {of_line.NEEDS_2}" if status == 400 and not V2 else ""


def ignores_probe(session: Session) -> bool:
    """Has the server left the question unanswered that ``auto`` asks first, so that the handshake was made after some time?"""
    return of_line.ignores_probe(session)


def only_probed(session: Session) -> bool:
    """Was it asked first, for ``auto``, and nothing after that?"""
    return of_line.only_probed(session)


def has_ping(session: Session) -> bool:
    """Does the protocol that was agreed on have a ping?"""
    return of_line.protocol_of(session) < MODERN


async def watch_changes(session: Session, on_change: Callable[[], None]) -> None:
    """Where notifications come only to who listens: call back at each change of the tools, until the session ends."""
    if not has_ping(session):
        await of_line.listen(session, on_change)


async def pages(session: Session, what: str, field: str, limit: int) -> list[JsonObject]:
    """All pages of a list: ``what`` is tools, resources, resource_templates or prompts.

    :param limit: how many entries it may have; and how many pages, which may be empty.
    """
    found: list[JsonObject] = []
    seen: set[str] = set()
    cursor: str | None = None
    while True:
        params = types.PaginatedRequestParams(cursor=cursor) if cursor is not None else None
        result = await page(session, what, params)
        entries = result.get(field)
        found += entries if isinstance(entries, list) else []
        if len(found) > limit or len(seen) > limit:
            raise Unanswerable(f"its list of {what} exceeds {limit} entries (raise max_listed in its configuration)")
        after = result.get("nextCursor")
        if not isinstance(after, str) or not after or after in seen:  # a server that gives the same page for ever
            return found
        cursor = after
        seen.add(after)


async def read_tools(session: Session, limit: int) -> tuple[list[JsonObject], list[str]]:
    """All tools, and what is wrong with those that were left out.

    :param limit: how many there may be.
    """
    session.left_out = []
    return await pages(session, "tools", "tools", limit), session.left_out


async def call_tool(session: Session, name: str, arguments: JsonObject, progress: ProgressFnT | None) -> CallToolResult:
    """Call a tool; an SDK result."""
    try:
        return await of_line.call_tool(session, name, arguments, progress)
    except RuntimeError as exc:
        if _is_about_the_answer(exc):
            raise Unanswerable(str(exc)) from exc
        raise


async def call_task(session: Session, name: str, arguments: JsonObject) -> CallToolResult:
    """Call a tool that its server runs as a task; an SDK result."""
    return types.CallToolResult.model_validate(await call_as_task(session.ask, name, arguments))


async def read_resource(session: Session, uri: str) -> JsonObject:
    """A resource's contents."""
    return dump(await of_line.read_resource(session, uri))


async def get_prompt(session: Session, name: str, arguments: dict[str, str]) -> JsonObject:
    """A prompt's messages."""
    return dump(await of_line.get_prompt(session, name, arguments))


_TEXT = {"type", "text"}
_ANSWER = {"content", "isError", "is_error", "structuredContent", "structured_content"}


def dump_result(result: CallToolResult) -> JsonObject:
    """A tool's result as a dictionary; quicker than ``dump()`` where there is nothing in it but text."""
    if result.model_fields_set <= _ANSWER:
        texts = []
        for block in result.content:
            if type(block) is not types.TextContent or block.model_fields_set != _TEXT:
                break
            texts.append({"type": "text", "text": block.text})
        else:
            structured, is_error = of_line.outcome(result)
            return {"content": texts, "structuredContent": structured, "isError": is_error}
    return result.model_dump(mode="json", by_alias=True, warnings=False)  # addresses may be no URLs


__all__ = [
    "V2",
    "VERSION",
    "ClientSession",
    "DroppedStreamWatch",
    "Failure",
    "Session",
    "briefly",
    "as_said",
    "call_task",
    "call_tool",
    "classify",
    "dump",
    "dump_result",
    "elicited",
    "encode",
    "explain",
    "get_prompt",
    "has_ping",
    "ignores_probe",
    "initialize",
    "is_cancellation",
    "notification",
    "only_probed",
    "pages",
    "parse",
    "read_resource",
    "read_tools",
    "refusal",
    "refused_hint",
    "report",
    "request_id",
    "rooted",
    "rpc_code",
    "sampled",
    "status_of",
    "takes_tasks",
    "types",
    "watch_changes",
]
