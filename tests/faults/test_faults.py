"""Every error path: each call of CPython's that the engine makes fails once, in programs of all kinds (see programs.py)."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aionest import _core

if not hasattr(_core, "_fault"):
    pytest.skip("not a build with -Dfaults=true (make asan makes one)", allow_module_level=True)

PROGRAMS = ["plain", "nested", "crossing", "awaits", "cancels", "guests", "forever", "streams", "stopped", "callbacks"]
INTERRUPTED = ["nested", "cancels", "guests", "stopped"]
ON_UVLOOP = ["plain", "nested", "crossing", "awaits", "cancels", "guests", "streams", "stopped", "callbacks"]
# not "guests": a loop of uvloop's inside another one stays in memory if KeyboardInterrupt ends it
INTERRUPTED_ON_UVLOOP = ["nested", "cancels", "stopped", "callbacks"]


@pytest.mark.parametrize(
    ("program", "exception", "loops"),
    [
        *((one, "MemoryError", "asyncio") for one in PROGRAMS),
        *((one, "KeyboardInterrupt", "asyncio") for one in INTERRUPTED),
        *((one, "MemoryError", "uvloop") for one in ON_UVLOOP if importlib.util.find_spec("uvloop")),
        *((one, "KeyboardInterrupt", "uvloop") for one in INTERRUPTED_ON_UVLOOP if importlib.util.find_spec("uvloop")),
    ],
)
def test_each_call_fails_once(program, exception, loops):
    script = Path(__file__).with_name("programs.py")
    r = subprocess.run(
        [sys.executable, str(script), program, exception, loops],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env={**os.environ, "AN_FAULTS_TRACE": "1"},
    )
    assert (r.returncode, r.stdout) == (0, "fine\n"), (r.stdout, r.stderr[-3000:])
