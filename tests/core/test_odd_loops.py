"""Loops derived from BaseEventLoop that do things in ways of their own: a queue, a heap, a run_forever, an iteration."""

from __future__ import annotations

import asyncio
import collections
import gc
import heapq
import random
import selectors
import threading
import weakref
from asyncio import events

import pytest

import aionest
from aionest import _core


class Queue(collections.deque):
    """Counts what goes through it."""

    def __init__(self, *args):
        super().__init__(*args)
        self.added = self.taken = 0

    def append(self, handle):
        self.added += 1
        super().append(handle)

    def popleft(self):
        handle = super().popleft()
        self.taken += 1
        return handle


class Shuffled(Queue):
    """Any order will do, says who uses this to find races."""

    random = random.Random(3)

    def popleft(self):
        self.rotate(self.random.randrange(len(self) or 1))
        return super().popleft()


class NoDeque:
    """As much as asyncio needs."""

    def __init__(self):
        self.items = []

    def append(self, handle):
        self.items.append(handle)

    def popleft(self):
        return self.items.pop(0)

    def clear(self):
        self.items.clear()

    def __len__(self):
        return len(self.items)


def loop_with(queue):
    class Loop(asyncio.SelectorEventLoop):
        def __init__(self):
            super().__init__()
            self._ready = queue()

    return Loop()


async def work(n):
    for _ in range(n):
        await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    return n


def in_a_thread():
    return threading.get_ident()


@pytest.mark.parametrize("queue", [Queue, Shuffled, NoDeque])
def test_a_queue_of_its_own(applied, queue):
    loop = loop_with(queue)
    own = loop._ready
    assert type(own) is queue
    result = None

    async def main():
        nonlocal result
        result = await asyncio.gather(*map(work, range(20)))
        assert await loop.run_in_executor(None, in_a_thread) != threading.get_ident()
        fired = loop.create_future()
        loop.call_later(0.001, fired.set_result, "timer")
        return await fired

    assert loop.run_until_complete(main()) == "timer"
    assert result == list(range(20)) and loop._ready is own
    if queue is not NoDeque:
        assert own.added > 200 and own.added == own.taken
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert len(own) == 0


@pytest.mark.parametrize("queue", [Queue, Shuffled, NoDeque])
def test_nested_runs_go_through_it(applied, queue):
    loop = loop_with(queue)

    async def child(n):
        return asyncio.run(work(n))

    def waits(n):
        return aionest.await_(work(n))

    async def main():
        async def awaits(n):
            return waits(n)

        first = await asyncio.gather(*map(child, range(10)))
        second = await asyncio.gather(*map(awaits, range(10)))
        future = loop.create_future()
        loop.call_soon(lambda: future.set_result(asyncio.run(work(3))))
        return first, second, await future, loop.run_until_complete(work(2))

    assert loop.run_until_complete(main()) == (list(range(10)), list(range(10)), 3, 2)
    assert _core._counters()["suspended"] == 0
    loop.close()


def test_the_order_is_the_queues(applied):
    class Last(Queue):
        def popleft(self):
            return self.pop()

    def order():
        loop, seen = loop_with(Last), []

        async def main():
            for n in range(5):
                loop.call_soon(seen.append, n)
            loop.call_soon(lambda: loop.call_soon(seen.append, "inner"))
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)

        loop.run_until_complete(main())
        loop.close()
        return seen

    ours = order()
    aionest.unapply()
    stock = order()
    aionest.apply()
    assert ours == stock


@pytest.mark.parametrize("queue", [Queue, NoDeque])
def test_one_that_was_made_before_apply_and_lives_on_after_unapply(queue):
    aionest.unapply()
    loop = loop_with(queue)
    own = loop._ready
    assert loop.run_until_complete(work(1)) == 1
    aionest.apply()
    assert loop.run_until_complete(work(2)) == 2
    assert loop._ready is own
    aionest.unapply()
    assert loop._ready is own and vars(loop)["_ready"] is own
    assert loop.run_until_complete(work(3)) == 3
    loop.close()


def test_put_in_and_taken_out_again(applied):
    loop = asyncio.new_event_loop()
    ours = loop._ready
    loop._ready = own = NoDeque()
    assert loop._ready is own
    assert loop.run_until_complete(work(1)) == 1
    loop._ready = collections.deque()
    assert loop._ready == collections.deque()
    assert loop.run_until_complete(work(1)) == 1
    loop._ready = own
    loop._ready = ours
    assert loop._ready is ours
    assert loop.run_until_complete(work(1)) == 1
    loop.close()


def test_it_does_not_keep_the_loop(applied):
    loop = loop_with(Queue)
    loop._ready.loop = loop
    loop.run_until_complete(work(1))
    loop.close()
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None


class Clear:
    """What trio-asyncio puts there: nothing may be added, and it can be cleared."""

    def clear(self):
        pass


