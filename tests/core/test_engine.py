"""The engine's hard cases: where a nested call may come from, how runs end, other loops, other libraries' stacks."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import logging
import re
import selectors
import sys
import threading
import time

import greenlet
import pytest
from support import eventually_async, until

import aionest
from aionest import _core

ON_EACH_LOOP = True


async def value(x, delay=0):
    await asyncio.sleep(delay)
    return x


def sync(x=1, delay=0.001):
    return asyncio.run(value(x, delay))


# ---- where from --------------------------------------------------------------------------------------------------------


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


# ---- what others see ----------------------------------------------------------------------------------------------------


def test_current_task_and_all_tasks_while_suspended(run):
    async def main():
        me = asyncio.current_task()
        seen = []

        async def inner():
            await asyncio.sleep(0)
            seen.append((asyncio.current_task(), asyncio.all_tasks()))

        asyncio.run(inner())
        (task, tasks) = seen[0]
        assert task is not me and {task, me} <= tasks
        assert asyncio.current_task() is me

    run(main)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the call graph came with 3.14")
def test_call_graph(applied):
    async def main():
        me = asyncio.current_task()

        async def inner():
            await asyncio.sleep(0)
            return asyncio.capture_call_graph(asyncio.current_task())

        graph = asyncio.run(inner())
        assert [g.future for g in graph.awaited_by] == [me]
        assert not asyncio.capture_call_graph(me).awaited_by

    asyncio.run(main())


def test_slow_callback_time_does_not_count_suspension(applied, caplog, asyncios_loop):
    caplog.set_level(logging.WARNING, logger="asyncio")

    async def main():
        asyncio.get_running_loop().slow_callback_duration = 1
        sync(1, 1.5)

    asyncio.run(main(), debug=True)
    assert [r for r in caplog.records if "took" in r.getMessage()] == []

    async def slow():
        asyncio.get_running_loop().slow_callback_duration = 0.05
        sync(1, 1.5)
        time.sleep(0.1)

    asyncio.run(slow(), debug=True)
    took = [float(m[1]) for r in caplog.records if (m := re.search(r"took ([0-9.]+) seconds", r.getMessage()))]
    assert took and 0.1 <= max(took) < 1.5, took


# ---- exceptions that end the program --------------------------------------------------------------------------------------


@pytest.mark.parametrize("exc", [KeyboardInterrupt, SystemExit])
def test_exit_exceptions_come_out_of_a_loop_with_its_own_run_once(applied, exc):
    class Loop(asyncio.SelectorEventLoop):
        def _run_once(self):
            super()._run_once()

    loop = Loop()

    async def raises():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise exc from None

    task = loop.create_task(raises())
    loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    briefly = loop.create_task(asyncio.sleep(0.001))
    with pytest.raises(exc):
        loop.run_until_complete(briefly)
    assert isinstance(task.exception(), exc)
    loop.run_until_complete(briefly)
    loop.close()


@pytest.mark.parametrize("exc", [KeyboardInterrupt, SystemExit])
def test_exit_from_a_callback_goes_to_the_top_level_run(applied, exc):
    async def main():
        def callback():
            raise exc

        asyncio.get_running_loop().call_later(0.01, callback)
        await asyncio.sleep(60)

    with pytest.raises(exc):
        asyncio.run(main())
    assert asyncio.run(value(1)) == 1


@pytest.mark.parametrize("exc", [KeyboardInterrupt, SystemExit])
def test_exit_from_a_nested_run_goes_to_its_caller_first(applied, exc):
    async def main():
        async def inner():
            await asyncio.sleep(0.01)
            raise exc

        try:
            asyncio.run(inner())
        except exc:
            return "caught by the caller"

    assert asyncio.run(main()) == "caught by the caller"

    async def uncaught():
        async def inner():
            await asyncio.sleep(0.01)
            raise exc

        asyncio.run(inner())

    with pytest.raises(exc):
        asyncio.run(uncaught())


# ---- stop and close ---------------------------------------------------------------------------------------------------------


def test_stop_ends_suspended_runs(applied):
    loop = asyncio.new_event_loop()
    ended = []

    async def caller(i):
        try:
            asyncio.run(asyncio.sleep(60))
        except RuntimeError as e:
            ended.append((i, str(e)))
            with pytest.raises(RuntimeError):
                asyncio.run(asyncio.sleep(0))

    tasks = [loop.create_task(caller(i)) for i in range(3)]
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert sorted(ended) == [(i, "Event loop stopped before Future completed.") for i in range(3)]
    loop.run_until_complete(asyncio.gather(*tasks))
    assert loop.run_until_complete(value(1)) == 1
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_the_run_after_stop_is_not_stopped(applied):
    """The main future of the stopped run ends in it, since the run nested in it does: its done callback is still queued."""
    loop = asyncio.new_event_loop()

    async def main():
        loop.call_later(0.01, loop.stop)
        loop.run_until_complete(asyncio.sleep(60))

    with pytest.raises(RuntimeError, match="Event loop stopped"):
        loop.run_until_complete(main())
    assert [loop.run_until_complete(asyncio.sleep(0.001, i)) for i in range(3)] == [0, 1, 2]
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


DELAYS = [0.06, 0.02, 0.04]


@pytest.mark.parametrize("how", ["done callback", "timer", "callbacks", "all in one iteration"])
def test_each_of_several_nested_run_forever_is_stopped_by_its_own_owner(applied, how):
    order = []

    async def caller(delay):
        loop = asyncio.get_running_loop()
        task = None
        if how == "done callback":
            task = loop.create_task(asyncio.sleep(delay))
            task.add_done_callback(lambda task: loop.stop())
        elif how == "timer":
            loop.call_later(delay, loop.stop)
        elif how == "callbacks":

            def begin():
                inner = loop.create_task(asyncio.sleep(delay))
                inner.add_done_callback(lambda inner: loop.call_soon(loop.stop))

            loop.call_soon(begin)
        else:
            together.add_done_callback(lambda together: None)
            loop.call_soon(lambda: loop.create_task(wait()).add_done_callback(lambda task: loop.stop()))
        loop.run_forever()
        assert task is None or task.done()
        order.append(delay)

    async def wait():
        await together

    async def main():
        nonlocal together
        together = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.02, together.set_result, None)
        await asyncio.wait_for(asyncio.gather(*map(caller, DELAYS)), 30)
        await asyncio.sleep(0)

    together = None
    asyncio.run(main())
    assert sorted(order) == sorted(DELAYS)
    if how != "all in one iteration":
        assert order == sorted(DELAYS)


def test_several_tornado_run_sync_at_once(applied):
    ioloop = pytest.importorskip("tornado.ioloop")

    async def caller(delay):
        def func():
            return asyncio.sleep(delay, delay)

        assert ioloop.IOLoop.current().run_sync(func, timeout=30) == delay
        order.append(delay)

    async def main():
        await asyncio.gather(*map(caller, DELAYS))
        ioloop.IOLoop.current().run_sync(lambda: asyncio.sleep(0))

    order = []
    asyncio.run(main())
    assert order == sorted(DELAYS)


def test_stop_returns_at_once(applied):
    """Not only when the stacks that sleep are done, as where the loop is nested."""
    loop = asyncio.new_event_loop()

    async def caller():
        with contextlib.suppress(RuntimeError):
            asyncio.run(asyncio.sleep(600))

    task = loop.create_task(caller())
    loop.call_later(0.02, loop.stop)
    start = time.monotonic()
    loop.run_forever()
    assert time.monotonic() - start < 60
    loop.run_until_complete(task)
    for t in asyncio.all_tasks(loop):
        t.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_stop_before_run_forever_runs_one_iteration(applied):
    loop = asyncio.new_event_loop()
    log = []
    loop.call_soon(log.append, 1)
    loop.stop()
    loop.run_forever()
    assert log == [1]
    loop.close()


def test_close_ends_suspended_runs(applied):
    loop = asyncio.new_event_loop()
    ended = []

    async def caller():
        try:
            loop.run_until_complete(loop.create_future())
        except RuntimeError as e:
            ended.append(str(e))
            with pytest.raises(RuntimeError):
                aionest.await_(asyncio.sleep(0.01))

    task = loop.create_task(caller())
    loop.run_until_complete(value(1, 0.01))
    assert _core._counters()["suspended"] == 1
    loop.close()
    assert ended == ["Event loop was closed before Future completed."]
    assert task.done()
    assert _core._counters()["suspended"] == 0


def test_close_of_another_loop_inside_a_task(run):
    """The task stays the current one, whatever ran while the other loop's runs were ended."""
    ended = []

    async def caller(loop):
        try:
            loop.run_until_complete(asyncio.sleep(60))
        except RuntimeError:
            ended.append(asyncio.current_task() in tasks)

    async def start(loop):
        tasks.extend(loop.create_task(caller(loop)) for _ in range(3))
        await asyncio.sleep(0.01)

    async def main():
        task = asyncio.current_task()
        other = asyncio.new_event_loop()
        other.run_until_complete(start(other))
        other.close()
        assert asyncio.current_task() is task
        await asyncio.sleep(0.001)
        assert asyncio.current_task() is task
        return sync("goes on", 0.001)

    tasks = []
    assert run(main) == "goes on"
    assert ended == [True] * 3


