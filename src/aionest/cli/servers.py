"""``aionest mcp``: the servers themselves: their state, logins.

Contract: each command opens the servers that it needs, does one thing and leaves nothing behind, also when interrupted.
"""

from __future__ import annotations

import webbrowser
from pathlib import Path

import typer
from rich.markup import escape

from aionest._untrusted import for_terminal

from . import _complete, lib
from .mcp import app
from .opening import end, find_config, loaded, missing, show_errors, without_name, worst
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
from .output import STYLE, State, err, out, show_json, show_nothing, show_rows
from .suggest import no_server

INSTRUCTIONS = 20_000  # characters of what a server says of itself


def status_json(status: lib.ServerStatus) -> dict[str, object]:
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
        "instructions": status.instructions,
        "error": {"code": status.error_code, "message": status.error} if status.error else None,
    }


def show_servers(loader: lib.ToolsLoader) -> None:
    """A table of all servers."""
    if not loader.status:
        show_nothing("There are no servers in this configuration. Add one: aionest mcp config add NAME -- COMMAND")
        return
    rows = []
    for status in loader.status.values():
        seconds = f"{status.connect_seconds:.2f}" if status.connect_seconds is not None else ""
        what = " ".join(filter(None, (status.server, status.version)))
        if status.error:
            what = without_name(status.error.splitlines()[0], status.name)
        rows.append((status.name, status.state, status.transport, str(status.tools or ""), seconds, what))
    show_rows(("server", "state", "transport", "tools", "seconds", "is"), rows, whole=5, styles={1: STYLE})


def _exit_code(loader: lib.ToolsLoader) -> int:
    codes = [one.exit_code for one in loader.failures.values()]
    if any(name not in loader.status for name in loader.errors):
        codes.append(1)
    return 3 if 3 in codes else max(codes, default=0)


def _overview(loader: lib.ToolsLoader) -> dict[str, object]:
    return {"servers": [status_json(s) for s in loader.status.values()], "errors": loader.errors}


@app.command(
    "list",
    examples="""aionest mcp list
        aionest mcp list --config mcp.json --json""",
)
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


@app.command(examples="aionest mcp check && echo all of them work")
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
            for name, text in loader.instructions.items():
                out.print(f"{name} says of itself:", markup=False, style="dim", soft_wrap=True)
                # a report, also where it goes to a file; all of it is in --json
                out.print(for_terminal(text, INSTRUCTIONS), markup=False, emoji=False, soft_wrap=True)
            for warning in loader.config.warnings:
                err.print(f"[yellow]{escape(str(warning))}[/]", soft_wrap=True)
    raise typer.Exit(code)


@app.command(
    examples="""aionest mcp ping
        aionest mcp ping time notes"""
)
def ping(
    server: list[str] | None = typer.Argument(
        None, help="These servers; all without them.", autocompletion=_complete.servers, metavar="SERVER"
    ),
    config: Path | None = ConfigOption,
    timeout: float | None = TimeoutOption,
    input_: list[str] | None = InputOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """How long servers take to answer."""
    State.json = json_
    failures: list[lib.ToolsError] = []
    found: dict[str, float] = {}
    with loaded(config, server, yes, timeout=timeout, inputs=input_) as loader:
        for name, status in loader.status.items():
            if status.state == "disabled":
                if server:
                    raise lib.UsageError(f"server {name!r} is disabled", server=name)
                continue
            try:
                found[name] = loader.ping(name, timeout=timeout)
            except lib.ToolsError as exc:
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


@app.command(
    examples="""aionest mcp login search
        aionest mcp login search --no-browser"""
)
def login(
    server: str = ServerArgument,
    browser: bool = typer.Option(True, help="Open the page in a browser, or only show its address."),
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
        raise lib.UsageError(f"server {server!r} is disabled", server=server)
    if one is not None and not _has_login(one):
        raise lib.UsageError(f"server {server!r} does not use OAuth, so it has no login", server=server)
    with loaded(
        config,
        [server],
        yes,
        timeout=timeout,
        inputs=input_,
        config=settings,
        authorize=authorize,
        quiet=True,
        tolerant=True,
    ) as loader:
        for failure in loader.failures.values():
            raise failure
        if json_:
            show_json(status_json(loader.status[server]))
        else:
            err.print(f"{escape(server)}: logged in")


def _has_login(server: lib.ServerConfig) -> bool:
    """As logout() of the loader has it; OAuth means nothing to a server that is started."""
    kind = server.auth["type"] if isinstance(server.auth, dict) else server.auth
    return server.transport != "stdio" and kind in ("oauth", "client_credentials")


@app.command(examples="aionest mcp logout search")
def logout(
    server: str = ServerArgument,
    config: Path | None = ConfigOption,
    input_: list[str] | None = InputOption,
    json_: bool = JsonOption,
) -> None:
    """Forget the tokens of a server."""
    State.json = json_
    settings = find_config(config, False, pairs(input_, "ID=VALUE"))
    if server not in settings.servers:
        raise lib.UsageError(no_server(server, settings.servers), server=server)
    was = lib.ToolsLoader(config=settings).logout(server)
    if json_:
        show_json({"server": server, "was_logged_in": was})
    else:
        err.print(f"{escape(server)}: {'logged out' if was else 'was not logged in'}")
