"""A greenlet that another thread lets go of is ended by greenlet at its own thread's next look, which may be a switch of ours."""

from __future__ import annotations

import asyncio

import greenlet
import pytest
import support

import aionest
from aionest import _core


async def gives(value):
    await asyncio.sleep(0)
    return value


def nests(told):
    try:
        told.append(asyncio.run(gives("a run")))
    except asyncio.CancelledError:
        told.append("a run that the end of the program's cancels")


def awaits(told):
    told.append(aionest.await_(gives("an await")))


def asks_its_parent(told):
    told.append("asks")
    greenlet.getcurrent().parent.switch()


def raises(told):
    told.append("raises")
    raise LookupError("what ends a greenlet")


ENDS = {nests: "a run", awaits: "an await", asks_its_parent: "asks", raises: "raises"}


class Waiting:
    """A greenlet that waits for its parent, and has something to do when it ends."""

    def __init__(self, end):
        self.end, self.told = end, []
        self.greenlets = [greenlet.greenlet(self.body)]
        self.greenlets[0].switch()

    def body(self):
        try:
            greenlet.getcurrent().parent.switch()
        finally:
            self.end(self.told)

    def is_let_go(self):
        support.Thread(self.greenlets.clear).result()


class LetsGo(asyncio.Future):
    """It does so when somebody is about to wait for it, the last thing before that one sleeps."""

    waiting = None

    def add_done_callback(self, callback, *, context=None):
        super().add_done_callback(callback, context=context)
        if self.waiting is not None:
            self.waiting.is_let_go()


def sleeps(waiting):
    future = LetsGo()
    future.waiting = waiting
    asyncio.get_running_loop().call_soon(future.set_result, "slept")
    return aionest.block_on(future)


async def in_a_step(waiting):
    return sleeps(waiting)


async def in_a_greenlet(waiting):
    return greenlet.greenlet(sleeps).switch(waiting)


async def where_another_run_goes_on(waiting):
    future = asyncio.get_running_loop().create_future()

    def lets_go():
        future.set_result("slept")
        waiting.is_let_go()

    asyncio.get_running_loop().call_soon(lets_go)
    return aionest.block_on(future)


async def counts():
    for _ in range(5):
        await asyncio.sleep(0)
    return 5


@pytest.mark.parametrize("where", [in_a_step, in_a_greenlet, where_another_run_goes_on])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_it_ends_where_a_stack_is_left(run, end, where):
    async def main():
        others = [asyncio.create_task(counts()) for _ in range(3)]
        waiting = Waiting(end)
        assert await where(waiting) == "slept"
        _core._check()
        assert await asyncio.gather(*others) == [5, 5, 5]
        return waiting.told

    assert run(main) == [ENDS[end]]
    _core._check()


ENDS_WITH_THE_RUN = {**ENDS, nests: "a run that the end of the program's cancels"}


@pytest.mark.parametrize("end", ENDS_WITH_THE_RUN)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_it_ends_where_a_run_ends(run, end):
    async def main():
        waiting = Waiting(end)
        asyncio.current_task().add_done_callback(lambda _: waiting.is_let_go())
        return waiting.told

    assert run(main) == [ENDS_WITH_THE_RUN[end]]
    _core._check()
