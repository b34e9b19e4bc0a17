"""Whatever runs while two timers are compared, no timer is lost, none comes early, and none that is due waits for another.

Two ways to get code in there: asyncio's own ``TimerHandle.__lt__``, replaced, which nothing of ours or of heapq's should need for
plain times; and times whose comparison is Python code, where the engine has to cope.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import heapq
import random
import sys

import pytest

import aionest
from aionest import _core


class Adopted(asyncio.SelectorEventLoop):
    run_forever = asyncio.SelectorEventLoop.run_forever  # as it is before apply()
    _run_once = asyncio.SelectorEventLoop._run_once


class Amid:
    """Code to run amid comparisons, but not amid those that it makes itself; ``act`` is set while there is something to do."""

    def __init__(self):
        self.act, self.busy, self.times, self.errors = None, False, 0, []
        self.waiter = None

    def __call__(self):
        if self.act is None or self.busy:
            return
        self.busy = True
        self.times += 1
        try:
            self.act()
        except Exception as exc:
            self.errors.append(repr(exc))
        finally:
            self.busy = False
            if self.waiter is not None:
                self.waiter.set_result(None)

    async def over(self):
        """A nested run in there would be interrupted by the loop's end."""
        self.act = None
        if self.busy:
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter


class When(float):
    """A time whose comparison is Python code."""

    amid: Amid

    def __lt__(self, other):
        type(self).amid()
        return float(self) < float(other)

    def __gt__(self, other):
        type(self).amid()
        return float(self) > float(other)


class Timer(asyncio.TimerHandle):
    """A timer of somebody else's, whose comparison is Python code."""

    amid: Amid

    def __lt__(self, other):
        type(self).amid()
        return self._when < other._when


@pytest.fixture
def amid(monkeypatch):
    code = Amid()
    monkeypatch.setattr(When, "amid", code, raising=False)
    monkeypatch.setattr(Timer, "amid", code, raising=False)
    return code


@pytest.fixture
def amid_asyncios_own(monkeypatch):
    code, stock = Amid(), asyncio.TimerHandle.__lt__

    def less(self, other):
        code()
        return stock(self, other)

    monkeypatch.setattr(asyncio.TimerHandle, "__lt__", less)
    return code


def carry(loop, main, debug=False):
    loop.set_debug(debug)
    loop.slow_callback_duration = 60
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


class Program:
    """Timers in random order, each of which notes that it came, and when."""

    def __init__(self, seed, when=float, count=150):
        self.rng, self.when, self.count = random.Random(seed), when, count
        self.due, self.came, self.early = {}, [], []
        self.changed = asyncio.Event()

    def fire(self, number):
        self.came.append(number)
        loop = asyncio.get_running_loop()
        if loop.time() + loop._clock_resolution < self.due[number]:
            self.early.append(number)
        self.changed.set()

    def add(self, most=0.03):
        loop, number = asyncio.get_running_loop(), len(self.due)
        at = loop.time() + self.rng.random() * most
        self.due[number] = at
        return number, loop.call_at(self.when(at), self.fire, number)

    def drop(self, number, timer):
        timer.cancel()
        if number not in self.came:
            del self.due[number]
            self.due[-number - 1] = 0.0  # its number is not given again
            self.changed.set()

    async def over(self):
        while len(self.came) < sum(number >= 0 for number in self.due):
            self.changed.clear()
            await self.changed.wait()
        wanted = sorted(number for number in self.due if number >= 0)
        assert (sorted(self.came), self.early) == (wanted, [])


async def over(program, amid):
    await program.over()
    await amid.over()


