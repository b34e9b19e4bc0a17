"""The commands.

Contract: each command opens a loader, does one thing and leaves nothing behind, also when interrupted or terminated.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aionest.mcp import ServerStatus, ToolsConfig, ToolsError, ToolsLoader, UsageError
from aionest.mcp.trust import Trust

from . import demo as _demo
from . import doctor as _doctor

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(name="aionest", help="Nested asyncio, and MCP tools from the command line.", no_args_is_help=True)
mcp = typer.Typer(help="MCP servers: their tools, resources and prompts.", no_args_is_help=True)
config_app = typer.Typer(help="The configuration file.", no_args_is_help=True)
app.add_typer(mcp, name="mcp")
mcp.add_typer(config_app, name="config")

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
_STYLE = {"connected": "green", "failed": "red", "timed out": "red", "lost": "red", "disabled": "dim"}


class _State:
    json = False


def _complete_tool(incomplete: str) -> list[str]:
    try:
        known = json.loads(_cache_file().read_text())
    except (OSError, ValueError):
        return []
    return [name for name in known if name.startswith(incomplete)]


def _cache_file() -> Path:
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("aionest")) / "tools.json"


def _remember(loader: ToolsLoader) -> None:
    """Names for shell completion."""
    with contextlib.suppress(OSError):
        file = _cache_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(sorted(f"{t.server}.{t.original_name}" for t in loader.tools.values())))


ConfigOption = typer.Option(None, "--config", "-c", help="Configuration file (JSON, YAML or TOML).", envvar="MCP_FILE")
JsonOption = typer.Option(False, "--json", help="One JSON document on standard output.")
TimeoutOption = typer.Option(None, "--timeout", "-t", help="Seconds for each answer.", min=0.001)
ServerOption = typer.Option(None, "--server", "-s", help="Only this server.")
YesOption = typer.Option(False, "--yes", "-y", help="Accept the commands of a configuration found here.")


def _print(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def _config(file: Path | None, yes: bool = False) -> ToolsConfig:
    """The configuration; one that was found, not named, runs nothing until it was accepted."""
    if file is not None:
        if not file.exists():
            raise UsageError(f"{file}: there is no such file")
        return ToolsConfig(file)
    found = ToolsConfig.find()
    if found is None:
        raise UsageError("no configuration found: name one with --config, or make one with `aionest mcp config add`")
    config = ToolsConfig(found)
    trust = Trust()
    if not trust.is_trusted(config):
        commands = [
            f"{n}: {shlex.join([s.command, *s.args]) if s.command else s.url}" for n, s in config.servers.items()
        ]
        if not yes:
            if _State.json or not sys.stdin.isatty():
                raise UsageError(
                    f"{found} was found here and never accepted: name it with --config, or accept it with --yes"
                )
            err.print(f"[bold]{escape(str(found))}[/] would start or reach:")
            for line in commands:
                err.print("  " + escape(line))
            if not typer.confirm("Go on, now and in future?", err=True):
                raise UsageError("not accepted: nothing was started")
        trust.accept(config)
    return config


@contextlib.contextmanager
def _loaded(file: Path | None, server: str | None = None, yes: bool = False) -> Iterator[ToolsLoader]:
    config = _config(file, yes)
    if server is not None:
        if server not in config.servers:
            known = ", ".join(config.servers) or "none"
            problem = next(
                (str(e) for e in config.errors if e.server == server), f"no server {server!r}; there are: {known}"
            )
            raise UsageError(problem, server=server)
        config = ToolsConfig.from_dict(
            {server: dict(config.get(server) or {})}, base_dir=config.config_file.parent if config.config_file else None
        )
    loader = ToolsLoader(config=config)
    progress = None
    if err.is_terminal and not _State.json:
        status = err.status("starting servers ...")
        names = [name for name, one in config.servers.items() if not one.disabled]

        def progress(one: ServerStatus) -> None:
            if one.name in names:
                names.remove(one.name)
            err.print(f"  [{_STYLE.get(one.state, '')}]{one.state}[/] {escape(one.name)}")
            status.update("waiting for " + ", ".join(names) if names else "ready")
    else:
        status = contextlib.nullcontext()  # type: ignore[assignment]
    try:
        with status:
            loader.load(progress=progress)
        _remember(loader)
        yield loader
    finally:
        loader.cleanup(timeout=15)


def _status_json(status: ServerStatus) -> dict[str, Any]:
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


def _show_servers(loader: ToolsLoader) -> None:
    table = Table("server", "state", "transport", "tools", "seconds", "is")
    for status in loader.status.values():
        seconds = f"{status.connect_seconds:.2f}" if status.connect_seconds is not None else ""
        what = (
            f"{status.server} {status.version}"
            if status.server
            else (status.error or "").splitlines()[0]
            if status.error
            else ""
        )
        style = _STYLE.get(status.state, "")
        table.add_row(
            escape(status.name),
            f"[{style}]{status.state}[/]",
            status.transport,
            str(status.tools or ""),
            seconds,
            escape(what),
        )
    out.print(table)
    for name, text in loader.errors.items():
        if name not in loader.status:
            err.print(f"[red]{escape(text)}[/]")


def _exit_code(loader: ToolsLoader) -> int:
    codes = [c.failure.exit_code for c in loader._connections.values() if c.failure is not None]
    if any(name not in loader.status for name in loader.errors):
        codes.append(1)
    return 3 if 3 in codes else max(codes, default=0)


@mcp.command("list")
def list_(
    config: Path | None = ConfigOption,
    server: str | None = ServerOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """Open all servers and show their state."""
    _State.json = json_
    with _loaded(config, server, yes) as loader:
        if json_:
            _print({"servers": [_status_json(s) for s in loader.status.values()], "errors": loader.errors})
        else:
            _show_servers(loader)


@mcp.command()
def check(
    config: Path | None = ConfigOption,
    server: str | None = ServerOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """Like list, and the exit code says whether all of them work."""
    _State.json = json_
    with _loaded(config, server, yes) as loader:
        code = _exit_code(loader)
        if json_:
            _print(
                {"ok": code == 0, "servers": [_status_json(s) for s in loader.status.values()], "errors": loader.errors}
            )
        else:
            _show_servers(loader)
            for name, text in loader.errors.items():
                err.print(f"[red]{escape(name)}[/]: {escape(text)}")
    raise typer.Exit(code)


@mcp.command()
def tools(
    query: str | None = typer.Argument(None, help="Words to search for."),
    config: Path | None = ConfigOption,
    server: str | None = ServerOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """Show tools, or search them."""
    _State.json = json_
    with _loaded(config, server, yes) as loader:
        found = list(loader.tools.values())
        if query:
            from aionest.mcp import ToolsRetriever

            retriever = ToolsRetriever()
            retriever.add_batch([tool for tool in found if tool.description.strip()])
            found = [tool for _, tool in retriever.search(query, 20)]
        if json_:
            _print({"tools": [tool.to_json() for tool in found], "errors": loader.errors})
            return
        table = Table("tool", "arguments", "what it does")
        for tool in found:
            arguments = " ".join(name if name in tool.required else f"[{name}]" for name in tool.properties)
            first = tool.description.strip().splitlines()[0] if tool.description.strip() else ""
            table.add_row(escape(f"{tool.server}.{tool.original_name}"), escape(arguments), escape(first))
        out.print(table)
        for name, text in loader.errors.items():
            err.print(f"[red]{escape(name)}[/]: {escape(text.splitlines()[0])}")


def _server_of(name: str) -> str | None:
    for separator in (".", "__", "/"):
        server, found, _ = name.partition(separator)
        if found:
            return server
    return None


def _read_args(source: str | None) -> dict[str, Any]:
    if source is None:
        return {}
    if source == "-":
        text = sys.stdin.read()
    elif source.startswith("@"):
        try:
            text = Path(source[1:]).read_text(encoding="utf-8")
        except OSError as exc:
            raise UsageError(f"--args: {exc}") from None
    else:
        text = source
    try:
        value = json.loads(text)
    except ValueError as exc:
        raise UsageError(f"--args is no JSON: {exc}") from None
    if not isinstance(value, dict):
        raise UsageError("--args must be a JSON object")
    return value


@mcp.command()
def call(
    tool: str = typer.Argument(..., help="server.tool", autocompletion=_complete_tool),
    arguments: list[str] | None = typer.Argument(None, help="key=value; values are typed by the tool's schema."),
    args: str | None = typer.Option(None, "--args", help="A JSON object, @FILE, or - for standard input."),
    config: Path | None = ConfigOption,
    timeout: float | None = TimeoutOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """Call a tool."""
    _State.json = json_
    given = _read_args(args)
    pairs: dict[str, str] = {}
    for item in arguments or []:
        name, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"{item!r} is no key=value")
        pairs[name] = value
    settings = _config(config, yes)
    server = _server_of(tool)
    with _loaded(config, server if server in settings.servers else None, yes) as loader:
        for text in loader.errors.values():
            if server is not None and server in loader.errors:
                failure = loader._connections[server].failure if server in loader._connections else None
                raise failure or UsageError(text)
        one = loader.find(tool)
        given.update(one.coerce(pairs))
        progress = None
        if err.is_terminal and not json_:

            def progress(value: float, total: float | None, message: str | None) -> None:
                err.print(f"  {value:g}{f'/{total:g}' if total else ''} {escape(message or '')}", style="dim")

        result = loader.call(one, given, timeout=timeout, progress=progress)
        if json_:
            _print(result.to_json())
        else:
            text = str(result)
            (err if result.is_error else out).print(escape(text), soft_wrap=True)
            for kind, data in result.images:
                err.print(f"({kind}, {len(data)} bytes; --json shows it)", style="dim")
    raise typer.Exit(5 if result.is_error else 0)


@mcp.command()
def resources(
    config: Path | None = ConfigOption,
    server: str | None = ServerOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """Show resources."""
    _State.json = json_
    with _loaded(config, server, yes) as loader:
        found = loader.resources()
        if json_:
            _print({"resources": found})
            return
        table = Table("server", "uri", "name", "type")
        for name, entries in found.items():
            for entry in entries:
                table.add_row(
                    *(escape(str(v)) for v in (name, entry["uri"], entry.get("name", ""), entry.get("mimeType", "")))
                )
        out.print(table)


@mcp.command()
def read(
    server: str = typer.Argument(...),
    uri: str = typer.Argument(...),
    config: Path | None = ConfigOption,
    timeout: float | None = TimeoutOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """Read a resource."""
    _State.json = json_
    with _loaded(config, server, yes) as loader:
        contents = loader.read_resource(server, uri, timeout=timeout)
        if json_:
            _print({"contents": contents})
            return
        for block in contents:
            out.print(escape(block.get("text", f"({block.get('mimeType', 'binary')})")), soft_wrap=True)


@mcp.command()
def prompts(
    config: Path | None = ConfigOption,
    server: str | None = ServerOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """Show prompts."""
    _State.json = json_
    with _loaded(config, server, yes) as loader:
        found = loader.prompts()
        if json_:
            _print({"prompts": found})
            return
        table = Table("server", "prompt", "arguments", "what it is for")
        for name, entries in found.items():
            for entry in entries:
                arguments = " ".join(a["name"] for a in entry.get("arguments") or [])
                table.add_row(*(escape(str(v)) for v in (name, entry["name"], arguments, entry.get("description", ""))))
        out.print(table)


@mcp.command()
def ping(
    server: str = typer.Argument(...),
    config: Path | None = ConfigOption,
    timeout: float | None = TimeoutOption,
    json_: bool = JsonOption,
    yes: bool = YesOption,
) -> None:
    """How long a server takes to answer."""
    _State.json = json_
    with _loaded(config, server, yes) as loader:
        seconds = loader.ping(server, timeout=timeout)
        if json_:
            _print({"server": server, "seconds": seconds})
        else:
            out.print(f"{escape(server)}: {seconds * 1e3:.1f} ms")


@mcp.command()
def shell(config: Path | None = ConfigOption, yes: bool = YesOption) -> None:
    """Call tools one after the other on sessions that stay open: TOOL key=value ..., tools, servers, quit."""
    with _loaded(config, None, yes) as loader:
        _show_servers(loader)
        with contextlib.suppress(ImportError):
            import readline

            names = ["tools", "servers", "quit", *(f"{t.server}.{t.original_name}" for t in loader.tools.values())]
            readline.set_completer(lambda text, n: [*(x for x in names if x.startswith(text)), None][n])
            readline.parse_and_bind("tab: complete")
        while True:
            try:
                line = input("aionest> ").strip()
            except (EOFError, KeyboardInterrupt):
                return
            if not line:
                continue
            if line in ("quit", "exit"):
                return
            try:
                name, *pairs = shlex.split(line)
                if name == "servers":
                    _show_servers(loader)
                elif name == "tools":
                    for tool in loader.tools.values():
                        out.print(escape(f"{tool.server}.{tool.original_name}  {' '.join(tool.properties)}"))
                else:
                    tool = loader.find(name)
                    given = dict(pair.partition("=")[::2] for pair in pairs)
                    out.print(escape(str(loader.call(tool, tool.coerce(given)))), soft_wrap=True)
            except KeyboardInterrupt:
                err.print("cancelled")
            except (ToolsError, ValueError) as exc:
                err.print(f"[red]{escape(str(exc))}[/]")


# ---- the configuration


@config_app.command("show")
def config_show(config: Path | None = ConfigOption, json_: bool = JsonOption) -> None:
    """Show the servers of the configuration, without secrets."""
    _State.json = json_
    file = config or ToolsConfig.find()
    if file is None:
        raise UsageError("no configuration found: name one with --config")
    settings = ToolsConfig(file)
    public = {name: server.public() for name, server in settings.servers.items()}
    if json_:
        _print({"file": str(file), "servers": public, "errors": settings.get_errors()})
    else:
        out.print(escape(str(file)), style="bold")
        for name, values in public.items():
            target = (
                " ".join([values.get("command") or "", *(values.get("args") or [])]).strip() or values.get("url") or ""
            )
            out.print(f"  {escape(name)}: {escape(str(target))}", soft_wrap=True)
        for text in settings.get_errors():
            err.print(f"[red]{escape(text)}[/]", soft_wrap=True)
    raise typer.Exit(1 if settings.errors else 0)


@config_app.command("add", context_settings={"ignore_unknown_options": True})
def config_add(
    name: str = typer.Argument(...),
    target: list[str] = typer.Argument(..., help="A URL, or a command with its arguments (after --)."),
    env: list[str] | None = typer.Option(None, "--env", help="NAME=VALUE for a command's environment."),
    header: list[str] | None = typer.Option(None, "--header", help="NAME=VALUE for a URL's requests."),
    config: Path | None = ConfigOption,
) -> None:
    """Add or replace a server."""
    settings = ToolsConfig(config or ToolsConfig.find() or Path("mcp.yaml"), load=False)
    if settings.config_file is not None and settings.config_file.exists():
        settings.load()
    value: dict[str, Any] = {"url": target[0]} if "://" in target[0] else {"command": target[0], "args": target[1:]}
    for key, items in (("env", env), ("headers", header)):
        if items:
            value[key] = dict(item.partition("=")[::2] for item in items)
    if not settings.set(name, value) or not settings.save():
        raise UsageError("; ".join(settings.get_errors()) or "not saved")
    err.print(f"{escape(name)} is in {escape(str(settings.config_file))}")


@config_app.command("remove")
def config_remove(name: str = typer.Argument(...), config: Path | None = ConfigOption) -> None:
    """Take a server out."""
    settings = _config_file(config)
    if not settings.remove(name):
        raise UsageError(f"no server {name!r}; there are: {', '.join(settings.list()) or 'none'}")
    if not settings.save():
        raise UsageError("; ".join(settings.get_errors()) or "not saved")


@config_app.command("import")
def config_import(
    source: Path | None = typer.Argument(None, help="A host's file; without it, those of the known hosts."),
    config: Path | None = ConfigOption,
) -> None:
    """Take over servers from other hosts' files (Claude, Cursor, VS Code)."""
    settings = ToolsConfig(config or Path("mcp.yaml"), load=False)
    if settings.config_file is not None and settings.config_file.exists():
        settings.load()
    sources = (
        [source] if source is not None else [host.path for host in ToolsConfig.known_host_files() if host.path.exists()]
    )
    if not sources:
        raise UsageError("no file of a known host was found: name one")
    added = [name for one in sources for name in settings.import_from(one)]
    if added and not settings.save():
        raise UsageError("; ".join(settings.get_errors()) or "not saved")
    err.print(f"added {', '.join(added) or 'nothing'} to {settings.config_file}")