class Stepped(asyncio.SelectorEventLoop):
    """A loop with its own queue, heap and way to run; nothing of asyncio's run loop is used, as in trio-asyncio."""

    def __init__(self):
        super().__init__(selectors.SelectSelector())
        self._ready = Clear()
        self._scheduled = Clear()
        self.items, self.timers = collections.deque(), []
        self.now = 0.0

    def time(self):
        return self.now

    def call_soon(self, callback, *args, context=None):
        self.items.append(asyncio.Handle(callback, args, self, context=context))
        return self.items[-1]

    call_soon_threadsafe = call_soon

    def call_at(self, when, callback, *args, context=None):
        timer = asyncio.TimerHandle(when, callback, args, self, context=context)
        heapq.heappush(self.timers, timer)
        return timer

    def call_later(self, delay, callback, *args, context=None):
        return self.call_at(self.now + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle):
        pass

    def is_running(self):
        return events._get_running_loop() is self

    def step(self):
        while self.timers and self.timers[0]._when <= self.now:
            self.items.append(heapq.heappop(self.timers))
        handle = self.items.popleft()
        if not handle._cancelled:
            handle._run()

    def run_forever(self):
        raise RuntimeError("this loop runs until something is done")

    def run_until_complete(self, future):
        events._set_running_loop(self)
        try:
            future = asyncio.ensure_future(future, loop=self)
            while not future.done():
                if not self.items and self.timers:
                    self.now = self.timers[0]._when
                self.step()
            return future.result()
        finally:
            events._set_running_loop(None)


def test_a_loop_that_uses_nothing_of_asyncios_own(applied):
    loop = Stepped()
    assert type(loop._ready) is type(loop._scheduled) is Clear

    async def main():
        await asyncio.gather(*map(work, range(5)))
        await asyncio.sleep(1000)
        return loop.time()

    assert loop.run_until_complete(main()) >= 1000
    loop.close()


class MainLoop(asyncio.SelectorEventLoop):
    """Run by a toolkit, as qasync's: asyncio's iteration is never called, and the selector cannot wait."""

    class Selector(selectors.SelectSelector):
        def select(self, timeout=None):
            raise NotImplementedError

    def __init__(self):
        super().__init__(self.Selector())

    def run_forever(self):
        self._run_forever_setup() if hasattr(self, "_run_forever_setup") else events._set_running_loop(self)
        self._thread_id = threading.get_ident()
        try:
            while not self._stopping:
                handle = self._ready.popleft()
                if not handle._cancelled:
                    handle._run()
        finally:
            self._stopping = False
            self._thread_id = None
            if hasattr(self, "_run_forever_cleanup"):
                self._run_forever_cleanup()
            events._set_running_loop(None)


WAYS = {
    "asyncio.run": lambda: asyncio.run(asyncio.sleep(0)),
    "aionest.run": lambda: aionest.run(asyncio.sleep(0)),
    "debug": lambda: asyncio.run(asyncio.sleep(0), debug=True),
    "await_": lambda: aionest.await_(asyncio.sleep(0)),
    "block_on": lambda: aionest.block_on(asyncio.get_running_loop().create_future()),
    "run_until_complete": lambda: asyncio.get_running_loop().run_until_complete(asyncio.sleep(0)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [MainLoop, Stepped])
def test_nesting_where_nobody_could_carry_on_is_refused_and_the_loop_goes_on(applied, kind, way):
    if (kind, way) == (Stepped, "run_until_complete"):
        pytest.skip("its own function")
    loop = kind()

    async def main():
        with pytest.raises(aionest.ForeignLoopError) as caught:
            WAYS[way]()
        assert f"{kind.__module__}.{kind.__qualname__}" in str(caught.value)
        assert "another thread" in str(caught.value)
        assert isinstance(caught.value, (RuntimeError, TypeError))
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await asyncio.sleep(0)
        return await asyncio.ensure_future(work(3)) if kind is Stepped else "goes on"

    assert loop.run_until_complete(main()) in (3, "goes on")
    loop.close()
    assert _core._counters()["blocks"] == 0


def test_what_needs_not_wait_works_there_too(applied):
    async def value():
        return 1

    async def main():
        return aionest.await_(value())

    loop = MainLoop()
    assert loop.run_until_complete(main()) == 1
    loop.close()


class Iterates(asyncio.SelectorEventLoop):
    """A run_forever of its own around asyncio's iteration: that can be carried on."""

    rounds = 0

    def run_forever(self):
        self._run_forever_setup() if hasattr(self, "_run_forever_setup") else events._set_running_loop(self)
        self._thread_id = threading.get_ident()
        try:
            while True:
                self.rounds += 1
                self._run_once()
                if self._stopping:
                    break
        finally:
            self._stopping = False
            self._thread_id = None
            if hasattr(self, "_run_forever_cleanup"):
                self._run_forever_cleanup()
            events._set_running_loop(None)


class CallsSuper(asyncio.SelectorEventLoop):
    def run_forever(self):
        super().run_forever()


class Iteration(asyncio.SelectorEventLoop):
    rounds = 0

    def _run_once(self):
        self.rounds += 1
        super()._run_once()


@pytest.mark.parametrize("kind", [Iterates, CallsSuper, Iteration])
@pytest.mark.parametrize("when", ["before", "inside"])
def test_loops_with_functions_around_asyncios_own_nest(kind, when):
    if when == "before":
        aionest.apply()
    loop = kind()

    async def child(n):
        return asyncio.run(work(n))

    async def main():
        if when == "inside":
            aionest.apply()
        return await asyncio.gather(*map(child, range(10))), asyncio.run(work(3))

    try:
        assert loop.run_until_complete(main()) == (list(range(10)), 3)
    finally:
        loop.close()
    assert _core._counters()["suspended"] == 0
