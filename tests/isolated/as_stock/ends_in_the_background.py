"""What ends a program is raised by a task that nobody waits for: it comes out of the loop, and the task tells of it."""

from __future__ import annotations

import asyncio
import gc
import sys


async def leaves(exc):
    await asyncio.sleep(0)
    raise exc


async def main(exc, waits):
    task = asyncio.create_task(leaves(exc))
    await (task if waits else asyncio.sleep(10))


async def goes_on():
    return "goes on"


for exc in (SystemExit(3), KeyboardInterrupt("by hand")):
    for waits in (False, True):
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(main(exc, waits))
        except (SystemExit, KeyboardInterrupt) as caught:
            print(repr(caught), waits)
        if not waits:
            print(loop.run_until_complete(goes_on()))
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        gc.collect()
        sys.stdout.flush()

try:
    asyncio.run(main(SystemExit(4), False))
except SystemExit as exc:
    print(repr(exc))
gc.collect()
