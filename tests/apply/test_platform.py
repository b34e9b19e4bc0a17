"""Interpreters that cannot run aionest are told so by one sentence at import."""

from __future__ import annotations

import pytest

PROGRAM = """
import sys
{setup}
try:
    import aionest
except ImportError as exc:
    print(exc)
assert "aionest._core" not in sys.modules
"""

CASES = {
    "sys.implementation.name = 'pypy'": "aionest needs CPython: it suspends C stacks, and pypy has none to switch",
    "sys.platform = 'emscripten'": "aionest does not work on WebAssembly (Pyodide): it suspends C stacks, which cannot be "
    "switched there",
    "sys.version = '3.14.0 free-threading build (main)'": "aionest does not work on free-threaded CPython yet, not with the GIL on "
    "either: use the ordinary build of this version",
}


@pytest.mark.parametrize("setup", CASES)
def test_import_says_what_is_missing(child, setup):
    done = child(PROGRAM.format(setup=setup))
    assert (done.stdout, done.stderr) == (CASES[setup] + "\n", "")
