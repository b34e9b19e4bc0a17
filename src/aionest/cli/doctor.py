"""aionest doctor: what is installed, what is patched, and whether the engine works here.

Contract: the self-test runs in a child process, so that nothing of it stays.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib import metadata
from typing import Any

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


def version() -> str:
    """The installed version."""
    try:
        return metadata.version("aionest")
    except metadata.PackageNotFoundError:
        return "not installed"


def report() -> dict[str, Any]:
    """What there is to know, as text by topic."""
    found: dict[str, Any] = {
        "aionest": version(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }
    for name in ("greenlet", "anyio", "mcp", "streamlit", "uvloop", "nest_asyncio", "langchain-core"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "-"
    result = subprocess.run([sys.executable, "-c", _TEST], capture_output=True, text=True, timeout=60, check=False)
    found["self-test"] = (
        "ok" if result.stdout == "ok\n" and result.returncode == 0 else (result.stderr or result.stdout).strip()
    )
    return found
