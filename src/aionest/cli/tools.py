"""``aionest mcp tools`` and ``call``.

Contract: each command opens the servers that it needs, does one thing and leaves nothing behind, also when interrupted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typer

from . import _complete, lib
from .conversation import Conversation
from .mcp import app
from .opening import find_config, loaded, show_errors
from .options import ConfigOption, InputOption, JsonOption, ServerOption, TimeoutOption, YesOption, pairs
from .output import State, show_json, show_nothing, show_rows
from .results import parts_of, save, show_result, show_saved
from .suggest import hint


@app.command(
    examples="""aionest mcp tools
        aionest mcp tools weather forecast
        aionest mcp tools --server notes --json"""
)
def tools(
    words: list[str] | None = typer.Argument(None, help="Words to search for; all tools without them."),
    config: Path | None = ConfigOption,
    server: list[str] | None = ServerOption,
    timeout: float | None = TimeoutOption,
    input_: list[str] | None = InputOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """Show tools, or search them."""
    State.json = json_
    query = " ".join(words or []).strip()
    with loaded(config, server, yes, timeout=timeout, inputs=input_) as loader:
        there = list(loader.tools.values())
        found = _fitting(there, query) if query else there
        if json_:
            show_json({"tools": [tool.to_json() for tool in found], "errors": loader.errors})
            return
        rows = []
        for tool in found:
            arguments = arguments_of(tool)
            first = tool.description.strip().splitlines()[0] if tool.description.strip() else tool.title
            if tool.task_support == "required":
                first = f"(runs as a task) {first}"
            rows.append((f"{tool.server}.{tool.original_name}", arguments, first))
        if rows:
            show_rows(("tool", "arguments", "what it does"), rows)
        elif query and there:
            names = [tool.original_name for tool in there]
            meant = hint(query, names) or "."
            show_nothing(f"No tool matches {query!r}{meant} `aionest mcp tools` shows all {len(there)}.")
        elif loader.status:
            show_nothing("No tools: none of the connected servers offers any.")
        show_errors(loader)


def arguments_of(tool: lib.Tool) -> str:
    """Their names; those that may be left out in brackets."""
    return " ".join(name if name in tool.required else f"[{name}]" for name in tool.properties)


def _fitting(tools: list[lib.Tool], query: str) -> list[lib.Tool]:
    """Those that fit the words, the best first."""
    retriever = lib.ToolsRetriever()
    # a long name is shortened in the unique one, and not all tools have a description
    texts = {tool.name: f"{tool.original_name} {tool.title} {tool.description}" for tool in tools}
    retriever.add_batch([lib.Tool(name, description=text.strip() or name) for name, text in texts.items()])
    by_name = {tool.name: tool for tool in tools}
    best = [by_name[one.name] for _, one in retriever.search(query, 20)]
    low = query.lower()
    named = [
        tool for tool in tools if low in f"{tool.server}.{tool.original_name}".lower() or low in tool.title.lower()
    ]
    return list(dict.fromkeys([*best, *named]))


def _read_args(source: str | None) -> dict[str, object]:
    if source is None:
        return {}
    if source == "-":
        text = sys.stdin.read()
    elif source.startswith("@"):
        try:
            text = Path(source[1:]).read_text(encoding="utf-8")
        except (OSError, ValueError) as exc:
            raise lib.UsageError(f"--args: {exc}") from None
    else:
        text = source
    try:
        value = json.loads(text)
    except ValueError as exc:
        raise lib.UsageError(f"--args is not valid JSON: {exc}") from None
    if not isinstance(value, dict):
        raise lib.UsageError("--args must be a JSON object")
    return value


@app.command(
    examples="""aionest mcp call time.get_current_time timezone=Europe/Oslo
        aionest mcp call notes.add text='buy milk' tags=shop,home
        echo '{"timezone": "UTC"}' | aionest mcp call time.get_current_time --args - --json
        aionest mcp call charts.draw --save chart.png"""
)
def call(
    tool: str = typer.Argument(
        ..., help="The tool, as `aionest mcp tools` shows it.", autocompletion=_complete.tools, metavar="SERVER.TOOL"
    ),
    arguments: list[str] | None = typer.Argument(
        None,
        help="Arguments; values are typed by the tool's schema.",
        autocompletion=_complete.arguments,
        metavar="KEY=VALUE",
    ),
    args: str | None = typer.Option(
        None, "--args", help="A JSON object, @FILE, or - for standard input.", metavar="JSON"
    ),
    save_to: str | None = typer.Option(
        None,
        "--save",
        "-o",
        help="Where to write images, audio and files of the result; a folder for several.",
        metavar="FILE",
    ),
    config: Path | None = ConfigOption,
    timeout: float | None = TimeoutOption,
    input_: list[str] | None = InputOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """Call a tool. Progress and questions of the server are shown on a terminal."""
    State.json = json_
    given, texts = _read_args(args), pairs(arguments, "key=value")
    inputs = pairs(input_, "ID=VALUE")
    settings = find_config(config, yes, inputs)
    servers = list(dict.fromkeys(server for server, _ in lib.splits(tool) if server in settings.servers))
    broken = next((e for e in settings.errors if any(e.server == server for server, _ in lib.splits(tool))), None)
    if broken is not None and not servers:
        raise broken
    talk = Conversation()
    more = {"tolerant": True, **talk.options}
    with loaded(config, servers, yes, timeout=timeout, config=settings, inputs=input_, **more) as loader:
        try:
            one = loader.find(tool)
        except lib.ToolNotFound:
            failure = next(iter(loader.failures.values()), broken) if servers else None
            if failure is not None:
                raise failure from None  # it may have been that server's
            raise
        given.update(one.coerce(texts))
        result = talk.call(loader, one, given, timeout)
    _show(result, save_to)
    raise typer.Exit(5 if result.is_error else 0)


def _show(result: lib.ToolResult, save_to: str | None) -> None:
    """A result, and what of it is to be saved."""
    if State.json:
        show_json(result.to_json())
    else:
        show_result(result, saved=save_to is not None)
    if save_to is not None and not result.is_error:
        show_saved(save(parts_of(result.content), save_to, result.tool))
