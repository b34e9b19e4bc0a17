"""One loader, used from threads, from coroutines of any loop, and from synchronous code inside a running loop."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aionest.mcp import ToolsLoader

SERVER = Path(__file__).parents[2] / "examples" / "servers" / "bare.py"
loader = ToolsLoader(config={"notes": {"command": sys.executable, "args": [str(SERVER)]}})
loader.load()

with ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(lambda n: loader.call("notes.add", {"a": n, "b": 0}).structured["sum"], range(10))))


async def main():
    results = await asyncio.gather(*(loader.call_async("notes.add", {"a": n, "b": 1}) for n in range(3)))
    return [result.structured["sum"] for result in results]


print(asyncio.run(main()), asyncio.run(main()))  # two loops, one session
print(loader.status["notes"].connections)
loader.cleanup()  # or at the interpreter's end, by itself

# Output:
# 45
# [1, 2, 3] [1, 2, 3]
# 1
