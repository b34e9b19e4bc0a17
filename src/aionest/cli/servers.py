"""``aionest mcp``: what servers offer, and calling it.

Contract: each command opens the servers that it needs, does one thing and leaves nothing behind, also when interrupted.
"""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import contextlib
import functools
import json
import queue
import sys
import webbrowser
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from aionest.mcp import (
    ArgumentsError,
    ProtocolError,
    ServerConfig,
    ServerStatus,
    Tool,
    ToolNotFound,
    ToolResult,
    ToolsError,
    ToolsLoader,
    ToolsRetriever,
    UsageError,
)
from aionest.mcp.tools import splits

from . import _complete
from ._common import (
    STYLE,
    ConfigOption,
    InputOption,
    JsonOption,
    ServerOption,
    State,
    TimeoutOption,
    YesOption,
    end,
    err,
    find_config,
    is_interactive,
    loaded,
    missing,
    out,
    pairs,
    show_errors,
    show_json,
    without_name,
    worst,
)

app = typer.Typer(help="MCP servers: their tools, resources and prompts.", no_args_is_help=True)
ServerArgument = typer.Argument(..., autocompletion=_complete.servers)


def status_json(status: ServerStatus) -> dict[str, Any]:
    """A server's state as it is documented."""
    return {
        "name": status.name,
        "state": status.state,
        "transport": status.transport,
        "server": status.server,
        "version": status.version,
        "protocol": status.protocol,
        "tools": status.tools,
        "seconds": status.connect_seconds,
        "error": {"code": status.error_code, "message": status.error} if status.error else None,
    }


def show_servers(loader: ToolsLoader) -> None:
    """A table of all servers."""
    table = Table("server", "state", "transport", "tools", "seconds", "is")
    for status in loader.status.values():
        seconds = f"{status.connect_seconds:.2f}" if status.connect_seconds is not None else ""
        what = " ".join(filter(None, (status.server, status.version)))
        if status.error:
            what = without_name(status.error.splitlines()[0], status.name)
        table.add_row(
            escape(status.name),
            f"[{STYLE.get(status.state, '')}]{status.state}[/]",
            status.transport,
            str(status.tools or ""),
            seconds,
            escape(what),
        )
    out.print(table)


def _exit_code(loader: ToolsLoader) -> int:
    codes = [one.exit_code for one in loader.failures.values()]
    if any(name not in loader.status for name in loader.errors):
        codes.append(1)
    return 3 if 3 in codes else max(codes, default=0)


def _overview(loader: ToolsLoader) -> dict[str, Any]:
    return {"servers": [status_json(s) for s in loader.status.values()], "errors": loader.errors}


