"""The set of all tasks is filled and emptied in C up to 3.13: the same set, the same answers, also in the middle of things."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref

import pytest

import aionest
from aionest import _core

NAME = "_scheduled_tasks" if sys.version_info >= (3, 12) else "_all_tasks"
needs_set = pytest.mark.skipif(sys.version_info >= (3, 14), reason="asyncio keeps its tasks in a linked list")


async def wait(gate):
    await gate.wait()


def test_all_tasks_are_seen_while_they_live(run):
    async def main():
        gate = asyncio.Event()
        before = asyncio.all_tasks()
        tasks = {asyncio.create_task(wait(gate)) for _ in range(100)}
        assert asyncio.all_tasks() == before | tasks
        gate.set()
        await asyncio.gather(*tasks)
        assert asyncio.all_tasks() == before

    run(main)


@needs_set
def test_a_task_that_is_gone_is_taken_out(applied):
    tasks = getattr(asyncio.tasks, NAME)

    async def main():
        gate = asyncio.Event()
        gate.set()
        gc.collect()
        before = len(tasks.data)
        for _ in range(100):
            await asyncio.create_task(wait(gate))
        await asyncio.sleep(0)  # the handle that woke us has let go of the last one
        gc.collect()
        assert len(tasks.data) == before

    asyncio.run(main())


@needs_set
def test_nothing_is_taken_out_under_an_iteration(applied):
    tasks = getattr(asyncio.tasks, NAME)

    async def main():
        gate = asyncio.Event()
        gate.set()
        gc.collect()
        before = len(tasks.data)  # with those that never end: of a loop that was closed, in anyio's dictionary
        kept = [asyncio.create_task(wait(gate)) for _ in range(50)]
        await asyncio.gather(*kept)
        seen = 0
        for task in tasks:
            seen += 1
            del task
            kept.clear()
            gc.collect()
        assert seen >= 1
        assert not tasks._pending_removals or tasks._iterating == set()
        # the next one that is put in takes the pending ones out
        await asyncio.create_task(wait(gate))
        await asyncio.sleep(0)
        assert not tasks._pending_removals
        assert len(asyncio.all_tasks()) == 1 and len(tasks) == before

    asyncio.run(main())


@needs_set
def test_unapply_gives_the_set_its_method_back():
    tasks = getattr(asyncio.tasks, NAME)
    assert "add" not in vars(tasks)
    gc.collect()
    before = len(tasks.data)
    aionest.apply(close_loop=False)
    assert "add" in vars(tasks)

    async def main():
        return asyncio.create_task(asyncio.sleep(0)), asyncio.get_running_loop()

    task, loop = asyncio.run(main())
    loop.run_until_complete(task)
    loop.close()
    aionest.unapply()
    assert "add" not in vars(tasks)
    assert task in tasks
    del task
    gc.collect()
    assert len(tasks.data) == before  # its reference still takes itself out


def test_only_a_weak_set_as_expected_is_taken():
    assert _core.task_set_add(set()) is None
    assert _core.task_set_add(type("Own", (weakref.WeakSet,), {})()) is None
    odd = weakref.WeakSet()
    odd.data = frozenset()
    assert _core.task_set_add(odd) is None


@needs_set
def test_odd_members(applied):
    odd = weakref.WeakSet()
    add = _core.task_set_add(odd)

    class Evil:
        def __hash__(self):
            raise ZeroDivisionError

    class Equal:
        def __hash__(self):
            return 1

        def __eq__(self, other):
            return isinstance(other, Equal)

    with pytest.raises(TypeError):
        add(1)
    with pytest.raises(ZeroDivisionError):
        add(Evil())
    first, second = Equal(), Equal()
    add(first)
    add(second)
    assert len(odd) == 1 and second in odd
    odd.discard(second)
    assert len(odd) == 0
