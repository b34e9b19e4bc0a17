"""Loops of each kind inside loops of each kind: those without a descriptor that another loop could watch, too."""

from __future__ import annotations

import asyncio
import selectors
import socket
import sys
import threading

import pytest
from support import eventually_async

import aionest


def on(selector):
    return lambda: asyncio.SelectorEventLoop(getattr(selectors, selector)())


SELECTORS = {"select": "SelectSelector", "poll": "PollSelector", "epoll": "EpollSelector", "kqueue": "KqueueSelector"}
KINDS = {name: on(selector) for name, selector in SELECTORS.items() if hasattr(selectors, selector)}
if sys.platform == "win32":
    KINDS["proactor"] = asyncio.ProactorEventLoop
every_kind = pytest.mark.parametrize("inner", KINDS)
in_every_kind = pytest.mark.parametrize("outer", KINDS)


def run(kind, main):
    return aionest.run(main, loop_factory=KINDS[kind])


async def echo_once():
    async def serve(reader, writer):
        writer.write(await reader.readexactly(5))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    writer.write(b"hello")
    got = await reader.readexactly(5)
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    return got


@every_kind
@in_every_kind
def test_timers_threads_and_sockets_wake_a_guest(applied, outer, inner):
    async def guest():
        loop = asyncio.get_running_loop()
        assert await asyncio.sleep(0.001, "timer") == "timer"
        future = loop.create_future()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(future.set_result, "thread"))
        thread.start()
        assert await future == "thread"
        thread.join()
        return await echo_once()

    async def main():
        future, turns = asyncio.get_running_loop().create_future(), 0

        async def tick():
            nonlocal turns
            while not future.done():
                turns += 1
                await asyncio.sleep(0)

        ticker = asyncio.create_task(tick())
        await asyncio.sleep(0)
        before = turns
        assert run(inner, guest()) == b"hello"
        assert turns > before
        assert run(inner, guest()) == b"hello"
        future.set_result(None)
        await ticker

    run(outer, main())


async def waits(got):
    """A guest that waits for a future; the loop and that are put into ``got``."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    got += [loop, future]
    return await future


@every_kind
@in_every_kind
def test_a_guest_that_only_waits_is_woken_from_the_outer_loop(applied, outer, inner):
    async def main():
        got = []

        async def outside():
            await eventually_async(lambda: len(got) == 2)
            await asyncio.sleep(0.01)
            got[0].call_soon_threadsafe(got[1].set_result, "woken")

        task = asyncio.create_task(outside())
        assert run(inner, waits(got)) == "woken"
        await task

    run(outer, main())


@every_kind
@in_every_kind
def test_the_task_that_waits_for_a_guest_is_cancelled(applied, outer, inner):
    async def main():
        started, ended = [], []

        async def guest():
            try:
                started.append(True)
                await asyncio.get_running_loop().create_future()
            finally:
                await asyncio.sleep(0.001)
                ended.append(True)

        async def caller():
            run(inner, guest())

        task = asyncio.create_task(caller())
        await eventually_async(lambda: started)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [True]

    run(outer, main())


@every_kind
def test_guests_in_guests(applied, inner):
    async def depth(n):
        await asyncio.sleep(0)
        return n if n == 0 else 1 + run(inner, depth(n - 1))

    assert run(inner, depth(3)) == 3


@every_kind
@in_every_kind
def test_guests_many_deep_sleep_and_are_woken(applied, outer, inner):
    """Linux lets epolls watch one another five deep."""

    async def depth(n):
        await asyncio.sleep(0)
        if n:
            return 1 + run(inner, depth(n - 1))
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(future.set_result, 0))
        thread.start()
        await future
        thread.join()
        return await echo_once() == b"hello"

    assert run(outer, depth(10)) == 11


def test_guests_of_uvloop_many_deep(applied):
    uvloop = pytest.importorskip("uvloop")

    async def depth(n):
        await asyncio.sleep(0)
        if n:
            return 1 + aionest.run(depth(n - 1), loop_factory=uvloop.new_event_loop)
        return await echo_once() == b"hello"

    assert aionest.run(depth(6), loop_factory=uvloop.new_event_loop) == 7


@every_kind
def test_a_guest_many_deep_whose_outer_loop_is_over_and_runs_again(applied, inner):
    async def guest(started, future):
        started.append(asyncio.get_running_loop())
        future.append(started[0].create_future())
        return await future[0]

    async def nests(*args):
        return run(inner, guest(*args))

    async def deepest():
        loop, started, future = KINDS[inner](), [], []
        try:
            task = loop.create_task(nests(started, future))
            loop.run_until_complete(eventually_async(lambda: future))
            thread = threading.Thread(target=started[0].call_soon_threadsafe, args=(future[0].set_result, "woken"))
            thread.start()
            await asyncio.to_thread(thread.join)
            return loop.run_until_complete(task)
        finally:
            loop.close()

    async def depth(n):
        return run(inner, depth(n - 1)) if n else await deepest()

    assert run(inner, depth(5)) == "woken"


@pytest.mark.parametrize("runs", ["one outer run", "two outer runs", "by itself"])
@pytest.mark.parametrize("where", ["same loop", "a guest"])
def test_a_task_that_nests_outlasts_its_guests_run(applied, where, runs):
    """The stack in which it sleeps was one of the first run's pump."""
    loop, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    woken, started = asyncio.Event(), asyncio.Event()

    async def waits():
        started.set()
        await eventually_async(woken.is_set)
        return "woken"

    async def nests():
        return (loop if where == "same loop" else other).run_until_complete(waits())

    async def first():
        task = loop.create_task(nests())
        loop.run_until_complete(eventually_async(started.is_set))
        return second(task) if runs == "one outer run" else task

    def second(task):
        woken.set()
        return loop.run_until_complete(task)

    async def again(task):
        got = second(task)
        return got, asyncio.get_running_loop() is not loop

    try:
        got = asyncio.run(first())
        if runs == "two outer runs":
            got, restored = asyncio.run(again(got))
            assert restored
        elif runs == "by itself":
            got = second(got)
        assert got == "woken"
    finally:
        loop.close()
        other.close()