def test_nested_run_forever(run):
    async def main():
        loop = asyncio.get_running_loop()
        log = []
        loop.call_later(0.01, loop.stop)
        loop.run_forever()
        log.append("nested returned")
        await asyncio.sleep(0.01)
        log.append("outer goes on")
        return log

    assert run(main) == ["nested returned", "outer goes on"]


def test_loop_moves_between_threads_while_idle(applied):
    loop = asyncio.new_event_loop()

    async def main():
        return sync(threading.get_ident())

    idents = []
    for _ in range(3):
        t = threading.Thread(target=lambda: idents.append(loop.run_until_complete(main())))
        t.start()
        t.join()
    idents.append(loop.run_until_complete(main()))
    assert len(idents) == 4
    loop.close()


def test_suspended_run_goes_on_in_its_own_thread_only(applied):
    """Its loop is carried on by another thread, and its thread by another loop, before both meet again."""
    loop, another = asyncio.new_event_loop(), asyncio.new_event_loop()
    future, log = loop.create_future(), []

    async def caller():
        value = loop.run_until_complete(future)
        log.append((value, asyncio.get_running_loop() is loop, asyncio.current_task() is tasks[0]))
        await asyncio.sleep(0.001)
        log.append(threading.current_thread().name)

    async def start():
        tasks.append(asyncio.ensure_future(caller()))
        await asyncio.sleep(0.001)

    async def finish():
        future.set_result("done")
        await asyncio.sleep(0.001)

    async def until_done():
        await tasks[0]

    tasks = []
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="own") as own:
        own.submit(loop.run_until_complete, start()).result()
        loop.run_until_complete(finish())
        own.submit(another.run_until_complete, asyncio.sleep(0.001)).result()
        assert log == []
        own.submit(loop.run_until_complete, until_done()).result()
    assert log == [("done", True, True), "own_0"]
    loop.close()
    another.close()


