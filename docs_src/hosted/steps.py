import asyncio
from contextlib import asynccontextmanager

import aionest


@asynccontextmanager
async def room(name):
    owner = asyncio.current_task()
    yield name
    assert asyncio.current_task() is owner
    print("left", name)


async def main():
    async with aionest.hosted(room("kitchen")) as name:
        print("in", name)

    cellar, attic = aionest.hosted(room("cellar")), aionest.hosted(room("attic"))
    print("in", await cellar.enter(), "and", await attic.enter())
    await cellar.leave()  # first in, first out
    await asyncio.create_task(attic.leave())  # and by another task


asyncio.run(main())
