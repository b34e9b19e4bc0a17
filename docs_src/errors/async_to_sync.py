import asyncio

from asgiref.sync import async_to_sync


async def fetch():
    await asyncio.sleep(0)
    return "fetched"


def sync_code():
    return async_to_sync(fetch)()


async def main():
    print(sync_code())


asyncio.run(main())
