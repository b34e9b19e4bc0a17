"""Nested runs from wherever synchronous code is called: callbacks, generators, finalizers, greenlets, eager steps."""

from __future__ import annotations

import asyncio
import gc
import sys

import greenlet
import pytest
from support import sync

ON_EACH_LOOP = True


def test_from_a_plain_callback(run):
    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_soon(lambda: done.set_result((asyncio.current_task(), sync(5))))
        assert await done == (None, 5)

    run(main)


def test_from_callbacks_that_all_sleep(run):
    """Callbacks of one iteration: each sleeps, the rest of the iteration goes on elsewhere, the order stays."""

    async def main():
        loop = asyncio.get_running_loop()
        started, ended = [], []
        gates = [asyncio.Event() for _ in range(5)]

        def callback(i):
            started.append(i)
            asyncio.run(gates[i].wait())
            ended.append(i)

        for i in range(5):
            loop.call_soon(callback, i)
        await asyncio.sleep(0.01)
        assert started == [0, 1, 2, 3, 4] and ended == []
        for i in (3, 0, 4, 1, 2):
            gates[i].set()
            await asyncio.sleep(0.01)
        assert ended == [3, 0, 4, 1, 2]

    run(main)


def test_from_generators(run):
    async def main():
        def gen():
            for i in range(3):
                yield sync(i)

        async def agen():
            for i in range(3):
                yield sync(i)

        assert list(gen()) == [0, 1, 2]
        assert [x async for x in agen()] == [0, 1, 2]

    run(main)


def test_from_a_finalizer(run):
    async def main():
        got = []

        class Resource:
            def __del__(self):
                got.append(sync("closed"))

        def use():
            Resource()

        use()
        assert got == ["closed"]
        if sys.version_info < (3, 11) and asyncio.get_running_loop().get_debug():
            return  # the collector's cannot nest there: tests/core/test_amid_a_switch.py
        r = Resource()
        r.me = r
        del r
        gc.collect()
        assert got == ["closed"] * 2

    run(main)


def test_from_the_garbage_collector_at_any_allocation(applied, new_loops):
    """Finalizers that nest, run by collections in the middle of the engine's own allocations."""
    if new_loops == "foreign":
        pytest.skip("its own stack, which cannot sleep, runs Python code that collects, too")

    class Resource:
        begun = count = 0

        def __init__(self):
            self.me = self

        def __del__(self):
            Resource.begun += 1
            if asyncio._get_running_loop() is not None:
                sync()
            Resource.count += 1

    async def main():
        for _ in range(300):
            Resource()
            await asyncio.sleep(0)
            sync(1, 0)
        while Resource.count < Resource.begun:  # one that sleeps when the loop is closed has an error
            await asyncio.sleep(0)
        gc.disable()

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        asyncio.run(main())
    finally:
        gc.enable()
        gc.set_threshold(*threshold)
    gc.collect()
    assert Resource.count == 300


def test_from_a_foreign_greenlet(run):
    async def main():
        log = []

        def body(x):
            log.append(sync(x))
            y = greenlet.getcurrent().parent.switch("out")
            log.append(sync(y))
            return "end"

        g = greenlet.greenlet(body)
        assert g.switch(1) == "out"
        sync()
        assert g.switch(2) == "end"
        assert log == [1, 2]

        async def worker(i):
            g = greenlet.greenlet(sync)
            return g.switch(i, 0.01)

        assert await asyncio.gather(*[worker(i) for i in range(10)]) == list(range(10))

    run(main)


def test_inside_sqlalchemys_greenlets(run):
    sa = pytest.importorskip("sqlalchemy")
    pytest.importorskip("aiosqlite")
    from sqlalchemy.ext.asyncio import create_async_engine

    async def main():
        engine = create_async_engine("sqlite+aiosqlite://")
        try:
            async with engine.begin() as connection:

                def work(sync_connection):
                    sync()
                    x = sync_connection.execute(sa.text("select 20")).scalar()
                    return x + sync(1) + sync_connection.execute(sa.text("select 21")).scalar()

                assert await connection.run_sync(work) == 42
        finally:
            await engine.dispose()

    run(main)


def test_inside_an_exception_handler(run):
    async def main():
        try:
            raise LookupError
        except LookupError:

            async def inner():
                first = sys.exc_info()[0]
                await asyncio.sleep(0)
                return first, sys.exc_info()[0]

            # an eager task's first step is run by its creator
            assert asyncio.run(inner()) == (LookupError if run.mode == "eager" else None, None)
            assert sys.exc_info()[0] is LookupError

    run(main)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_from_an_eager_step(applied, asyncios_loop):
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        me = asyncio.current_task()

        async def eager():
            x = sync(3)
            assert asyncio.current_task() is not me
            return x

        task = asyncio.create_task(eager())
        assert asyncio.current_task() is me
        assert task.done() and await task == 3
        loop.set_task_factory(None)

    asyncio.run(main())


def test_custom_task_factory_and_task_subclass(applied):
    class MyTask(asyncio.Task):
        pass

    async def main():
        asyncio.get_running_loop().set_task_factory(lambda loop, coro, **kw: MyTask(coro, loop=loop, **kw))

        async def inner():
            await asyncio.sleep(0)
            return type(asyncio.current_task())

        async def caller():
            return asyncio.run(inner()), type(asyncio.current_task())

        task = asyncio.ensure_future(caller())
        assert await task == (MyTask, MyTask)
        started = asyncio.Event()

        async def waits():
            started.set()
            sync(1, 60)

        task = asyncio.ensure_future(waits())
        await started.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_pure_python_tasks(applied):
    from asyncio.tasks import _PyTask

    async def main():
        loop = asyncio.get_running_loop()

        async def caller():
            return sync(4)

        assert await _PyTask(caller(), loop=loop) == 4

        async def waits():
            sync(1, 60)

        task = _PyTask(waits(), loop=loop)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
