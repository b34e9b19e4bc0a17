"""``aionest mcp shell``: calls one after the other on sessions that stay open.

Contract: an error ends a call, never the shell; Ctrl-C cancels the call, or the line that is being typed; Ctrl-D leaves. Read from
a pipe it takes a command per line and shows no prompt. Under ``--json`` each command gives a line of JSON.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from aionest.mcp import ToolsError, UsageError

from ._common import (
    ConfigOption,
    InputOption,
    JsonOption,
    ServerOption,
    State,
    TimeoutOption,
    YesOption,
    err,
    error_json,
    error_text,
    loaded,
    missing,
    out,
    pairs,
    show_errors,
    show_json,
    show_traceback,
)
from .servers import Conversation, app, show_result, show_servers, status_json

if TYPE_CHECKING:
    from aionest.mcp import ToolsLoader

HELP = """SERVER.TOOL key=value ...   call a tool (values with spaces in quotes)
tools [WORDS]               the tools that there are
help SERVER.TOOL            a tool's arguments
servers                     the servers and their state
reload                      read the configuration again
quit                        leave (or Ctrl-D)"""


@app.command()
def shell(
    config: Path | None = ConfigOption,
    server: list[str] | None = ServerOption,
    timeout: float | None = TimeoutOption,
    input_: list[str] | None = InputOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """Call tools one after the other on sessions that stay open. `help` says how."""
    State.json = json_
    talk = Conversation()
    more = {"tolerant": True, **talk.options}
    with loaded(config, server, yes, timeout=timeout, inputs=input_, **more) as loader:
        failure = missing(loader, server)
        if failure is not None and not loader.status:
            raise failure
        if not json_:
            show_servers(loader)
            show_errors(loader, shown=True)
        _complete_lines(loader)
        prompt = "aionest> " if sys.stdin.isatty() and not json_ else ""
        while True:
            try:
                line = input(prompt).strip()
            except EOFError:
                if prompt:
                    err.print()
                return
            except KeyboardInterrupt:
                err.print()
                continue
            if line in ("quit", "exit"):
                return
            if line and not line.startswith("#"):
                _run(loader, talk, line, timeout)


def _run(loader: ToolsLoader, talk: Conversation, line: str, timeout: float | None) -> None:
    try:
        try:
            name, *rest = shlex.split(line)
        except ValueError as exc:
            raise UsageError(f"this line cannot be read: {exc}") from None
        if name == "servers":
            show_json({"servers": [status_json(s) for s in loader.status.values()]}) if State.json else show_servers(
                loader
            )
        elif name == "tools":
            _show_tools(loader, " ".join(rest))
        elif name == "reload":
            diff = loader.reload()
            if "(configuration)" in loader.errors:
                raise UsageError(loader.errors["(configuration)"])
            words = {
                key: list(getattr(diff, key)) for key in ("added", "removed", "changed", "updated", "kept", "failed")
            }
            if State.json:
                show_json(words)
            else:
                out.print("; ".join(f"{key}: {escape(', '.join(names))}" for key, names in words.items() if names))
        elif name == "help":
            _help(loader, rest)
        else:
            _call(loader, talk, name, rest, timeout)
    except (KeyboardInterrupt, typer.Abort):
        if State.json:
            show_json({"error": {"code": "interrupted", "message": "cancelled", "server": None}})
        else:
            err.print("cancelled")
    except BrokenPipeError:
        raise  # nobody reads any more
    except Exception as exc:
        show_traceback(exc)
        if State.json:
            show_json(error_json(exc))
        else:
            err.print(f"[red]{escape(error_text(exc))}[/]", soft_wrap=True)


def _call(loader: ToolsLoader, talk: Conversation, name: str, rest: list[str], timeout: float | None) -> None:
    tool = loader.find(name)
    given = tool.coerce(pairs(rest, "key=value"))
    result = talk.call(loader, tool, given, timeout)
    show_json(result.to_json()) if State.json else show_result(result)


def _show_tools(loader: ToolsLoader, words: str) -> None:
    found = [
        tool
        for tool in loader.tools.values()
        if words.lower() in f"{tool.server}.{tool.original_name} {tool.title} {tool.description}".lower()
    ]
    if State.json:
        show_json({"tools": [tool.to_json() for tool in found]})
        return
    for tool in found:
        out.print(escape(f"{tool.server}.{tool.original_name}  {' '.join(tool.properties)}"), soft_wrap=True)


def _help(loader: ToolsLoader, rest: list[str]) -> None:
    if not rest:
        show_json({"help": HELP}) if State.json else out.print(HELP, markup=False)
        return
    tool = loader.find(rest[0])
    if State.json:
        show_json(tool.to_json())
        return
    out.print(escape(tool.description or tool.title), soft_wrap=True)
    for name, schema in tool.properties.items():
        kind = schema.get("type") or ("one of " + ", ".join(map(str, schema["enum"])) if "enum" in schema else "any")
        needed = "" if name in tool.required else " (optional)"
        out.print(
            f"  {escape(f'{name}: {kind}{needed}')}  {escape(str(schema.get('description', '')))}", soft_wrap=True
        )


def _complete_lines(loader: ToolsLoader) -> None:
    """Tab completes commands, tools, and a tool's arguments."""
    if not sys.stdin.isatty():
        return
    with contextlib.suppress(ImportError):
        import readline

        def candidates(text: str) -> list[str]:
            words = readline.get_line_buffer()[: readline.get_begidx()].split()
            names = [f"{tool.server}.{tool.original_name}" for tool in loader.tools.values()]
            if words and words[0] != "help":
                with contextlib.suppress(ToolsError):
                    return [f"{name}=" for name in loader.find(words[0]).properties if name.startswith(text)]
                return []
            return [
                name
                for name in ([] if words else ["tools", "servers", "reload", "help", "quit"]) + names
                if name.startswith(text)
            ]

        def complete(text: str, number: int) -> str | None:
            found = candidates(text)
            return found[number] if number < len(found) else None

        readline.set_completer_delims(" ")
        readline.set_completer(complete)
        readline.parse_and_bind("bind ^I rl_complete" if "libedit" in (readline.__doc__ or "") else "tab: complete")
