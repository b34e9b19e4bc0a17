"""One loader, used from threads, from coroutines of any loop, and from synchronous code inside a running loop."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

from aionest.mcp import ToolsLoader

loader = ToolsLoader({"notes": {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}})
loader.load()

with ThreadPoolExecutor(4) as pool:
    print(list(pool.map(lambda n: loader.call("notes.read", {"id": n}).text, [1, 2, 3])))


async def main():
    results = await asyncio.gather(*(loader.call_async("notes.read", {"id": n}) for n in (1, 2)))
    return [result.structured["tags"] for result in results]


print(asyncio.run(main()), asyncio.run(main()))  # two loops, one session
print(loader.status["notes"].connections)
loader.cleanup()  # or at the interpreter's end, by itself

# Output:
# ['Buy milk and bread', 'Call Ada about the engine', 'Water the plants on Friday']
# [['shop'], ['work', 'phone']] [['shop'], ['work', 'phone']]
# 1
