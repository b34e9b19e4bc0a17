"""The frames under a step lead to the code that called the run, as on stock; nested, through the code that nests."""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

import aionest
from aionest import _core

sys.path.insert(0, str(Path(__file__).parent))
import frame_programs

ON_EACH_LOOP = True
SCRIPT = Path(frame_programs.__file__)
names = frame_programs.names


def values(*args):
    done = subprocess.run([sys.executable, str(SCRIPT), *args], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@functools.cache
def on_stock_and_aionest(loop):
    return values(loop), values(loop, "aionest")


@pytest.mark.parametrize("name", frame_programs.PROGRAMS)
@pytest.mark.usefixtures("asyncios_loop")
def test_frames_are_as_on_stock(name):
    stock, ours = on_stock_and_aionest("asyncio")
    assert ours[name] == stock[name]


@pytest.mark.parametrize("name", [name for name in frame_programs.PROGRAMS if name not in frame_programs.ASYNCIOS])
@pytest.mark.usefixtures("asyncios_loop")
def test_frames_on_uvloop_are_as_without_aionest(name):
    pytest.importorskip("uvloop")
    stock, ours = on_stock_and_aionest("uvloop")
    assert without_the_loop_s(ours[name]) == stock[name]


def without_the_loop_s(value):
    """uvloop's own functions are in C, and have no frames."""
    if not isinstance(value, list):
        return value
    return [without_the_loop_s(one) for one in value if one not in ("_run", "_run_once", "run_forever")]


def only(frames, wanted):
    return [name for name in frames if name in wanted]


async def leaf():
    await asyncio.sleep(0)
    return names(sys._getframe())


def sync():
    return asyncio.run(leaf())


async def middle():
    await asyncio.sleep(0)
    return sync()


def caller(coroutine):
    return asyncio.run(coroutine)


def test_nested_frames_lead_through_the_code_that_nests(applied):
    found = caller(middle())
    assert only(found, {"leaf", "sync", "middle", "caller", "test_nested_frames_lead_through_the_code_that_nests"}) == [
        "leaf", "sync", "middle", "caller", "test_nested_frames_lead_through_the_code_that_nests",
    ]  # fmt: skip


def test_three_levels(applied):
    async def second():
        await asyncio.sleep(0)
        return between()

    def between():
        return asyncio.run(middle())

    assert only(caller(second()), {"leaf", "sync", "middle", "between", "second", "caller"}) == [
        "leaf", "sync", "middle", "between", "second", "caller",
    ]  # fmt: skip


def test_await_leads_on(applied):
    async def main():
        await asyncio.sleep(0)
        return aionest.await_(leaf())

    assert only(caller(main()), {"leaf", "main", "caller"}) == ["leaf", "main", "caller"]


def test_several_at_once_end_in_any_order_and_all_lead_to_the_caller(applied):
    async def wait(delay):
        await asyncio.sleep(delay)
        return names(sys._getframe())

    def nest(delay):
        return asyncio.run(wait(delay))

    async def one(delay):
        await asyncio.sleep(0)
        inner = nest(delay)
        own = names(sys._getframe())
        await asyncio.sleep(0)
        return inner, own, names(sys._getframe())

    async def main():
        return await asyncio.gather(*(one(delay) for delay in (0.03, 0.01, 0.02, 0.0)))

    for inner, own, after in caller(main()):
        assert only(inner, {"wait", "nest", "one", "caller"})[:1] == ["wait"]
        for found in (inner, own, after):
            assert len(found) < 200
            assert "caller" in found
            assert found[-1] == names(sys._getframe())[-1]
    _core._check()


def test_other_loops_as_guests_lead_to_whoever_runs_them(applied):
    def guest():
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(leaf())
        finally:
            loop.close()

    async def main():
        await asyncio.sleep(0)
        return guest()

    assert only(caller(main()), {"leaf", "guest", "main", "caller"}) == ["leaf", "guest", "main", "caller"]


def test_a_stack_that_outlasts_its_run_ends_at_its_own_base_and_then_leads_to_the_next_one():
    aionest.apply()
    loop = asyncio.new_event_loop()
    seen, go = [], loop.create_future()

    async def wait():
        await go

    def sleeper():
        asyncio.run(wait())
        seen.append(names(sys._getframe()))

    async def background():
        sleeper()
        await asyncio.sleep(0)
        seen.append(names(sys._getframe()))

    async def first():
        task = loop.create_task(background())
        await asyncio.sleep(0.01)
        return task

    async def second(task):
        go.set_result(None)
        await task

    def first_caller():
        big = weakref.ref(local := type("Local", (), {})())
        task = loop.run_until_complete(first())
        del local
        return task, big

    def second_caller(task):
        loop.run_until_complete(second(task))

    try:
        task, big = first_caller()
        gc.collect()
        assert big() is None
        second_caller(task)
    finally:
        loop.close()
    for found in seen:
        assert "first_caller" not in found
        assert "second_caller" in found


def test_what_a_caller_holds_is_let_go_when_its_run_ends(applied):
    class Thing:
        pass

    async def main():
        for _ in range(3):
            sync_nothing()
        return sys._getframe(0).f_back.f_code.co_name

    def sync_nothing():
        return asyncio.run(asyncio.sleep(0))

    def run():
        thing = Thing()
        asyncio.run(main())
        return weakref.ref(thing)

    gc.disable()
    try:
        assert run()() is None
    finally:
        gc.enable()


def test_a_suspended_stack_whose_loop_is_closed_finds_who_closes_it():
    aionest.apply()
    loop = asyncio.new_event_loop()
    seen = []

    async def forever():
        await asyncio.sleep(1000)

    async def background():
        try:
            asyncio.run(forever())
        finally:
            seen.append(names(sys._getframe()))

    async def main():
        task = loop.create_task(background())
        await asyncio.sleep(0.01)
        return task

    def closes():
        loop.close()

    task = loop.run_until_complete(main())
    task._log_destroy_pending = False
    closes()
    assert "closes" in seen[0]


def test_an_exception_s_traceback_has_no_frames_of_the_hub(applied):
    async def main():
        await asyncio.sleep(0)
        sync_failing()

    def sync_failing():
        asyncio.run(failing())

    async def failing():
        await asyncio.sleep(0)
        raise ValueError

    with pytest.raises(ValueError) as caught:
        caller(main())
    assert not {"_run", "_run_once"} & {entry.name for entry in caught.traceback}


def test_a_forward_reference_like_lookup_finds_locals_of_the_code_that_nests(applied):
    async def main():
        marker = object()
        await asyncio.sleep(0)
        return nest() is marker

    def nest():
        return asyncio.run(look())

    async def look():
        frame = sys._getframe()
        while frame.f_code.co_name != "main":
            frame = frame.f_back
        return frame.f_locals["marker"]

    assert caller(main())


def test_current_frames_of_a_thread_that_sleeps_nested(applied, asyncios_loop):
    seen, ready = [], threading.Event()

    async def inner():
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def look():
            seen.append(names(sys._current_frames()[main_thread]))
            loop.call_soon_threadsafe(done.set)

        thread = threading.Timer(0.05, look)
        thread.start()
        await done.wait()
        thread.join()

    async def main():
        await asyncio.sleep(0)
        nest()

    def nest():
        asyncio.run(inner())

    main_thread = threading.get_ident()
    caller(main())
    assert only(seen[0], {"nest", "main", "caller"}) == ["nest", "main", "caller"]
    assert not ready.is_set()


def test_foreign_greenlets_switch_on_a_hub_and_frames_stay_whole(applied):
    from greenlet import getcurrent, greenlet

    async def main():
        for _ in range(5):
            parent = getcurrent()
            child = greenlet(lambda: [parent.switch(i) for i in range(3)], parent)
            for _ in range(4):
                child.switch()
            sync()
            await asyncio.sleep(0)
        return names(sys._getframe())

    found = caller(main())
    assert "caller" in found
    assert names(sys._getframe()) == found[found.index("caller") + 1 :]


def test_a_stack_thrown_away_holds_nobody(applied):
    """Many nested runs that are cancelled while they sleep."""

    class Thing:
        pass

    things = weakref.WeakSet()

    async def one():
        thing = Thing()
        things.add(thing)
        asyncio.run(asyncio.sleep(100))

    async def main():
        tasks = [asyncio.ensure_future(one()) for _ in range(20)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    caller(main())
    gc.collect()
    assert len(things) == 0
    _core._check()


def test_paths_do_not_grow_with_the_number_of_stacks_that_sleep(applied):
    """Debug mode takes a traceback for each future: it must not be one of all that sleeps."""

    async def wait(event):
        await event.wait()
        return len(names(sys._getframe()))

    def nest(event):
        return asyncio.run(wait(event))

    async def one(event):
        await asyncio.sleep(0)
        return nest(event)

    async def main():
        event = asyncio.Event()
        tasks = [asyncio.ensure_future(one(event)) for _ in range(200)]
        await asyncio.sleep(0.01)
        before = len(names(sys._getframe()))
        asyncio.get_running_loop().call_soon(event.set)
        return [before, *await asyncio.gather(*tasks)]

    depth = len(names(sys._getframe()))
    assert max(caller(main())) < depth + 40
