"""asyncio.gather() amid which other tasks have run: in a finalizer that nests, or in the first step of an eager child."""

from __future__ import annotations

import asyncio
import sys

import pytest

from aionest._engine import for_core


class Nests:
    """A finalizer that lets the loop go on until its other tasks have had their turns."""

    def __del__(self):
        asyncio.run(asyncio.sleep(0.001))


class Last(asyncio.Future):
    """The last child of a gather(), amid which garbage is found."""

    def add_done_callback(self, callback, **kwargs):
        super().add_done_callback(callback, **kwargs)
        Nests()


async def value(x):
    await asyncio.sleep(0)
    return x


async def fails(x):
    await asyncio.sleep(0)
    raise LookupError(x)


async def cancelled():
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


def last(result):
    """A child that is done while gather() is being called, if it has a result then."""
    future = Last(loop=asyncio.get_running_loop())
    if result is not None:
        asyncio.get_running_loop().call_soon(future.set_result, result)
    return future


def test_all_children_are_done_before_gather_has_been_called(run):
    async def main():
        assert await asyncio.gather(value(1), value(2), last(3)) == [1, 2, 3]
        return "done"

    assert run(main) == "done"


def test_some_of_them_are(run):
    async def main():
        loop, future = asyncio.get_running_loop(), last(None)
        both = asyncio.gather(value(1), future, value(2))
        assert not both.done()
        loop.call_soon(future.set_result, 3)
        assert await both == [1, 3, 2]
        return "done"

    assert run(main) == "done"


@pytest.mark.parametrize("rest", [None, 3])
def test_an_exception_comes_out_and_is_no_result(run, rest):
    async def main():
        with pytest.raises(LookupError):
            await asyncio.gather(value(1), fails(2), last(rest))
        with pytest.raises(asyncio.CancelledError):
            await asyncio.gather(value(1), cancelled(), last(rest))
        return "done"

    assert run(main) == "done"


def test_exceptions_are_results_if_that_is_wanted(run):
    async def main():
        one, two, three = await asyncio.gather(value(1), fails(2), last(3), return_exceptions=True)
        assert (one, repr(two), three) == (1, "LookupError(2)", 3)
        return "done"

    assert run(main) == "done"


def test_the_same_child_twice(run):
    async def main():
        task = asyncio.ensure_future(value(1))
        assert await asyncio.gather(task, task, last(3), task) == [1, 1, 3, 1]
        return "done"

    assert run(main) == "done"


def test_cancelled_as_ever(run):
    async def main():
        future = last(None)
        both = asyncio.gather(value(1), future)
        both.cancel()
        with pytest.raises(asyncio.CancelledError):
            await both
        assert future.cancelled()
        return "done"

    assert run(main) == "done"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager tasks")
def test_an_eager_child_that_nests_in_its_first_step(applied):
    async def nests():
        return asyncio.run(asyncio.sleep(0.001, 2))

    async def main():
        loop = asyncio.get_running_loop()
        before = loop.get_task_factory()
        loop.set_task_factory(asyncio.eager_task_factory)
        try:
            assert await asyncio.gather(value(1), nests()) == [1, 2]
            with pytest.raises(LookupError):
                await asyncio.gather(fails(1), nests())
        finally:
            loop.set_task_factory(before)
        return "done"

    assert asyncio.run(main()) == "done"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="a tracer would put gather()'s variables back")
def test_garbage_is_found_at_any_moment_of_it(applied):
    """Before the future is known, while it is being made, and when it is made but not yet gather()'s."""
    monitoring, tool = sys.monitoring, sys.monitoring.DEBUGGER_ID
    codes = {asyncio.tasks.gather.__code__, *(f.__code__ for f in (for_core.gather, for_core._make_up))}
    seen, at = 0, 0

    def instruction(code, offset):
        nonlocal seen
        seen += 1
        if seen == at:
            Nests()

    async def main():
        nonlocal seen
        tasks = [asyncio.create_task(x) for x in (value(1), fails(2), value(3))]
        seen = 0
        for code in codes:
            monitoring.set_local_events(tool, code, monitoring.events.INSTRUCTION)
        try:
            gather = asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for code in codes:
                monitoring.set_local_events(tool, code, 0)
        one, two, three = await asyncio.wait_for(gather, 10)
        assert (one, repr(two), three) == (1, "LookupError(2)", 3)

    monitoring.use_tool_id(tool, "test_gather")
    monitoring.register_callback(tool, monitoring.events.INSTRUCTION, instruction)
    try:
        while at <= seen:
            at += 1
            asyncio.run(main())
    finally:
        monitoring.register_callback(tool, monitoring.events.INSTRUCTION, None)
        monitoring.free_tool_id(tool)
    assert at > 100