def nest():
    return asyncio.run(asyncio.sleep(0.001, "slept"))


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, Adopted])
def test_plain_times_are_compared_without_python(applied, amid_asyncios_own, loop, debug):
    amid = amid_asyncios_own
    program = Program(1)

    def act():
        _core._check()
        if amid.times % 7 == 0:
            nest()

    async def main():
        amid.act = act
        timers = [program.add() for _ in range(program.count)]
        whole = asyncio.get_running_loop().call_at(int(asyncio.get_running_loop().time()) + 3600, print)
        for number, timer in timers[::3]:
            program.drop(number, timer)
        await over(program, amid)
        whole.cancel()

    carry(loop(), main, debug)
    assert amid.errors == []


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
@pytest.mark.parametrize("what", ["looks", "adds", "cancels", "nests", "collects", "all of it"])
@pytest.mark.parametrize("seed", range(4))
def test_code_amid_a_comparison(applied, amid, what, seed, debug):
    program = Program(seed, When)
    extra = []

    def act():
        kind = program.rng.choice(["adds", "cancels", "nests"]) if what == "all of it" else what
        _core._check()
        if amid.times > 300:
            return
        if kind == "adds":
            extra.append(program.add(0.005))
        elif kind == "cancels" and extra:
            program.drop(*extra.pop())
        elif kind == "nests":
            assert nest() == "slept"
        elif kind == "collects":
            gc.collect(0)

    async def main():
        extra.extend(program.add() for _ in range(20))
        amid.act = act
        for _ in range(program.count):
            program.add()
        await over(program, amid)

    carry(asyncio.new_event_loop(), main, debug)
    assert amid.errors == []
    assert amid.times


def test_a_nested_run_amid_a_comparison_waits_for_a_timer_that_is_just_being_taken(applied, amid):
    """It is due, and the run that waits for it sleeps in the comparison that taking it out of the heap needs."""
    got = []

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_at(When(loop.time() + 0.01), future.set_result, "came")
        others = [loop.call_at(When(loop.time() + 3600 + i), print) for i in range(5)]
        done = loop.create_future()

        def act():
            amid.act = None
            got.append(aionest.block_on(future))
            done.set_result(None)

        amid.act = act
        await done
        for timer in others:
            timer.cancel()

    carry(asyncio.new_event_loop(), main)
    assert (got, amid.errors) == (["came"], [])


def test_a_nested_run_amid_a_comparison_waits_for_a_timer_below_one_of_tomorrow(applied, amid):
    """The heap is half sorted then: its last timer stands where the first was."""
    got = []

    async def main():
        loop = asyncio.get_running_loop()
        now = loop.time()
        first = loop.call_at(When(now), int)
        done, came = loop.create_future(), asyncio.Event()

        def comes(i):
            got.append(i)
            if i == 2:
                came.set()

        for i in range(3):
            loop.call_at(When(now + 0.01 + i / 1000), comes, i)
        late = [loop.call_at(When(now + 86400 + i), print) for i in range(3)]

        def act():
            amid.act = None
            asyncio.run(came.wait())
            got.append("all")
            done.set_result(None)

        amid.act = act
        await done
        first.cancel()
        for timer in late:
            timer.cancel()

    carry(asyncio.new_event_loop(), main)
    assert (got, amid.errors) == ([0, 1, 2, "all"], [])


def test_a_nested_run_while_many_cancelled_timers_are_dropped(applied, amid):
    """asyncio makes the heap anew then. What is not in the new one yet is in neither list."""

    async def main():
        loop = asyncio.get_running_loop()
        now = loop.time()
        timers = [loop.call_at(When(now + 60 + i), print) for i in range(200)]
        kept = [loop.call_at(When(now + 3600 - i), print) for i in range(50)]
        came = asyncio.Event()
        loop.call_at(When(now + 0.01), came.set)
        for timer in timers:
            timer.cancel()

        def act():
            amid.act = None
            asyncio.run(came.wait())

        amid.act = act
        await came.wait()
        await amid.over()
        assert len(loop._scheduled) <= 51
        for timer in kept:
            timer.cancel()

    carry(asyncio.new_event_loop(), main)
    assert amid.errors == []


