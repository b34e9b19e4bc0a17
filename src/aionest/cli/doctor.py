"""aionest doctor: what is installed, which loops there are, what is patched, and whether the engine works here.

Contract: the looking and the self-test happen in child processes, so that nothing of them stays. Imports that packages of this
environment do at start (in .pth files or sitecustomize) are seen, as the child is started as any program is.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib import metadata
from typing import Any

_LOOK = """
import asyncio, json, sys
patched = [name for name in ("nest_asyncio", "nest_asyncio2", "gevent", "eventlet", "uvloop", "aionest") if name in sys.modules]
policy = getattr(asyncio.events, "_get_event_loop_policy", asyncio.get_event_loop_policy)()
before = {"policy": type(policy).__name__, "loop": type(asyncio.new_event_loop()).__name__}
import aionest
from aionest import _core
places = {"asyncio.run": (asyncio, "run"), "asyncio.Runner": (asyncio, "Runner"), "BaseEventLoop.run_forever":
    (asyncio.base_events.BaseEventLoop, "run_forever"), "BaseEventLoop.run_until_complete":
    (asyncio.base_events.BaseEventLoop, "run_until_complete"), "BaseEventLoop._run_once":
    (asyncio.base_events.BaseEventLoop, "_run_once"), "BaseEventLoop.call_soon": (asyncio.base_events.BaseEventLoop, "call_soon"),
    "BaseEventLoop.close": (asyncio.base_events.BaseEventLoop, "close")}
places = {name: place for name, place in places.items() if hasattr(*place)}  # there is no Runner before 3.11
stock = {name: getattr(*place) for name, place in places.items()}
aionest.apply()
changed = [name for name, place in places.items() if getattr(*place) is not stock[name]]
aionest.unapply()
back = all(getattr(*place) is stock[name] for name, place in places.items())
print(json.dumps({"loaded at start": patched, "loops": before, "apply() patches": changed, "unapply() takes it back": back,
    "engine": _core.__file__, "free threading": bool(getattr(sys, "_is_gil_enabled", lambda: True)()) is False}))
"""

_TEST = """
import asyncio, aionest
aionest.apply()
async def inner(n):
    await asyncio.sleep(n / 100)
    return n
async def outer(n):
    return asyncio.run(inner(n))
async def main():
    order = []
    async def one(n):
        order.append(await outer(n))
    await asyncio.gather(one(3), one(1), one(2))
    assert order == [1, 2, 3], order
asyncio.run(main())
assert aionest.portal().call(inner, 1) == 1
print("ok")
"""

_SURFACE = "import json; from aionest.mcp.sdk import report; print(json.dumps(report()))"


def version() -> str:
    """The installed version."""
    try:
        return metadata.version("aionest")
    except metadata.PackageNotFoundError:
        return "not installed"


def _looked() -> dict[str, Any]:
    try:
        result = subprocess.run([sys.executable, "-c", _LOOK], capture_output=True, text=True, timeout=60, check=False)
        seen: dict[str, Any] = json.loads(result.stdout)
    except (ValueError, subprocess.TimeoutExpired):
        return {"loops": "cannot be told: the engine does not start here"}
    seen["unapply() takes it back"] = "yes" if seen["unapply() takes it back"] else "no"
    seen["free threading"] = "yes" if seen["free threading"] else "no"
    return seen


def _surface() -> dict[str, str] | str:
    """What the MCP loader relies on and the installed SDK lacks, with what that means."""
    try:
        result = subprocess.run(
            [sys.executable, "-c", _SURFACE], capture_output=True, text=True, timeout=60, check=False
        )
        found: dict[str, str] = json.loads(result.stdout)
        return found
    except subprocess.TimeoutExpired:
        return "cannot be told: the import takes too long"
    except ValueError:
        return result.stderr.strip().rpartition("\n")[2]


def report() -> dict[str, Any]:
    """What there is to know, by topic: texts, lists of names, and texts by name."""
    found: dict[str, Any] = {
        "aionest": version(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    for name in ("greenlet", "anyio", "mcp", "streamlit", "uvloop", "nest_asyncio", "langchain-core"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "-"
    found |= _looked()
    if found["mcp"] != "-":
        found["mcp names"] = _surface()
    result = subprocess.run([sys.executable, "-c", _TEST], capture_output=True, text=True, timeout=60, check=False)
    found["self-test"] = (
        "ok" if result.stdout == "ok\n" and result.returncode == 0 else (result.stderr or result.stdout).strip()
    )
    return found