def _config_file(file: Path | None) -> ToolsConfig:
    found = file or ToolsConfig.find()
    if found is None or not Path(found).exists():
        raise UsageError("no configuration found: name one with --config")
    return ToolsConfig(found)


# ---- the rest


@app.command()
def doctor(json_: bool = JsonOption) -> None:
    """Versions, what is patched, and a self-test of the engine."""
    report = _doctor.report()
    if json_:
        _print(report)
    else:
        for key, value in report.items():
            out.print(f"[bold]{key}[/]: {escape(str(value))}")
    raise typer.Exit(0 if report["self-test"] == "ok" else 5)


@app.command()
def demo(json_: bool = JsonOption) -> None:
    """A session with a real server opened in one run, used in the next, left in a third: stock asyncio and aionest."""
    found = {}
    for mode, title in _demo.MODES.items():
        if json_:
            found[mode] = _demo.run(mode)
            continue
        with err.status(f"{title} ..."):
            found[mode] = _demo.run(mode)
    if json_:
        _print(found)
    else:
        table = Table("step", *_demo.MODES.values())
        for step in _demo.STEPS:
            cells = [found[mode][step] for mode in _demo.MODES]
            table.add_row(step, *(f"[{'green' if c['ok'] else 'red'}]{escape(c['detail'])}[/]" for c in cells))
        out.print(table)
    good = all(found[mode][step]["ok"] for mode in ("aionest", "threads") for step in _demo.STEPS)
    raise typer.Exit(0 if good else 5)


