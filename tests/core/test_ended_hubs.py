"""Foreign greenlets that were started on a stack of ours which has ended: their own end reaches the code that switched to them."""

from __future__ import annotations

import asyncio
import gc
import sys

import greenlet
import pytest

import aionest
from aionest import _core
from aionest._engine import frames

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


def test_no_garbage_is_collected_while_a_stack_leaves_its_frames(run):
    """A finalizer that nests would sleep on a stack that has ended, and whose next one waits for a wake-up of its own."""
    if run.mode == "eager":
        pytest.skip("a step runs on its creator's stack, on asyncio as well")
    places = []

    def note(phase, info):
        frame = sys._getframe(1)
        if phase == "start" and frame.f_code.co_filename == frames.__file__:
            places.append(frame.f_code.co_name)

    async def main():
        async def nests():
            arrived.append(1)
            if len(arrived) == IDLE + 6:
                everybody.set()
            asyncio.run(go.wait())

        arrived, everybody, go = [], asyncio.Event(), asyncio.Event()
        tasks = [asyncio.create_task(nests()) for _ in range(IDLE + 6)]
        await everybody.wait()
        hubs = _core._counters()["fibers"]
        threshold = gc.get_threshold()
        gc.callbacks.append(note)
        gc.set_threshold(1)
        try:
            go.set()
            await asyncio.wait(tasks)
        finally:
            gc.set_threshold(*threshold)
            gc.callbacks.remove(note)
        return hubs - _core._counters()["fibers"]

    assert run(main) > 0  # some have ended
    assert gc.isenabled() and frames._run_once.__name__ not in places
