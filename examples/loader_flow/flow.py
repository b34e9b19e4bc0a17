"""The loader flow, as it is found in applications: a synchronous loader that keeps an MCP session open between calls.

Usage: flow.py stock|nest_asyncio|nest_asyncio2|aionest|threads|portal SERVER_COMMAND

Nothing in the Loader knows which of them is in place; ``threads`` is aionest with each step in a thread of its own. Prints one JSON line per step: load() opens a session with a real
server over stdio in one asyncio.run, call() uses it in the next, cleanup() leaves it in a third. ``portal`` is the same
loader written for aionest: the session lives on a loop of its own, in a task of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time

MODE, SERVER = sys.argv[1], sys.argv[2]
if MODE == "portal":
    import aionest
elif MODE == "threads":
    import aionest

    aionest.apply(shared=True)
elif MODE != "stock":
    __import__(MODE).apply()

from contextlib import asynccontextmanager  # noqa: E402

from mcp import ClientSession, StdioServerParameters  # noqa: E402
from mcp.client.stdio import stdio_client  # noqa: E402


class Loader:
    def load(self):
        return asyncio.run(asyncio.wait_for(self.load_async(), 20))

    def call(self):
        return asyncio.run(asyncio.wait_for(self.call_async(), 20))

    def cleanup(self):
        return asyncio.run(asyncio.wait_for(self.cleanup_async(), 20))

    async def load_async(self):
        self.transport = stdio_client(StdioServerParameters(command=SERVER, args=["--local-timezone=UTC"]))
        self.context = ClientSession(*(await self.transport.__aenter__()))
        self.session = await self.context.__aenter__()
        await self.session.initialize()
        return [tool.name for tool in (await self.session.list_tools()).tools]

    async def call_async(self):
        result = await self.session.call_tool("get_current_time", {"timezone": "UTC"})
        return json.loads(result.content[0].text)["timezone"]

    async def cleanup_async(self):
        await self.context.__aexit__(None, None, None)
        await self.transport.__aexit__(None, None, None)
        return "left"


class PortalLoader:
    @asynccontextmanager
    async def session_of(self):
        async with stdio_client(StdioServerParameters(command=SERVER, args=["--local-timezone=UTC"])) as streams:
            async with ClientSession(*streams) as session:
                await session.initialize()
                yield session

    def load(self):
        self.portal = aionest.portal()
        self.held = self.portal.enter(self.session_of())
        return [tool.name for tool in self.portal.call(self.held.value.list_tools).tools]

    def call(self):
        result = self.portal.call(self.held.value.call_tool, "get_current_time", {"timezone": "UTC"}, timeout=20)
        return json.loads(result.content[0].text)["timezone"]

    def cleanup(self):
        self.held.close()
        return "left"


async def nested(loader):
    """A synchronous call in the middle of a coroutine: the loop runs already."""
    return loader.call()


def step(name, f):
    start = time.perf_counter()
    try:
        outcome = {"ok": True, "text": str(f())}
    except BaseException as e:
        outcome = {"ok": False, "text": f"{type(e).__name__}: {e}"}
    print(json.dumps({"step": name, **outcome, "ms": round((time.perf_counter() - start) * 1e3, 1)}), flush=True)


def in_a_thread(name, f):
    thread = threading.Thread(target=step, args=(name, f))
    thread.start()
    thread.join()


do = in_a_thread if MODE == "threads" else step
loader = PortalLoader() if MODE == "portal" else Loader()
do("load", loader.load)
do("call", loader.call)
do("nested call", lambda: asyncio.run(nested(loader)))
do("leave", loader.cleanup)
