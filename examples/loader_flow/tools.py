"""aionest.mcp from plain synchronous code: three servers, calls from several threads, a server that is killed and comes back.

Usage: tools.py MCP_SERVER_TIME_COMMAND
"""

from __future__ import annotations

import concurrent.futures
import os
import signal
import sys
import time
from pathlib import Path

from aionest.mcp import ToolsLoader

BARE = Path(__file__).parent.parent / "servers" / "bare.py"
CONFIG = {
    "time": {"command": sys.argv[1], "args": ["--local-timezone=UTC"]},
    "one": {"command": sys.executable, "args": [str(BARE)]},
    "two": {"command": sys.executable, "args": [str(BARE)]},
    "broken": {"command": "no-such-command"},
}

print("Four servers from synchronous code, one of them broken:")
begin = time.perf_counter()
with ToolsLoader(config=CONFIG) as loader:
    print(f"  loaded in {time.perf_counter() - begin:.2f} s")
    for name, status in loader.status.items():
        print(f"  {name:8} {status.state:10} {status.tools} tools  {status.error or ''}")
    print(
        "  time:",
        loader.call("time.get_current_time", {"timezone": "UTC"}).text.split('"datetime": ')[-1].split(",")[0],
    )

    begin = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        texts = list(
            pool.map(lambda n: loader.call(f"{('one', 'two')[n % 2]}.echo", {"text": str(n)}).text, range(200))
        )
    assert texts == [str(n) for n in range(200)]
    print(f"  200 calls from 8 threads in {time.perf_counter() - begin:.2f} s")

    pid = int(loader.call("one.pid").text)
    os.kill(pid, signal.SIGKILL)
    again = int(loader.call("one.pid").text)
    assert again != pid
    print(f"  server 'one' was killed (process {pid}) and is back (process {again}); 'two' noticed nothing")
    print(f"  reload with nothing changed: {loader.reload().seconds * 1e3:.2f} ms")
print("  left: all servers have ended")
