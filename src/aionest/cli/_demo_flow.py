"""The flow that ``aionest demo`` shows: nested runs; a session opened, used and left in three runs. One JSON line per step.

Usage: _demo_flow.py stock|aionest|threads SERVER STEP...

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
from collections.abc import Callable, Coroutine

LIMIT = 30  # seconds for a step: a server's Python may be slow to start
END_LIMIT = 5  # seconds that stock asyncio's run may take to return when its coroutine has ended


def nest() -> str:
    """A run within a run."""

    async def main() -> str:
        return asyncio.run(asyncio.sleep(0.01, "nested"))

    return asyncio.run(asyncio.wait_for(main(), LIMIT))


def order() -> str:
    """Each nested run returns when its own work is done, whichever began first."""
    order: list[float] = []

    async def one(delay: float) -> None:
        asyncio.run(asyncio.sleep(delay))
        order.append(delay)

    async def main() -> None:
        await asyncio.gather(one(0.3), one(0.1), one(0.2))

    asyncio.run(asyncio.wait_for(main(), LIMIT))
    assert order == [0.1, 0.2, 0.3], f"they returned as {order}"
    return "as they end"


def run(name: str, work: Coroutine[object, object, str]) -> str:
    """A step in an ``asyncio.run`` of its own.

    Stock asyncio's may never return: at its end it cancels what the SDK has left running, and waits for it. Then the process
    reports that and ends.
    """
    watch = threading.Timer(END_LIMIT, _give_up, [name])
    watch.daemon = True

    async def main() -> str:
        try:
            return await asyncio.wait_for(work, LIMIT)
        finally:
            if sys.argv[1] == "stock":
                watch.start()

    try:
        return asyncio.run(main())
    finally:
        watch.cancel()


def _give_up(name: str) -> None:
    report(name, False, "asyncio.run never returned: it waits for tasks that do not end when they are cancelled")
    os._exit(0)


class Loader:
    """As it is found in applications: it knows nothing of what is applied."""

    def load(self) -> str:
        return run("load", self._load())

    def call(self) -> str:
        return run("call", self._call())

    def cleanup(self) -> str:
        return run("cleanup", self._cleanup())

    async def _load(self) -> str:
        from mcp import ClientSession, StdioServerParameters
        from mcp.client.stdio import stdio_client

        self.stack = contextlib.AsyncExitStack()
        server = StdioServerParameters(command=sys.executable, args=[sys.argv[2]])
        streams = await self.stack.enter_async_context(stdio_client(server))
        self.session = await self.stack.enter_async_context(ClientSession(*streams))
        await self.session.initialize()
        return ", ".join(tool.name for tool in (await self.session.list_tools()).tools)

    async def _call(self) -> str:
        content = (await self.session.call_tool("upper", {"text": "still open"})).content[0]
        return str(getattr(content, "text", content))

    async def _cleanup(self) -> str:
        await self.stack.aclose()
        return "left"


def report(name: str, ok: bool, detail: str) -> None:
    """Print what became of a step."""
    print(json.dumps({"step": name, "ok": ok, "detail": detail}), flush=True)


def step(function: Callable[[], str]) -> None:
    """Carry a step out, and report it."""
    try:
        ok, detail = True, function()
    except BaseException as exc:
        ok, detail = False, f"{type(exc).__name__}: {exc}".rstrip(": ")
    report(function.__name__, ok, detail)


def main() -> None:
    """Run the steps that are named."""
    mode = sys.argv[1]
    logging.disable()
    if mode != "stock":
        import aionest

        aionest.apply(shared=mode == "threads")
    loader = Loader()
    known = {one.__name__: one for one in (nest, order, loader.load, loader.call, loader.cleanup)}
    for function in [known[name] for name in sys.argv[3:]]:
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
