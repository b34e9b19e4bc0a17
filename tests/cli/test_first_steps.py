"""The first things that a person types: help, versions, the doctor, the demonstration; with and without the extras."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import support

import aionest
from aionest.cli import demo

pytestmark = pytest.mark.slow

METADATA = {"importlib.metadata", "email.message", "email.parser"}
PLAIN = {"json", "textwrap", "html", "shutil", "importlib.util"}
HEAVY = ("mcp", "streamlit", "aionest.mcp", "aionest.app")
needs_all = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("mcp", "typer", "rich")),
    reason="the extras are not there for this Python",
)


def run(*command, **more):
    options = {"capture_output": True, "text": True, "timeout": 110, "check": False, **more}
    return subprocess.run([str(part) for part in command], **options)


def modules(*program):
    """What a program has imported when it ends, besides what any program imports that imports aionest."""
    return _modules(*program) - _modules("import aionest")


@functools.lru_cache
def _modules(program, *args):
    r = run(sys.executable, "-c", LIST % program, *args)
    assert r.returncode == 0, r.stderr
    return frozenset(r.stderr.rpartition("MODULES")[2].split())


LIST = """if True:
    import sys
    try:
        exec(%r)
    except SystemExit:
        pass
    print("MODULES", *sys.modules, sep="\\n", file=sys.stderr)
