import asyncio

import aionest


async def where():
    return asyncio.get_running_loop()


async def main():
    portal = aionest.portal()
    there = await asyncio.wrap_future(portal.submit(where))
    print(there is asyncio.get_running_loop())


asyncio.run(main())
