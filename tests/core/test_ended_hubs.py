"""Foreign greenlets that were started on a stack of ours which has ended: their own end reaches the code that switched to them."""

from __future__ import annotations

import asyncio
import gc
import sys

import greenlet
import pytest

import aionest
from aionest import _core
from aionest._engine import for_core

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
        if phase == "start" and frame.f_code.co_filename == for_core.__file__:
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
    assert gc.isenabled() and for_core._run_once.__name__ not in places


class Leaves:
    """A loop with a task that has started a greenlet, which outlives the step, and sleeps in a nested run on that greenlet's stack."""

    def __init__(self):
        self.told = []
        self.loop = asyncio.new_event_loop()
        self.task = self.loop.run_until_complete(self.starts())

    def outlives_its_step(self):
        greenlet.getcurrent().parent.switch()
        return "over"

    async def sleeps(self):
        self.greenlet = greenlet.greenlet(self.outlives_its_step, greenlet.getcurrent())
        self.greenlet.switch()
        self.told.append("asleep")
        try:
            asyncio.run(asyncio.Event().wait())
        except aionest.NestedRunError:
            self.told.append("ended")

    async def starts(self):
        task = asyncio.get_running_loop().create_task(self.sleeps())
        while not self.told:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task

    def is_closed_in_a_greenlet(self):
        """Which asks its parent for something afterwards."""

        def closes():
            self.loop.close()
            return "got", greenlet.getcurrent().parent.switch("asks")

        child = greenlet.greenlet(closes, greenlet.getcurrent())
        self.told.append(child.switch())
        self.told.append(self.greenlet.switch())
        self.told.append(child.switch("answer"))
        return self.told


EACH_TO_ITS_OWN = ["asleep", "ended", "asks", "over", ("got", "answer")]


def test_the_end_of_a_greenlet_whose_stack_ended_in_favour_of_one_that_closes_a_loop(run):
    if run.mode == "eager":
        pytest.skip("a step runs on its creator's stack, on asyncio as well")

    async def main():
        return Leaves().is_closed_in_a_greenlet()

    assert run(main) == EACH_TO_ITS_OWN
    _core._check()


def test_the_same_where_no_other_loop_runs(applied):
    assert Leaves().is_closed_in_a_greenlet() == EACH_TO_ITS_OWN
    _core._check()
