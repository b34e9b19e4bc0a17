import asyncio


async def fetch():
    await asyncio.sleep(0)
    print("fetched")


def sync_code():
    loop = asyncio.get_running_loop()
    loop.create_task(fetch())
    loop._run_once()  # the loop turned by hand


async def main():
    sync_code()


loop = asyncio.new_event_loop()
loop.run_until_complete(main())