@app.command("list")
def list_(
    config: Path | None = ConfigOption,
    server: list[str] | None = ServerOption,
    timeout: float | None = TimeoutOption,
    input_: list[str] | None = InputOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """Open all servers and show their state."""
    State.json = json_
    with loaded(config, server, yes, timeout=timeout, inputs=input_, tolerant=True) as loader:
        failure = missing(loader, server)
        if failure is not None and not loader.status:
            raise failure
        if json_:
            show_json(_overview(loader))
        else:
            show_servers(loader)
            show_errors(loader, shown=True)
        end(failure)


@app.command()
def check(
    config: Path | None = ConfigOption,
    server: list[str] | None = ServerOption,
    timeout: float | None = TimeoutOption,
    input_: list[str] | None = InputOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """Like list, with all that is known of errors; the exit code says whether all of them work."""
    State.json = json_
    with loaded(config, server, yes, timeout=timeout, inputs=input_, tolerant=True) as loader:
        code = _exit_code(loader)
        if json_:
            show_json({"ok": code == 0, **_overview(loader)})
        else:
            show_servers(loader)
            show_errors(loader, whole=True)
            for warning in loader.config.warnings:
                err.print(f"[yellow]{escape(str(warning))}[/]", soft_wrap=True)
    raise typer.Exit(code)


@app.command()
def tools(
    query: str | None = typer.Argument(None, help="Words to search for."),
    config: Path | None = ConfigOption,
    server: list[str] | None = ServerOption,
    timeout: float | None = TimeoutOption,
    input_: list[str] | None = InputOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """Show tools, or search them."""
    State.json = json_
    with loaded(config, server, yes, timeout=timeout, inputs=input_) as loader:
        found = list(loader.tools.values())
        if query:
            retriever = ToolsRetriever()
            # a long name is shortened in the unique one, and not all tools have a description
            texts = {tool.name: f"{tool.original_name} {tool.title} {tool.description}" for tool in found}
            retriever.add_batch([Tool(name, description=text.strip() or name) for name, text in texts.items()])
            by_name = {tool.name: tool for tool in found}
            found = [by_name[one.name] for _, one in retriever.search(query, 20)]
        if json_:
            show_json({"tools": [tool.to_json() for tool in found], "errors": loader.errors})
            return
        table = Table("tool", "arguments", "what it does")
        for tool in found:
            arguments = " ".join(name if name in tool.required else f"[{name}]" for name in tool.properties)
            first = tool.description.strip().splitlines()[0] if tool.description.strip() else tool.title
            table.add_row(escape(f"{tool.server}.{tool.original_name}"), escape(arguments), escape(first))
        out.print(table)
        show_errors(loader)


def _read_args(source: str | None) -> dict[str, Any]:
    if source is None:
        return {}
    if source == "-":
        text = sys.stdin.read()
    elif source.startswith("@"):
        try:
            text = Path(source[1:]).read_text(encoding="utf-8")
        except (OSError, ValueError) as exc:
            raise UsageError(f"--args: {exc}") from None
    else:
        text = source
    try:
        value = json.loads(text)
    except ValueError as exc:
        raise UsageError(f"--args is not valid JSON: {exc}") from None
    if not isinstance(value, dict):
        raise UsageError("--args must be a JSON object")
    return value


_Question = tuple[Any, concurrent.futures.Future[Any]]  # with its answer


class Conversation:
    """A call on a terminal: a bar for its progress, and questions of the server, asked in the main thread, where Ctrl-C comes.

    :ivar options: what the loader is to be made with.
    """

    def __init__(self) -> None:
        # questions with the futures of their answers; and calls that have ended, also those that nobody waits for any more
        self._news: queue.SimpleQueue[_Question | concurrent.futures.Future[ToolResult]] = queue.SimpleQueue()
        self.options: dict[str, Any] = {"elicitation": self._elicitation} if is_interactive() else {}

    async def _elicitation(self, params: Any) -> Any:
        reply: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._news.put((params, reply))
        return await asyncio.wrap_future(reply)

    def call(self, loader: ToolsLoader, tool: Tool, arguments: dict[str, Any], timeout: float | None) -> ToolResult:
        """``loader.call()``."""
        if State.json or not err.is_terminal:
            return loader.call(tool, arguments, timeout=timeout)
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=err, transient=True) as bar:
            number = bar.add_task("", total=None, visible=False)

            def progress(value: float, total: float | None, message: str | None) -> None:
                bar.update(number, completed=value, total=total, description=escape(message or ""), visible=True)

            one: concurrent.futures.Future[ToolResult] = loader.portal.submit(
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


def _reply(params: Any, reply: concurrent.futures.Future[Any]) -> None:
    """Have a person answer a question; one that they do not go on with is declined, or the server would wait for it."""
    answer = None
    try:
        answer = answer_question(params)
    finally:
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # the server has gone meanwhile
            reply.set_result(answer)


def show_result(result: Any) -> None:
    """A result for people."""
    text = str(result)
    if text:
        (err if result.is_error else out).print(escape(text), soft_wrap=True)
    for kind, data in result.images:
        err.print(f"({kind}, {len(data)} bytes; --json shows it)", style="dim")


def answer_question(params: Any) -> dict[str, Any] | None:
    """Ask the person what a server asks, field by field. None if they decline."""
    schema = getattr(params, "requestedSchema", None) or getattr(params, "requested_schema", None) or {}
    err.print(f"[bold]The server asks:[/] {escape(params.message)}")
    url = getattr(params, "url", None)
    if url:
        err.print(f"It wants this to be opened: {escape(url)}", soft_wrap=True)
        return {} if typer.confirm("Have you done so?", err=True) else None
    if not typer.confirm("Answer it?", default=True, err=True):
        return None
    described = Tool("answer", input_schema=schema if isinstance(schema, dict) else {})
    given: dict[str, Any] = {}
    for name, one in described.properties.items():
        label = str(one.get("title") or one.get("description") or name)
        values = one.get("enum") or (one.get("items") or {}).get("enum")
        if isinstance(values, list):
            label += f" ({', '.join(map(str, values))})"
        if name not in described.required:
            label += ", or nothing"
        default = one.get("default")
        if isinstance(default, list):
            default = ",".join(map(str, default))
        while True:
            text = typer.prompt(
                label, default=default if default is not None or name in described.required else "", err=True
            )
            if text == "":
                break
            if one.get("type") == "boolean":
                text = {"y": "yes", "n": "no"}.get(str(text).lower(), text)
            try:
                given |= described.coerce({name: str(text)})
                break
            except ArgumentsError as exc:
                err.print(f"[red]{escape('; '.join(exc.problems))}[/]", soft_wrap=True)
    return given


@app.command()
def call(
    tool: str = typer.Argument(..., help="server.tool", autocompletion=_complete.tools),
    arguments: list[str] | None = typer.Argument(
        None, help="key=value; values are typed by the tool's schema.", autocompletion=_complete.arguments
    ),
    args: str | None = typer.Option(None, "--args", help="A JSON object, @FILE, or - for standard input."),
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
    servers = list(dict.fromkeys(server for server, _ in splits(tool) if server in settings.servers))
    broken = next((e for e in settings.errors if any(e.server == server for server, _ in splits(tool))), None)
    if broken is not None and not servers:
        raise broken
    talk = Conversation()
    more = {"tolerant": True, **talk.options}
    with loaded(config, servers, yes, timeout=timeout, config=settings, inputs=input_, **more) as loader:
        try:
            one = loader.find(tool)
        except ToolNotFound:
            failure = next(iter(loader.failures.values()), broken) if servers else None
            if failure is not None:
                raise failure from None  # it may have been that server's
            raise
        given.update(one.coerce(texts))
        result = talk.call(loader, one, given, timeout)
        if json_:
            show_json(result.to_json())
        else:
            show_result(result)
    raise typer.Exit(5 if result.is_error else 0)


@app.command()
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
        table = Table("server", "uri", "name", "type")
        for name in found:
            for entry in [*found[name], *templates.get(name, [])]:
                uri = entry.get("uri") or entry.get("uriTemplate", "")
                row = (name, uri, entry.get("name", ""), entry.get("mimeType", ""))
                table.add_row(*(escape(str(value)) for value in row))
        out.print(table)
        show_errors(loader)


@app.command()
def read(
    server: str = ServerArgument,
    uri: str = typer.Argument(...),
    output: Path | None = typer.Option(None, "--output", "-o", help="Write the contents to this file."),
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
        try:
            data = b"".join(
                base64.b64decode(block["blob"]) if "blob" in block else block.get("text", "").encode()
                for block in contents
            )
        except ValueError as exc:
            raise ProtocolError(f"server {server!r}: what it gave cannot be decoded: {exc}", server=server) from None
        try:
            output.write_bytes(data)
        except OSError as exc:
            raise UsageError(f"{output}: {exc.strerror}") from None
    if json_:
        show_json({"contents": contents})
    elif output is None:
        for block in contents:
            if "text" in block:
                out.print(escape(block["text"]), soft_wrap=True)
            else:
                err.print(f"({block.get('mimeType', 'binary')}: --output FILE writes it)", style="dim")


@app.command()
def prompts(
    prompt: str | None = typer.Argument(None, help="server.prompt: show its messages."),
    arguments: list[str] | None = typer.Argument(None, help="key=value for the prompt."),
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
        table = Table("prompt", "arguments", "what it is for")
        for name, entries in found.items():
            for entry in entries:
                wanted = " ".join(
                    a["name"] if a.get("required") else f"[{a['name']}]" for a in entry.get("arguments") or []
                )
                row = (f"{name}.{entry['name']}", wanted, entry.get("description", ""))
                table.add_row(*(escape(str(value)) for value in row))
        out.print(table)
        show_errors(loader)


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
    meant = [(server, name) for server, name in splits(prompt) if server in settings.servers]
    if not meant:
        raise UsageError(f"{prompt!r} is not server.prompt; servers are: {', '.join(settings.servers) or 'none'}")
    servers = [server for server, _ in meant]
    with loaded(config, servers, yes, timeout=timeout, config=settings, inputs=input_, tolerant=True) as loader:
        known = loader.prompts() if len(meant) > 1 else {}
        pair = next((p for p in meant if p[1] in (one["name"] for one in known.get(p[0], ()))), meant[0])
        messages = loader.get_prompt(*pair, given, timeout=timeout)
    if json_:
        show_json({"messages": messages})
        return
    for message in messages:
        content = message.get("content") or {}
        text = str(ToolResult.from_sdk({"content": [content]}))
        out.print(f"[bold]{escape(str(message.get('role')))}[/]: {escape(text)}", soft_wrap=True)


@app.command()
def ping(
    server: list[str] | None = typer.Argument(
        None, help="All servers, unless some are named.", autocompletion=_complete.servers
    ),
    config: Path | None = ConfigOption,
    timeout: float | None = TimeoutOption,
    input_: list[str] | None = InputOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """How long servers take to answer."""
    State.json = json_
    failures: list[ToolsError] = []
    found: dict[str, float] = {}
    with loaded(config, server, yes, timeout=timeout, inputs=input_) as loader:
        for name, status in loader.status.items():
            if status.state == "disabled":
                if server:
                    raise UsageError(f"server {name!r} is disabled", server=name)
                continue
            try:
                found[name] = loader.ping(name, timeout=timeout)
            except ToolsError as exc:
                if server is not None and len(server) == 1:
                    raise
                failures.append(exc)
                if not json_:
                    err.print(
                        f"[red]{escape(name)}[/]: {escape(without_name(str(exc).splitlines()[0], name))}",
                        soft_wrap=True,
                    )
                continue
            if not json_:
                out.print(f"{escape(name)}: {found[name] * 1e3:.1f} ms")
        if json_:
            one = {"server": server[0], "seconds": found[server[0]]} if server and len(server) == 1 else {}
            show_json({**one, "seconds_by_server": found, "errors": loader.errors})
    end(worst(failures))


@app.command()
def login(
    server: str = ServerArgument,
    browser: bool = typer.Option(True, help="Open the page in a browser; else only its address is shown."),
    config: Path | None = ConfigOption,
    timeout: float | None = TimeoutOption,
    input_: list[str] | None = InputOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """Log in to a server with OAuth; the tokens are kept."""
    State.json = json_

    def authorize(url: str) -> None:
        err.print(f"Log in at: {escape(url)}", soft_wrap=True)
        if browser:
            webbrowser.open(url)

    settings = find_config(config, yes, pairs(input_, "ID=VALUE"))
    one = settings.servers.get(server)
    if one is not None and one.disabled:
        raise UsageError(f"server {server!r} is disabled", server=server)
    if one is not None and not _has_login(one):
        raise UsageError(f"server {server!r} does not use OAuth: there is no login", server=server)
    more: dict[str, Any] = {"config": settings, "authorize": authorize, "quiet": True, "tolerant": True}
    with loaded(config, [server], yes, timeout=timeout, inputs=input_, **more) as loader:
        for failure in loader.failures.values():
            raise failure
        if json_:
            show_json(status_json(loader.status[server]))
        else:
            err.print(f"{escape(server)}: logged in")


def _has_login(server: ServerConfig) -> bool:
    """As logout() of the loader has it; OAuth means nothing to a server that is started."""
    kind = server.auth["type"] if isinstance(server.auth, dict) else server.auth
    return server.transport != "stdio" and kind in ("oauth", "client_credentials")


@app.command()
def logout(
    server: str = ServerArgument,
    config: Path | None = ConfigOption,
    input_: list[str] | None = InputOption,
    json_: bool = JsonOption,
) -> None:
    """Forget the tokens of a server."""
    State.json = json_
    settings = find_config(config, False, pairs(input_, "ID=VALUE"))
    was = ToolsLoader(config=settings).logout(server)
    if json_:
        show_json({"server": server, "was_logged_in": was})
    else:
        err.print(f"{escape(server)}: {'logged out' if was else 'was not logged in'}")
