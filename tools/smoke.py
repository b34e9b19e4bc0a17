"""Does the installed aionest work? Nested runs, the portal, what the package must have. For wheels: no source of ours on the path."""

from __future__ import annotations

import asyncio
import importlib.resources
import sys
from importlib.metadata import version

import aionest

aionest.apply()


async def inner(x):
    await asyncio.sleep(0)
    return x


async def main():
    return asyncio.run(inner(40)) + aionest.await_(inner(2))


assert asyncio.run(main()) == 42
with aionest.portal() as portal:
    assert portal.call(inner, 3) == 3
aionest.unapply()
assert aionest.__version__ == version("aionest")
files = importlib.resources.files("aionest")
assert all(
    (files / name).is_file() for name in ("py.typed", "_core.pyi", "mcp/loader.py", "app/main.py", "cli/root.py")
)
extra = {"anyio", "mcp", "pydantic", "streamlit", "typer", "rich"} & set(sys.modules)
assert not extra, extra
print("aionest", aionest.__version__, "works on", sys.version.split()[0], sys.platform)
