"""A build that cannot succeed says in one sentence what is missing; one that might is left to meson."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import support

support.needs("mesonpy")
TOOLS = Path(__file__).parent.parent.parent / "tools"

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import backend
mesonpy = backend.mesonpy
{setup}
{call}
print("left to meson")
"""

NO_COMPILER = "aionest: there is no wheel for this system and Python, and no C compiler (cc, gcc, clang) to make one: "
WHEEL = "backend.build_wheel('.')"


def outcome(
    call=WHEEL, setup="mesonpy.build_wheel = mesonpy.get_requires_for_build_wheel = lambda *args: []", path="", **env
):
    program = PROGRAM.format(setup=setup, call=call)
    return subprocess.run(
        [sys.executable, "-c", program, str(TOOLS)],
        env={"PATH": path, **env},
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.parametrize(
    "call", [WHEEL, "backend.get_requires_for_build_wheel()", "backend.build_sdist('.')", "backend.build_editable('.')"]
)
def test_without_a_compiler(call):
    done = outcome(call)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(NO_COMPILER) and done.stderr.count("\n") == 1


def test_on_another_python():
    done = outcome(setup="sys.implementation.name = 'pypy'", path=os.environ["PATH"])
    assert done.returncode == 1
    assert done.stderr == (
        "aionest: CPython 3.10 to 3.15 is needed, and this is pypy: it has no C stacks that could be switched.\n"
    )


@pytest.mark.parametrize("error", ["SystemExit(1)", "RuntimeError('meson')"])
def test_headers_are_missed_after_meson_has_failed(tmp_path, error):
    setup = f"""
def fails(*args):
    raise {error}
mesonpy.build_wheel = fails
backend.sysconfig.get_path = lambda name: {str(tmp_path)!r}
"""
    done = outcome(setup=setup, path=os.environ["PATH"])
    assert done.returncode == 1
    assert done.stderr == (
        f"aionest: Python's headers are missing ({tmp_path / 'Python.h'}): install them (Debian: apt-get install python3-dev).\n"
    )


def test_a_failure_of_another_kind_is_meson_s():
    done = outcome(setup="def fails(*args): raise SystemExit(7)\nmesonpy.build_wheel = fails", path=os.environ["PATH"])
    assert (done.returncode, done.stderr) == (7, "")


@pytest.mark.parametrize(
    ("call", "env"),
    [(WHEEL, {"CC": "somewhere"}), ("backend.build_wheel('.', {'setup-args': '--cross-file=there.ini'})", {})],
)
def test_a_compiler_that_meson_is_told_of_is_not_looked_for(call, env):
    assert outcome(call, **env).stdout == "left to meson\n"
