import asyncio


async def result_of(answer):
    return await answer


def worker(answer):
    return asyncio.run_coroutine_threadsafe(result_of(answer), answer.get_loop()).result()


async def main():
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    loop.call_later(0.05, answer.set_result, "fetched")
    print(await asyncio.to_thread(worker, answer))


asyncio.run(main())
