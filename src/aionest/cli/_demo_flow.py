"""The flow that ``aionest demo`` shows: a session opened, used and left in three runs. One JSON line per step.

Usage: _demo_flow.py stock|aionest|threads SERVER

Contract: run as a script in a process of its own; what is applied is the only difference between the modes. ``threads``
makes each step in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


class Loader:
    """As it is found in applications: it knows nothing of what is applied."""

    def load(self) -> str:
        return asyncio.run(asyncio.wait_for(self._load(), 10))

    def call(self) -> str:
        return asyncio.run(asyncio.wait_for(self._call(), 10))

    def cleanup(self) -> str:
        return asyncio.run(asyncio.wait_for(self._cleanup(), 10))

    async def _load(self) -> str:
        self.stack = contextlib.AsyncExitStack()
        server = StdioServerParameters(command=sys.executable, args=[sys.argv[2]])
        streams = await self.stack.enter_async_context(stdio_client(server))
        self.session = await self.stack.enter_async_context(ClientSession(*streams))
        await self.session.initialize()
        return ", ".join(tool.name for tool in (await self.session.list_tools()).tools)

    async def _call(self) -> str:
        content: Any = (await self.session.call_tool("upper", {"text": "still open"})).content[0]
        return str(content.text)

    async def _cleanup(self) -> str:
        await self.stack.aclose()
        return "left"


def step(function: Callable[[], str]) -> None:
    """Print what became of it."""
    try:
        found: dict[str, Any] = {"ok": True, "detail": function()}
    except BaseException as exc:
        found = {"ok": False, "detail": f"{type(exc).__name__}: {exc}".rstrip(": ")}
    print(json.dumps({"step": function.__name__, **found}), flush=True)


def main() -> None:
    """Run the three steps."""
    mode = sys.argv[1]
    logging.disable()
    if mode != "stock":
        import aionest

        aionest.apply(shared=mode == "threads")
    loader = Loader()
    for function in (loader.load, loader.call, loader.cleanup):
        if mode == "threads":
            thread = threading.Thread(target=step, args=(function,))
            thread.start()
            thread.join()
        else:
            step(function)
    if mode == "stock":
        os._exit(0)  # what stock asyncio leaves behind is not to speak at the end


if __name__ == "__main__":
    main()