def test_threads_each_with_nested_runs(applied):
    results = []

    def work(i):
        async def main():
            return await asyncio.gather(*[caller(j) for j in range(20)])

        async def caller(j):
            return sync(i * 100 + j, 0.002)

        results.append(asyncio.run(main()) == [i * 100 + j for j in range(20)])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [True] * 8


def test_a_loop_that_stays_open_is_closed_at_the_threads_end(applied):
    aionest.apply(close_loop=False)
    loops = []

    def work():
        async def main():
            loops.append(asyncio.get_running_loop())
            loops.append(asyncio.create_task(asyncio.sleep(60)))

        asyncio.run(main())
        assert not loops[0].is_closed()

    t = threading.Thread(target=work)
    t.start()
    t.join()
    gc.collect()
    assert loops[0].is_closed() and loops[1].cancelled()


def test_thread_that_ends_with_a_suspended_run(applied):
    ended = []

    def work():
        async def caller():
            try:
                asyncio.run(asyncio.sleep(60))
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        async def main():
            asyncio.get_running_loop().background = asyncio.create_task(caller())
            await asyncio.sleep(0.01)

        asyncio.run(main())

    t = threading.Thread(target=work)
    t.start()
    t.join()
    assert ended == ["cancelled"]


# ---- two loops on one thread --------------------------------------------------------------------------------------------------


def test_guest_loop_does_not_starve_the_outer_one(applied):
    async def main():
        ticks = []

        async def ticker(out):
            while True:
                await asyncio.sleep(0.002)
                out.append(1)

        outer = asyncio.create_task(ticker(ticks))
        inner_ticks = []

        async def inner():
            t = asyncio.create_task(ticker(inner_ticks))
            await eventually_async(lambda: len(ticks) >= 6 and len(inner_ticks) >= 6)
            t.cancel()
            return asyncio.get_running_loop()

        loop = asyncio.new_event_loop()
        try:
            assert loop.run_until_complete(asyncio.wait_for(inner(), 60)) is loop
        finally:
            loop.close()
        assert asyncio.get_running_loop() is not loop
        n = len(ticks)
        await eventually_async(lambda: len(ticks) != n)
        outer.cancel()

    asyncio.run(main())


