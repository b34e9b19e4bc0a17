import asyncio

import aionest

aionest.apply()


async def handle(message):
    await asyncio.sleep(0)
    print("got", message)


def on_message(message):
    asyncio.run(handle(message))


def library(callback):  # it calls what it is given, as a function
    callback("hello")


async def main():
    library(on_message)


asyncio.run(main())
