import asyncio


async def work():
    try:
        await asyncio.sleep(60)
    finally:
        print("work ended")


async def start():
    asyncio.create_task(work())
    await asyncio.sleep(0)


asyncio.run(start())
