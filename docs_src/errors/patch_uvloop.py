import asyncio

import nest_asyncio
import uvloop


async def fetch():
    await asyncio.sleep(0)
    return "fetched"


async def main():
    nest_asyncio.apply()
    print(asyncio.run(fetch()))


uvloop.run(main())
