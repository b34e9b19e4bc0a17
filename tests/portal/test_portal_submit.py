"""Portal.submit, map and iterate."""

import asyncio
import concurrent.futures
import contextvars
import gc
import itertools
import threading
import time

import pytest
from support import eventually_async

from aionest import Portal
from aionest._errors import PortalClosed

GUARD = 60


async def double(x):
    await asyncio.sleep(0)
    return 2 * x


async def fail(exc):
    await asyncio.sleep(0)
    raise exc


# ---- submit ----------------------------------------------------------------------------------------------------------


def test_submit_gives_a_concurrent_future(portal):
    future = portal.submit(double, 4)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(GUARD) == 8
    failed = portal.submit(fail, LookupError("text"))
    assert isinstance(failed.exception(GUARD), LookupError)
    with pytest.raises(LookupError, match="text"):
        failed.result()
    futures = [portal.submit(double, n) for n in range(20)]
    assert {f.result() for f in concurrent.futures.as_completed(futures, GUARD)} == {2 * n for n in range(20)}


def test_done_callbacks_and_wait_see_every_kind_of_end(portal):
    ends = [portal.submit(double, 1), portal.submit(fail, LookupError()), portal.submit(asyncio.sleep, GUARD)]
    seen = []
    for future in ends:
        future.add_done_callback(seen.append)
    assert ends[2].cancel()
    done, not_done = concurrent.futures.wait(ends, GUARD)
    assert not not_done
    assert set(seen) == set(ends)
    assert ends[2].cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        ends[2].result()


def test_cancelling_the_future_cancels_the_work(portal):
    begun, ended = threading.Event(), threading.Event()

    async def work():
        begun.set()
        try:
            await asyncio.sleep(GUARD)
        finally:
            ended.set()

    future = portal.submit(work)
    assert begun.wait(GUARD)
    assert future.cancel()
    assert future.cancel()
    assert ended.wait(GUARD)
    done = portal.submit(double, 1)
    assert done.result(GUARD) == 2
    assert not done.cancel()


def test_work_that_was_cancelled_before_it_began_never_begins(portal):
    blocked, go, begun = threading.Event(), threading.Event(), []

    async def record():
        begun.append(1)

    blocker = portal.submit(lambda: (blocked.set(), go.wait(GUARD)))
    assert blocked.wait(GUARD)
    future = portal.submit(record)
    assert future.cancel()
    go.set()
    blocker.result(GUARD)
    portal.call(double, 1)
    assert not begun
    concurrent.futures.wait([future], GUARD)
    assert future.cancelled()


def test_a_cancellation_inside_cancels_the_future(portal):
    async def cancel_myself():
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    with pytest.raises(concurrent.futures.CancelledError):
        portal.submit(cancel_myself).result(GUARD)


def test_a_future_may_be_waited_for_on_the_portals_own_thread(portal):
    async def main():
        future = portal.submit(asyncio.sleep, 0.01, "slept")
        assert future.result(GUARD) == "slept"
        failed = portal.submit(fail, LookupError())
        assert isinstance(failed.exception(), LookupError)
        with pytest.raises(concurrent.futures.TimeoutError):
            portal.submit(asyncio.sleep, 0.05).result(0.001)
        cancelled = portal.submit(asyncio.sleep, GUARD)
        asyncio.get_running_loop().call_later(0.01, cancelled.cancel)
        with pytest.raises(concurrent.futures.CancelledError):
            cancelled.result()
        return await asyncio.wrap_future(portal.submit(double, 2))

    assert portal.call(main, timeout=GUARD) == 4


def test_a_racing_cancel_leaves_a_future_that_is_done_one_way_or_the_other(portal):
    for n in range(300):
        future = portal.submit(double, n)
        if n % 3:
            time.sleep(0)
        won = future.cancel()
        concurrent.futures.wait([future], GUARD)
        assert future.cancelled() is won
        if not won:
            assert future.result() == 2 * n
    assert portal.call(lambda: len(asyncio.all_tasks())) == 1


# ---- map -------------------------------------------------------------------------------------------------------------


def test_map_runs_all_at_once_and_keeps_the_order(portal):
    started, together = [], threading.Event()

    async def work(n, m):
        started.append(n)
        if len(started) == 5:
            together.set()
        await eventually_async(together.is_set)
        await asyncio.sleep(0.001 * (5 - n))
        return n, m

    assert list(portal.map(work, range(5), "abcdefgh")) == list(zip(range(5), "abcde"))  # noqa: B905
    assert list(portal.map(double, [])) == []


def test_map_starts_before_the_first_result_is_asked_for(portal):
    begun = threading.Event()

    async def work(n):
        begun.set()
        return n

    results = portal.map(work, [1])
    assert begun.wait(GUARD)
    assert list(results) == [1]


def test_a_failed_call_of_map_cancels_the_others(portal):
    begun, cancelled = [], []

    async def work(n):
        begun.append(n)
        if n == 1:
            while len(begun) < 4:
                await asyncio.sleep(0)
            raise LookupError(n)
        try:
            await asyncio.sleep(0 if n == 0 else GUARD)
            return n
        except asyncio.CancelledError:
            cancelled.append(n)
            raise

    results = portal.map(work, range(4))
    assert next(results) == 0
    with pytest.raises(LookupError):
        next(results)
    portal.call(double, 1)
    assert sorted(cancelled) == [2, 3]
    assert list(results) == []


