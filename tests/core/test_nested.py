"""Nested runs: results, order, independence of each other, cancellation, contexts."""

from __future__ import annotations

import asyncio
import contextvars
import sys

import pytest
from support import until

import aionest
from aionest import _core


async def value(x, delay=None):
    if delay is not None:
        await asyncio.sleep(delay)
    return x


def nested_run(coro):
    return asyncio.run(coro)


def nested_complete(coro):
    return asyncio.get_running_loop().run_until_complete(coro)


def nested_await(coro):
    return aionest.await_(coro)


def start(coro):
    """A task whose first step is its own: an eagerly started one would suspend its creator with itself."""

    return asyncio.ensure_future(later(coro))


async def later(coro):
    await asyncio.sleep(0)
    return await coro


NESTED = [nested_run, nested_complete, nested_await]


@pytest.fixture(params=NESTED, ids=lambda f: f.__name__)
def nested(request):
    return request.param


@pytest.mark.parametrize("delay", [None, 0, 0.01])
def test_result(run, nested, delay):
    async def main():
        return nested(value("x", delay))

    assert run(main) == "x"


@pytest.mark.parametrize("delay", [None, 0, 0.01])
def test_exception_with_the_traceback_of_the_inner_code(run, nested, delay):
    async def fails():
        if delay is not None:
            await asyncio.sleep(delay)
        raise LookupError("inner")

    async def main():
        with pytest.raises(LookupError, match="inner") as e:
            nested(fails())
        return [entry.name for entry in e.traceback]

    assert "fails" in run(main)


def test_runs_return_in_the_order_in_which_they_finish(run, nested):
    async def main():
        order = []
        gates = [asyncio.Event() for _ in range(3)]

        async def caller(i):
            nested(gates[i].wait())
            order.append(i)

        tasks = [start(caller(i)) for i in range(3)]
        await asyncio.sleep(0.01)
        for i in (1, 2, 0):
            gates[i].set()
            await tasks[i]
        return order

    assert run(main) == [1, 2, 0]


def test_sleeps_return_shortest_first(run, nested):
    async def main():
        order, base = [], asyncio.get_running_loop().time()

        async def caller(delay):
            nested(until(base + delay))
            order.append(delay)

        await asyncio.gather(start(caller(0.3)), start(caller(0.1)), start(caller(0.2)))
        return order

    assert run(main) == [0.1, 0.2, 0.3]


def test_two_runs_that_need_each_other(run, nested):
    async def main():
        first, second = asyncio.Event(), asyncio.Event()

        async def one():
            second.set()
            await first.wait()

        async def two():
            await second.wait()
            first.set()

        async def caller(coro):
            nested(coro)

        await asyncio.wait_for(asyncio.gather(start(caller(one())), start(caller(two()))), 30)

    run(main)


@pytest.mark.parametrize("as_callback", [False, True])
def test_waiter_is_not_held_by_what_runs_meanwhile(run, as_callback):
    """What makes the future done sleeps then, until the waiter has gone on."""

    async def main():
        loop = asyncio.get_running_loop()
        event, future, log = asyncio.Event(), loop.create_future(), []

        def other():
            future.set_result("done")
            asyncio.run(event.wait())
            log.append("other")

        async def as_task():
            other()

        if as_callback:
            loop.call_soon(other)
        else:
            loop.create_task(as_task())
        log.append(aionest.block_on(future))
        event.set()
        while len(log) < 2:
            await asyncio.sleep(0)
        return log

    if run.mode == "eager" and not as_callback:
        pytest.skip("an eager task's first step runs on its creator's stack")
    assert run(lambda: asyncio.wait_for(main(), 30)) == ["done", "other"]


def test_older_run_is_not_held_by_a_newer_one(run, nested):
    async def main():
        first, second = asyncio.Event(), asyncio.Event()
        done = []

        async def caller(name, event):
            nested(event.wait())
            done.append(name)

        a = start(caller("a", first))
        await asyncio.sleep(0)
        b = start(caller("b", second))
        await asyncio.sleep(0.01)
        first.set()
        await asyncio.wait_for(a, 30)
        assert done == ["a"] and not b.done()
        second.set()
        await b

    run(main)


def test_nested_in_nested_in_nested(run, nested):
    async def level(n):
        if n == 0:
            await asyncio.sleep(0)
            return 0
        return 1 + nested(level(n - 1))

    assert run(level, 50) == 50


def test_deep_chain_is_not_limited_by_the_recursion_limit(applied):
    async def level(n):
        if n == 0:
            await asyncio.sleep(0)
            return 0
        return 1 + asyncio.run(level(n - 1))

    assert asyncio.run(level(3 * sys.getrecursionlimit())) == 3 * sys.getrecursionlimit()


