import asyncio


async def fetch():
    await asyncio.sleep(0)
    print("fetched")


def on_click():
    asyncio.create_task(fetch())


on_click()