"""
MAIN = "from aionest.cli import main; main()"
HELP = {"aionest.cli", "aionest.cli.bare", "aionest.cli.layout", "aionest._untrusted"}


@needs_all
@pytest.mark.parametrize(
    "args",
    [
        ["demo", "--help"],
        ["app", "--help"],
        ["mpc"],
        ["-v", "--version"],
        ["mcp"],
        ["mcp", "call", "--help"],
        ["mcp", "config", "ad"],
    ],
)
def test_nothing_heavy_is_imported_for_it(args):
    imported = modules(MAIN, *args)
    assert "aionest.cli.root" in imported
    assert not imported & set(HEAVY)


@pytest.mark.parametrize(
    ("args", "own", "others"),
    [
        ([], HELP, set()),
        (["--help"], HELP, set()),
        (["--version"], HELP | {"aionest.cli.doctor"}, METADATA),
        (["doctor"], HELP | {"aionest.cli.doctor"}, METADATA | {"platform"}),
        (["doctor", "--mcp", "--json"], HELP | {"aionest.cli.doctor"}, METADATA | {"platform"}),
    ],
)
def test_what_one_types_first_does_not_wait_for_libraries(args, own, others):
    imported = modules(MAIN, *args)
    assert {one for one in imported if one.startswith("aionest")} == own
    by_themselves = modules(f"import {', '.join(sorted(others | PLAIN))}")  # these, and what they import
    others_here = {one for one in imported - by_themselves if not one.startswith(("aionest", "importlib.metadata."))}
    assert not others_here


def test_the_modules_of_a_program_are_seen():
    """A test of those above."""
    assert "colorsys" in modules("import colorsys") and "colorsys" not in modules("pass")


@needs_all
@pytest.mark.parametrize("columns", ["40", "80", "115", "wide"])
def test_help_is_the_same_with_and_without_typer(columns, monkeypatch):
    """What ``bare`` prints at once is what the commands say of themselves."""
    monkeypatch.setenv("COLUMNS", columns)
    at_once = run(sys.executable, "-m", "aionest", "--help")
    by_typer = run(sys.executable, "-m", "aionest", "-v", "--help")
    assert at_once.returncode == by_typer.returncode == 0, by_typer.stderr
    assert at_once.stdout == by_typer.stdout and at_once.stdout == run(sys.executable, "-m", "aionest").stdout
    width = int(columns) if columns.isdigit() else 80
    assert max(map(len, at_once.stdout.splitlines())) <= width


def test_the_doctor_s_lines_are_as_long_as_they_are_where_nobody_looks():
    r = run(sys.executable, "-m", "aionest", "doctor")
    assert r.returncode == 0 and "\x1b" not in r.stdout
    assert not [line for line in r.stdout.splitlines() if line != line.rstrip()]


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
@pytest.mark.parametrize("columns", [60, 80])
def test_the_doctor_fits_the_terminal(columns):
    shown = on_a_terminal(columns, "doctor")
    plain = re.sub(r"\x1b\[\d*m", "", shown)
    assert re.search(r"^self-test +ok$", plain, re.M), plain
    # a path has no place to fold it at
    assert not [line for line in plain.splitlines() if len(line) > columns and not re.match(r"(engine)?\s+\S+$", line)]
    assert "\x1b[1maionest" in shown


def on_a_terminal(columns, *args):
    """What a command shows on a terminal."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-m", "aionest", *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**env, "TERM": "xterm"},
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux tells that nobody has the other side
            while more := os.read(ours, 65536):
                shown += more
        os.close(ours)
    assert process.returncode == 0, shown
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["doctor"]])
def test_nobody_reads_what_one_types_first(args):
    reader, writer = os.pipe()
    os.close(reader)
    r = subprocess.run([sys.executable, "-m", "aionest", *args], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert r.returncode == 141 and b"Error" not in r.stderr, r.stderr


def test_a_self_test_that_kills_its_process_leaves_what_was_seen(monkeypatch):
    from aionest.cli import doctor

    monkeypatch.setattr(doctor, "_TEST", "import os; sys.stderr.write('oh\\n'); sys.stderr.flush(); os.abort()")
    report = doctor.report()
    assert report["self-test"] == "oh" and report["unapply() undoes it"] == "yes"
    monkeypatch.setattr(doctor, "_TEST", "import os; os.abort()")
    assert re.fullmatch(r"it ended with exit code -?\d+", doctor.report()["self-test"])
    monkeypatch.setattr(doctor, "_LOOK", "raise ImportError('none')\n")
    report = doctor.report()
    assert "ImportError: none" in report["self-test"] and report["loops"].startswith("unknown")


def test_the_doctor_tells_what_the_sdk_lacks(monkeypatch):
    from aionest.cli import doctor

    lacks = {"SDK": "9: 1 of 2 names that aionest relies on are missing", "lacks mcp:Gone": "calls are slow"}
    monkeypatch.setattr(doctor, "_SURFACE", f"print({json.dumps(lacks)!r})")
    for version, asked, looked in [("9", False, True), ("1.24.0", False, False), ("1.24.0", True, True)]:
        monkeypatch.setattr(doctor, "_version_of", lambda name, version=version: version)
        names = doctor.report(asked)["mcp names"]
        assert names == lacks if looked else names["SDK"].startswith("1.24.0: tested"), names
    report = doctor.report(True)
    assert report["self-test"] == "ok"
    shown = dict(doctor.rows(report))["mcp names"]
    assert shown == "SDK 9: 1 of 2 names that aionest relies on are missing, lacks mcp:Gone (calls are slow)"
    monkeypatch.setattr(doctor, "_SURFACE", "raise ImportError('too old')")
    assert doctor.report(True)["mcp names"] == "ImportError: too old"
    monkeypatch.setattr(doctor, "_version_of", lambda name: None)
    assert "mcp names" not in doctor.report(True)


def test_a_shell_that_asks_how_a_line_goes_on_is_answered_by_typer():
    support.needs("typer")
    env = {**os.environ, "_AIONEST_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "aionest do"}
    program = "import sys; sys.argv[0] = 'aionest'; from aionest.cli import main; main()"
    r = run(sys.executable, "-c", program, env=env)
    assert "doctor" in r.stdout and "Usage" not in r.stdout


@needs_all
def test_what_a_command_needs_is_imported():
    """A test of the test above."""
    program = "import sys; from aionest.cli import main\ntry: main()\nfinally: print('aionest.mcp' in sys.modules)"
    assert run(sys.executable, "-c", program, "mcp", "list", "-c", "no-such-file").stdout.splitlines()[-1] == "True"


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """An environment that has aionest and greenlet, and nothing else: its python."""
    folder = tmp_path_factory.mktemp("bare")
    assert run(sys.executable, "-m", "venv", "--without-pip", folder).returncode == 0
    (site,) = folder.glob("lib/python*/site-packages")
    greenlet = importlib.util.find_spec("greenlet")
    here = Path(sysconfig.get_paths()["purelib"])
    packages = [Path(aionest.__file__).parent, Path(greenlet.origin).parent]
    for path in [*packages, *here.glob("aionest-*.dist-info"), *here.glob("greenlet-*.dist-info")]:
        (site / path.name).symlink_to(path)
    return folder / "bin" / "python"


def alone(python, *args):
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return run(python, "-m", "aionest", *args, env=env)


def test_without_extras_the_doctor_works_and_says_what_is_missing(bare):
    r = alone(bare, "doctor", "--json")
    report = json.loads(r.stdout)
    assert r.returncode == 0 and report["self-test"] == "ok" and report["mcp"] == "-"
    r = alone(bare, "doctor")
    assert r.returncode == 0 and "ok" in r.stdout.split()
    assert r.stderr.count("\n") == 1 and 'pip install "aionest[mcp]"' in r.stderr


@pytest.mark.parametrize(("options", "frozen"), [((), True), (("-X", "dev"), False)])
def test_the_end_does_not_look_for_garbage_among_what_was_imported(options, frozen):
    program = f"import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 0)); {MAIN}"
    r = run(sys.executable, *options, "-c", program, "--version")
    assert r.returncode == 0 and r.stdout.splitlines()[-1] == str(frozen), r


def test_without_extras_the_import_says_what_to_install(bare):
    r = run(bare, "-c", "import aionest.mcp", env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"})
    last = r.stderr.rstrip().splitlines()[-1]
    assert (
        r.returncode == 1 and last.startswith("ImportError: aionest.mcp needs") and 'pip install "aionest[mcp]"' in last
    )


def test_without_extras_the_demonstration_shows_nested_runs(bare):
    r = alone(bare, "demo")
    assert r.returncode == 0, r
    assert "everything works" in r.stdout and "cannot be called from a running event loop" in r.stdout
    assert 'pip install "aionest[mcp]"' in r.stdout


def test_without_extras_other_commands_say_what_to_install(bare):
    assert alone(bare, "--version").stdout.strip() not in ("", "not installed")
    for args in (["--help"], []):
        assert 'pip install "aionest[cli]"' in alone(bare, *args).stdout
    for args in (["mcp", "list"], ["app"], ["nonsense"]):
        r = alone(bare, *args)
        assert r.returncode == 1 and 'pip install "aionest[cli]"' in r.stderr and "Traceback" not in r.stderr
        assert json.loads(alone(bare, *args, "--json").stderr)["error"]["code"] == "usage"


@needs_all
def test_the_demonstration_fits_into_80_columns():
    r = run(sys.executable, "-m", "aionest", "demo")
    assert r.returncode == 0 and "leave it in a third" in r.stdout, r
    assert max(map(len, r.stdout.splitlines())) <= 80


ENDLESS = """if True:
    import asyncio, sys, time
    from aionest.cli import _demo_flow as flow

    async def deaf():
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

    async def work():
        work.task = asyncio.create_task(deaf())
        await asyncio.sleep(0)
        return "loaded"

    sys.argv = ["flow", "stock"]
    flow.END_LIMIT = 0.2
    flow.run("load", work())
    print("came back")
"""


def test_a_run_of_stock_asyncio_that_never_returns_does_not_hold_up_the_demonstration():
    r = run(sys.executable, "-c", ENDLESS)
    told = json.loads(r.stdout)
    assert r.returncode == 0, r
    assert (told["step"], told["ok"]) == ("load", False) and "never returned" in told["detail"]


def test_the_demonstration_tells_an_unfinished_step_from_those_after_it():
    first, second, *_ = steps = list(demo.steps())
    line = json.dumps({"step": first, "ok": True, "detail": ""}) + "\n"
    found = demo.outcomes(line, ended=False)
    assert list(found) == steps and found[first]["ok"]
    assert found[second] == {"ok": False, "detail": "did not finish"}
    assert demo.outcomes("", ended=False)[second]["detail"] == "was not reached"
    assert demo.outcomes(line, ended=True)[second]["detail"] == "was not reached"
