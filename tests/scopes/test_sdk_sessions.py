"""Sessions of the MCP SDK alone, as it is, each entered, used and left in a run of its own: also where there are no adapters, on Windows."""

from __future__ import annotations

import subprocess
import sys

import forked
import pytest
import support
from servers import SERVERS

support.needs("mcp")

PROGRAM = """
import asyncio, contextlib, sys, threading
import aionest
aionest.apply({options})
import psutil
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client import streamable_http
over_http = getattr(streamable_http, "streamable_http_client", None) or streamable_http.streamablehttp_client
url, *command = sys.argv[1:]

def run(function, *args):
    if not {threads}:
        return asyncio.run(function(*args))
    done = []
    thread = threading.Thread(target=lambda: done.append(asyncio.run(function(*args))))
    thread.start(); thread.join()
    return done.pop()

async def enter():
    stack = contextlib.AsyncExitStack()
    if url:
        streams = await stack.enter_async_context(over_http(url))
    else:
        streams = await stack.enter_async_context(stdio_client(StdioServerParameters(command=command[0], args=command[1:])))
    session = await stack.enter_async_context(ClientSession(*streams[:2]))
    await session.initialize()
    return stack, session
async def say(session, text):
    return (await session.call_tool("echo", {{"text": text}})).content[0].text
def nested(session, text):
    return asyncio.run(say(session, text))
async def from_inside(session, text):
    return nested(session, text)

opened = [run(enter) for _ in range(2)]
print(run(say, opened[0][1], "first"), run(from_inside, opened[1][1], "nested"))
run(opened[0][0].aclose)
print(run(say, opened[1][1], "second"))
run(opened[1][0].aclose)
print("servers left:", len([p for p in psutil.Process().children(recursive=True) if p.status() != "zombie"]))
"""


@pytest.fixture(scope="session", autouse=True)
def forked_programs():
    with forked.PAGES.there():  # they are there for others; their libraries are this one's, too
        yield


@pytest.fixture
def url():
    command = [sys.executable, str(SERVERS / "bare_http.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().strip()
        server.kill()


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_entered_used_and_left_in_runs_of_their_own(request, transport, threads):
    where = request.getfixturevalue("url") if transport == "http" else ""
    program = PROGRAM.format(options="shared=True" if threads else "", threads=threads)
    command = [sys.executable, "-c", program, where, sys.executable, str(SERVERS / "bare.py")]
    r = forked.PAGES.run(command, timeout=support.PROGRAM_GUARD)
    assert (r.returncode, r.stdout) == (0, "first nested\nsecond\nservers left: 0\n"), r
    assert "Traceback" not in r.stderr and "was destroyed" not in r.stderr, r
