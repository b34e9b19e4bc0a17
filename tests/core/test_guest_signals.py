"""Signal handlers of a loop that runs inside another one, and a guest whose pump fails."""

from __future__ import annotations

import asyncio
import os
import signal
import unittest.mock

import pytest
from support import eventually_async

import aionest


@pytest.fixture(autouse=True)
def as_found():
    """No disposition and no descriptor for wake-ups is left changed."""
    numbers = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(n) for n in numbers]
    yield
    assert [signal.getsignal(n) for n in numbers] == before
    fd = signal.set_wakeup_fd(-1)
    assert fd == -1


class Got:
    """What came, and when something came."""

    def __init__(self):
        self.what, self.event = [], asyncio.Event()

    def __call__(self, what):
        self.what.append(what)
        self.event.set()

    async def after(self, number):
        self.event.clear()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(self.event.wait(), 30)
        return self.what


def guest(coro):
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coro)
    finally:
        loop.close()


def test_a_guest_that_had_handlers_leaves_the_outer_loops_alone(applied):
    async def inner():
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR2, print)
        assert loop.remove_signal_handler(signal.SIGUSR2)
        assert not loop.remove_signal_handler(signal.SIGUSR2)

    async def main():
        got = Got()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, got, "usr1")
        guest(inner())
        return await got.after(signal.SIGUSR1)

    assert asyncio.run(main(), debug=True) == ["usr1"]
    assert asyncio.run(main()) == ["usr1"]


def test_handlers_of_both_work_while_the_guest_runs_and_when_it_is_closed(applied):
    async def inner(outer):
        got = Got()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR2, got, "guest's")
        loop.add_signal_handler(signal.SIGTERM, got, "guest's term")
        await got.after(signal.SIGUSR2)
        await got.after(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
        await eventually_async(lambda: outer.what)
        return got.what

    async def main():
        got = Got()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, got, "usr1")
        loop.add_signal_handler(signal.SIGTERM, got, "term")
        assert guest(inner(got)) == ["guest's", "guest's term"]  # closed with its handlers
        assert got.what == ["usr1"]
        await got.after(signal.SIGUSR1)
        return await got.after(signal.SIGTERM)

    assert asyncio.run(main()) == ["usr1", "usr1", "term"]


def test_between_the_runs_of_a_guest(applied):
    """It keeps its handlers, and gets what comes; the outer loop's work."""

    async def main():
        got, theirs = Got(), []
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, got, "usr1")
        loop = asyncio.new_event_loop()

        async def take():
            loop.add_signal_handler(signal.SIGUSR2, theirs.append, "usr2")

        loop.run_until_complete(take())
        await got.after(signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)
        await asyncio.sleep(0)
        await got.after(signal.SIGUSR1)
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
        return got.what, theirs, await got.after(signal.SIGUSR1)

    got, theirs, after = asyncio.run(main())
    assert (after, theirs) == (["usr1"] * 3, ["usr2"]) and got is after


def test_dispositions_that_are_no_loops_come_back(applied):
    """As aiohttp's run_app does: SIGINT and SIGTERM while it runs."""

    def mine(number, frame):
        raise AssertionError

    async def inner():
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, print)

    async def main():
        before = signal.getsignal(signal.SIGINT)
        guest(inner())
        assert signal.getsignal(signal.SIGINT) is before
        assert signal.getsignal(signal.SIGTERM) is mine

    before = signal.signal(signal.SIGTERM, mine)
    try:
        asyncio.run(main())
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_outer_loop_lets_go_while_the_guest_has_a_handler(applied):
    async def inner(outer):
        got = Got()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, got, "guest's")
        outer.remove_signal_handler(signal.SIGUSR1)
        return await got.after(signal.SIGUSR1)

    async def main():
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, print)
        result = guest(inner(loop))
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
        return result

    assert asyncio.run(main()) == ["guest's"]


def test_guests_in_guests(applied):
    async def inmost(*outer):
        got = Got()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, got, "inmost")
        await got.after(signal.SIGTERM)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)
        await eventually_async(lambda: all(o.what for o in outer))
        return got.what

    async def middle(outer):
        got = Got()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, got, "middle")
        assert guest(inmost(outer, got)) == ["inmost"]
        return await got.after(signal.SIGUSR2)

    async def main():
        got = Got()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, got, "outer")
        assert guest(middle(got)) == ["middle"] * 2
        return await got.after(signal.SIGUSR1)

    assert asyncio.run(main()) == ["outer"] * 2


def test_one_loop_is_as_on_stock(applied):
    loop = asyncio.new_event_loop()

    async def main():
        got = Got()
        loop.add_signal_handler(signal.SIGUSR1, got, "usr1")
        await got.after(signal.SIGUSR1)
        loop.remove_signal_handler(signal.SIGUSR1)
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
        return got.what

    assert loop.run_until_complete(main()) == ["usr1"]
    with pytest.raises(ValueError):
        loop.add_signal_handler(12345, print)
    with pytest.raises(RuntimeError):
        loop.add_signal_handler(signal.SIGKILL, print)
    with pytest.raises(TypeError):
        loop.remove_signal_handler("1")
    loop.close()


# ---- a guest whose pump fails --------------------------------------------------------------------------------------------


class Broken(Exception):
    pass


def fails(*args):
    raise Broken


@pytest.mark.parametrize("what", ["fileno", "time", "select", "run_once", "descriptor"])
def test_the_caller_of_a_guest_gets_what_its_pump_raises(applied, what):
    """Loops with virtual time, or with a mocked selector: whoever else runs on the outer loop goes on."""

    class Loop(asyncio.SelectorEventLoop):
        def time(self):
            return fails() if what == "time" and self.is_running() else super().time()

        def _run_once(self):
            return fails() if what == "run_once" else super()._run_once()

    async def main():
        loop = Loop()
        selector = loop._selector
        if what == "select":
            selector.select = fails
        elif what == "fileno":
            selector.fileno = fails
        elif what == "descriptor":
            loop._selector = unittest.mock.Mock(wraps=selector, select=lambda timeout: [])
            loop._selector.fileno = lambda: 10**6
        errors = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
        other = asyncio.create_task(asyncio.sleep(0.05, "went on"))
        coro = asyncio.sleep(60)
        try:
            with pytest.raises((Broken, OSError, ValueError)):
                await asyncio.wait_for(asyncio.create_task(call(loop, coro)), 30)
        finally:
            loop._selector = selector
            selector.__dict__.pop("select", None)
            selector.__dict__.pop("fileno", None)
            loop.__class__ = asyncio.SelectorEventLoop
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
        assert errors == []
        return await other

    async def call(loop, coro):
        loop.run_until_complete(coro)

    assert asyncio.run(main()) == "went on"
    assert aionest.is_applied()
