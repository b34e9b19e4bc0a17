import asyncio


async def fetch():
    await asyncio.sleep(0)
    return "fetched"


def sync_code():
    loop = asyncio.get_event_loop()
    return loop.run_until_complete(fetch())


async def main():
    print(sync_code())


asyncio.run(main())
