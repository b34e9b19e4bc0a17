import asyncio


async def fetch():
    await asyncio.sleep(0)
    return "fetched"


def sync_code():
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(fetch())
    finally:
        loop.close()


async def main():
    print(sync_code())


asyncio.run(main())