@pytest.mark.parametrize("how", ["close", "drop"])
def test_leaving_map_early_cancels_what_is_not_done(portal, how):
    results = portal.map(asyncio.sleep, [0, GUARD, GUARD])
    if how == "close":
        next(results)
        results.close()
    else:
        del results  # never begun
        gc.collect()
    portal.call(double, 1)
    portal.call(double, 1)
    assert portal.call(lambda: len(asyncio.all_tasks())) == 1


def test_map_has_one_timeout_for_all(portal):
    results = portal.map(asyncio.sleep, [0, GUARD], timeout=0.5)
    assert next(results) is None
    with pytest.raises(TimeoutError, match=r"within 0.5 s"):
        next(results)
    with pytest.raises(TimeoutError, match="its own"):
        list(portal.map(fail, [TimeoutError("its own")], timeout=GUARD))


@pytest.mark.parametrize("size", [1, 3])
def test_map_with_a_buffersize_takes_no_more_than_that(portal, size):
    running, most, taken = 0, 0, []

    async def work(n):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return n

    def items():
        for n in itertools.count():
            taken.append(n)
            yield n

    results = portal.map(work, items(), buffersize=size)
    assert len(taken) == size
    assert list(itertools.islice(results, 10)) == list(range(10))
    assert len(taken) == size + 10
    assert most <= size
    results.close()
    with pytest.raises(ValueError, match="at least 1"):
        portal.map(work, [1], buffersize=0)


# ---- iterate ---------------------------------------------------------------------------------------------------------


def counting(log, *, limit=None):
    async def numbers():
        log.append(("opened", asyncio.current_task()))
        try:
            for n in itertools.count() if limit is None else range(limit):
                await asyncio.sleep(0)
                log.append(n)
                yield n
        finally:
            await asyncio.sleep(0)
            log.append(("closed", asyncio.current_task()))

    return numbers()


def test_iterate_gives_all_items_on_demand_in_one_task(portal):
    log = []
    iterator = portal.iterate(counting(log, limit=3))
    assert log == []
    assert next(iterator) == 0
    assert log[1:] == [0]
    assert list(iterator) == [1, 2]
    assert log[1:4] == [0, 1, 2]
    assert log[0][1] is log[-1][1]
    assert list(iterator) == []


def test_leaving_an_iteration_early_closes_the_generator_in_its_task_before_going_on(portal):
    log = []
    for n in portal.iterate(counting(log)):
        if n == 2:
            break
    gc.collect()
    assert log[-1] == ("closed", log[0][1])
    iterator = portal.iterate(counting(log))
    next(iterator)
    iterator.close()
    iterator.close()
    assert log[-1][0] == "closed"
    with pytest.raises(StopIteration):
        next(iterator)


def test_an_iteration_that_never_began_opens_nothing(portal):
    log = []
    iterator = portal.iterate(counting(log))
    iterator.close()
    del iterator
    gc.collect()
    assert log == []


def test_task_groups_and_timeouts_may_be_open_across_steps(portal):
    anyio = pytest.importorskip("anyio")

    async def numbers():
        with anyio.move_on_after(GUARD):
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, 0)
                for n in range(3):
                    yield n
                    await anyio.sleep(0.001)

    async def scoped():
        with anyio.CancelScope():
            yield 0
            yield 1

    assert list(portal.iterate(numbers())) == [0, 1, 2]
    assert next(portal.iterate(scoped())) == 0


def test_exceptions_of_a_step_and_of_the_closing_come_back(portal):
    async def fails():
        yield 1
        raise LookupError("in a step")

    async def fails_to_close():
        try:
            yield 1
        finally:
            raise LookupError("in closing")

    iterator = portal.iterate(fails())
    assert next(iterator) == 1
    with pytest.raises(LookupError, match="in a step"):
        next(iterator)
    with pytest.raises(StopIteration):
        next(iterator)
    iterator = portal.iterate(fails_to_close())
    next(iterator)
    with pytest.raises(LookupError, match="in closing"):
        iterator.close()


def test_any_asynchronous_iterable_will_do(portal):
    class Three:
        def __aiter__(self):
            self.left = 3
            return self

        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return self.left

    class Broken:
        def __aiter__(self):
            raise LookupError("no iterator")

    assert list(portal.iterate(Three())) == [2, 1, 0]
    with pytest.raises(LookupError, match="no iterator"):
        list(portal.iterate(Broken()))
    with pytest.raises(TypeError, match="asynchronous iterable"):
        portal.iterate([1, 2])


def test_an_iteration_on_the_portals_own_thread(portal):
    log = []

    async def main():
        return [n for n, _ in zip(portal.iterate(counting(log)), range(3))]  # noqa: B905

    assert portal.call(main, timeout=GUARD) == [0, 1, 2]


def test_the_iteration_sees_the_context_of_its_first_step(portal):
    variable = contextvars.ContextVar("variable", default=0)

    async def read():
        while True:
            yield variable.get()

    variable.set(1)
    iterator = portal.iterate(read())
    assert next(iterator) == 1
    variable.set(2)
    assert next(iterator) == 1
    iterator.close()


def test_closing_the_portal_ends_an_iteration():
    log = []
    with Portal() as portal:
        iterator = portal.iterate(counting(log))
        next(iterator)
    assert log[-1][0] == "closed"
    with pytest.raises(PortalClosed):
        next(iterator)
    iterator.close()
