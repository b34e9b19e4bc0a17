"""The engine's hard cases: what others see of suspended runs, how runs end, loops and threads that end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import logging
import re
import sys
import threading
import time

import pytest
from support import sync, value

import aionest
from aionest import _core

ON_EACH_LOOP = True


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
