import asyncio
from contextlib import asynccontextmanager

import aionest


@asynccontextmanager
async def fragile():
    owner = asyncio.current_task()
    bomb = asyncio.get_running_loop().call_later(0.05, owner.cancel)  # as a failing task group cancels its host
    try:
        yield "fragile"
    except asyncio.CancelledError:
        raise ConnectionError("the server went away") from None
    finally:
        bomb.cancel()


async def main():
    handle = aionest.hosted(fragile())
    await handle.enter()
    handle.on_lost(lambda exc: print("told:", exc.__cause__))
    try:
        await handle.guard(asyncio.sleep(60))
    except aionest.ResourceLost as exc:
        print("raised:", exc.__cause__)
    await handle.leave()


asyncio.run(main())
