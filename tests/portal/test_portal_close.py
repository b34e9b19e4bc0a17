"""The end of a portal: nobody hangs, everybody is told."""

import asyncio
import gc
import threading

import pytest
from support import eventually

from aionest import Portal
from aionest import portal as default_portal
from aionest._errors import PortalClosed

GUARD = 60


async def noop():
    pass


def test_a_portal_starts_with_the_first_use():
    before = threading.active_count()
    with Portal("mine") as p:
        assert threading.active_count() == before
        assert repr(p) == "<Portal 'mine': not started>"
        p.call(noop)
        assert threading.active_count() == before + 1
        assert repr(p) == "<Portal 'mine': running>"
        assert not p.closed
    assert threading.active_count() == before
    assert repr(p) == "<Portal 'mine': closed>"
    assert p.closed
    p.close()
    Portal().close()


def test_calls_under_way_raise_portal_closed_and_clean_up_first(portal, start):
    log = []

    async def work(name):
        try:
            log.append(f"{name} in")
            await asyncio.sleep(GUARD)
        finally:
            await asyncio.sleep(0.01)
            log.append(f"{name} out")

    calls = [start(portal.call, work, name) for name in "ab"]
    timed = start(lambda: portal.call(work, "c", timeout=GUARD))
    future = portal.submit(work, "d")
    eventually(lambda: len(log) == 4)
    portal.close()
    for call in [*calls, timed]:
        with pytest.raises(PortalClosed, match="closed during this call"):
            call.result()
    with pytest.raises(PortalClosed):
        future.result(GUARD)
    assert sorted(log[4:]) == ["a out", "b out", "c out", "d out"]


def test_a_call_that_finishes_although_the_portal_closes_keeps_its_result(portal, start):
    begun = threading.Event()

    async def stubborn():
        begun.set()
        try:
            await asyncio.sleep(GUARD)
        except asyncio.CancelledError:
            return "result"

    call = start(portal.call, stubborn)
    assert begun.wait(GUARD)
    portal.close()
    assert call.result() == "result"


def test_a_call_that_had_not_begun_is_told_too(portal, start):
    blocked, go = threading.Event(), threading.Event()
    blocker = portal.submit(lambda: (blocked.set(), go.wait(GUARD)))
    assert blocked.wait(GUARD)
    waiting = [start(portal.call, noop) for _ in range(5)]
    futures = [portal.submit(noop) for _ in range(5)]
    eventually(lambda: len(portal._runner.pending) == 11)
    closing = start(portal.close)
    eventually(lambda: portal.closed)
    go.set()
    closing.result()
    for call in [*waiting, *futures]:
        with pytest.raises(PortalClosed):
            call.result()
    assert blocker.done()


def test_threads_that_call_while_it_closes_get_a_result_or_portal_closed(portal, start):
    called = [0] * 8

    def calls(number):
        while True:
            try:
                portal.call(noop)
                called[number] += 1
            except PortalClosed:
                return

    threads = [start(calls, number) for number in range(8)]
    eventually(lambda: all(called))
    portal.close()
    for thread in threads:
        thread.result()


def test_several_threads_may_close(portal, start):
    portal.call(noop)
    for thread in [start(portal.close) for _ in range(8)]:
        thread.result()


def test_close_on_the_portals_own_thread_returns_and_ends_the_portal(portal):
    log = []

    async def main():
        portal.close()
        log.append("returned")
        await asyncio.sleep(GUARD)

    with pytest.raises(PortalClosed):
        portal.call(main)
    assert log == ["returned"]
    portal.close()


def test_clean_up_may_still_use_the_portal_on_its_own_thread(portal, start):
    log, begun = [], threading.Event()

    async def work():
        begun.set()
        try:
            await asyncio.sleep(GUARD)
        finally:
            log.append(portal.call(asyncio.sleep, 0.01, "nested in clean-up"))

    call = start(portal.call, work)
    assert begun.wait(GUARD)
    portal.close()
    with pytest.raises(PortalClosed):
        call.result()
    assert log == ["nested in clean-up"]


