"""Every error path: each call of CPython's that the engine makes fails once, in programs of all kinds (see programs.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aionest import _core

if not hasattr(_core, "_fault"):
    pytest.skip("not a build with -Dfaults=true (make asan makes one)", allow_module_level=True)

PROGRAMS = ["plain", "nested", "crossing", "awaits", "cancels", "guests", "forever", "streams", "stopped"]


INTERRUPTED = ["nested", "cancels", "guests", "stopped"]


@pytest.mark.parametrize(
    ("program", "exception"),
    [*((one, "MemoryError") for one in PROGRAMS), *((one, "KeyboardInterrupt") for one in INTERRUPTED)],
)
def test_each_call_fails_once(program, exception):
    script = Path(__file__).with_name("programs.py")
    r = subprocess.run(
        [sys.executable, str(script), program, exception],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env={**os.environ, "AN_FAULTS_TRACE": "1"},
    )
    assert (r.returncode, r.stdout) == (0, "fine\n"), (r.stdout, r.stderr[-3000:])