def test_many_suspended_at_once(run, nested):
    async def main():
        gate = asyncio.Event()

        async def caller(i):
            nested(gate.wait())
            return i

        tasks = [start(caller(i)) for i in range(500)]
        for _ in range(3):
            await asyncio.sleep(0)
        assert _core._counters()["suspended"] == 500
        gate.set()
        return await asyncio.gather(*tasks)

    assert run(main) == list(range(500))


def test_new_task_for_run_and_same_task_for_await(run):
    async def main():
        me = asyncio.current_task()

        async def who():
            await asyncio.sleep(0)
            return asyncio.current_task()

        assert asyncio.run(who()) is not me
        assert aionest.await_(who()) is me
        assert asyncio.current_task() is me

    run(main)


def test_with_close_loop_false_top_level_runs_share_the_loop_of_the_thread(applied):
    aionest.apply(close_loop=False)

    async def loop():
        return asyncio.get_running_loop()

    first = asyncio.run(loop())
    assert asyncio.run(loop()) is first
    assert not first.is_closed()


def test_with_close_loop_false_tasks_left_by_a_run_go_on_in_the_next(applied):
    aionest.apply(close_loop=False)

    async def main():
        event = asyncio.Event()

        async def background():
            asyncio.run(event.wait())
            return "done"

        return asyncio.create_task(background()), event

    task, event = asyncio.run(main())
    assert not task.done()

    async def later():
        assert not task.done()
        event.set()
        return await task

    assert asyncio.run(later()) == "done"


def test_with_close_loop_false_a_run_that_is_suspended_when_the_main_task_ends_survives_until_the_next_run(applied):
    aionest.apply(close_loop=False)

    async def main():
        gate = asyncio.get_running_loop().create_future()

        async def background():
            return asyncio.run(wait())

        async def wait():
            return await gate

        task = asyncio.create_task(background())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task, gate

    task, gate = asyncio.run(main())
    assert _core._counters()["suspended"] == 1

    async def later():
        gate.set_result(5)
        return await task

    assert asyncio.run(later()) == 5


# ---- contexts --------------------------------------------------------------------------------------------------------


def test_context_variables(run, nested):
    var = contextvars.ContextVar("var", default=0)

    async def inner():
        seen = var.get()
        await asyncio.sleep(0)
        var.set(2)
        return seen

    async def main():
        var.set(1)
        assert nested(inner()) == 1
        # a new task has a copy of the context, the same task has the context itself
        assert var.get() == (2 if nested is nested_await else 1)

    run(main)


def test_inside_context_run(run, nested):
    var = contextvars.ContextVar("var", default=0)

    async def main():
        context = contextvars.copy_context()
        context.run(var.set, 7)

        async def inner():
            await asyncio.sleep(0)
            return var.get()

        assert context.run(nested, inner()) == 7
        assert var.get() == 0

    run(main)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="create_task(context=...) came with 3.11")
def test_shared_context(run, nested):
    """Two tasks of one context, both suspended: neither keeps it entered."""

    async def main():
        context = contextvars.copy_context()
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def caller():
            nested(gate.wait())
            return True

        tasks = [loop.create_task(caller(), context=context) for _ in range(3)]
        await asyncio.sleep(0.01)
        gate.set()
        return await asyncio.gather(*tasks)

    if run.mode == "eager":
        pytest.skip("an eager task's first step runs in the creating task's context")
    assert run(main) == [True] * 3


# ---- cancellation -----------------------------------------------------------------------------------------------------


def test_cancel_reaches_the_inner_work_and_comes_back(run, nested):
    async def main():
        log = []
        started = asyncio.Event()

        async def inner():
            started.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                log.append("inner")
                raise

        async def caller():
            try:
                nested(inner())
            except asyncio.CancelledError:
                log.append("caller")
                raise

        task = start(caller())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        return log

    assert run(main) == ["inner", "caller"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the message is passed on since 3.11")
def test_cancel_message(run, nested):
    async def main():
        started = asyncio.Event()

        async def inner():
            started.set()
            await asyncio.sleep(60)

        async def caller():
            nested(inner())

        task = start(caller())
        await started.wait()
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError) as e:
            await task
        return e.value.args

    assert run(main) == ("why",)


def test_cancel_swallowed_by_the_inner_work(run, nested):
    async def main():
        started = asyncio.Event()

        async def inner():
            started.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return "swallowed"

        async def caller():
            return nested(inner())

        task = start(caller())
        await started.wait()
        task.cancel()
        return await task

    assert run(main) == "swallowed"


