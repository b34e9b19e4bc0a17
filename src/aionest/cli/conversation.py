"""A call on a terminal: its progress, and what the server asks meanwhile.

Contract: questions are asked in the main thread, where Ctrl-C comes; one that is not gone on with is declined.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import queue
from typing import Any, Protocol

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from aionest._untrusted import for_cell, for_page

from . import lib
from .output import State, err, is_interactive

ASKED = 4_000  # characters of a question
_Question = tuple["Asked", "concurrent.futures.Future[dict[str, object] | None]"]  # with its answer


class Asked(Protocol):
    """A question of a server; what else there is to it depends on its kind."""

    message: str


class Conversation:
    """A call on a terminal: a bar for its progress, and questions of the server, asked in the main thread, where Ctrl-C comes.

    :ivar options: what the loader is to be made with.
    """

    def __init__(self) -> None:
        # questions with the futures of their answers; and calls that have ended, also those that nobody waits for any more
        self._news: queue.SimpleQueue[_Question | concurrent.futures.Future[lib.ToolResult]] = queue.SimpleQueue()
        self.options: dict[str, Any] = {"elicitation": self._elicitation} if is_interactive() else {}

    async def _elicitation(self, params: Asked) -> dict[str, object] | None:
        reply: concurrent.futures.Future[dict[str, object] | None] = concurrent.futures.Future()
        self._news.put((params, reply))
        return await asyncio.wrap_future(reply)

    def call(
        self, loader: lib.ToolsLoader, tool: lib.Tool, arguments: dict[str, object], timeout: float | None
    ) -> lib.ToolResult:
        """``loader.call()``."""
        if State.json or not err.is_terminal:
            return loader.call(tool, arguments, timeout=timeout)
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=err, transient=True) as bar:
            number = bar.add_task("", total=None, visible=False)

            def progress(value: float, total: float | None, message: str | None) -> None:
                bar.update(
                    number, completed=value, total=total, description=escape(for_cell(message or "", 80)), visible=True
                )

            one: concurrent.futures.Future[lib.ToolResult] = loader.portal.submit(
                functools.partial(loader.call_async, tool, arguments, timeout=timeout, progress=progress)
            )
            one.add_done_callback(self._news.put)
            try:
                while (news := self._news.get()) is not one:
                    if isinstance(news, tuple) and not news[1].done():
                        bar.stop()
                        _reply(*news)
                        bar.start()
            except BaseException:
                one.cancel()
                raise
            return one.result()


def _reply(params: Asked, reply: concurrent.futures.Future[dict[str, object] | None]) -> None:
    """Have a person answer a question; one that they do not go on with is declined, or the server would wait for it."""
    answer = None
    try:
        answer = answer_question(params)
    finally:
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # the server has gone meanwhile
            reply.set_result(answer)


def answer_question(params: Asked) -> dict[str, object] | None:
    """Ask the person what a server asks, field by field. None if they decline."""
    schema = getattr(params, "requestedSchema", None) or getattr(params, "requested_schema", None) or {}
    err.print(f"[bold]The server asks:[/] {escape(for_page(params.message, ASKED))}")
    url = getattr(params, "url", None)
    if url:
        err.print(f"It asks you to open: {escape(for_page(url))}", soft_wrap=True)
        return {} if typer.confirm("Have you done that?", err=True) else None
    if not typer.confirm("Answer it?", default=True, err=True):
        return None
    described = lib.Tool("answer", input_schema=schema if isinstance(schema, dict) else {})
    given: dict[str, object] = {}
    for name in described.properties:
        given |= _ask_field(described, name)
    return given


def _ask_field(described: lib.Tool, name: str) -> dict[str, object]:
    """Ask for one field until what is typed fits it; nothing where nothing is."""
    field = described.properties[name]
    label = for_cell(field.get("title") or field.get("description") or name)
    values = field.get("enum") or (field.get("items") or {}).get("enum")
    if isinstance(values, list):
        label += f" ({for_cell(', '.join(map(str, values)))})"
    required = name in described.required
    if not required:
        label += ", optional"
    default = field.get("default")
    if isinstance(default, list):
        default = ",".join(map(str, default))
    if isinstance(default, str) and for_cell(default) != default:
        default = None  # nobody sees what it is
    while True:
        text = typer.prompt(label, default=default if default is not None or required else "", err=True)
        if text == "":
            return {}
        if field.get("type") == "boolean":
            text = {"y": "yes", "n": "no"}.get(str(text).lower(), text)
        try:
            return described.coerce({name: str(text)})
        except lib.ArgumentsError as exc:
            err.print(f"[red]{escape('; '.join(exc.problems))}[/]", soft_wrap=True)
