import asyncio

import aionest

aionest.apply()


async def fetch():
    async with asyncio.timeout(10):
        return "fetched"


def callback():
    print(asyncio.run(fetch()))


async def main():
    asyncio.get_running_loop().call_soon(callback)
    await asyncio.sleep(0)


asyncio.run(main())
