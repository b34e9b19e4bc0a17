"""aionest doctor: what is installed, which loops there are, what is patched, and whether the engine works here.

Contract: the looking and the self-test happen in a child process, so that nothing of them stays; what was seen is told before the
test, which may end it. Another child looks for the names of the MCP SDK that aionest relies on, which it has to import for that:
where that is asked for, and for a release that aionest was not tested with. Only the standard library is imported here, and metadata
while the children work. Imports that packages of this environment do at start (in .pth files or sitecustomize) are seen, as a child is
started as any program is.
"""

from __future__ import annotations

import json
import subprocess
import sys

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
print(json.dumps({"loaded at start": patched, "loops": before, "apply() patches": changed, "unapply() undoes it": back,
    "engine": _core.__file__, "free threading": bool(getattr(sys, "_is_gil_enabled", lambda: True)()) is False}), flush=True)
"""

# nested runs that begin as 3 1 2 and end as 1 2 3, since each waits for the one before it; a portal
_TEST = """
aionest.apply()
async def inner(n, turns):
    await turns[n].wait()
    await asyncio.sleep(0)
    turns[n + 1].set()
    return n
async def outer(n, turns):
    return asyncio.run(inner(n, turns))
async def main():
    order, turns = [], [asyncio.Event() for _ in range(5)]
    async def one(n):
        order.append(await outer(n, turns))
    turns[1].set()
    await asyncio.gather(one(3), one(1), one(2))
    assert order == [1, 2, 3], order
asyncio.run(main())
async def there():
    await asyncio.sleep(0)
    return 1
assert aionest.portal().call(there) == 1
print("ok")
"""

_PACKAGES = ("greenlet", "anyio", "mcp", "typer", "rich", "streamlit", "uvloop", "nest_asyncio", "langchain-core")
# what extras bring, the most basic first
_EXTRAS = (
    (("mcp",), "aionest.mcp", "mcp"),
    (("typer", "rich"), "The command line for MCP servers", "cli"),
    (("streamlit",), "`aionest app`", "app"),
)
_LIMIT = 60.0  # seconds
# releases of the MCP SDK, the first and the last of each line that the tests have found all names in
_TESTED = (((1, 24), (1, 30)), ((2, 0), (2, 3)))
_SURFACE = "import json; from aionest.mcp.sdk import report; print(json.dumps(report()))"


def version() -> str:
    """The installed version."""
    return _version_of("aionest") or "not installed"


def _version_of(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _begin(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it printed, and its errors; of one that does not come to an end, or to a bad one, that."""
    try:
        output, errors = process.communicate(timeout=_LIMIT)
        return output, errors if errors or not process.returncode else f"it ended with exit code {process.returncode}"
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "", f"it takes longer than {_LIMIT:.0f} s"


def _looked(output: str) -> dict[str, object]:
    try:
        seen: dict[str, object] = json.loads(output)
    except ValueError:
        return {"loops": "unknown: the engine does not start here"}
    seen["unapply() undoes it"] = "yes" if seen["unapply() undoes it"] else "no"
    seen["free threading"] = "yes" if seen["free threading"] else "no"
    return seen


def _surface(output: str, errors: str) -> dict[str, str] | str:
    """What the MCP loader relies on and the installed SDK lacks, with what that means."""
    try:
        found: dict[str, str] = json.loads(output)
        return found
    except ValueError:
        return errors.strip().rpartition("\n")[2]


def _is_tested(version: str) -> bool:
    release = tuple(int(part) if part.isdigit() else 0 for part in version.split(".")[:2])
    return any(first <= release <= last for first, last in _TESTED)


def report(mcp: bool = False) -> dict[str, object]:
    """What there is to know, by topic: texts, lists of names, and texts by name.

    :param mcp: look for each name of the MCP SDK's that is relied on, whatever its release; it takes a second to import.
    """
    running = [_begin(_LOOK + _TEST)]
    try:
        found = _packages()
        sdk = str(found["mcp"])
        if sdk != "-" and (mcp or not _is_tested(sdk)):
            running.append(_begin(_SURFACE))
        output, *more = [_end(process) for process in running]
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.communicate()
    seen, _, tested = output[0].partition("\n")
    found |= _looked(seen)
    if more:
        found["mcp names"] = _surface(*more[0])
    elif sdk != "-":
        found["mcp names"] = {
            "SDK": f"{sdk}: tested with aionest; `aionest doctor --mcp` looks for each name that it relies on"
        }
    found["self-test"] = "ok" if tested == "ok\n" else (output[1] or tested).strip()
    return found


def _packages() -> dict[str, object]:
    import platform

    return {
        "aionest": version(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        **{name: _version_of(name) or "-" for name in _PACKAGES},
    }


def rows(report: dict[str, object]) -> list[tuple[str, str]]:
    """A report as texts."""
    shown = []
    for key, value in report.items():
        if isinstance(value, dict):
            parts = [f"{name} ({one})" if name.startswith("lacks ") else f"{name} {one}" for name, one in value.items()]
            value = ", ".join(parts) or "-"
        elif isinstance(value, list):
            value = ", ".join(value) or "-"
        shown.append((key, str(value)))
    return shown


def advice(report: dict[str, object]) -> list[str]:
    """What is missing: a sentence each."""
    lines = []
    missing = next((one for one in _EXTRAS if any(report[name] == "-" for name in one[0])), None)
    if missing is not None:
        names, what, extra = missing
        absent = ", ".join(name for name in names if report[name] == "-")
        lines.append(f'{what} needs packages that are not installed ({absent}): pip install "aionest[{extra}]".')
    return lines
