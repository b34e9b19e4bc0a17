"""``aionest mcp resources``, ``read`` and ``prompts``: what else servers offer.

Contract: each command opens the servers that it needs, does one thing and leaves nothing behind, also when interrupted.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.markup import escape

from . import lib
from .mcp import app
from .opening import find_config, loaded, show_errors
from .options import (
    ConfigOption,
    InputOption,
    JsonOption,
    ServerArgument,
    ServerOption,
    TimeoutOption,
    YesOption,
    pairs,
)
from .output import State, err, out, show_data, show_json, show_nothing, show_rows
from .suggest import hint


@app.command(
    examples="""aionest mcp resources
        aionest mcp resources --server notes"""
)
def resources(
    config: Path | None = ConfigOption,
    server: list[str] | None = ServerOption,
    timeout: float | None = TimeoutOption,
    input_: list[str] | None = InputOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """Show resources and their templates."""
    State.json = json_
    with loaded(config, server, yes, timeout=timeout, inputs=input_) as loader:
        found, templates = loader.resources(), loader.resource_templates()
        if json_:
            show_json({"resources": found, "templates": templates, "errors": loader.errors})
            return
        show_resources(loader, found, templates)
        show_errors(loader)


Listed = dict[str, list[dict[str, Any]]]  # by server, what it lists


def show_resources(loader: lib.ToolsLoader, found: Listed, templates: Listed) -> None:
    """A table of resources and of templates."""
    rows = [
        (
            name,
            str(entry.get("uri") or entry.get("uriTemplate", "")),
            str(entry.get("name", "")),
            str(entry.get("mimeType") or ""),
        )
        for name in found
        for entry in [*found[name], *templates.get(name, [])]
    ]
    if rows:
        show_rows(("server", "uri", "name", "type"), rows, whole=2)
    elif loader.status:
        show_nothing("No resources: none of the connected servers offers any.")


@app.command(
    examples="""aionest mcp read notes note://1
        aionest mcp read notes note://1 -o note.txt"""
)
def read(
    server: str = ServerArgument,
    uri: str = typer.Argument(..., metavar="URI", help="The resource, as `aionest mcp resources` shows it."),
    output: Path | None = typer.Option(
        None, "--output", "--save", "-o", help="Write the contents to this file.", metavar="FILE"
    ),
    config: Path | None = ConfigOption,
    timeout: float | None = TimeoutOption,
    input_: list[str] | None = InputOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """Read a resource."""
    State.json = json_
    with loaded(config, [server], yes, timeout=timeout, inputs=input_, tolerant=True) as loader:
        contents = loader.read_resource(server, uri, timeout=timeout)
    if output is not None:
        write_contents(server, contents, output)
    if json_:
        show_json({"contents": contents})
    elif output is None:
        show_contents(contents, "--output FILE writes it")


def write_contents(server: str, contents: list[dict[str, object]], file: Path) -> None:
    """What a resource holds, into a file.

    :raises ProtocolError: the server says that it is binary data and it is none.
    :raises UsageError: it cannot be written.
    """
    try:
        data = b"".join(
            base64.b64decode(str(block["blob"])) if "blob" in block else str(block.get("text", "")).encode()
            for block in contents
        )
    except ValueError as exc:
        raise lib.ProtocolError(f"server {server!r}: its contents cannot be decoded: {exc}", server=server) from None
    try:
        file.write_bytes(data)
    except OSError as exc:
        raise lib.UsageError(f"{file}: {exc.strerror}") from None


def show_contents(contents: list[dict[str, object]], how_to_save: str) -> None:
    """What a resource holds, for people."""
    for block in contents:
        if "text" in block:
            show_data(str(block["text"]))
        else:
            err.print(f"({block.get('mimeType') or 'binary'}; {how_to_save})", style="dim", markup=False)
    if not contents:
        show_nothing("The resource is empty.")


@app.command(
    examples="""aionest mcp prompts
        aionest mcp prompts notes.summary topic=work"""
)
def prompts(
    prompt: str | None = typer.Argument(
        None, help="Show this one's messages; all prompts without it.", metavar="SERVER.PROMPT"
    ),
    arguments: list[str] | None = typer.Argument(None, help="Arguments of the prompt.", metavar="KEY=VALUE"),
    config: Path | None = ConfigOption,
    server: list[str] | None = ServerOption,
    timeout: float | None = TimeoutOption,
    input_: list[str] | None = InputOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """Show prompts, or the messages of one."""
    State.json = json_
    if prompt is not None:
        _show_prompt(prompt, pairs(arguments, "key=value"), config, timeout, input_, json_, yes)
        return
    with loaded(config, server, yes, timeout=timeout, inputs=input_) as loader:
        found = loader.prompts()
        if json_:
            show_json({"prompts": found, "errors": loader.errors})
            return
        show_prompts(loader, found)
        show_errors(loader)


def show_prompts(loader: lib.ToolsLoader, found: Listed) -> None:
    """A table of prompts."""
    rows = []
    for name, entries in found.items():
        for entry in entries:
            arguments = entry.get("arguments") or []
            wanted = " ".join(a["name"] if a.get("required") else f"[{a['name']}]" for a in arguments)
            rows.append((f"{name}.{entry['name']}", wanted, str(entry.get("description") or "")))
    if rows:
        show_rows(("prompt", "arguments", "what it is for"), rows)
    elif loader.status:
        show_nothing("No prompts: none of the connected servers offers any.")


def _show_prompt(
    prompt: str,
    given: dict[str, str],
    config: Path | None,
    timeout: float | None,
    input_: list[str] | None,
    json_: bool,
    yes: bool,
) -> None:
    settings = find_config(config, yes, pairs(input_, "ID=VALUE"))
    meant = [(server, name) for server, name in lib.splits(prompt) if server in settings.servers]
    if not meant:
        _no_prompt(prompt, settings)
    servers = [server for server, _ in meant]
    with loaded(config, servers, yes, timeout=timeout, config=settings, inputs=input_, tolerant=True) as loader:
        messages = prompt_messages(loader, meant, given, timeout)
    if json_:
        show_json({"messages": messages})
    else:
        show_messages(messages)


def _no_prompt(prompt: str, settings: lib.ToolsConfig) -> NoReturn:
    meant = hint(prompt.partition(".")[0], settings.servers)
    servers = ", ".join(settings.servers) or "none"
    raise lib.UsageError(f"{prompt!r} is not server.prompt{meant or ';'} servers are: {servers}")


def prompt_messages(
    loader: lib.ToolsLoader, meant: list[tuple[str, str]], given: dict[str, str], timeout: float | None
) -> list[dict[str, object]]:
    """The messages of a prompt.

    :param meant: what its name may mean, as server and prompt; not empty.
    :raises UsageError: there is no such prompt.
    """
    # servers that do not answer are told of by the request itself
    known = {name: [str(one["name"]) for one in found] for name, found in loader.prompts().items()}
    pair = next((p for p in meant if p[1] in known.get(p[0], ())), meant[0])
    there = known.get(pair[0])
    if there and pair[1] not in there:
        near = hint(pair[1], there) or f"; there are: {', '.join(there)}"
        raise lib.UsageError(f"server {pair[0]!r} has no prompt {pair[1]!r}{near}", server=pair[0])
    return loader.get_prompt(*pair, given, timeout=timeout)


def show_messages(messages: list[dict[str, object]]) -> None:
    """Messages of a prompt, for people."""
    for message in messages:
        content = message.get("content") or {}
        text = str(lib.ToolResult.from_sdk({"content": [content]}))
        out.print(f"[bold]{escape(str(message.get('role')))}[/]: {escape(text)}", soft_wrap=True)
    if not messages:
        show_nothing("The prompt has no messages.")
