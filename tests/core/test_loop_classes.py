"""Loops of other makes than asyncio's own classes: overrides, a run_forever of their own, selectors, futures, clocks."""

from __future__ import annotations

import asyncio
import selectors
import threading

import pytest
from support import sync, until

import aionest
from aionest import _core

ON_EACH_LOOP = True


async def ends_of_sleeps(loop):
    """The delays of three nested runs that sleep, as they end."""
    order, base = [], loop.time()

    async def caller(delay):
        asyncio.run(until(base + delay))
        order.append(delay)

    await asyncio.gather(caller(0.03), caller(0.01), caller(0.02))
    return order


class Overriding(asyncio.SelectorEventLoop):
    """A loop whose class has methods of its own."""

    def __init__(self):
        self.calls = []
        super().__init__()

    def _run_once(self):
        self.calls.append("_run_once")
        super()._run_once()

    def call_soon(self, *args, **kwargs):
        self.calls.append("call_soon")
        return super().call_soon(*args, **kwargs)

    def call_at(self, *args, **kwargs):
        self.calls.append("call_at")
        return super().call_at(*args, **kwargs)

    def time(self):
        self.calls.append("time")
        return super().time()

    def _write_to_self(self):
        if hasattr(self, "calls"):
            self.calls.append("_write_to_self")
        return super()._write_to_self()

    def _process_events(self, events):
        self.calls.append("_process_events")
        return super()._process_events(events)

    def create_task(self, coro, **kwargs):
        self.calls.append("create_task")
        return super().create_task(coro, **kwargs)


def test_overrides_of_a_loop_subclass_are_called(applied):
    loop = Overriding()

    async def main():
        order = await ends_of_sleeps(loop)
        future = loop.create_future()
        threading.Timer(0.01, loop.call_soon_threadsafe, (future.set_result, 1)).start()
        await future
        return order

    try:
        assert loop.run_until_complete(main()) == [0.01, 0.02, 0.03]
    finally:
        loop.close()
    assert set(loop.calls) == {
        "_run_once",
        "call_soon",
        "call_at",
        "time",
        "_write_to_self",
        "_process_events",
        "create_task",
    }


def test_subclass_with_a_run_forever_of_its_own(applied):
    """Its loop calls _run_once and does something in between: that goes on, and nested runs work."""

    class Own(asyncio.SelectorEventLoop):
        between = 0

        def run_forever(self):
            self._check_running()
            self._thread_id = threading.get_ident()
            asyncio._set_running_loop(self)
            try:
                while True:
                    self._run_once()
                    self.between += 1
                    if self._stopping:
                        break
            finally:
                self._stopping = False
                self._thread_id = None
                asyncio._set_running_loop(None)

    loop = Own()

    async def main():
        order = await ends_of_sleeps(loop)
        n = loop.between
        for _ in range(5):
            await asyncio.sleep(0)
        assert loop.between - n >= 4
        return order

    try:
        assert loop.run_until_complete(main()) == [0.01, 0.02, 0.03]
    finally:
        loop.close()


SELECTORS = [s for s in ("SelectSelector", "PollSelector", "EpollSelector", "KqueueSelector") if hasattr(selectors, s)]


@pytest.mark.parametrize("selector", SELECTORS)
def test_selectors(applied, selector):
    loop = asyncio.SelectorEventLoop(getattr(selectors, selector)())

    async def caller(i):
        return sync(i, 0.005)

    async def main():
        return await asyncio.gather(*[caller(i) for i in range(5)])

    try:
        assert loop.run_until_complete(main()) == list(range(5))
    finally:
        loop.close()


def test_future_whose_cancel_fails(run):
    """The caller's task waits for nothing afterwards, and goes on."""

    class Stubborn(asyncio.Future):
        def cancel(self, *args, **kwargs):
            raise LookupError("no")

    async def victim():
        task = asyncio.current_task()
        task.cancel()
        with pytest.raises(LookupError):
            aionest.block_on(Stubborn(loop=asyncio.get_running_loop()))
        assert task._fut_waiter is None
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)
        return sync("goes on", 0.001)

    async def main():
        return await asyncio.create_task(victim())

    assert run(main) == "goes on"


def test_other_threads_are_heard_when_the_loops_own_clock_lets_them_run(applied):
    class Loop(asyncio.SelectorEventLoop):
        at_next_look = None

        def time(self):
            call, self.at_next_look = self.at_next_look, None
            if call is not None:
                call()
            return super().time()

    loop = Loop()

    async def main():
        timer = loop.call_later(3600, int)
        future = loop.create_future()

        def other():
            t = threading.Thread(target=loop.call_soon_threadsafe, args=(future.set_result, "heard"))
            t.start()
            t.join()

        def arm():
            loop.at_next_look = other  # the next look is that of the poll, before it sleeps

        loop.call_soon(arm)
        value = await future
        timer.cancel()
        return value

    assert loop.run_until_complete(main()) == "heard"
    loop.close()


def test_invariants_are_checked(run):
    """They hold in the middle of everything, and a heap that is none is found."""
    from heapq import heapify

    if run.mode in ("foreign", "uvloop"):
        pytest.skip("its timers are its own")

    async def main():
        loop = asyncio.get_running_loop()
        timers = [loop.call_later(60 + i, int) for i in range(20)]

        async def inner():
            await asyncio.sleep(0.001)
            _core._check()

        await asyncio.gather(*[asyncio.create_task(caller(inner)) for _ in range(20)])
        loop._scheduled.reverse()
        with pytest.raises(AssertionError, match="L2"):
            _core._check()
        heapify(loop._scheduled)
        _core._check()
        for timer in timers:
            timer.cancel()

    async def caller(inner):
        asyncio.run(inner())

    run(main)