def test_timers_of_somebody_elses_in_the_heap(applied, amid):
    program = Program(5)

    def act():
        _core._check()
        program.add(0.005)
        if amid.times % 5 == 0:
            nest()

    async def main():
        loop = asyncio.get_running_loop()
        late = [Timer(loop.time() + 3600 + i, print, (), loop) for i in range(20)]
        for timer in late:
            heapq.heappush(loop._scheduled, timer)
        for _ in range(60):
            number, own = program.add()
            own.cancel()
            amid.act = None  # heapq itself copes with no change
            heapq.heappush(loop._scheduled, Timer(program.due[number], program.fire, (number,), loop))
            amid.act = act
            program.add()
            await asyncio.sleep(0)
        await over(program, amid)
        for timer in late:
            timer.cancel()

    carry(asyncio.new_event_loop(), main)
    assert amid.errors == []
    assert amid.times


class Boom(Exception):
    pass


def test_an_exception_amid_a_comparison_loses_no_timer(applied, amid):
    """It comes out of the loop, as on stock; the next run goes on with all of them."""
    program = Program(6, When, count=30)
    loop = asyncio.new_event_loop()

    class Fails(Amid):
        def __call__(self):
            if self.act is not None:
                self.times += 1
                if self.times % 10 == 0:
                    raise Boom

    async def main():
        for _ in range(program.count):
            program.add()
        When.amid = fails
        await asyncio.sleep(60)

    fails = Fails()
    fails.act = True
    task = loop.create_task(main())
    with pytest.raises(Boom):
        loop.run_until_complete(task)
    for _ in range(1000):
        if len(program.came) == program.count:
            break
        with contextlib.suppress(Boom):
            loop.call_later(0.002, loop.stop)
            loop.run_forever()
    fails.act = None
    task.cancel()
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert (sorted(program.came), program.early) == (list(range(program.count)), [])


def test_a_heap_that_changes_at_each_look_is_an_error(applied):
    """Not an endless loop."""
    loop = asyncio.new_event_loop()

    class Adds:
        def __lt__(self, other):
            loop.call_later(60, print)
            return True

        def __gt__(self, other):
            return False

        def __float__(self):
            loop._scheduled.append(asyncio.TimerHandle(1e9, print, (), loop))
            return 1e9

    loop.call_at(1e9, print)
    with pytest.raises(RuntimeError, match="changes each time"):
        loop.call_at(Adds(), print)
    loop._scheduled.clear()
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()


def test_timers_compare_as_asyncios_own(applied, amid):
    loop = asyncio.new_event_loop()
    times = [1.0, 1.0, 2.0, 3, When(1.5), float("inf")]
    stock = [asyncio.TimerHandle(t, print, (), loop) for t in times]
    ours = [loop.call_at(t, print) for t in times]

    def table(rows, columns):
        return [(a < b, a <= b, a == b, a != b, a > b, a >= b) for a in rows for b in columns]

    wanted = table(stock, stock)
    assert table(ours, ours) == table(ours, stock) == table(stock, ours) == wanted
    assert [hash(t) for t in ours] == [hash(t) for t in stock]
    for compare in (lambda: ours[0] < 1, lambda: ours[0] >= "x"):
        with pytest.raises(TypeError):
            compare()
    assert (ours[0] == 1) is False
    loop._scheduled.clear()
    loop.close()


@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, Adopted])
def test_what_debug_mode_tells_of_a_timer(applied, loop):
    async def main():
        loop = asyncio.get_running_loop()
        line = sys._getframe().f_lineno
        timers = [loop.call_later(60, print), loop.call_at(loop.time() + 60, print)]
        for i, timer in enumerate(timers, 1):
            frame = timer._source_traceback[-1]
            assert (frame.filename, frame.lineno, frame.name) == (__file__, line + 1, "main"), i
            assert f"created at {__file__}:{line + 1}" in repr(timer)
            timer.cancel()
        for wrong in (asyncio.sleep, 1):
            with pytest.raises(TypeError, match="call_at"):
                loop.call_at(1.0, wrong)
        return loop

    closed = carry(loop(), main, debug=True)
    with pytest.raises(RuntimeError, match="closed"):
        closed.call_at(1.0, print)
