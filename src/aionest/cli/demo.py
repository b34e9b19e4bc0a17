"""aionest demo: nested runs, and an MCP session opened in one run, used in the next and left in a third; stock and with aionest.

Contract: each mode runs in a process of its own with a real server; nothing of them stays. Without the MCP SDK the steps of the
session are left out, and that is said.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

MODES = {"stock": "stock asyncio", "aionest": "aionest.apply()", "threads": "apply(shared=True), a thread per step"}
NESTED = {"nest": "asyncio.run inside a running loop", "order": "three nested runs return as they end"}
SESSION = {"load": "open an MCP session in one run", "call": "use it in the next", "cleanup": "leave it in a third"}
NO_SDK = 'The steps with an MCP session are skipped because the MCP SDK is not installed: pip install "aionest[mcp]".'
_LIMIT = 60.0  # seconds for a mode


def steps() -> dict[str, str]:
    """The steps that can be shown here, by name."""
    return NESTED if importlib.util.find_spec("mcp") is None else {**NESTED, **SESSION}


def run(mode: str) -> dict[str, dict[str, object]]:
    """What became of each step in a mode: ``ok`` and ``detail`` by the step's name."""
    server = Path(__file__).with_name("_demo_server.py")
    command = [sys.executable, "-m", "aionest.cli._demo_flow", mode, str(server), *steps()]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        _kill(process)
        output, _ = process.communicate()
    except BaseException:
        _kill(process)
        process.wait()
        raise
    return outcomes(output, process.returncode == 0)


def outcomes(output: str, ended: bool) -> dict[str, dict[str, object]]:
    """What the flow has printed, by step; and of each step that is not in it, why.

    :param ended: the flow came to its end, so that no step is unfinished.
    """
    told = {entry.pop("step"): entry for entry in map(json.loads, output.splitlines())}
    missing = [step for step in steps() if step not in told]
    for step in missing:
        unfinished = step == missing[0] and not ended
        told[step] = {"ok": False, "detail": "did not finish" if unfinished else "was not reached"}
    return {step: told[step] for step in steps()}


def _kill(process: subprocess.Popen[str]) -> None:
    if sys.platform == "win32":
        process.kill()  # its server ends with it
    else:
        os.killpg(process.pid, signal.SIGKILL)


def is_good(found: dict[str, dict[str, dict[str, object]]]) -> bool:
    """Did all go well with aionest? What stock asyncio refuses is no fault."""
    return all(one["ok"] for mode in ("aionest", "threads") for one in found[mode].values())


def lines(found: dict[str, dict[str, dict[str, object]]]) -> list[str]:
    """What there is to be shown, in 80 columns: ok or fails for each step, and the reasons below."""
    titles = {"stock": "stock", "aionest": "aionest", "threads": "aionest, in threads"}
    known = steps()
    width = max(map(len, known.values())) + 2
    shown = ["".ljust(width) + "".join(title.ljust(10) for title in titles.values()).rstrip()]
    reasons = []
    for step, title in known.items():
        marks = ["ok" if found[mode][step]["ok"] else "fails" for mode in titles]
        shown.append(title.ljust(width) + "".join(mark.ljust(10) for mark in marks).rstrip())
        for mode, mark in zip(titles, marks):
            if mark != "ok":
                text = f"{titles[mode]}, {title}: {found[mode][step]['detail']}"
                reasons.append(textwrap.fill(text, 80, initial_indent="  ", subsequent_indent="    "))
    if reasons:
        shown += ["", "Why:", *reasons]
    shown += ["", *([NO_SDK] if known == NESTED else [])]
    works = "everything works" if is_good(found) else "something does not work here: run aionest doctor"
    return [*shown, f"With aionest.apply() {works}."]
