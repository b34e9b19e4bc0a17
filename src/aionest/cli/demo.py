"""aionest demo: an MCP session opened in one run, used in the next and left in a third, stock and with aionest.

Contract: each mode runs in a process of its own with a real server; nothing of them stays.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

MODES = {"stock": "stock asyncio", "aionest": "aionest.apply()", "threads": "apply(shared=True), a thread per step"}
STEPS = ("load", "call", "cleanup")
_LIMIT = 40.0  # seconds for a mode


def run(mode: str) -> dict[str, dict[str, Any]]:
    """What became of each step in a mode: ``ok`` and ``detail`` by the step's name."""
    server = Path(__file__).with_name("_demo_server.py")
    command = [sys.executable, "-m", "aionest.cli._demo_flow", mode, str(server)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    found = {step: {"ok": False, "detail": "did not come to an end"} for step in STEPS}
    for line in output.splitlines():
        entry = json.loads(line)
        found[entry.pop("step")] = entry
    return found
