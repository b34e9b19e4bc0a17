import asyncio

import aionest


async def fetch():
    await asyncio.sleep(0)
    return "fetched"


def sync_code():
    return aionest.run(fetch())


async def main():
    print(sync_code())


asyncio.run(main())
