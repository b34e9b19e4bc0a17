import asyncio

import aionest


async def double(x):
    await asyncio.sleep(0.01)
    return 2 * x


async def count(limit):
    for n in range(limit):
        await asyncio.sleep(0)
        yield n


with aionest.Portal() as portal:
    print(portal.call(double, 21))
    print(portal.run(double(4)))
    print(portal.submit(double, 1).result())
    print(list(portal.map(double, [1, 2, 3])))
    print(list(portal.iterate(count(3))))
    try:
        portal.call(asyncio.sleep, 60, timeout=0.05)
    except TimeoutError as exc:
        print(exc)
