import asyncio


async def on_message(message):
    await asyncio.sleep(0)
    print("got", message)


def library(callback):  # it calls what it is given, as a function
    callback("hello")


async def main():
    library(on_message)


asyncio.run(main())
