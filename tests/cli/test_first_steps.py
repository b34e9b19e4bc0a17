"""The first things that a person types: help, versions, the doctor, the demonstration; with and without the extras."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import aionest

HEAVY = ("mcp", "streamlit", "aionest.mcp", "aionest.app")
needs_all = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("mcp", "typer", "rich")),
    reason="the extras are not there for this Python",
)


def run(*command, **more):
    options = {"capture_output": True, "text": True, "timeout": 110, "check": False, **more}
    return subprocess.run([str(part) for part in command], **options)


@needs_all
@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], ["doctor", "--json"], ["demo", "--help"], ["app", "--help"], ["mpc"]]
)
def test_nothing_heavy_is_imported_for_it(args):
    program = """if True:
        import sys
        from aionest.cli import main
        try:
            main()
        except SystemExit:
            pass
        print(*sys.modules, sep="\\n", file=sys.stderr)
    """
    r = run(sys.executable, "-c", program, *args)
    imported = set(r.stderr.split())
    assert "aionest.cli.root" in imported, r.stderr
    assert not imported & set(HEAVY)


@needs_all
def test_what_a_command_needs_is_imported():
    """A test of the test above."""
    program = "import sys; from aionest.cli import main\ntry: main()\nfinally: print('aionest.mcp' in sys.modules)"
    assert run(sys.executable, "-c", program, "mcp", "list", "--help").stdout.splitlines()[-1] == "True"


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