@app.command("app", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def app_(context: typer.Context, config: Path | None = ConfigOption) -> None:
    """Open the tools in a browser (Streamlit); other options go to ``streamlit run``.

    Only this machine can open it, unless --server.address says otherwise: who can open it can start programs.
    """
    import importlib.util

    if importlib.util.find_spec("streamlit") is None:
        raise UsageError('the app needs Streamlit: pip install "aionest[app]"')
    script = Path(__file__).parent.parent / "app" / "main.py"
    if config is not None:
        if not config.exists():
            raise UsageError(f"{config}: there is no such file")
        os.environ["MCP_FILE"] = str(config.resolve())
    options = list(context.args)
    for name, value in _APP_OPTIONS.items():
        variable = "STREAMLIT_" + re.sub(r"([A-Z])", r"_\1", name.replace(".", "_")).upper()
        if variable not in os.environ and not any(one.split("=")[0] == f"--{name}" for one in options):
            options.append(f"--{name}={value}")
    command = [sys.executable, "-m", "streamlit", "run", str(script), *options]
    os.execv(sys.executable, command)


# where Streamlit's own defaults do not suit a tool for the person at this machine
_APP_OPTIONS = {
    "server.address": "localhost",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "server.fileWatcherType": "none",
}


@app.callback(invoke_without_command=True)
def _options(version: bool = typer.Option(False, "--version", help="Show the version.")) -> None:
    if version:
        out.print(_doctor.version())
        raise typer.Exit


def _fail(code: str, message: str, server: str | None = None) -> None:
    if _State.json:
        sys.stderr.write(json.dumps({"error": {"code": code, "message": message, "server": server}}) + "\n")
    else:
        err.print(f"[red]error[/]: {escape(message)}", soft_wrap=True)


def run() -> None:
    """Run, and turn errors into messages and exit codes."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _State.json = "--json" in sys.argv
    try:
        code = app(standalone_mode=False)
    except ToolsError as exc:
        _fail(exc.code, str(exc), exc.server)
        code = exc.exit_code
    except KeyboardInterrupt:
        _fail("interrupted", "interrupted")
        code = 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - whoever reads us has gone: nothing more to say, nor to flush
        code = 141
    except Exception as exc:
        # click's own errors; newer versions of typer bring a click of their own, so they are told by what they can do
        if type(exc).__name__ == "Abort":
            _fail("interrupted", "interrupted")
            code = 130
        elif hasattr(exc, "format_message"):
            _fail("usage", exc.format_message())
            code = 1
        else:
            raise
    sys.exit(code if isinstance(code, int) else 0)
