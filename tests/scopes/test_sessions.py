"""MCP sessions over real pipes, by the SDK and langchain-mcp-adapters as they are, across runs, threads and exits."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("mcp")
pytest.importorskip("langchain_mcp_adapters")

SERVER = Path(__file__).parent.parent.parent / "examples" / "servers" / "bare.py"
SETUP = """
import asyncio, sys, os, time, threading, gc
import aionest
aionest.apply({options})
from langchain_mcp_adapters.client import MultiServerMCPClient
S = {{"command": sys.executable, "args": [{server!r}], "transport": "stdio"}}
client = MultiServerMCPClient({{f"s{{i}}": S for i in range(3)}})
async def enter(n):
    return await client.session(f"s{{n}}").__aenter__()
async def enter_all():
    return [await enter(n) for n in range(3)]
async def say(session, text="hi"):
    return (await session.call_tool("echo", {{"text": text}})).content[0].text
async def leave(session):
    await session.__aexit__(None, None, None)
def servers():
    import psutil
    return [p for p in psutil.Process().children() if p.status() != "zombie"]
"""


def program(body, options=""):
    return SETUP.format(options=options, server=str(SERVER)) + body


def test_open_call_and_leave_with_nobody_keeping_the_context_manager(child):
    r = child(
        program(
            """
session = asyncio.run(enter(0)); gc.collect()
print(asyncio.run(say(session)))
asyncio.run(leave(session))
end = time.monotonic() + 2
while servers() and time.monotonic() < end: time.sleep(0.02)
print(len(servers()))
"""
        )
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "hi\n0\n", ""), r


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_left_in_any_order_with_calls_between(child, order):
    r = child(
        program(
            f"""
sessions = asyncio.run(enter_all())
left = set()
for n in {order}:
    asyncio.run(leave(sessions[n])); left.add(n)
    for other in set(range(3)) - left:
        assert asyncio.run(say(sessions[other], str(other))) == str(other)
print(len(servers()))
"""
        )
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "0\n", ""), r


def test_each_step_in_another_thread(child):
    r = child(
        program(
            """
box = {}
def step(name, make):
    t = threading.Thread(target=lambda: box.__setitem__(name, asyncio.run(make())))
    t.start(); t.join()
step("sessions", enter_all)
step("said", lambda: say(box["sessions"][1]))
for n in (0, 2, 1):
    step("left", lambda: leave(box["sessions"][n]))
print(box["said"], len(servers()))
""",
            options="shared=True",
        )
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "hi 0\n", ""), r


ENDS = {
    "interpreter exit": "",
    "loop close": "asyncio.get_event_loop().close()",
    "atexit": "import atexit; atexit.register(lambda: asyncio.run(leave(sessions[1])))",
    "close_loop": "aionest.apply(close_loop=True)",
}


@pytest.mark.parametrize("how", [*ENDS, "thread end", "shared"])
def test_never_left_ends_cleanly(child, is_alive, how, tmp_path):
    pids = tmp_path / "pids"
    body = f"""
S["args"] += ["--pid-file", {str(pids)!r}]
def main():
    global sessions
    sessions = asyncio.run(enter_all())
    {ENDS.get(how) or "pass"}
"""
    if how == "thread end":
        body += "t = threading.Thread(target=main); t.start(); t.join(); print(len(servers()))\n"
    else:
        body += "main(); print('open')\n"
    r = child(program(body, options="shared=True" if how == "shared" else ""))
    assert (r.returncode, r.stderr) == (0, ""), r
    if how == "thread end":
        assert r.stdout == "0\n"
    end = time.monotonic() + 15
    numbers = [int(line) for line in pids.read_text().split()]
    assert len(numbers) == 3
    while any(map(is_alive, numbers)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not [n for n in numbers if is_alive(n)]


def test_a_killed_server(child):
    r = child(
        program(
            """
import psutil
session = asyncio.run(enter(0))
servers()[0].kill(); time.sleep(0.1)
asyncio.run(asyncio.sleep(0.1))
before = time.process_time(); asyncio.run(asyncio.sleep(0.4)); print(time.process_time() - before < 0.2)
try:
    asyncio.run(asyncio.wait_for(say(session), 20))
except Exception as e:
    print(type(e).__name__)
before = time.process_time(); asyncio.run(asyncio.sleep(0.4)); print(time.process_time() - before < 0.2)
asyncio.run(leave(session))
"""
        )
    )
    assert r.returncode == 0 and r.stderr == "", r
    lines = r.stdout.split()
    assert lines[0] == lines[2] == "True" and lines[1] in ("ClosedResourceError", "McpError", "BrokenResourceError"), r


def test_ctrl_c_inside_the_leaving(child):
    # the first cancels what the SDK waits for (its server's end, which this one never grants), the second is not to be refused
    r = child(
        program(
            """
import signal
S["args"] += ["--fault", "stubborn"]
cm = client.session("s0")
asyncio.run(cm.__aenter__())
def interrupt():
    for _ in range(2):
        time.sleep(0.6)
        os.kill(os.getpid(), signal.SIGINT)
thread = threading.Thread(target=interrupt)
thread.start()
begin = time.monotonic()
try:
    asyncio.run(cm.__aexit__(None, None, None))
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - begin < 30)
thread.join()
for p in servers(): p.kill()
"""
        )
    )
    assert "interrupted True" in r.stdout, r


def test_a_missing_command_beside_a_good_server(child):
    r = child(
        program(
            """
bad = MultiServerMCPClient({"bad": {"command": "no-such-command", "args": [], "transport": "stdio"}, "good": S})
for _ in range(2):
    try:
        asyncio.run(bad.get_tools())
    except BaseException as e:
        print(type(e).__name__)
""",
        ),
        timeout=60,
    )
    assert r.returncode == 0 and len(r.stdout.split()) == 2, r


def test_streamable_http_sessions(child):
    http = SERVER.parent / "http_echo.py"
    r = child(
        program(
            f"""
import socket, subprocess
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0)); port = probe.getsockname()[1]
server = subprocess.Popen([sys.executable, {str(http)!r}, str(port)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
end = time.monotonic() + 30
while time.monotonic() < end:
    try:
        socket.create_connection(("127.0.0.1", port)).close(); break
    except OSError:
        time.sleep(0.05)
url = f"http://127.0.0.1:{{port}}/mcp"
client = MultiServerMCPClient({{f"s{{n}}": {{"url": url, "transport": "streamable_http"}} for n in range(3)}})
sessions = asyncio.run(enter_all())
for n in (1, 0, 2):
    assert asyncio.run(say(sessions[n])) == "hi"
    asyncio.run(leave(sessions[n]))
server.terminate(); server.wait()
print("left")
"""
        ),
        dev=False,
    )
    assert (r.returncode, r.stdout) == (0, "left\n"), r
    assert "Traceback" not in r.stderr and "was destroyed" not in r.stderr, r


def test_no_server_is_left():
    here = psutil.Process(os.getpid())
    assert not [p for p in here.children(recursive=True) if str(SERVER) in " ".join(p.cmdline())]
    assert sys.version_info >= (3, 10)