def test_close_with_a_timeout_gives_up_waiting_not_closing(portal):
    go, blocked = threading.Event(), threading.Event()
    portal.submit(lambda: (blocked.set(), go.wait(GUARD)))
    assert blocked.wait(GUARD)
    with pytest.raises(TimeoutError, match="has not ended within 0.02 s"):
        portal.close(timeout=0.02)
    with pytest.raises(PortalClosed):
        portal.call(noop)
    go.set()
    portal.close(timeout=GUARD)


def test_background_tasks_generators_and_executor_end_with_the_portal(portal):
    log = []

    async def generator():
        try:
            yield 1
            yield 2
        finally:
            log.append("generator")

    async def task():
        try:
            await asyncio.sleep(GUARD)
        finally:
            log.append("task")

    async def main():
        agen = generator()
        await agen.__anext__()
        main.keep = agen, asyncio.get_running_loop().create_task(task())
        await asyncio.sleep(0)
        await asyncio.get_running_loop().run_in_executor(None, log.append, "executor")

    portal.call(main)
    portal.close()
    assert log == ["executor", "task", "generator"]


# ---- the loop dies ---------------------------------------------------------------------------------------------------


def test_stop_called_by_a_stranger_ends_the_portal_in_good_order(portal, start):
    log, begun = [], threading.Event()

    async def work():
        begun.set()
        try:
            await asyncio.sleep(GUARD)
        finally:
            log.append("out")

    call = start(portal.call, work)
    assert begun.wait(GUARD)
    try:
        portal.call(lambda: asyncio.get_running_loop().stop())
    except PortalClosed:
        pass
    with pytest.raises(PortalClosed):
        call.result()
    with pytest.raises(PortalClosed) as info:
        portal.call(noop)
    assert "stopped by code that ran in it" in str(info.value.__cause__)
    assert log == ["out"]


def test_nested_calls_end_when_a_stranger_stops_the_loop(portal, start):
    begun = threading.Event()

    async def inner():
        begun.set()
        await asyncio.sleep(GUARD)

    async def outer():
        portal.call(inner)

    call = start(portal.call, outer)
    assert begun.wait(GUARD)
    portal._runner.post(portal._runner.loop.stop)
    with pytest.raises(RuntimeError):
        call.result()


def test_a_loop_that_breaks_tells_everybody(portal, start):
    seen, begun = [], threading.Event()
    portal.call(lambda: asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(context)))

    async def waits():
        begun.set()
        await asyncio.sleep(GUARD)

    calls = [start(portal.call, waits), start(lambda: portal.call(waits, timeout=GUARD))]
    future = portal.submit(waits)
    assert begun.wait(GUARD)

    try:
        portal.call(lambda: asyncio.get_running_loop()._selector._selector.close())
    except PortalClosed:
        pass
    for call in [*calls, future]:
        with pytest.raises(PortalClosed) as info:
            call.result()
        assert isinstance(info.value.__cause__, (OSError, ValueError))  # of epoll_wait, or of the selector
    with pytest.raises(PortalClosed):
        portal.call(noop)
    assert any("The event loop of" in context["message"] for context in seen)
    del calls, future, call, info
    gc.collect()


# ---- dropped ---------------------------------------------------------------------------------------------------------


def test_a_dropped_portal_warns_and_ends(start):
    p = Portal("dropped")
    p.call(noop)
    thread = p._runner.thread
    with pytest.warns(ResourceWarning, match="'dropped': running> was never closed"):
        del p
        gc.collect()
    thread.join(GUARD)
    assert not thread.is_alive()
    Portal("never used")
    gc.collect()


# ---- the default one -------------------------------------------------------------------------------------------------


def test_the_default_portal_is_one_and_is_made_anew_after_a_close(start):
    barrier = threading.Barrier(16)

    def get():
        barrier.wait(GUARD)
        p = default_portal()
        p.call(noop)
        return p

    found = {thread.result() for thread in [start(get) for _ in range(16)]}
    assert len(found) == 1
    first = found.pop()
    first.close()
    second = default_portal()
    assert second is not first
    second.call(noop)
    second.close()
