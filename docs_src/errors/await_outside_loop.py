import asyncio

import aionest


async def fetch():
    await asyncio.sleep(0)
    return "fetched"


print(aionest.await_(fetch()))
