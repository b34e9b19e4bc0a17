"""Many threads that wait for one loop: each gets its result, whatever the others do with theirs."""

import asyncio
import ctypes  # (keeps a descriptor of its own from its import on)
import threading
import time

import pytest
from support import GUARD, eventually

from aionest import PortalClosed, _core

CROWD = 8


class Crowd:
    """Threads that wait for a portal's loop, and let() who ends the waiting of chosen ones in one turn of it."""

    def __init__(self, portal, start):
        self.portal, self.start = portal, start
        self.loop = portal.call(asyncio.get_running_loop)
        self.futures = {}
        self.waiting = threading.Semaphore(0)

    async def _wait(self, name):
        self.futures[name] = self.loop.create_future()
        self.waiting.release()
        return await self.futures[name]

    def wait(self, name):
        return self.portal.call(self._wait, name)

    def arrive(self, names, function=None):
        """Threads that run function(name), or just wait, once all of them wait."""
        threads = {name: self.start(function or self.wait, name) for name in names}
        for _ in names:
            assert self.waiting.acquire(timeout=GUARD)
        # in the loop's thread they wait already; give the threads the moment in which they begin to
        eventually(lambda: self.info()["waiting"] in (0, len(self.futures)), every=0.001)
        return threads

    def let(self, names):
        for name in names:
            self.futures.pop(name).set_result(name)

    def info(self):
        return _core.loop_info(self.loop)


@pytest.fixture
def crowd(portal, start):
    crowd = Crowd(portal, start)
    yield crowd
    # nobody waits, and nothing is kept
    assert crowd.info()["waiting"] == 0 and crowd.info()["due"] == 0


def can_relay(crowd):
    return not crowd.loop.get_debug()


def test_calls_of_many_threads(crowd):
    together = threading.Barrier(4 * CROWD)
    each = 50 if crowd.loop.get_debug() else 200  # (there a call takes ten times as long)

    async def double(x):
        for _ in range(x % 4):
            await asyncio.sleep(0.0005)
        return 2 * x

    def calls(number):
        together.wait(GUARD)
        return [crowd.portal.call(double, x) for x in range(number, number + each)]

    threads = [crowd.start(calls, number) for number in range(4 * CROWD)]
    for number, thread in enumerate(threads):
        assert thread.result() == [2 * x for x in range(number, number + each)]
    assert crowd.info()["relayed"] > 0 or not can_relay(crowd)


def test_a_crowd_that_is_done_at_once(crowd):
    before = crowd.info()["relayed"]
    threads = crowd.arrive(range(CROWD))
    crowd.loop.call_soon_threadsafe(crowd.let, range(CROWD))
    assert [thread.result() for thread in threads.values()] == list(range(CROWD))
    assert crowd.info()["relayed"] > before or not can_relay(crowd)


def test_one_that_goes_elsewhere_keeps_nobody_waiting(crowd):
    others_done, elsewhere = threading.Event(), threading.Event()

    def first(name):
        crowd.wait(name)
        elsewhere.set()
        return others_done.wait(GUARD)

    for _ in range(5):  # those after the second are not relayed any more, for a while
        threads = crowd.arrive([0], first) | crowd.arrive(range(1, CROWD))
        crowd.loop.call_soon_threadsafe(crowd.let, range(CROWD))
        assert [threads[name].result() for name in range(1, CROWD)] == list(range(1, CROWD))
        assert elsewhere.wait(GUARD)
        others_done.set()
        assert threads[0].result() is True
        others_done.clear()
        elsewhere.clear()


def test_a_callback_may_wait_for_a_thread_whose_result_is_due(crowd):
    """It blocks the loop in the very turn in which the gates are told: the threads look for themselves."""
    got, outcome = threading.Event(), []

    def last(name):
        crowd.wait(name)
        got.set()

    def turns(left):
        if left:
            crowd.loop.call_soon(turns, left - 1)
        else:
            outcome.append(got.wait(GUARD))

    def end():
        crowd.let([*range(CROWD - 1), "last"])
        turns(2)  # the tasks end in the next turn, their gates are told in the one after that

    for _ in range(3):
        threads = crowd.arrive(range(CROWD - 1)) | crowd.arrive(["last"], last)
        crowd.loop.call_soon_threadsafe(end)
        for thread in threads.values():
            thread.result()
        got.clear()
    assert crowd.portal.call(asyncio.sleep, 0, outcome) == [True, True, True]


def test_a_timeout_and_a_result_that_is_due(crowd):
    """One that is due when its time is up has its result."""

    def limited(name):
        return crowd.portal.call(crowd._wait, name, timeout=0.05)

    threads = crowd.arrive(range(CROWD)) | crowd.arrive(["limited"], limited)

    def end():
        time.sleep(0.2)  # the loop is late itself
        crowd.let([*range(CROWD), "limited"])

    crowd.loop.call_soon_threadsafe(end)
    for name in range(CROWD):
        assert threads[name].result() == name
    try:
        assert threads["limited"].result() == "limited"
    except TimeoutError as exc:
        assert "0.05 s" in str(exc)


def test_the_end_of_the_loop_wakes_all(portal, start):
    crowd = Crowd(portal, start)
    threads = crowd.arrive(range(CROWD))

    def end():
        crowd.let(range(0, CROWD, 2))
        crowd.loop.call_soon(crowd.loop.call_soon, crowd.loop.stop)  # in the turn in which gates are told

    crowd.loop.call_soon_threadsafe(end)
    for name, thread in threads.items():
        try:
            assert thread.result() == name and name % 2 == 0
        except PortalClosed:
            pass
    info = crowd.info()
    assert info is None or (info["waiting"], info["due"]) == (0, 0)


def test_a_thread_whose_wait_was_cut_short(crowd):
    """An exception in the waiting thread: its gate may be due already, and nobody has to take it."""

    class Cut(Exception):
        pass

    def cut(name):
        with pytest.raises(Cut):
            while True:
                crowd.portal.call(asyncio.sleep, 0)

    threads = [crowd.start(cut, name) for name in range(CROWD)]
    for thread in threads:
        time.sleep(0.01)
        assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Cut)) == 1
    for thread in threads:
        thread.result()
    assert crowd.portal.call(asyncio.sleep, 0, "well") == "well"
