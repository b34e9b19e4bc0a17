"""A session of the MCP SDK, opened in one run, used in the next and closed in a third."""

import asyncio
import sys
from contextlib import asynccontextmanager

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

import aionest

aionest.apply()

NOTES = StdioServerParameters(command=sys.executable, args=["-m", "aionest.examples.notes"])


@asynccontextmanager
async def open_session():  # langchain-mcp-adapters has the like, and whatever else is built on anyio
    async with stdio_client(NOTES) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        yield session


cm = open_session()
session = asyncio.run(cm.__aenter__())
result = asyncio.run(session.call_tool("read", {"id": 1}))
print(result.content[0].text)
asyncio.run(cm.__aexit__(None, None, None))
