"""``aionest``: its commands that are not about servers, and what turns errors into messages and exit codes.

Contract: each command does one thing and leaves nothing behind, also when interrupted or terminated. What needs the MCP SDK or
Streamlit is imported when its command runs, never for help, versions, the doctor or the demonstration.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape

from aionest._untrusted import for_terminal

from . import bare
from . import demo as _demo
from . import streamlit as _streamlit
from .help import App, Group
from .options import ConfigOption, JsonOption
from .output import State, err, error_text, is_told, out, show_json, show_traceback, write_json


class _Root(Group):
    """The group of all; ``mcp`` is filled when it is used."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is meant."""
        if args and args[0] == "mcp" and not self.commands["mcp"].commands:  # type: ignore[attr-defined]
            self.commands["mcp"] = _mcp()
        return super().resolve_command(ctx, args)


def _mcp() -> Any:
    from . import configuration, mcp, offers, servers, shell, tools

    assert servers and tools and offers and shell and configuration  # importing them has filled it
    found = typer.main.get_command(mcp.app)
    found.name = "mcp"
    found.commands = {name: found.commands[name] for name in mcp.ORDER}  # type: ignore[attr-defined]
    return found


app = App(_Root, name="aionest", help=bare.ABOUT)
app.add_typer(App(help=bare.COMMANDS["mcp"], add_completion=False), name="mcp")


@app.command(
    short_help=bare.COMMANDS["doctor"],
    examples="""aionest doctor
        aionest doctor --mcp --json""",
)
def doctor(
    mcp: bool = typer.Option(False, "--mcp", help="Look for each name of the MCP SDK that aionest relies on."),
    json_: bool = JsonOption,
) -> None:
    """Versions, loops, what is patched, and a self-test of the engine. Of an MCP SDK that aionest was not tested with also which
    names that it relies on are missing, and what happens without them."""
    State.json = json_
    raise typer.Exit(bare.tell_health(mcp, json_))


@app.command(
    short_help=bare.COMMANDS["demo"],
    examples="""aionest demo
        aionest demo --json""",
)
def demo(json_: bool = JsonOption) -> None:
    """What stock asyncio refuses and aionest does: nested runs, and an MCP session that is opened in one run, used in the next
    and left in a third."""
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
        for line in _demo.lines(found):
            out.print(line, markup=False, emoji=False, soft_wrap=True)
    raise typer.Exit(0 if _demo.is_good(found) else 5)


@app.command(
    "app",
    short_help=bare.COMMANDS["app"],
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    examples="""aionest app
        aionest app --config mcp.json --port 8600 --no-browser
        aionest app --theme.base dark""",
)
def app_(
    context: typer.Context,
    config: Path | None = ConfigOption,
    port: int | None = typer.Option(None, "--port", "-p", help="Port to listen on (8501).", metavar="PORT"),
    host: str | None = typer.Option(None, "--host", help="Address to listen on (localhost).", metavar="HOST"),
    browser: bool = typer.Option(True, "--browser/--no-browser", help="Open a browser, or only show the address."),
) -> None:
    """Open the tools in a browser (Streamlit); other options go to ``streamlit run``.

    Only this machine can open it, unless --host says otherwise: who can open it can start programs.
    """
    _streamlit.start(config, port, host, browser, context.args)


class _Formatter(logging.Formatter):
    """What libraries log of what servers have sent comes out as letters only."""

    def format(self, record: logging.LogRecord) -> str:
        return for_terminal(super().format(record))


@app.callback(invoke_without_command=True)
def _options(
    version: bool = typer.Option(False, "--version", help=bare.OPTIONS["--version"]),
    verbose: bool = typer.Option(False, "--verbose", "-v", help=bare.OPTIONS["-v, --verbose"]),
) -> None:
    State.verbose = verbose
    if verbose:
        handler = logging.StreamHandler()
        handler.setFormatter(_Formatter("%(asctime)s %(name)s: %(message)s"))
        logging.basicConfig(level=logging.DEBUG, handlers=[handler])
    else:
        logging.getLogger().addHandler(logging.NullHandler())  # errors are told, once
    if version:
        raise typer.Exit(bare.tell_version())


def _fail(code: str, message: str, server: str | None = None) -> None:
    if State.json:
        write_json({"error": {"code": code, "message": message, "server": server}}, sys.stderr)
    else:
        if code == "interrupted" and err.is_terminal:
            err.print()  # behind the ^C
        err.print(f"[red]error[/]: {escape(message)}", soft_wrap=True)


def run() -> None:
    """Run, and turn errors into messages and exit codes."""
    bare.prepare()
    State.json = "--json" in sys.argv
    try:
        code = app(standalone_mode=False)
        if code == 130:  # newer versions of typer take Ctrl-C themselves
            _fail("interrupted", "interrupted")
    except KeyboardInterrupt:
        _fail("interrupted", "interrupted")
        code = 130
    except Exception as exc:
        code = bare.nothing_more() if bare.nobody_reads(exc) else _told(exc)
    sys.exit(code if isinstance(code, int) else 0)


def _told(exc: BaseException) -> int:
    """Tell an error; the exit code."""
    if is_told(exc):
        _fail(exc.code, str(exc), exc.server)
        return int(exc.exit_code)
    # click's own errors; newer versions of typer bring a click of their own, so they are told by what they can do
    if type(exc).__name__ == "Abort":
        _fail("interrupted", "interrupted")
        return 130
    if type(exc).__name__ == "NoArgsIsHelpError":  # its message is the help, unless that was shown already
        if message := getattr(exc, "message", ""):
            sys.stdout.write(f"{message}\n")
        return 0
    if hasattr(exc, "format_message"):
        _fail("usage", exc.format_message())
        return 1
    if isinstance(exc, ImportError) and "pip install" in str(exc):  # what is missing, in a sentence
        _fail("usage", str(exc))
        return 1
    show_traceback(exc)
    _fail("error", error_text(exc))
    return 5
