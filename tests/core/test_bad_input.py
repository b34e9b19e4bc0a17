"""Refused calls: a clear error, and no coroutine left 'never awaited' (warnings are errors in this suite)."""

from __future__ import annotations

import asyncio
import gc
import sys

import pytest

import aionest


async def value(x=1):
    await asyncio.sleep(0)
    return x


@pytest.fixture(autouse=True)
def collected():
    yield
    gc.collect()  # a coroutine that was never awaited speaks up here


@pytest.mark.parametrize("bad", [None, 5, "x", value, [], object()])
def test_not_an_awaitable(run, bad):
    async def main():
        with pytest.raises((TypeError, ValueError)):
            asyncio.run(bad)
        with pytest.raises((TypeError, ValueError)):
            aionest.run(bad)
        with pytest.raises(TypeError, match="awaitable"):
            aionest.await_(bad)
        with pytest.raises(TypeError, match="await_"):
            aionest.block_on(bad)
        with pytest.raises(TypeError):
            asyncio.get_running_loop().run_until_complete(bad)

    run(main)
    with pytest.raises((TypeError, ValueError)):
        asyncio.run(bad)


def test_without_a_running_loop(applied):
    with pytest.raises(RuntimeError, match="aionest.run"):
        aionest.await_(value())
    with pytest.raises(RuntimeError, match="aionest.run"):
        aionest.block_on(value())


def test_block_on_a_coroutine(run):
    async def main():
        with pytest.raises(TypeError, match="await_"):
            aionest.block_on(value())

    run(main)


def test_future_of_another_loop(run):
    other = asyncio.new_event_loop()
    future = other.create_future()

    async def main():
        with pytest.raises(RuntimeError, match="a different event loop"):
            aionest.block_on(future)
        with pytest.raises(RuntimeError, match="attached to a different loop"):
            aionest.await_(future)
        with pytest.raises(ValueError):
            asyncio.get_running_loop().run_until_complete(future)

    run(main)
    other.close()


def test_closed_loop(applied):
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_until_complete(value())
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_forever()

    async def main():
        with pytest.raises(RuntimeError, match="closed"):
            loop.run_until_complete(value())

    asyncio.run(main())


def test_coroutine_awaited_already(run):
    async def main():
        coro = value()
        assert await coro == 1
        for call in (aionest.await_, asyncio.run, asyncio.get_running_loop().run_until_complete):
            with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
                call(coro)

    run(main)


def refuse():
    raise LookupError


@pytest.mark.parametrize("nested", [False, True])
def test_loop_factories(applied, nested):
    """What is no new loop is refused before anything is done with it: all tasks of "no loop" are those of the running one."""
    closed = asyncio.new_event_loop()
    closed.close()

    def calls():
        with pytest.raises(LookupError):
            asyncio.run(value(), loop_factory=refuse)
        with pytest.raises(TypeError, match="loop_factory must return an event loop, not NoneType"):
            asyncio.run(value(), loop_factory=lambda: None)
        with pytest.raises(RuntimeError, match="must make a new one"):
            asyncio.run(value(), loop_factory=lambda: closed)

    async def main():
        calls()
        await asyncio.sleep(0)
        return "goes on"

    if nested:
        assert asyncio.run(main()) == "goes on"
    else:
        calls()


def test_task_factory_that_refuses(applied):
    def factory(loop, coro, **kwargs):
        raise LookupError

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        try:
            for call in (asyncio.run, loop.run_until_complete):
                with pytest.raises(LookupError):
                    call(value())
        finally:
            loop.set_task_factory(None)

    asyncio.run(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Runner came with 3.11")
@pytest.mark.parametrize("nested", [False, True])
def test_closed_runner(applied, nested):
    def call():
        with asyncio.Runner() as runner:
            pass
        with pytest.raises(RuntimeError, match="closed"):
            runner.run(value())

    async def main():
        call()

    asyncio.run(main()) if nested else call()


def test_bad_yields(run):
    class Yields:
        def __init__(self, x):
            self.x = x

        def __await__(self):
            yield self.x

    class NoIterator:
        def __await__(self):
            return 5

    async def main():
        with pytest.raises(RuntimeError, match="bad yield"):
            aionest.await_(Yields(5))
        with pytest.raises(RuntimeError, match="yield was used instead of yield from"):
            aionest.await_(Yields(asyncio.get_running_loop().create_future()))
        with pytest.raises(TypeError, match="non-iterator"):
            aionest.await_(NoIterator())

        async def itself():
            await asyncio.current_task()

        with pytest.raises(RuntimeError, match="cannot await on itself"):
            aionest.await_(itself())

    run(main)


@pytest.mark.parametrize("bad", [5, "loop", object(), asyncio])
def test_apply_to_something_that_is_no_loop(bad):
    with pytest.raises(TypeError, match="event loop"):
        aionest.apply(bad)
    assert not aionest.is_applied()


def test_loop_that_runs_in_another_thread(applied):
    import threading

    loop = asyncio.new_event_loop()
    started = threading.Event()
    loop.call_soon(started.set)
    t = threading.Thread(target=loop.run_forever)
    t.start()
    started.wait()
    with pytest.raises(RuntimeError, match="already running"):
        loop.run_until_complete(value())

    async def main():
        with pytest.raises(RuntimeError, match="already running"):
            loop.run_until_complete(value())

    asyncio.run(main())
    loop.call_soon_threadsafe(loop.stop)
    t.join()
    loop.close()


def test_core_functions_check_their_arguments():
    from aionest import _core

    for call in (
        lambda: _core.carry(5),
        lambda: _core.set_guest(5, None, None),
        lambda: _core.stop_waiters(None),
        lambda: _core.end_suspended(5),
        lambda: _core._probe(1, 2, 3, 4),
        lambda: _core._configure(),
        lambda: _core.ReadyQueue(),
    ):
        with pytest.raises(TypeError):
            call()
    assert _core.loop_info(5) is None
