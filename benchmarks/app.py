"""The Streamlit parts, on a real server with real MCP servers, visited over its websocket.

    python -m benchmarks.app [--quick] [--markdown]

- from the start of ``aionest app`` to the run that shows its tools;
- a rerun of an app that keeps three servers, against the same app that connects to them at each rerun;
- 20 browser sessions that call a tool at once, against one session alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from tools.streamlit_session import Server, Session

BARE = Path(__file__).parent.parent / "examples" / "servers" / "bare.py"
SESSIONS = 20
WORK = 0.5  # seconds that the tool of the second figure takes in the server

KEPT = (
    """
import streamlit as st
from aionest.streamlit import call, tools_loader
loader = tools_loader("mcp.json")
st.write(f"{len(loader.tools)} tools")
if st.button("Call"):
    result = call(loader, "one.sleep", {"seconds": %s})
    st.write(f"took {result.duration}")
"""
    % WORK
)

# what apps do that cannot keep a session: the SDK's own client, in a run of its own, each time
AGAIN = """
import asyncio, json
import streamlit as st
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

async def tools(server):
    async with stdio_client(StdioServerParameters(**server)) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        return (await session.list_tools()).tools

async def all_tools():
    servers = json.load(open("mcp.json"))["mcpServers"].values()
    return [tool for found in await asyncio.gather(*map(tools, servers)) for tool in found]

st.write(f"{len(asyncio.run(all_tools()))} tools")
"""

# a server as people write them, of which Python alone takes longer to start than the bare one
WITH_SDK = """
from mcp.server.fastmcp import FastMCP
server = FastMCP("echo", log_level="ERROR")

@server.tool()
def echo(text: str) -> str:
    return text

server.run()
"""


def configuration(folder, sdk=False):
    (folder / "server.py").write_text(WITH_SDK)
    file = str(folder / "server.py") if sdk else str(BARE)
    servers = {name: {"command": sys.executable, "args": [file]} for name in ("one", "two", "three")}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": servers}))


def timed(function, *args):
    begin = time.perf_counter()
    function(*args)
    return time.perf_counter() - begin


def start_to_tools(repeat):
    """Seconds from the start of the process to the end of the first run, which shows the tools."""
    found = []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            configuration(folder)
            begin = time.perf_counter()
            with Server(["aionest", "app", "--config", "mcp.json"], folder) as server, Session(server.port) as session:
                texts = session.run()
                found.append(time.perf_counter() - begin)
                assert any("connected" in text for text in texts) and not session.errors, (texts, session.errors)
    return statistics.median(found)


def reruns(source, repeat, sdk):
    """Seconds of a rerun, the first one left out."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configuration(folder, sdk)
        (folder / "app.py").write_text(source)
        with Server(["streamlit", "run", "app.py"], folder) as server, Session(server.port) as session:
            texts = session.run()
            assert any(" tools" in text and "0 tools" not in text for text in texts), texts
            assert not session.errors, session.errors
            times = [timed(session.run) for _ in range(repeat)]
            assert not session.errors, session.errors
            return statistics.median(times)


def at_once(repeat):
    """Seconds of a press of the button until the result is shown: the 95th percentile of one session, and of 20 at once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configuration(folder)
        (folder / "app.py").write_text(KEPT)
        with Server(["streamlit", "run", "app.py"], folder) as server:
            sessions = [Session(server.port) for _ in range(SESSIONS)]
            errors = []

            def press(session, times, barrier):
                try:
                    for _ in range(repeat):
                        barrier.wait(120)
                        begin = time.perf_counter()
                        texts = session.run("Call")
                        times.append(time.perf_counter() - begin)
                        assert any(text.startswith("took") for text in texts), texts
                except BaseException as exc:
                    errors.append(repr(exc))
                    barrier.abort()

            for session in sessions:
                session.run()
            alone, together = [], []
            for group, times in ((sessions[:1], alone), (sessions, together)):
                barrier = threading.Barrier(len(group))
                threads = [threading.Thread(target=press, args=(one, times, barrier)) for one in group]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            for session in sessions:
                errors += session.errors
                session.close()
            assert not errors, errors
            return percentile(alone), percentile(together)


def percentile(times):
    return sorted(times)[min(len(times) - 1, int(len(times) * 0.95))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    shown = start_to_tools(1 if args.quick else 5)
    kept = reruns(KEPT, 20 if args.quick else 200, sdk=True)
    again = reruns(AGAIN, 3 if args.quick else 20, sdk=True)
    bare = reruns(AGAIN, 3 if args.quick else 20, sdk=False)
    alone, together = at_once(3 if args.quick else 10)
    rows = [
        ("start of `aionest app` to the tools shown", f"{shown:.2f} s", "", ""),
        ("a rerun, three servers kept", f"{kept * 1e3:.1f} ms", "", ""),
        ("a rerun that starts them again", f"{again * 1e3:.0f} ms", f"{again / kept:.0f} times", ">= 20 times"),
        ("the same, servers of the standard library only", f"{bare * 1e3:.0f} ms", f"{bare / kept:.0f} times", ""),
        (f"one session calls a tool of {WORK:g} s, p95", f"{alone * 1e3:.0f} ms", "", ""),
        (
            f"{SESSIONS} sessions at once, p95",
            f"{together * 1e3:.0f} ms",
            f"{together / alone:.2f} times",
            "<= 2 times",
        ),
    ]
    if args.markdown:
        print("| | time | ratio | wanted |\n|---|---|---|---|")
        for row in rows:
            print("| " + " | ".join(row) + " |")
    else:
        for row in rows:
            print(f"{row[0]:48} {row[1]:>10}  {row[2]:12} {row[3]}")
    return 0 if again / kept >= 20 and together / alone <= 2 else 1


if __name__ == "__main__":
    sys.exit(main())
