"""``aionest mcp config``: look at a configuration and change it, with its comments and its order kept.

Contract: nothing is started. Secrets are not shown.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from . import _complete, lib, mcp
from .help import App
from .options import ConfigOption, JsonOption, ServerArgument, pairs
from .output import State, err, out, show_json, show_nothing
from .suggest import no_server

if TYPE_CHECKING:
    from collections.abc import Mapping

app = App(help="The configuration file.")
mcp.app.add_typer(app, name="config")
NEW = Path("mcp.yaml")  # what is made where there is none


@app.command(
    examples="""aionest mcp config show
        aionest mcp config show time"""
)
def show(
    server: str | None = typer.Argument(
        None, help="Only this one, with all its fields.", autocompletion=_complete.servers, metavar="SERVER"
    ),
    config: Path | None = ConfigOption,
    json_: bool = JsonOption,
) -> None:
    """Show the servers of the configuration, without secrets."""
    State.json = json_
    settings = _there(config)
    public = {name: one.public() for name, one in settings.servers.items()}
    errors = settings.get_errors()
    if server is not None:
        told = [error for error in settings.errors if error.server == server]
        if server not in public and not told:
            raise lib.UsageError(no_server(server, public), server=server)
        public, errors = {name: one for name, one in public.items() if name == server}, [str(error) for error in told]
    if json_:
        warnings = [str(warning) for warning in settings.warnings]
        show_json({"file": str(settings.config_file), "servers": public, "errors": errors, "warnings": warnings})
    else:
        out.print(escape(str(settings.config_file)), style="bold")
        for name, values in public.items():
            command = values["command"]
            target = " ".join([command, *values["args"]]).strip() if command else values["url"]
            _print_server(name, str(target), values, whole=server is not None)
        if not public and not errors:
            show_nothing("It has no servers. Add one: aionest mcp config add NAME -- COMMAND")
        for text in errors:
            err.print(f"[red]{escape(text)}[/]", soft_wrap=True)
        for warning in settings.warnings:
            err.print(f"[yellow]{escape(str(warning))}[/]", soft_wrap=True)
    raise typer.Exit(1 if errors else 0)


def _print_server(name: str, target: str, values: Mapping[str, object], whole: bool) -> None:
    notes = "".join(f" ({note})" for note in ("disabled", "required") if values[note])
    out.print(f"  {escape(name)}: {escape(target)}{notes}", soft_wrap=True)
    for key, value in values.items() if whole else ():
        if value not in (None, [], {}) and key not in ("name", "command", "args", "url"):
            out.print(f"    {key}: {escape(str(value))}", soft_wrap=True)


@app.command(
    context_settings={"ignore_unknown_options": True},
    examples="""aionest mcp config add time -- uvx mcp-server-time
        aionest mcp config add notes -- python -m aionest.examples.notes
        aionest mcp config add search https://search.example.com/mcp -H 'Authorization: Bearer ${TOKEN}'""",
)
def add(
    name: str = typer.Argument(..., metavar="NAME", help="What to call the server."),
    target: list[str] = typer.Argument(..., help="A URL, or -- and a command with its arguments.", metavar="TARGET"),
    env: list[str] | None = typer.Option(
        None, "--env", "-e", help="For a command's environment. (May be repeated.)", metavar="NAME=VALUE"
    ),
    header: list[str] | None = typer.Option(
        None,
        "--header",
        "-H",
        help="For requests to a URL; 'NAME: VALUE' works, too. (May be repeated.)",
        metavar="NAME=VALUE",
    ),
    kind: str | None = typer.Option(
        None, "--type", help="stdio, http or sse, if it cannot be inferred.", metavar="TYPE"
    ),
    cwd: str | None = typer.Option(None, "--cwd", help="Working directory of a command.", metavar="DIR"),
    env_file: str | None = typer.Option(None, "--env-file", help="File with variables for a command.", metavar="FILE"),
    oauth: bool = typer.Option(False, "--oauth", help="The URL requires a login (`aionest mcp login`)."),
    disabled: bool = typer.Option(False, "--disabled", help="Do not start it."),
    config: Path | None = ConfigOption,
    json_: bool = JsonOption,
) -> None:
    """Add or replace a server."""
    State.json = json_
    settings, accepted = _to_change(config)
    value: dict[str, object] = {"type": kind} if kind else {}
    value |= {"url": target[0]} if "://" in target[0] else {"command": target[0], "args": target[1:]}
    if "url" in value and len(target) > 1:
        raise lib.UsageError("a URL takes no arguments")
    if env:
        value["env"] = pairs(env, "NAME=VALUE")
    if header:
        value["headers"] = pairs(header, "NAME=VALUE or NAME: VALUE", headers=True)
    fields = {"cwd": cwd, "envFile": env_file, "auth": "oauth" if oauth else None, "disabled": disabled or None}
    value |= {key: one for key, one in fields.items() if one is not None}
    was = name in settings.raw
    before = len(settings.errors)
    if not settings.set(name, value):
        raise lib.UsageError("; ".join(settings.get_errors()[before:] or settings.get_errors()), server=name)
    _save(settings, accepted)
    if json_:
        show_json({"file": str(settings.config_file), "added": [] if was else [name], "changed": [name] if was else []})
    else:
        err.print(f"{escape(name)} was {'changed in' if was else 'added to'} {escape(str(settings.config_file))}")


