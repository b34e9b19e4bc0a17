"""``aionest mcp shell``: calls one after the other on sessions that stay open.

Contract: an error ends a call, never the shell; Ctrl-C cancels the call, or the line that is being typed; Ctrl-D leaves. Read from
a pipe it takes a command per line and shows no prompt. Under ``--json`` each command gives a line of JSON. What was typed is
remembered while the shell is open, and nowhere written: it may hold secrets.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from aionest._near import either
from aionest._untrusted import for_cell, for_page

from . import layout, lib, suggest
from ._complete import is_name
from .conversation import Conversation
from .mcp import app
from .offers import (
    prompt_messages,
    show_contents,
    show_messages,
    show_prompts,
    show_resources,
    write_contents,
)
from .opening import loaded, missing, show_errors
from .options import ConfigOption, InputOption, JsonOption, ServerOption, TimeoutOption, YesOption, pairs
from .output import State, err, error_json, error_text, out, show_json, show_nothing, show_rows, show_traceback
from .results import parts_of, save, show_result, show_saved
from .servers import show_servers, status_json
from .tools import arguments_of

if TYPE_CHECKING:
    from collections.abc import Callable


HELP = [
    ("SERVER.TOOL key=value ...", "call a tool (values with spaces in quotes)"),
    ("save FILE", "write the images, audio and files of the last result; a folder for several"),
    ("tools [WORDS]", "the tools that there are"),
    ("resources", "the resources and their templates"),
    ("read SERVER URI [FILE]", "the contents of a resource, or write them to a file"),
    ("prompts", "the prompts"),
    ("prompts SERVER.PROMPT key=value ...", "the messages of one"),
    ("help SERVER.TOOL", "a tool's arguments"),
    ("servers", "the servers and their state"),
    ("reload", "read the configuration again"),
    ("history", "what was typed; !3 does number 3 again, !! the last one"),
    ("quit", "leave (or Ctrl-D)"),
]


@app.command(
    examples="""aionest mcp shell
        printf 'tools\\nnotes.list\\n' | aionest mcp shell --json"""
)
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
        session = Session(loader, talk, timeout)
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
                session.do(line)


@dataclass
class Session:
    """A shell that is open: what was typed, and the last result."""

    loader: lib.ToolsLoader
    talk: Conversation
    timeout: float | None
    lines: list[str] = field(default_factory=list)
    last: lib.ToolResult | None = None

    def do(self, line: str) -> None:
        """A line that was typed, or read. Whatever goes wrong is told."""
        try:
            line = self._meant(line)
            self.lines.append(line)
            try:
                name, *rest = shlex.split(line)
            except ValueError as exc:
                raise lib.UsageError(f"cannot parse this line: {exc}") from None
            if name == "call" and rest and "=" not in rest[0]:
                name, *rest = rest  # as on the command line
            command = COMMANDS.get(name)
            if command is not None:
                command(self, rest)
            else:
                self._call(name, rest)
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

    def _meant(self, line: str) -> str:
        """The line, or the earlier one that it names."""
        if not line.startswith("!"):
            return line
        number = len(self.lines) if line == "!!" else int(line[1:]) if line[1:].isdecimal() else 0
        if not 0 < number <= len(self.lines):
            raise lib.UsageError(f"{line}: no such line; `history` lists them")
        found = self.lines[number - 1]
        if not State.json:
            err.print(found, markup=False, emoji=False, soft_wrap=True)
        return found

    def _call(self, name: str, rest: list[str]) -> None:
        try:
            tool = self.loader.find(name)
        except lib.ToolNotFound as exc:
            commands = suggest.near(name, [*COMMANDS, "quit"])
            told = str(exc)
            if not commands:
                more = "" if told.endswith("?") else "; `tools` lists the tools, `help` the commands"
            else:
                told, is_asked = told.removesuffix("?"), told.endswith("?")
                more = f"{', or' if is_asked else '; did you mean'} the command {either(map(repr, commands))}?"
            raise lib.ToolNotFound(told + more) from None
        given = tool.coerce(pairs(rest, "key=value"))
        self.last = self.talk.call(self.loader, tool, given, self.timeout)
        if State.json:
            show_json(self.last.to_json())
        else:
            show_result(self.last, "`save FILE` writes it")

    def save(self, rest: list[str]) -> None:
        """Write what the last result has besides text."""
        if len(rest) != 1:
            raise lib.UsageError("save needs the name of a file or folder")
        if self.last is None:
            raise lib.UsageError("no tool has been called yet")
        paths = save(parts_of(self.last.content), rest[0], self.last.tool)
        if State.json:
            show_json({"saved": [str(path) for path in paths]})
        else:
            show_saved(paths)

    def servers(self, _rest: list[str]) -> None:
        """The state of each server."""
        if State.json:
            show_json({"servers": [status_json(status) for status in self.loader.status.values()]})
        else:
            show_servers(self.loader)

    def tools(self, rest: list[str]) -> None:
        """All tools, or those whose texts have the words."""
        words = " ".join(rest).lower()
        found = [tool for tool in self.loader.tools.values() if words in _texts(tool)]
        if State.json:
            show_json({"tools": [tool.to_json() for tool in found]})
        elif found:
            rows = [(f"{tool.server}.{tool.original_name}", arguments_of(tool)) for tool in found]
            show_rows(("tool", "arguments"), rows)
        else:
            show_nothing(f"No tool has {words!r} in it." if words else "There are no tools.")

    def resources(self, rest: list[str]) -> None:
        """Resources and templates."""
        _no_more(rest, "resources")
        found, templates = self.loader.resources(), self.loader.resource_templates()
        if State.json:
            show_json({"resources": found, "templates": templates, "errors": self.loader.errors})
        else:
            show_resources(self.loader, found, templates)

    def read(self, rest: list[str]) -> None:
        """The contents of a resource."""
        if len(rest) not in (2, 3):
            raise lib.UsageError("read needs a server and an address; a file may follow: read notes note://1")
        if rest[0] not in self.loader.config.servers:
            raise lib.UsageError(suggest.no_server(rest[0], self.loader.config.servers), server=rest[0])
        contents = self.loader.read_resource(rest[0], rest[1], timeout=self.timeout)
        file = Path(rest[2]).expanduser() if len(rest) == 3 else None
        if file is not None:
            write_contents(rest[0], contents, file)
        if State.json:
            show_json({"contents": contents})
        elif file is not None:
            show_saved([file])
        else:
            show_contents(contents, "`read SERVER URI FILE` writes it")

    def prompts(self, rest: list[str]) -> None:
        """All prompts, or the messages of one."""
        if not rest:
            found = self.loader.prompts()
            if State.json:
                show_json({"prompts": found, "errors": self.loader.errors})
            else:
                show_prompts(self.loader, found)
            return
        servers = self.loader.config.servers
        meant = [pair for pair in lib.splits(rest[0]) if pair[0] in servers]
        if not meant:
            near = suggest.hint(rest[0].partition(".")[0], servers)
            raise lib.UsageError(
                f"{rest[0]!r} is not server.prompt{near or ';'} servers are: {', '.join(servers) or 'none'}"
            )
        messages = prompt_messages(self.loader, meant, pairs(rest[1:], "key=value"), self.timeout)
        if State.json:
            show_json({"messages": messages})
        else:
            show_messages(messages)

    def reload(self, rest: list[str]) -> None:
        """Read the configuration again."""
        _no_more(rest, "reload")
        diff = self.loader.reload()
        if "(configuration)" in self.loader.errors:
            raise lib.UsageError(self.loader.errors["(configuration)"])
        words = {key: list(getattr(diff, key)) for key in ("added", "removed", "changed", "updated", "kept", "failed")}
        if State.json:
            show_json(words)
        else:
            told = "; ".join(f"{key}: {escape(', '.join(names))}" for key, names in words.items() if names)
            out.print(told or "There are no servers.", soft_wrap=True)

    def history(self, rest: list[str]) -> None:
        """What was typed."""
        _no_more(rest, "history")
        before = self.lines[:-1]
        if State.json:
            show_json({"history": before})
            return
        for number, line in enumerate(before, 1):
            out.print(f"{number:4}  {line}", markup=False, emoji=False, soft_wrap=True)
        if not before:
            show_nothing("The history is empty.")

    def help(self, rest: list[str]) -> None:
        """What can be typed, or the arguments of a tool."""
        if not rest:
            if State.json:
                show_json({"help": "\n".join(f"{name:26}  {text}" for name, text in HELP)})
            else:
                out.print(layout.listed(HELP), markup=False, soft_wrap=True)
            return
        tool = self.loader.find(rest[0])
        if State.json:
            show_json(tool.to_json())
            return
        out.print(escape(for_page(tool.description or tool.title)), soft_wrap=True)
        for name, written in tool.properties.items():
            schema = written if isinstance(written, dict) else {}
            enum = schema.get("enum")
            values = "one of " + ", ".join(map(str, enum)) if isinstance(enum, list) else "any"
            needed = "" if name in tool.required else " (optional)"
            described = f"{for_cell(name)}: {schema.get('type') or values}{needed}"
            out.print(f"  {escape(described)}  {escape(for_cell(schema.get('description', '')))}", soft_wrap=True)


COMMANDS: dict[str, Callable[[Session, list[str]], None]] = {
    name: getattr(Session, name)
    for name in ("tools", "resources", "read", "prompts", "servers", "reload", "history", "save", "help")
}


def _texts(tool: lib.Tool) -> str:
    return f"{tool.server}.{tool.original_name} {tool.title} {tool.description}".lower()


def _no_more(rest: list[str], name: str) -> None:
    if rest:
        raise lib.UsageError(f"{name} takes no more arguments")


def _complete_lines(loader: lib.ToolsLoader) -> None:
    """Tab completes commands, tools, and a tool's arguments."""
    if not sys.stdin.isatty():
        return
    with contextlib.suppress(ImportError):
        import readline

        def candidates(text: str) -> list[str]:
            words = readline.get_line_buffer()[: readline.get_begidx()].split()
            names = [f"{tool.server}.{tool.original_name}" for tool in loader.tools.values()]
            if words and words[0] == "call":
                del words[0]
            if words and words[0] == "read":
                return [f"{name} " for name in loader.status if name.startswith(text)] if len(words) == 1 else []
            if words and words[0] != "help":
                with contextlib.suppress(lib.ToolsError):
                    return [f"{name}=" for name in loader.find(words[0]).properties if name.startswith(text)]
                return []
            return [name for name in ([] if words else [*COMMANDS, "quit"]) + names if name.startswith(text)]

        def complete(text: str, number: int) -> str | None:
            found = candidates(text)
            found = [one for one in found if is_name(one.strip())]  # they are written to the terminal as they are
            return found[number] if number < len(found) else None

        readline.set_completer_delims(" ")
        readline.set_completer(complete)
        readline.parse_and_bind("bind ^I rl_complete" if "libedit" in (readline.__doc__ or "") else "tab: complete")
