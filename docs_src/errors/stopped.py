import asyncio

import aionest

aionest.apply()


async def main():
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.stop)  # a library's shutdown, a signal handler
    asyncio.run(asyncio.sleep(60))


asyncio.run(main())
