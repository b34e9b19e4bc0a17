"""Errors of every kind come out of the main coroutine, of a task that is awaited, and of a callback."""

from __future__ import annotations

import asyncio


class Odd(BaseException):
    pass


async def fails_in_its_clean_up():
    try:
        await asyncio.sleep(10)
    finally:
        raise ValueError("clean-up")


async def raises(exc):
    await asyncio.sleep(0)
    raise exc


def raise_now(exc):
    raise exc


async def from_main(exc):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: print(context["message"], repr(context.get("exception"))))
    left = asyncio.create_task(fails_in_its_clean_up())
    await asyncio.sleep(0)
    print(left.done())
    raise exc


async def from_a_task(exc):
    try:
        await asyncio.create_task(raises(exc))
    except BaseException as caught:
        print("caught", type(caught).__name__)


async def from_a_callback(exc):
    asyncio.get_running_loop().call_soon(raise_now, exc)
    try:
        await asyncio.sleep(0.01)
    except BaseException as caught:
        print("caught", type(caught).__name__)
        raise


for main in (from_main, from_a_task, from_a_callback):
    for kind in (ValueError, Odd, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError):
        print(main.__name__, kind.__name__)
        try:
            asyncio.run(main(kind("why")))
        except BaseException as out:
            print(type(out).__name__, out.args, repr(out.__cause__), repr(out.__context__))
print(asyncio.run(asyncio.sleep(0, "ok")))
