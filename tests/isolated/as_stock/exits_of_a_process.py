"""What is left when the process ends with a status of its own: exit handlers, threads, tasks and loops."""

from __future__ import annotations

import asyncio
import atexit
import sys
import threading


class Finalized:
    def __del__(self):
        print("finalized")


async def background():
    try:
        await asyncio.sleep(100)
    finally:
        print("background ended")


async def main():
    left.append(asyncio.create_task(background()))
    await asyncio.sleep(0)
    asyncio.get_running_loop().of_mine = Finalized()


async def leave():
    sys.exit(7)


def outlives_main():
    threading.main_thread().join()
    print("in a thread", asyncio.run(asyncio.sleep(0.01, "slept")))


left = []
atexit.register(lambda: print("at exit", asyncio.run(asyncio.sleep(0.001, "slept"))))
asyncio.run(main())
loop = asyncio.new_event_loop()
left.append(loop.create_task(background()))
loop.run_until_complete(asyncio.sleep(0))
threading.Thread(target=outlives_main).start()
threading.Thread(target=lambda: asyncio.run(asyncio.sleep(100)), daemon=True).start()
print("end")
asyncio.run(leave())