def test_guest_with_nested_runs_inside_both(applied):
    async def main():
        gate_outer = asyncio.Event()
        log = []

        async def outer_caller():
            asyncio.run(gate_outer.wait())
            log.append("outer")

        task = asyncio.create_task(outer_caller())
        await asyncio.sleep(0)

        async def inner():
            gates = [asyncio.Event() for _ in range(3)]

            async def caller(i):
                asyncio.run(gates[i].wait())
                log.append(i)
                gates[i - 1].set()

            async def begin():
                gates[2].set()

            await asyncio.gather(*[caller(i) for i in range(3)], begin())
            gate = asyncio.Event()

            async def waits():
                asyncio.run(gate.wait())
                log.append("inner")

            t = asyncio.create_task(waits())
            sync()
            gate.set()
            await t
            return "result"

        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(inner()) == "result"
        loop.close()
        gate_outer.set()
        await task
        return log

    assert asyncio.run(main()) == [2, 1, 0, "inner", "outer"]


def test_loop_factory_and_guests_in_guests(applied):
    made = []

    def factory():
        made.append(asyncio.new_event_loop())
        return made[-1]

    def run_with_factory(coro):
        if sys.version_info >= (3, 12):
            return asyncio.run(coro, loop_factory=factory)
        return aionest.run(coro, loop_factory=factory)

    async def level(n):
        loops = [asyncio.get_running_loop()]
        if n:
            loops += run_with_factory(level(n - 1))
        await asyncio.sleep(0.001)
        assert asyncio.get_running_loop() is loops[0]
        return loops

    loops = asyncio.run(level(3))
    assert loops[1:] == made and len(set(loops)) == 4
    assert all(loop.is_closed() for loop in made)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Runner came with 3.11")
def test_runner_inside_a_running_loop(applied):
    async def main():
        outer = asyncio.get_running_loop()
        current = asyncio.get_event_loop()
        with asyncio.Runner() as runner:
            assert runner.run(value(1)) == 1
            loop = runner.get_loop()
            assert loop is not outer
            assert runner.run(value(2, 0.01)) == 2
        assert loop.is_closed()
        assert asyncio.get_running_loop() is outer and asyncio.get_event_loop() is current
        await asyncio.sleep(0)

    asyncio.run(main())


def test_a_loop_that_is_closed_around_a_guest_leaves_no_hooks(applied):
    """Ctrl-C ends the outer run while the guest's sleeps; closing the outer loop ends that."""

    async def sleeps():
        outer.call_soon(interrupt)
        await asyncio.sleep(60)

    async def work():
        inner = asyncio.new_event_loop()
        try:
            inner.run_until_complete(sleeps())
        except RuntimeError as exc:
            ended.append(str(exc))
        finally:
            inner.close()

    def interrupt():
        raise KeyboardInterrupt

    ended = []
    before = sys.get_asyncgen_hooks()
    outer = asyncio.new_event_loop()
    with pytest.raises(KeyboardInterrupt):
        outer.run_until_complete(work())
    outer.close()
    assert len(ended) == 1 and "closed" in ended[0]
    assert sys.get_asyncgen_hooks() == before
    assert asyncio._get_running_loop() is None


def test_a_loop_whose_attributes_cannot_be_looked_at_for_once(applied):
    """It keeps its only queue: the error is raised, and no second record is made in place of the one that was not found."""

    class Loop(asyncio.SelectorEventLoop):
        fails = False

        def __getattribute__(self, name):
            if name == "_aionest" and Loop.fails:
                raise KeyboardInterrupt
            return super().__getattribute__(name)

    loop, other = Loop(), asyncio.new_event_loop()
    called = []
    try:
        loop.call_soon(called.append, 1)
        other.call_soon(called.append, 2)  # now it is the other one that the engine has at hand
        Loop.fails = True
        with pytest.raises(KeyboardInterrupt):
            loop.call_soon(called.append, 3)
        Loop.fails = False
        loop.run_until_complete(asyncio.sleep(0))
        assert called == [1]
    finally:
        Loop.fails = False
        loop.close()
        other.close()


