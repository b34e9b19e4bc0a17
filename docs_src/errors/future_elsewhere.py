import asyncio

import aionest


def worker(answer):
    async def wait():
        return aionest.block_on(answer)

    return aionest.run(wait())


async def main():
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    loop.call_later(0.05, answer.set_result, "fetched")
    print(await asyncio.to_thread(worker, answer))


aionest.run(main())
