"""Foreign greenlets that were started on a stack of ours which has ended: their own end reaches the code that switched to them."""

from __future__ import annotations

import asyncio

import greenlet
import pytest

import aionest
from aionest import _core

IDLE = 8  # stacks that are kept; the next one ends


async def asleep_at_once(number):
    """Afterwards as many stacks are idle as are kept."""

    async def nests():
        arrived.append(1)
        if len(arrived) == number:
            everybody.set()
        asyncio.run(everybody.wait())

    arrived, everybody = [], asyncio.Event()
    await asyncio.gather(*(asyncio.create_task(nests()) for _ in range(number)))


def test_the_end_of_a_greenlet_whose_stack_ended_in_favour_of_another_one(run):
    if run.mode == "eager":
        pytest.skip("a step runs on its creator's stack, on asyncio as well")

    async def main():
        loop = asyncio.get_running_loop()
        first, second, told, kept = loop.create_future(), loop.create_future(), [], []

        def outlives_its_step():
            greenlet.getcurrent().parent.switch()
            return "over"

        def callback():
            kept.append(greenlet.greenlet(outlives_its_step, greenlet.getcurrent()))
            kept[0].switch()
            aionest.block_on(first)

        def asks():
            aionest.block_on(second)
            return "got", greenlet.getcurrent().parent.switch("asks")

        async def spawns():
            child = greenlet.greenlet(asks, greenlet.getcurrent())
            told.append(child.switch())
            await asyncio.sleep(0.01)
            told.append(child.switch("answer"))

        task = asyncio.create_task(spawns())
        await asyncio.sleep(0)
        loop.call_soon(callback)
        await asyncio.sleep(0)
        await asleep_at_once(IDLE + 2)
        await asyncio.sleep(0)
        first.set_result(None)  # its stack goes on, then ends in favour of the other one
        second.set_result(None)
        while not told:
            await asyncio.sleep(0)
        told.append(kept[0].switch())
        await task
        return told

    assert run(main) == ["asks", "over", ("got", "answer")]
    _core._check()
