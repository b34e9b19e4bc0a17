"""A real Streamlit server on uvloop, which it takes where that is installed, visited over its websocket."""

from __future__ import annotations

import importlib.util
import textwrap
from pathlib import Path

import pytest
import support
from support import eventually

support.needs("streamlit", "mcp", "websockets", "uvloop")

ROOT = Path(__file__).parent.parent.parent
BARE = ROOT / "examples" / "servers" / "bare.py"
BAD_WORDS = ("Traceback", "cancel scope", "CancelledError", "was never awaited", "was destroyed", "RuntimeError")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]

specification = importlib.util.spec_from_file_location("streamlit_session", ROOT / "tools" / "streamlit_session.py")
sessions = importlib.util.module_from_spec(specification)
specification.loader.exec_module(sessions)

SCRIPT = """
import asyncio, sys
import streamlit as st
import uvloop
import aionest
aionest.apply()
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from streamlit.runtime import get_instance

SERVER = StdioServerParameters(command=sys.executable, args=ARGS)

def kind():
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]

async def slowly(x):
    await asyncio.sleep(0.01)
    return x

def synchronous(x):  # as deep in a library
    return asyncio.run(slowly(x))

# on the server's own loop, which runs meanwhile, and ran before apply() in the first visit
async def on_the_servers_loop():
    together = await asyncio.gather(*(asyncio.to_thread(int, n) for n in range(2)), *(task(n) for n in (2, 3)))
    return f"server {kind()} {together}"

async def task(n):
    return synchronous(n)

server_loop = get_instance()._async_objs.eventloop if hasattr(get_instance(), "_async_objs") else get_instance()._get_async_objs().eventloop
st.write(asyncio.run_coroutine_threadsafe(on_the_servers_loop(), server_loop).result(60))

# an MCP session on a loop of uvloop's in the script's own thread, called by synchronous code
async def with_a_session():
    async with stdio_client(SERVER) as streams, ClientSession(*streams) as session:
        await session.initialize()

        def call(text):
            return asyncio.run(session.call_tool("echo", {"text": text})).content[0].text

        return f"session {kind()} {call('one')} {call('two')}"

st.write(aionest.run(with_a_session(), loop_factory=uvloop.new_event_loop))

# one that stays open from rerun to rerun, on a portal of uvloop's
class Session:
    async def enter(self):
        self.streams = stdio_client(SERVER)
        self.session = ClientSession(*await self.streams.__aenter__())
        await self.session.__aenter__()
        await self.session.initialize()
        return self
    async def say(self, text):
        return f"kept {kind()} " + (await self.session.call_tool("echo", {"text": text})).content[0].text

@st.cache_resource
def kept():
    portal = aionest.Portal(loop_factory=uvloop.new_event_loop)
    return portal, portal.call(Session().enter)

runs = st.session_state["runs"] = st.session_state.get("runs", 0) + 1
portal, session = kept()
st.write(portal.call(session.say, f"run {runs}"))
"""


def test_runs_nest_on_the_servers_loop_and_sessions_live_on_uvloop(tmp_path, is_alive):
    pids = tmp_path / "pids"
    script = SCRIPT.replace("ARGS", repr([str(BARE), "--pid-file", str(pids)]))
    (tmp_path / "app.py").write_text(textwrap.dedent(script))
    server = sessions.Server(["streamlit", "run", "app.py"], tmp_path, {"HOME": str(tmp_path)})
    try:
        server.wait()
        with sessions.Session(server.port) as one, sessions.Session(server.port) as other:
            for run in range(1, 4):
                for visitor in (one, other):
                    texts = visitor.run()
                    assert not visitor.errors, visitor.errors
                    assert texts == [
                        "server uvloop [0, 1, 2, 3]",
                        "session uvloop one two",
                        f"kept uvloop run {run}",
                    ]
    finally:
        log = server.stop(limit=120)
    assert not [word for word in BAD_WORDS if word in log], log
    assert len(pids.read_text().split()) == 7  # one kept, and one in each run
    eventually(lambda: not [pid for pid in map(int, pids.read_text().split()) if is_alive(pid)], "a server is left")