@app.command(examples="aionest mcp config remove time")
def remove(
    name: str = ServerArgument,
    config: Path | None = ConfigOption,
    json_: bool = JsonOption,
) -> None:
    """Take a server out."""
    State.json = json_
    settings = _there(config)
    accepted = lib.Trust().is_trusted(settings)
    if not settings.remove(name):
        raise lib.UsageError(no_server(name, settings.raw), server=name)
    _save(settings, accepted)
    if json_:
        show_json({"file": str(settings.config_file), "removed": [name]})
    else:
        err.print(f"{escape(name)} was removed from {escape(str(settings.config_file))}")


@app.command(
    "import",
    examples="""aionest mcp config import
        aionest mcp config import ~/.codex/config.toml
        aionest mcp config import server.json""",
)
def import_(
    source: Path | None = typer.Argument(
        None, help="Another program's file. Default: those of all known programs.", metavar="FILE"
    ),
    config: Path | None = ConfigOption,
    json_: bool = JsonOption,
) -> None:
    """Take over servers from other hosts' files (Claude, Cursor, VS Code, Codex, Gemini, Zed and more) or from a server.json."""
    State.json = json_
    settings, accepted = _to_change(config)
    if source is not None and not source.exists():
        raise lib.UsageError(f"{source}: no such file")
    own = settings.config_file.resolve() if settings.config_file is not None else None
    sources, foreign = ([source], []) if source is not None else _host_files()
    sources = [one for one in sources if one.resolve() != own]
    left = [f"{one} was found in this folder and has not been accepted: name it to import it" for one in foreign]
    if not sources:
        raise lib.UsageError("; ".join(left) or "no other program's configuration was found: name a file")
    added = [name for one in sources for name in settings.import_from(one)]
    # what was wrong with them: the good ones are taken over
    errors, warnings = settings.get_errors(), [*(str(warning) for warning in settings.warnings), *left]
    if added:
        _save(settings, accepted)
    if json_:
        show_json({"file": str(settings.config_file), "added": added, "errors": errors, "warnings": warnings})
    else:
        err.print(f"added {escape(', '.join(added)) or 'nothing'} to {escape(str(settings.config_file))}")
        for text in [*errors, *warnings]:
            err.print(f"[yellow]{escape(text)}[/]", soft_wrap=True)


def _host_files() -> tuple[list[Path], list[Path]]:
    """The files of known hosts, and those that came with the folder: they are the person's own only if they say so."""
    found = [path for path in dict.fromkeys(host.path for host in lib.ToolsConfig.known_host_files()) if path.exists()]
    here = Path.cwd()
    came = [one for one in found if here in one.parents and here != Path.home()]
    foreign = [one for one in came if not lib.Trust().is_trusted(lib.ToolsConfig(one))]
    return [one for one in found if one not in foreign], foreign


def _save(settings: lib.ToolsConfig, accepted: bool) -> None:
    before = len(settings.errors)
    if not settings.save():
        raise lib.UsageError("; ".join(settings.get_errors()[before:]) or "not saved")
    if accepted:  # what the person has written themselves need not be accepted again
        with contextlib.suppress(OSError, ValueError):
            lib.Trust().accept(settings)


def _there(file: Path | None) -> lib.ToolsConfig:
    found = file or lib.ToolsConfig.find()
    if found is None:
        raise lib.UsageError("no configuration found: name one with --config")
    if not Path(found).exists():
        raise lib.UsageError(f"{found}: no such file")
    return lib.ToolsConfig(found)


def _to_change(file: Path | None) -> tuple[lib.ToolsConfig, bool]:
    """The configuration that is there, or a new one; and whether it was accepted as it is."""
    settings = lib.ToolsConfig(file or lib.ToolsConfig.find() or NEW, load=False)
    if settings.config_file is None or not settings.config_file.exists():
        return settings, True
    settings.load()
    return settings, lib.Trust().is_trusted(settings)
