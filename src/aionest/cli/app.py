"""The commands that are not about servers, and what turns errors into messages and exit codes.

Contract: each command does one thing and leaves nothing behind, also when interrupted or terminated.
"""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from aionest.mcp import ToolsError, UsageError

from . import configuration, servers, shell
from . import demo as _demo
from . import doctor as _doctor
from ._common import ConfigOption, JsonOption, State, err, error_text, out, show_json, show_traceback, write_json

app = typer.Typer(
    name="aionest",
    help="Nested asyncio, and MCP tools from the command line.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they would show local variables
)
app.add_typer(servers.app, name="mcp")
servers.app.add_typer(configuration.app, name="config")
assert shell.shell is not None  # importing it has added it


@app.command()
def doctor(json_: bool = JsonOption) -> None:
    """Versions, loops, what is patched, and a self-test of the engine."""
    State.json = json_
    report = _doctor.report()
    if json_:
        show_json(report)
    else:
        _show_report(report)
    raise typer.Exit(0 if report["self-test"] == "ok" else 5)


def _show_report(report: dict[str, Any]) -> None:
    table = Table.grid(padding=(0, 2))
    for key, value in report.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {one}" for name, one in value.items()) or "-"
        elif isinstance(value, list):
            value = ", ".join(value) or "-"
        style = "green" if value == "ok" else ""
        table.add_row(f"[bold]{key}[/]", f"[{style}]{escape(str(value))}[/]" if style else escape(str(value)))
    out.print(table)


@app.command()
def demo(json_: bool = JsonOption) -> None:
    """A session with a real server opened in one run, used in the next, left in a third: stock asyncio and aionest."""
    State.json = json_
    found = {}
    for mode, title in _demo.MODES.items():
        if json_:
            found[mode] = _demo.run(mode)
            continue
        with err.status(f"{title} ..."):
            found[mode] = _demo.run(mode)
    if json_:
        show_json(found)
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
def _options(
    version: bool = typer.Option(False, "--version", help="Show the version."),
    verbose: bool = typer.Option(
        False, "--verbose", "-v", help="Show what servers and libraries log, on standard error."
    ),
) -> None:
    State.verbose = verbose
    if verbose:
        logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(name)s: %(message)s")
    else:
        logging.getLogger().addHandler(logging.NullHandler())  # errors are told, once
    if version:
        out.print(_doctor.version())
        raise typer.Exit


def _fail(code: str, message: str, server: str | None = None) -> None:
    if State.json:
        write_json({"error": {"code": code, "message": message, "server": server}}, sys.stderr)
    else:
        if code == "interrupted" and err.is_terminal:
            err.print()  # behind the ^C
        err.print(f"[red]error[/]: {escape(message)}", soft_wrap=True)


def run() -> None:
    """Run, and turn errors into messages and exit codes."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # as standard error: what cannot be encoded is no reason to fail
    State.json = "--json" in sys.argv
    try:
        code = app(standalone_mode=False)
        if code == 130:  # newer versions of typer take Ctrl-C themselves
            _fail("interrupted", "interrupted")
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
        elif type(exc).__name__ == "NoArgsIsHelpError":  # its message is the help, unless that was shown already
            if message := getattr(exc, "message", ""):
                sys.stdout.write(f"{message}\n")
            code = 0
        elif hasattr(exc, "format_message"):
            _fail("usage", exc.format_message())
            code = 1
        else:
            show_traceback(exc)
            _fail("error", error_text(exc))
            code = ToolsError.exit_code
    sys.exit(code if isinstance(code, int) else 0)
