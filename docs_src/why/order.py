import asyncio
import time

import aionest

aionest.apply()  # or nest_asyncio.apply()
start = time.monotonic()


def caller(delay):  # synchronous: it cannot await
    asyncio.run(asyncio.sleep(delay))
    print(f"{delay} returns after {time.monotonic() - start:.1f} s")


async def main():
    async def task(delay):
        caller(delay)

    await asyncio.gather(task(0.3), task(0.1), task(0.2))


asyncio.run(main())
