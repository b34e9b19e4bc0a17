import asyncio

import aionest


async def fetch():
    await asyncio.sleep(0)
    print("fetched")


def sync_code():
    loop = asyncio.get_running_loop()
    aionest.block_on(loop.create_task(fetch()))  # the caller sleeps, the loop goes on


async def main():
    sync_code()


aionest.run(main())
