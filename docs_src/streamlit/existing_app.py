"""An app as people write them: a cached resource keeps a session that asyncio.run has opened. One line of it is new."""

import asyncio
import atexit
import sys
from contextlib import AsyncExitStack

import streamlit as st
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

import aionest

aionest.apply()  # this one

SERVER = StdioServerParameters(command=sys.executable, args=["-m", "aionest.examples.notes"])


class Loader:
    def load(self):
        asyncio.run(self.enter())
        return self

    async def enter(self):
        self.stack = AsyncExitStack()
        streams = await self.stack.enter_async_context(stdio_client(SERVER))
        self.session = await self.stack.enter_async_context(ClientSession(*streams))
        await self.session.initialize()

    def read(self, number):
        result = asyncio.run(asyncio.wait_for(self.session.call_tool("read", {"id": number}), timeout=10))
        return result.content[0].text

    def cleanup(self):
        asyncio.run(self.stack.aclose())


@st.cache_resource
def loader():
    one = Loader().load()
    atexit.register(one.cleanup)
    return one


st.write(loader().read(1))
st.button("Again")
