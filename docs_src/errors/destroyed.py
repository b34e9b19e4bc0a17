import asyncio


async def work():
    await asyncio.sleep(60)


async def start():
    asyncio.create_task(work())
    await asyncio.sleep(0)


loop = asyncio.new_event_loop()
loop.run_until_complete(start())
loop.close()
