import asyncio


def worker(answer):
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(answer)
    finally:
        loop.close()


async def main():
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    loop.call_later(0.05, answer.set_result, "fetched")
    print(await asyncio.to_thread(worker, answer))


asyncio.run(main())