@pytest.mark.parametrize("deep", [1, 2])
@pytest.mark.parametrize("outer", ["asyncio", "uvloop"])
@pytest.mark.parametrize("where", ["same loop", "a guest"])
def test_a_task_that_nests_in_a_loops_own_run_goes_on_while_that_is_a_guest(applied, where, outer, deep):
    """No pump is on its stack: each loop is the running one for its own callbacks all the same."""
    make = pytest.importorskip("uvloop").new_event_loop if outer == "uvloop" else asyncio.new_event_loop
    loop, other, wrong = asyncio.new_event_loop(), asyncio.new_event_loop(), []
    loops = [make(), *[asyncio.new_event_loop() for _ in range(deep - 1)]]
    woken, started = asyncio.Event(), asyncio.Event()

    async def waits():
        started.set()
        await eventually_async(woken.is_set)
        return "woken"

    def check(wanted):
        if asyncio.get_running_loop() is not wanted:
            wrong.append((wanted, asyncio.get_running_loop()))

    async def nests():
        got = (loop if where == "same loop" else other).run_until_complete(waits())
        check(loop)
        loop.run_until_complete(asyncio.sleep(0))
        check(loop)
        await asyncio.sleep(0.001)
        check(loop)
        return got

    async def ticks(own):
        while True:
            check(own)
            await asyncio.sleep(0)

    async def inside(left):
        ticking = asyncio.ensure_future(ticks(left[0]))
        await asyncio.sleep(0)
        woken.set()
        got = left[1].run_until_complete(inside(left[1:])) if left[1:] else loop.run_until_complete(task)
        check(left[0])
        ticking.cancel()
        return got

    try:
        task = loop.create_task(nests())
        loop.run_until_complete(eventually_async(started.is_set))
        assert loops[0].run_until_complete(inside(loops)) == "woken"
        assert not wrong
    finally:
        for one in (loop, other, *loops):
            one.close()


@pytest.mark.parametrize("inner", [kind for kind in KINDS if kind != "proactor"])
def test_a_reader_that_others_add_to_an_idle_guest(applied, inner):
    a, b = socket.socketpair()

    async def main():
        got = []

        async def outside():
            await eventually_async(lambda: len(got) == 2)
            await asyncio.sleep(0.01)
            got[0].add_reader(a, lambda: got[1].done() or got[1].set_result(a.recv(1)))
            b.send(b"x")

        task = asyncio.create_task(outside())
        assert run(inner, waits(got)) == b"x"
        await task

    with a, b:
        asyncio.run(main())
