"""Generators that were dropped while scopes opened inside them are open: which are kept, for how long, and at what cost."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading

import pytest
from support import after_finalizers, eventually_async

import aionest
from aionest._scopes import asyncgens, kept_generators

anyio = pytest.importorskip("anyio")


@contextlib.asynccontextmanager
async def group(log, n, *held):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep_forever)
        try:
            yield tasks
        finally:
            log.append(n)
            tasks.cancel_scope.cancel()


async def leave(tasks):
    tasks.cancel_scope.cancel()
    await tasks.__aexit__(None, None, None)


async def collect():
    gc.collect()
    await after_finalizers()
    gc.collect()
    await after_finalizers()


@pytest.fixture(autouse=True)
def no_generator_is_kept_for_ever():
    yield
    gc.collect()
    assert not asyncgens.abandoned
    assert not list(kept_generators.settled)


def test_many_that_go_in_one_collection(run):
    # the references to all of them are cleared before the first one's finalizer runs
    log, n = [], 20

    async def load():
        cycle = [group(log, i) for i in range(n)]
        cycle.append(cycle)
        return [await cm.__aenter__() for cm in cycle[:-1]]

    gc.disable()
    try:
        groups = run(load)
        run(collect)
    finally:
        gc.enable()
    assert log == []
    for tasks in groups[::2] + groups[1::2]:
        run(leave, tasks)
    assert log == [*range(0, n, 2), *range(1, n, 2)]


class Thing:
    pass


@pytest.mark.parametrize("holder", ["list", "dict", "object", "argument"])
def test_one_that_holds_much_else(run, holder, monkeypatch):
    monkeypatch.setattr(kept_generators, "SEARCH_LIMIT", 500)
    log = []

    @contextlib.asynccontextmanager
    async def around(given):
        things = [Thing() for _ in range(3 * kept_generators.SEARCH_LIMIT)]
        if holder == "dict":
            things = dict(enumerate(things))
        elif holder == "object":
            thing = Thing()
            thing.things, things = things, thing
        elif holder == "argument":
            things = None
        async with group(log, "inner", things) as tasks:
            yield tasks

    async def load():
        return await around([Thing() for _ in range(3 * kept_generators.SEARCH_LIMIT)]).__aenter__()

    tasks = run(load)
    run(collect)
    assert log == []
    run(leave, tasks)
    assert log == ["inner"]


def test_an_exit_stack_inside_a_dropped_generator(run):
    log = []

    @contextlib.asynccontextmanager
    async def several():
        async with contextlib.AsyncExitStack() as stack:
            yield [await stack.enter_async_context(group(log, n)) for n in range(5)]

    async def load():
        return await several().__aenter__()

    groups = run(load)
    run(collect)
    assert log == []
    run(leave, groups[2])  # one of those inside was left: the generator around is of no more use
    assert sorted(log) == list(range(5))


def test_one_that_is_dropped_after_a_sibling_was_left(run):
    log = []
    cms = [group(log, n) for n in range(3)]

    async def load():
        return [await cm.__aenter__() for cm in cms]

    groups = run(load)
    run(leave, groups[0])
    cms.clear()
    run(collect)
    assert log == [0]
    run(leave, groups[2])
    assert log == [0, 2]
    run(leave, groups[1])
    assert log == [0, 2, 1]


def test_one_that_was_only_given_a_scope_is_closed_at_once(run):
    closed = []

    async def uses(tasks):
        try:
            yield 1
            yield 2
        finally:
            closed.append(1)

    async def main():
        async with anyio.create_task_group() as tasks:
            await uses(tasks).__anext__()
            await collect()
            assert closed == [1]

    run(main)


def test_one_in_a_group_of_a_task_that_runs_is_left_in_that_task(run):
    log = []

    async def main():
        tasks = await group(log, "a").__aenter__()
        await collect()
        assert log == []
        await leave(tasks)
        await collect()
        assert log == ["a"]
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught

    run(main)


def test_births_of_generators_that_have_ended_are_forgotten(run):
    async def numbers():
        yield 1

    async def main():
        keep = []
        births = asyncgens.births_of(asyncio.get_running_loop())
        for n in range(5 * births.LIMIT):
            generator = numbers()
            await generator.__anext__()
            if n % 10 == 0:
                keep.append(generator)
            else:
                await generator.aclose()
            del generator
        assert len(births.new) <= births.limit + 1 and births.limit == births.LIMIT
        assert all(births.get(generator) is not None for generator in keep)
        for generator in keep:
            await generator.aclose()

    run(main)


def test_one_that_another_thread_s_collection_finds(run):
    log = []

    async def load():
        cycle = [group(log, 0)]
        cycle.append(cycle)
        return await cycle[0].__aenter__()

    async def main():
        tasks = await asyncio.create_task(load())
        collector = threading.Thread(target=gc.collect)
        collector.start()
        await eventually_async(lambda: not collector.is_alive())
        collector.join()
        await asyncio.sleep(0.01)
        assert log == []
        await leave(tasks)
        assert log == [0]

    gc.disable()
    try:
        run(main)
    finally:
        gc.enable()


def test_a_loop_that_is_closed_inside_another_that_runs(run):
    log = []

    async def enter():
        await group(log, 0).__aenter__()

    async def main():
        inner = asyncio.new_event_loop()
        inner.run_until_complete(enter())
        inner.close()
        assert inner.is_closed() and log == [0]

    run(main)


@pytest.mark.parametrize("how", ["loop.close", "close_loop", "persistent loop"])
def test_what_kept_generators_hold_is_closed_while_the_loop_can(applied, drop_loop, how):
    log = []

    async def inner(n):
        try:
            yield n
        finally:
            await asyncio.sleep(0.01)
            log.append(n)

    async def live():
        held = inner("of a task")
        await held.__anext__()
        await anyio.sleep_forever()

    @contextlib.asynccontextmanager
    async def around():
        held = inner("of the generator")
        async with anyio.create_task_group() as tasks:
            await held.__anext__()
            tasks.start_soon(live)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    async def enter():
        await around().__aenter__()
        await asyncio.sleep(0.01)

    if how == "loop.close":
        loop = asyncio.new_event_loop()
        loop.run_until_complete(enter())
        loop.close()
    elif how == "close_loop":
        aionest.apply(close_loop=True)
        asyncio.run(enter())
    else:
        asyncio.run(enter())
        drop_loop()
    assert sorted(log) == ["of a task", "of the generator"]
