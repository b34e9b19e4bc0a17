import asyncio


async def fetch():
    async with asyncio.timeout(10):
        return "fetched"


def callback():
    try:
        fetch().send(None)  # a coroutine stepped by hand
    except StopIteration as stop:
        print(stop.value)


async def main():
    asyncio.get_running_loop().call_soon(callback)
    await asyncio.sleep(0)


asyncio.run(main())
