"""``aionest`` without typer and rich: its help, the version and the doctor, and where these are not installed also the demonstration.

Contract: only the standard library, and of that what asyncio imports anyway, but for ``importlib.metadata`` where versions are told.
Without extras or with them the same is printed, by the whole command line, too; but help names the commands that are here.
"""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import sys
import threading

from aionest._untrusted import for_terminal

from . import layout

ABOUT = "Nested asyncio, and MCP tools from the command line."
COMMANDS = {
    "doctor": "Versions, loops, what is patched, and a self-test of the engine.",
    "demo": "What stock asyncio refuses and aionest does: nested runs, and an MCP session that is opened in one run, used in the "
    "next and left in a third.",
    "app": "Open the tools in a browser (Streamlit); other options go to `streamlit run`.",
    "mcp": "MCP servers: their tools, resources and prompts.",
}
OPTIONS = {
    "--version": "Show the version.",
    "-v, --verbose": "Show what servers and libraries log, on standard error.",
    "--install-completion": "Install completion for the current shell.",
    "--show-completion": "Show completion for the current shell, to copy it or customize the installation.",
    "--help": "Show this message and exit.",
}
MISSING = 'The commands for MCP servers and the app are not installed: pip install "aionest[cli]", or "aionest[app]".'
_JSON = "One JSON document on standard output."
_HERE = ("doctor", "demo")  # without extras


def can(words: list[str]) -> bool:
    """Is it all here, whatever else is installed?"""
    if any(name.startswith("_") and name.endswith("_COMPLETE") for name in os.environ):
        return False  # a shell asks how a line goes on
    return words in ([], ["--help"], ["--version"]) or (words[0] == "doctor" and {*words[1:]} <= {"--mcp", "--json"})


def run(extras: bool) -> None:
    """Run and exit.

    :param extras: typer and rich are here.
    """
    prepare()
    words = [word for word in sys.argv[1:] if word != "--json"]
    as_json = "--json" in sys.argv
    try:
        code = _run(words, as_json, extras)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
        _fail("interrupted", "interrupted", as_json)
    except OSError as exc:
        if not nobody_reads(exc):
            raise
        code = nothing_more()
    sys.exit(code)


def prepare() -> None:
    """For any command: what ends it, and what its output can take."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # as standard error: what cannot be encoded is no reason to fail


def nobody_reads(exc: BaseException) -> bool:
    """Has whoever reads our output gone? Windows calls a pipe that nobody reads an invalid argument."""
    if isinstance(exc, BrokenPipeError):
        return True
    return sys.platform == "win32" and type(exc) is OSError and exc.errno == errno.EINVAL and exc.filename is None


def nothing_more() -> int:
    """Nobody reads: nothing more is said, nor flushed; the exit code."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
    return 141


def tell_version() -> int:
    """The version on a line; the exit code."""
    from . import doctor

    print(doctor.version())
    return 0


def tell_health(mcp: bool, as_json: bool) -> int:
    """What the doctor finds; the exit code."""
    from . import doctor

    report = doctor.report(mcp)
    if as_json:
        print(json.dumps(report))
    else:
        rows = [(key, for_terminal(value)) for key, value in doctor.rows(report)]
        print(*layout.pairs(rows), sep="\n", flush=True)
        for line in doctor.advice(report):
            print(line, file=sys.stderr)
    return 0 if report["self-test"] == "ok" else 5


def _help(extras: bool) -> str:
    program = "python -m aionest" if os.path.basename(sys.argv[0]) == "__main__.py" else "aionest"
    if extras:
        return layout.page(program, ABOUT, [*COMMANDS.items()], [], [*OPTIONS.items()])
    commands = [(name, COMMANDS[name]) for name in _HERE]
    options = [("--json", _JSON), *((name, OPTIONS[name]) for name in ("--version", "--help"))]
    return layout.page(program, ABOUT, commands, [], options) + "\n" + MISSING + "\n"


def _run(words: list[str], as_json: bool, extras: bool) -> int:
    if "--help" in words or not words:
        sys.stdout.write(_help(extras))
        return 0
    if words == ["--version"]:
        return tell_version()
    if words[0] == "doctor" and {*words[1:]} <= {"--mcp"}:
        return tell_health("--mcp" in words, as_json)
    if words == ["demo"]:
        from . import demo

        found = {mode: demo.run(mode) for mode in demo.MODES}
        print(json.dumps(found) if as_json else "\n".join(demo.lines(found)))
        return 0 if demo.is_good(found) else 5
    if words[0] in _HERE:
        _fail("usage", f"{words[0]}: no such option: {' '.join(words[1:])}", as_json)
    elif words[0] in COMMANDS:
        _fail("usage", MISSING, as_json)
    else:
        _fail("usage", f"no command {words[0]!r}; there are: {', '.join(_HERE)}. {MISSING}", as_json)
    return 1


def _fail(code: str, message: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": {"code": code, "message": message, "server": None}}), file=sys.stderr)
    else:
        print(f"error: {message}", file=sys.stderr)