def test_cancel_around_a_guest_reaches_what_runs_there(applied):
    async def main():
        loop, log = asyncio.new_event_loop(), []

        async def inner():
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.001)
                log.append("cleaned up")

        async def caller():
            loop.run_until_complete(inner())

        task = asyncio.ensure_future(caller())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == ["cleaned up"] and not asyncio.all_tasks(loop)
        loop.close()

    asyncio.run(main())


def test_cancel_around_a_guest(applied):
    async def main():
        loop = asyncio.new_event_loop()

        async def caller():
            loop.run_until_complete(asyncio.sleep(60))

        task = asyncio.ensure_future(caller())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not loop.is_running()
        for t in asyncio.all_tasks(loop):
            t.cancel()
        assert loop.run_until_complete(value(3)) == 3
        loop.close()

    asyncio.run(main())


def test_cancel_of_a_guest_whose_first_step_sleeps(applied):
    """Cancellation reaches through the guest and what is nested in it."""
    log = []

    async def inside():
        try:
            sync(1, 60)
        except asyncio.CancelledError:
            log.append("inside")
            raise

    async def caller():
        inner = asyncio.new_event_loop()
        try:
            inner.run_until_complete(inside())
        except asyncio.CancelledError:
            log.append("cancelled")
        finally:
            inner.close()

    async def main():
        task = asyncio.create_task(caller())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait_for(task, 30)

    asyncio.run(main())
    assert log == ["inside", "cancelled"]


def test_guest_goes_on_while_a_greenlet_inside_it_sleeps(applied):
    """The greenlet's stack leaves no context: those of the stack below stay entered as long as it sleeps."""

    async def inside():
        other = asyncio.create_task(asyncio.sleep(0.001, "other"))
        return await asyncio.gather(in_greenlet(), other)

    async def in_greenlet():
        return greenlet.greenlet(lambda: sync("slept", 0.01)).switch()

    async def main():
        inner = asyncio.new_event_loop()
        try:
            return await asyncio.wait_for(run_inside(inner), 30)
        finally:
            inner.close()

    async def run_inside(inner):
        return inner.run_until_complete(inside())

    assert asyncio.run(main()) == ["slept", "other"]


@pytest.mark.parametrize("at", range(8))
def test_guest_whose_pump_is_queued_by_a_stack_that_then_sleeps(applied, at):
    """As when a finalizer that nests runs right after the outer loop's call_soon."""

    class Outer(asyncio.SelectorEventLoop):
        countdown = None

        def call_soon(self, *args, **kwargs):
            handle = super().call_soon(*args, **kwargs)
            if self.countdown is not None and type(getattr(args[0], "__self__", None)).__name__ == "Guest":
                self.countdown -= 1
                if self.countdown == 0:
                    asyncio.run(asyncio.sleep(0.005))
            return handle

    outer, inner = Outer(), asyncio.new_event_loop()

    async def inside():
        for _ in range(6):
            await asyncio.sleep(0.001)
            sync(1, 0.001)
        return "done"

    async def main():
        outer.countdown = at + 1
        return inner.run_until_complete(asyncio.wait_for(inside(), 30))

    assert outer.run_until_complete(main()) == "done"
    inner.close()
    outer.close()


def test_guest_wakes_for_other_threads_and_io(applied, new_loops):
    if new_loops == "foreign":
        pytest.skip("it has no connections")

    async def main():
        loop = asyncio.new_event_loop()

        async def inner():
            future = asyncio.get_running_loop().create_future()
            threading.Timer(0.02, loop.call_soon_threadsafe, (future.set_result, "thread")).start()
            a = await future
            b = await asyncio.get_running_loop().run_in_executor(None, lambda: "executor")
            return a, b

        try:
            return loop.run_until_complete(inner())
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    assert asyncio.run(main()) == ("thread", "executor")


# ---- loops of other makes --------------------------------------------------------------------------------------------------------


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
        order, base = [], loop.time()

        async def caller(delay):
            asyncio.run(until(base + delay))
            order.append(delay)

        await asyncio.gather(caller(0.03), caller(0.01), caller(0.02))
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
        order, base = [], loop.time()

        async def caller(delay):
            asyncio.run(until(base + delay))
            order.append(delay)

        await asyncio.gather(caller(0.03), caller(0.01), caller(0.02))
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