def test_cancelled_before_it_waits(run, nested):
    """The task was cancelled while it ran: the next wait raises, as with await."""

    async def main():
        async def inner():
            await asyncio.sleep(60)

        async def caller():
            asyncio.current_task().cancel()
            nested(inner())

        with pytest.raises(asyncio.CancelledError):
            await start(caller())

    run(main)


def test_cancel_when_the_inner_is_done_already(run):
    """Cancelled between the inner's end and the caller's return: CancelledError, as in a task that awaits."""

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        async def caller():
            inside.set()
            return loop.run_until_complete(future)

        inside = asyncio.Event()
        task = start(caller())
        await inside.wait()
        future.set_result(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # nothing of it is left in the task
        return await asyncio.ensure_future(value(2, 0))

    assert run(main) == 2


def test_inner_cancels_its_caller(run):
    async def main():
        async def inner(task):
            task.cancel()
            await asyncio.sleep(60)

        async def caller():
            asyncio.run(inner(asyncio.current_task()))

        with pytest.raises(asyncio.CancelledError):
            await start(caller())

    run(main)


def test_cancelled_once_only(run, nested):
    """The request is used up: the task can wait again afterwards."""

    async def main():
        started = asyncio.Event()

        async def inner():
            started.set()
            await asyncio.sleep(60)

        async def caller():
            try:
                nested(inner())
            except asyncio.CancelledError:
                if sys.version_info >= (3, 11):
                    assert asyncio.current_task().cancelling() == 1
                    assert asyncio.current_task().uncancel() == 0
            nested(asyncio.sleep(0))
            await asyncio.sleep(0)
            return "went on"

        task = start(caller())
        await started.wait()
        task.cancel()
        return await task

    assert run(main) == "went on"


def test_wait_for(run, nested):
    async def main():
        async def caller():
            nested(asyncio.sleep(60))

        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(caller(), 0.02)

    run(main)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout came with 3.11")
def test_timeout_and_task_group(run, nested):
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                nested(asyncio.sleep(60))
        assert asyncio.current_task().cancelling() == 0

        async def fails():
            await asyncio.sleep(0)
            raise LookupError

        async def caller():
            nested(asyncio.sleep(60))

        with pytest.raises(BaseExceptionGroup) as e:  # noqa: F821
            async with asyncio.TaskGroup() as group:
                group.create_task(later(caller()))
                group.create_task(fails())
        assert [type(x) for x in e.value.exceptions] == [LookupError]
        if sys.version_info >= (3, 13):  # before that a task group leaves its own request counted
            assert asyncio.current_task().cancelling() == 0

    run(main)


def test_shield(run, nested):
    async def main():
        gate = asyncio.Event()

        async def inner():
            await gate.wait()
            return "inner"

        task = asyncio.ensure_future(inner())

        async def wait():
            return await asyncio.shield(task)

        async def caller():
            nested(wait())

        outer = start(caller())
        await asyncio.sleep(0.01)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        gate.set()
        return await task

    assert run(main) == "inner"


def test_anyio_scopes_around_a_nested_run(run, nested):
    anyio = pytest.importorskip("anyio")

    async def main():
        with anyio.move_on_after(0.02) as scope:
            nested(asyncio.sleep(60))
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.02):
                nested(anyio.sleep(60))
        async with anyio.create_task_group() as group:

            async def caller():
                nested(asyncio.sleep(60))

            group.start_soon(caller)
            await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        nested(asyncio.sleep(0))

    run(main)


# ---- await_ -----------------------------------------------------------------------------------------------------------


def test_await_without_waiting_switches_no_stack(applied):
    async def main():
        before = _core._counters()["switches"]
        assert aionest.await_(value(3)) == 3
        return _core._counters()["switches"] - before

    assert asyncio.run(main()) == 0


def test_await_future_task_and_objects(run):
    class Awaitable:
        def __await__(self):
            yield
            return (yield from asyncio.sleep(0, "object").__await__())

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(future.set_result, "future")
        assert aionest.await_(future) == "future"
        assert aionest.await_(asyncio.ensure_future(value("task", 0))) == "task"
        assert aionest.await_(Awaitable()) == "object"
        assert aionest.await_(asyncio.gather(value(1, 0), value(2, 0.01))) == [1, 2]

    run(main)


def test_block_on(run):
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_later(0.01, future.set_result, 1)
        assert aionest.block_on(future) == 1
        assert aionest.block_on(future) == 1
        failed = loop.create_future()
        loop.call_soon(failed.set_exception, LookupError("x"))
        with pytest.raises(LookupError):
            aionest.block_on(failed)

    run(main)
