"""Code that runs in a task's step, but outside of its coroutine, may nest: where the step begins, and where it ends.

A finalizer does so where garbage is collected in a loop's own call_soon(), for instance, or in a future's add_done_callback(). It is
not what the task does. The task is about to go on, or waits for what it has yielded, and a cancellation is for that.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys

import foreign_loop
import pytest
from support import eventually_async

from aionest import _core

BASES = {"asyncio": asyncio.SelectorEventLoop, "foreign": foreign_loop.ForeignLoop}
if importlib.util.find_spec("uvloop"):
    import uvloop

    BASES["uvloop"] = uvloop.Loop


class Place:
    """Where in the library a run is nested once, when the task is there."""

    def __init__(self, name):
        self.name, self.armed, self.log = name, None, []

    def reached(self, name, task):
        if name == self.name and task is self.armed is not None:
            self.armed, current = None, asyncio.current_task()
            self.log.append("nests")
            try:
                _core._check()
                self.log.append(asyncio.run(asyncio.sleep(0.02, "has nested")))
                assert asyncio.current_task() is current
            except BaseException as exc:
                self.log.append(repr(exc))


def task_of(callback):
    return getattr(callback, "__self__", None)


def classes(base, place):
    class Loop(base):
        def call_soon(self, callback, *args, **kwargs):
            place.reached("before the next step is queued", task_of(callback))
            handle = super().call_soon(callback, *args, **kwargs)
            place.reached("when the next step is queued", task_of(callback))
            return handle

    class Future(asyncio.Future):
        def add_done_callback(self, callback, **kwargs):
            place.reached("before the future knows", task_of(callback))
            super().add_done_callback(callback, **kwargs)
            place.reached("when the future knows", task_of(callback))

    return Loop, Future


PLACES = [
    "before the next step is queued",
    "when the next step is queued",
    "before the future knows",
    "when the future knows",
]


@pytest.mark.parametrize("cancelled", [None, "meanwhile", "afterwards"])
@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("base", BASES)
def test_a_run_nested_where_a_step_ends(applied, base, name, cancelled):
    place = Place(name)
    Loop, Future = classes(BASES[base], place)
    steps = []

    async def work():
        task = asyncio.current_task()
        for _ in range(6):
            if "future" in name:
                future = Future()
                future.get_loop().call_later(0.001, lambda f=future: f.done() or f.set_result(None))
                await future
            else:
                await asyncio.sleep(0)
            assert asyncio.current_task() is task
            steps.append(1)
        asyncio.run(asyncio.sleep(0.001))
        await asyncio.sleep(60 if cancelled else 0.001)
        return "worked"

    async def main():
        errors = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        place.armed = task
        while "nests" not in place.log:
            await asyncio.sleep(0)
        if cancelled == "afterwards":
            await eventually_async(lambda: "has nested" in place.log and len(steps) >= 6)
        if cancelled:
            task.cancel()
        done, pending = await asyncio.wait([task], timeout=20)
        await eventually_async(lambda: len(place.log) >= 2)
        _core._check()
        assert asyncio.current_task() is not None and errors == []
        return "hangs" if pending else "cancelled" if task.cancelled() else task.result()

    loop = Loop()
    try:
        assert loop.run_until_complete(main()) == ("cancelled" if cancelled else "worked")
    finally:
        loop.close()
    assert place.log == ["nests", "has nested"]


@pytest.mark.parametrize("base", BASES)
def test_a_run_nested_where_a_step_ends_by_a_cancellation(applied, base):
    """The task was cancelled while it ran, so its step cancels what the coroutine yields, and that nests."""
    place = Place("in cancel()")
    Loop, _ = classes(BASES[base], place)

    class Future(asyncio.Future):
        def cancel(self, *args, **kwargs):
            place.reached("in cancel()", place.armed)
            return super().cancel(*args, **kwargs)

    async def work():
        place.armed = asyncio.current_task()
        place.armed.cancel()
        await Future()

    async def main():
        task = asyncio.create_task(work())
        done, pending = await asyncio.wait([task], timeout=20)
        _core._check()
        return task.cancelled()

    loop = Loop()
    try:
        assert loop.run_until_complete(main())
    finally:
        loop.close()
    assert place.log == ["nests", "has nested"]


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize("base", BASES)
def test_a_run_nested_where_a_step_begins(applied, base, cancelled):
    """The task asks for the result of what it has waited for, and that nests."""
    place = Place("in result()")
    Loop, _ = classes(BASES[base], place)

    class Future(asyncio.Future):
        def result(self):
            place.reached("in result()", place.armed)
            return super().result()

    async def work():
        place.armed = asyncio.current_task()
        future = Future()
        future.get_loop().call_soon(future.set_result, None)
        try:
            await future
        finally:
            place.log.append("goes on")
            assert asyncio.current_task() is task
        await asyncio.sleep(0.001)

    async def main():
        nonlocal task
        task = asyncio.create_task(work())
        while "nests" not in place.log:
            await asyncio.sleep(0)
        if cancelled:
            task.cancel()
        done, pending = await asyncio.wait([task], timeout=20)
        _core._check()
        return not pending and task.cancelled() is cancelled

    task = None
    loop = Loop()
    try:
        assert loop.run_until_complete(main())
    finally:
        loop.close()
    assert place.log == ["nests", "has nested", "goes on"]


if sys.version_info < (3, 12):
    import gc

    def test_what_the_collector_finds_nests_where_a_step_ends(applied):
        """Up to CPython 3.11 garbage is collected by any allocation, also in the C code of a step."""
        place = Place("collected")

        class Nests:
            def __del__(self):
                if asyncio._get_running_loop() is not None:
                    place.reached("collected", asyncio.current_task())

        async def work():
            place.armed = asyncio.current_task()
            for allocations in range(40):
                cycle = Nests()
                cycle.itself = cycle
                del cycle
                place.armed = asyncio.current_task()
                gc.set_threshold(gc.get_count()[0] + allocations, 1000, 1000)
                await asyncio.sleep(0)
            gc.set_threshold(700, 10, 10)
            return "worked"

        async def main():
            try:
                return await asyncio.wait_for(work(), 30)
            finally:
                gc.set_threshold(700, 10, 10)

        assert asyncio.run(main()) == "worked"
        assert place.log
