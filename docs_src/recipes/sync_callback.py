"""A synchronous callback that a library calls inside a running loop. Others go on while it waits for its answer."""

import asyncio
import logging

from app_session import ask


class AskingHandler(logging.Handler):
    def emit(self, record):
        print(ask(record.getMessage()))


async def main():
    logger = logging.getLogger("example")
    logger.addHandler(AskingHandler())
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0)
    before = ticks
    logger.warning("one")
    print("others went on" if ticks > before else "others stood still")
    ticker.cancel()


if __name__ == "__main__":
    asyncio.run(main())
