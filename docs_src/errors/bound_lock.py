import asyncio

lock = asyncio.Lock()


async def work():
    async with lock:
        await asyncio.sleep(0)


async def main():
    await asyncio.gather(work(), work())  # one of them waits, which binds the lock to this loop


asyncio.run(main())
asyncio.run(main())
print("both done")
