"""aionest.mcp from plain synchronous code, with the protocol's reference servers: calls from several threads and from inside a
running loop, progress, a server that is killed and comes back, a reload.

Usage: tools.py CONFIG FOLDER, where FOLDER is a git repository and CONFIG names the servers: time, perhaps git, everything and
memory (the last two need node), and one that is broken.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
import sys
import time
from pathlib import Path

import aionest
from aionest.mcp import ToolsLoader

config, folder = sys.argv[1], sys.argv[2]


def line(label: str, text: object = "") -> None:
    print(f"  {label:34} {text}", flush=True)


print("Real MCP servers, from synchronous code:")
begin = time.perf_counter()
loader = ToolsLoader(config_file=config)
loader.load(
    progress=lambda status: line(
        f"{status.name}: {status.state}", f"{status.connect_seconds:.2f} s" if status.connect_seconds else ""
    )
)
line("all of them", f"{time.perf_counter() - begin:.2f} s, {len(loader.tools)} tools")
for name, error in loader.errors.items():
    line(f"{name} is not there", error.splitlines()[0])


def now() -> str:
    return loader.call("time.get_current_time", {"timezone": "UTC"}).text.split('"datetime": "')[1].split('"')[0]


def log() -> str:
    return loader.call("git.git_log", {"repo_path": folder}).text.split("Message: ")[1].split("\n")[0].strip("'")


line("time.get_current_time", now())
calls = [now]
if "git" in loader.bundles:
    line("git.git_log", log())
    calls.append(log)
if "everything" in loader.bundles:
    calls.append(lambda: loader.call("everything.echo", {"message": "hello"}).text)
    steps: list[float] = []
    name = next(tool.original_name for tool in loader.bundles["everything"] if "long-running" in tool.original_name)
    loader.call(f"everything.{name}", {"duration": 1, "steps": 4}, progress=lambda done, *_: steps.append(done))
    line("progress of a long call", " ".join(f"{step:g}/4" for step in steps))
if "memory" in loader.bundles:
    entity = {"name": "Ada", "entityType": "person", "observations": ["counts"]}
    loader.call("memory.create_entities", {"entities": [entity]})
    line("memory, across two calls", "Ada" in loader.call("memory.read_graph").text)

begin = time.perf_counter()
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    answers = list(pool.map(lambda n: calls[n % len(calls)](), range(120)))
assert len(answers) == 120 and all(answers)
line("120 calls from 8 threads", f"{time.perf_counter() - begin:.2f} s")

aionest.apply()


async def main() -> str:
    return now()  # synchronous code, inside a running loop


line("from inside a running loop", asyncio.run(main()))

pid, others = loader.status["time"].pid, {name: loader.status[name].pid for name in loader.bundles if name != "time"}
assert pid is not None
os.kill(pid, signal.SIGKILL)
now()
status = loader.status
assert status["time"].pid not in (None, pid) and others == {name: status[name].pid for name in others}
line("time was killed, and is back", f"process {pid}, now {status['time'].pid}; the others noticed nothing")
line("a reload with nothing changed", f"{loader.reload().seconds * 1e3:.2f} ms")

pids = [status[name].pid for name in loader.bundles]
loader.cleanup()
left = [pid for pid in pids if pid is not None and Path(f"/proc/{pid}").exists()]
line("left, servers that still run", len(left))
sys.exit(1 if left else 0)
