"""What servers ask amid a call, and the calls that wait for a person's answer.

Contract
  * A question is for whoever has a call running at the server that asks: which of several calls it belongs to, the protocol does not
    tell, and the first answer counts. Where there is no such call, and when the last one ends, it is declined.
  * A ``Running`` call lives on over runs of the script as long as its server waits for an answer.
  * The desk is one per process, and may be used from any thread. Nothing here draws.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import json
import threading
import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from aionest.mcp import Tool, asking_server
from aionest.streamlit import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from aionest.mcp import ToolsLoader

_numbers = itertools.count(1)


class Asked(Protocol):
    """A question to a person; what else there is to it depends on its kind."""

    message: str


class Dumped(Protocol):
    """A request, of either line of the SDK."""

    def model_dump(self, *, mode: str, by_alias: bool, exclude_none: bool) -> dict[str, object]:
        """All of it, as plain data."""


@dataclass(eq=False)
class Question:
    """Of a server: fields to fill in, an address to open, or what a model is to answer."""

    server: str
    kind: str  # elicitation or sampling
    text: str
    schema: dict[str, object] = field(default_factory=dict)
    url: str = ""
    number: int = field(default_factory=lambda: next(_numbers))
    reply: concurrent.futures.Future[dict[str, object] | str | None] = field(
        default_factory=concurrent.futures.Future, repr=False
    )

    @property
    def form(self) -> Tool:
        """What is to be filled in, as if it were a tool's arguments."""
        return Tool(f"answer {self.number}", input_schema=self.schema)

    def answer(self, given: dict[str, object] | str | None) -> None:
        """Answer it, with None: decline; only the first answer counts."""
        with _guard:
            if not self.reply.done():
                self.reply.set_result(given)


_guard = threading.RLock()  # a finalizer may come amid it


class Desk:
    """Where questions lie until somebody answers them."""

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()  # that run, by server
        self._open: list[Question] = []

    def begin(self, server: str) -> None:
        """A call begins whose person is there to be asked."""
        with _guard:
            self._calls[server] += 1

    def end(self, server: str) -> None:
        """It is over."""
        with _guard:
            self._calls[server] -= 1
            left = [one for one in self._open if one.server == server] if not self._calls[server] else []
        for one in left:
            one.answer(None)

    def question(self, server: str) -> Question | None:
        """What the server waits for."""
        with _guard:
            return next((one for one in self._open if one.server == server and not one.reply.done()), None)

    async def elicitation(self, params: Asked) -> dict[str, object] | None:
        """A server asks the person."""
        schema = getattr(params, "requestedSchema", None) or getattr(params, "requested_schema", None)
        url = getattr(params, "url", None)
        question = Question(
            asking_server() or "",
            "elicitation",
            str(params.message),
            schema if isinstance(schema, dict) else {},
            str(url or ""),
        )
        answer = await self._asked(question)
        return answer if isinstance(answer, dict) else None

    async def sampling(self, params: Dumped) -> str | None:
        """A server asks a model; here the person answers in its place."""
        given = params.model_dump(mode="json", by_alias=True, exclude_none=True)
        answer = await self._asked(Question(asking_server() or "", "sampling", _prompt(given)))
        return answer if isinstance(answer, str) else None

    async def _asked(self, question: Question) -> dict[str, object] | str | None:
        with _guard:
            if not self._calls[question.server]:
                return None
            self._open.append(question)
        try:
            return await asyncio.wrap_future(question.reply)
        finally:
            with _guard:
                self._open.remove(question)


def _prompt(given: dict[str, object]) -> str:
    """What a model is asked, as text."""
    parts = [f"system: {given['systemPrompt']}"] if given.get("systemPrompt") else []
    messages = given.get("messages")
    for message in messages if isinstance(messages, list) else []:
        content = message.get("content")
        for one in content if isinstance(content, list) else [content]:
            said = one.get("text") if isinstance(one, dict) and one.get("type") == "text" else None
            kind = one.get("type") if isinstance(one, dict) else None
            if said is None:
                said = f"[{kind}]" if kind in ("image", "audio") else json.dumps(one, ensure_ascii=False)
            parts.append(f"{message.get('role')}: {said}")
    return "\n\n".join(parts)


desk = Desk()


class Running:
    """A call that a person made, and may be asked about.

    It ends by ``end()``, or when its browser session is forgotten.
    """

    def __init__(
        self, loader: ToolsLoader, tool: Tool, given: dict[str, object], done: Callable[[str, str], None]
    ) -> None:
        self.tool = tool
        self.followed = False  # a run of the script waits for it
        desk.begin(tool.server)
        try:
            self.work = Work(loader, tool, given, None)
        except BaseException:
            desk.end(tool.server)
            raise
        self._over = weakref.finalize(self, _end, self.work, tool.server, done)
        self._over.atexit = False

    def question(self) -> Question | None:
        """What its server waits for."""
        return desk.question(self.tool.server)

    def end(self) -> None:
        """Cancel it if it is not over."""
        self._over()


def _end(work: Work, server: str, done: Callable[[str, str], None]) -> None:
    future = work.future
    future.cancel()
    desk.end(server)
    if future.cancelled() or not future.done():
        done("stopped", "")
    elif (error := future.exception()) is not None:
        done("failed", str(error))
    else:
        result = future.result()
        done("failed" if result.is_error else "done", result.text if result.is_error else "")
