"""Scopes and groups entered in one run and left in another: anyio's and asyncio's own, without any server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import random
import sys
import threading
import time

import pytest
from support import after_finalizers

import aionest

anyio = pytest.importorskip("anyio")

ON_EACH_LOOP = True


@contextlib.asynccontextmanager
async def resource(log, name, period=0.001):
    """Something that lives: a task that counts, in a group inside a group, as an MCP session has them."""
    state = {"beats": 0}

    async def beat():
        while True:
            state["beats"] += 1
            await anyio.sleep(period)

    async with anyio.create_task_group() as outer:
        async with anyio.create_task_group() as inner:
            inner.start_soon(beat)
            outer.start_soon(anyio.sleep_forever)
            log.append(("open", name))
            try:
                yield state
            finally:
                log.append(("closing", name))
                inner.cancel_scope.cancel()
        outer.cancel_scope.cancel()
    log.append(("closed", name))


async def beats(state):
    """Is it alive?"""
    before = state["beats"]
    await asyncio.sleep(0.02)
    return state["beats"] > before


def test_entered_used_and_left_in_three_runs(run):
    log = []
    cm = resource(log, "a")
    state = run(cm.__aenter__)
    assert run(beats, state)
    assert not run(cm.__aexit__, None, None, None)
    assert not run(beats, state)
    assert log == [("open", "a"), ("closing", "a"), ("closed", "a")]


def test_without_the_layer_the_same_flow_fails(monkeypatch):
    """A test of the tests here."""
    monkeypatch.setattr("aionest._scopes.anyio_hook.watch", lambda others: None)
    aionest.apply()
    log = []
    cm = resource(log, "a")
    asyncio.run(cm.__aenter__())
    with pytest.raises(BaseException, match="different task|unhandled errors"):
        asyncio.run(cm.__aexit__(None, None, None))
    aionest._runs.thread_loop.close_persistent_loops()
    aionest.unapply()


@pytest.mark.parametrize("order", ["first to last", "last to first", "random"])
def test_several_left_in_any_order(run, order):
    log = []
    cms = [resource(log, n) for n in range(5)]

    async def load():
        return [await cm.__aenter__() for cm in cms]

    states = run(load)
    numbers = list(range(5))
    if order == "last to first":
        numbers.reverse()
    elif order == "random":
        random.Random(7).shuffle(numbers)
    for position, n in enumerate(numbers):
        run(cms[n].__aexit__, None, None, None)
        assert log[-1] == ("closed", n)
        for other in numbers[position + 1 :]:
            assert run(beats, states[other])


def test_nested_runs_enter_and_leave(run):
    log = []
    cm = resource(log, "a")

    async def main():
        state = asyncio.run(cm.__aenter__())
        assert asyncio.run(beats(state))
        await asyncio.sleep(0.01)
        asyncio.run(cm.__aexit__(None, None, None))

    run(main)
    assert log[-1] == ("closed", "a")


def test_an_exit_stack_filled_in_one_run_and_closed_in_another(run):
    log = []
    stack = contextlib.AsyncExitStack()

    async def fill():
        for n in range(3):
            await stack.enter_async_context(resource(log, n))

    run(fill)
    run(stack.aclose)
    assert [entry for entry in log if entry[0] == "closed"] == [("closed", 2), ("closed", 1), ("closed", 0)]


@contextlib.asynccontextmanager
async def scope_and_value():
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep_forever)
        yield group
        group.cancel_scope.cancel()


def test_a_dropped_context_manager_is_kept_until_its_scope_is_left(run):
    closed = []

    @contextlib.asynccontextmanager
    async def around():
        try:
            async with scope_and_value() as group:
                yield group
        finally:
            closed.append(1)

    async def load():
        return await around().__aenter__()

    group = run(load)
    gc.collect()

    async def look():
        gc.collect()
        await after_finalizers()
        assert not closed and not group.cancel_scope.cancel_called
        group.cancel_scope.cancel()
        await group.__aexit__(None, None, None)

    run(look)
    assert closed == [1]


def test_a_dropped_context_manager_that_nobody_leaves_is_closed_with_the_loop(applied, drop_loop, capfd):
    log = []

    async def load():
        return await resource(log, "a").__aenter__()

    asyncio.run(load())
    gc.collect()
    assert log == [("open", "a")]
    drop_loop()
    assert log == [("open", "a"), ("closing", "a"), ("closed", "a")] or log[-1] == ("closing", "a")
    assert capfd.readouterr().err == ""


def test_a_dropped_generator_without_scopes_is_closed_at_once(run):
    closed = []

    async def numbers():
        try:
            yield 1
        finally:
            closed.append(1)

    async def main():
        await numbers().__anext__()
        gc.collect()
        await after_finalizers()
        assert closed == [1]

    run(main)


@pytest.mark.parametrize("make", ["CancelScope", "move_on_after", "fail_after"])
def test_sync_scopes_left_elsewhere(run, make):
    async def enter():
        cm = anyio.CancelScope() if make == "CancelScope" else getattr(anyio, make)(60)
        cm.__enter__()
        return cm

    async def leave(cm):
        cm.__exit__(None, None, None)
        await asyncio.sleep(0)
        with anyio.move_on_after(0.01) as own:
            await anyio.sleep(60)
        assert own.cancelled_caught

    run(leave, run(enter))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout and asyncio.TaskGroup came with 3.11")
def test_asyncio_timeout_and_task_group_left_elsewhere(run):
    async def enter():
        limit = asyncio.timeout(60)
        await limit.__aenter__()
        group = asyncio.TaskGroup()
        await group.__aenter__()
        task = group.create_task(asyncio.sleep(0.02, "done"))
        return limit, group, task

    limit, group, task = run(enter)

    async def leave():
        await group.__aexit__(None, None, None)
        await limit.__aexit__(None, None, None)
        assert task.result() == "done"

    run(leave)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.TaskGroup came with 3.11")
def test_an_error_of_a_child_reaches_who_leaves(applied):
    async def enter():
        group = asyncio.TaskGroup()
        await group.__aenter__()

        async def fail():
            await asyncio.sleep(0.02)
            raise ValueError("child")

        group.create_task(fail())
        group.create_task(asyncio.sleep(60))
        return group

    group = asyncio.run(enter())
    with pytest.raises(BaseException) as caught:
        asyncio.run(group.__aexit__(None, None, None))
    assert isinstance(caught.value.exceptions[0], ValueError)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.TaskGroup came with 3.11")
def test_a_child_that_fails_while_nobody_waits_ends_its_siblings_and_is_reported(applied):
    told, ended = [], []

    async def enter():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
        group = asyncio.TaskGroup()
        await group.__aenter__()
        go = asyncio.Event()

        async def fail():
            await go.wait()
            raise ValueError("child")

        async def live():
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(1)

        group.create_task(fail())
        group.create_task(live())
        await asyncio.sleep(0)
        return group, go

    group, go = asyncio.run(enter())

    async def later():
        go.set()
        await asyncio.sleep(0.02)

    asyncio.run(later())
    assert ended == [1] and [str(exc) for exc in told] == ["child"]
    with pytest.raises(BaseException) as caught:
        asyncio.run(group.__aexit__(None, None, None))
    assert caught.value.exceptions == (told[0],)


def test_a_group_s_child_that_hands_over_what_it_opened_and_ends(applied):
    async def main():
        handed = asyncio.get_running_loop().create_future()

        async def child():
            group = anyio.create_task_group()
            await group.__aenter__()
            group.start_soon(anyio.sleep_forever)
            await asyncio.sleep(0)
            handed.set_result(group)  # and ends, before the group around has heard of it

        async def other():
            group = await handed
            group.cancel_scope.cancel()
            await group.__aexit__(None, None, None)
            return "left"

        task = asyncio.ensure_future(other())
        await asyncio.sleep(0)
        error = None
        try:
            async with anyio.create_task_group() as around:
                around.start_soon(child)
        except Exception as exc:
            error = exc
        return await task, error

    result, error = asyncio.run(main())
    assert result == "left"
    # newer versions of anyio put a scope around each child, which the child must not leave before those inside
    has_scope = hasattr(importlib.import_module("anyio._core._tasks"), "TaskHandle")
    assert (error is not None) == has_scope


def test_an_error_of_an_anyio_child_reaches_who_leaves(applied):
    async def enter():
        group = anyio.create_task_group()
        await group.__aenter__()

        async def fail():
            raise ValueError("child")

        group.start_soon(fail)
        await asyncio.sleep(0.01)
        return group

    # the failing child cancels its host while that runs still: catch it there
    async def main():
        group = anyio.create_task_group()
        await group.__aenter__()
        return group

    group = asyncio.run(main())

    async def later():
        async def fail():
            raise ValueError("child")

        group.start_soon(fail)
        group.start_soon(anyio.sleep_forever)
        await asyncio.sleep(0.02)

    asyncio.run(later())
    with pytest.raises(BaseException) as caught:
        asyncio.run(group.__aexit__(None, None, None))
    assert isinstance(caught.value.exceptions[0], ValueError)


def test_a_kept_scope_that_is_cancelled_burns_no_time_and_cancels_no_other(applied):
    scopes = []

    async def enter():
        for _ in range(3):
            group = anyio.create_task_group()
            await group.__aenter__()
            group.start_soon(anyio.sleep_forever)
            scopes.append(group)

    asyncio.run(enter())

    async def cancel():
        scopes[0].cancel_scope.cancel()
        await asyncio.sleep(0.05)
        before = time.process_time()
        await asyncio.sleep(0.3)
        return time.process_time() - before

    assert asyncio.run(cancel()) < 0.15
    assert [group.cancel_scope.cancel_called for group in scopes] == [True, False, False]
    for group in (scopes[1], scopes[0], scopes[2]):

        async def leave(group=group):
            group.cancel_scope.cancel()
            await group.__aexit__(None, None, None)

        asyncio.run(leave())


def test_a_deadline_that_passes_while_the_scope_is_kept(applied):
    async def enter():
        scope = anyio.move_on_after(0.05)
        scope.__enter__()
        return scope

    scope = asyncio.run(enter())

    async def leave():
        await asyncio.sleep(0.1)
        assert scope.cancel_called
        scope.__exit__(None, None, None)
        await asyncio.sleep(0.01)

    asyncio.run(leave())


@pytest.mark.parametrize("limit", ["anyio", "wait_for"])
def test_a_timeout_inside_the_leaving_takes_effect(applied, limit):
    async def enter():
        group = anyio.create_task_group()
        await group.__aenter__()
        group.start_soon(anyio.sleep_forever)
        return group

    group = asyncio.run(enter())

    async def leave():
        if limit == "anyio":
            with anyio.move_on_after(0.05) as scope:
                await group.__aexit__(None, None, None)
            assert scope.cancelled_caught
        else:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(group.__aexit__(None, None, None), 0.05)

    begin = time.monotonic()
    asyncio.run(leave())
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize("how", ["leave", "cancel", "leave a scope"])
def test_a_kept_scope_is_refused_on_another_loop_and_nothing_is_harmed(applied, how):
    async def enter():
        group = anyio.create_task_group()
        await group.__aenter__()
        group.start_soon(anyio.sleep_forever)
        scope = anyio.CancelScope()
        scope.__enter__()
        return group, scope

    group, scope = asyncio.run(enter())

    async def elsewhere():
        if how == "leave":
            await group.__aexit__(None, None, None)
        elif how == "cancel":
            group.cancel_scope.cancel()
        else:
            scope.__exit__(None, None, None)

    other = asyncio.new_event_loop()
    with pytest.raises(RuntimeError, match="apply.shared=True"):
        other.run_until_complete(elsewhere())
    other.close()

    async def leave():
        group.cancel_scope.cancel()
        await group.__aexit__(None, None, None)
        scope.__exit__(None, None, None)

    asyncio.run(leave())
    assert asyncio.run(count_tasks()) == 1


def test_what_was_left_open_when_its_loop_was_closed_is_left_quietly_elsewhere(applied):
    log = []
    cm = resource(log, "a")
    loop = asyncio.new_event_loop()
    loop.run_until_complete(cm.__aenter__())
    loop.close()
    assert log[-1] == ("closing", "a")  # and the end of the generator goes through it
    if sys.version_info >= (3, 13):
        assert not asyncio.run(cm.__aexit__(None, None, None))
    else:  # Python's own: a generator whose aclose() was cancelled may say for ever that it runs
        try:
            assert not asyncio.run(cm.__aexit__(None, None, None))
        except RuntimeError as exc:
            assert "already running" in str(exc)


def test_a_scope_of_a_running_task_is_still_refused_to_others(applied):
    async def main():
        group = anyio.create_task_group()
        entered, go = asyncio.Event(), asyncio.Event()

        async def host():
            async with group:
                entered.set()
                await go.wait()

        task = asyncio.create_task(host())
        await entered.wait()
        with pytest.raises(RuntimeError, match="different task"):
            group.cancel_scope.__exit__(None, None, None)
        go.set()
        await task

    asyncio.run(main())


def test_wrong_order_in_the_same_running_task_is_still_an_error(applied):
    async def main():
        first, second = anyio.CancelScope(), anyio.CancelScope()
        first.__enter__()
        second.__enter__()
        with pytest.raises(RuntimeError, match="isn't the current"):
            first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        first.__exit__(None, None, None)

    asyncio.run(main())


def test_unapply_gives_anyio_its_own_functions_back():
    from anyio._backends import _asyncio as backend

    before = (backend.CancelScope.__exit__, backend.CancelScope.cancel, backend.TaskGroup.__aexit__)
    aionest.apply()
    assert backend.TaskGroup.__aexit__ is not before[2]
    aionest.unapply()
    assert (backend.CancelScope.__exit__, backend.CancelScope.cancel, backend.TaskGroup.__aexit__) == before


def test_an_unknown_anyio_is_left_alone(child):
    r = child(
        """
        import warnings, asyncio, aionest
        from anyio._backends import _asyncio as backend
        own = backend.TaskGroup.__aexit__
        del backend.CancelScope._deliver_cancellation
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            aionest.apply()
        print(backend.TaskGroup.__aexit__ is own, [w.category.__name__ for w in seen], "_deliver_cancellation" in str(seen[0].message))
        """
    )
    assert (r.returncode, r.stdout) == (0, "True ['RuntimeWarning'] True\n"), r


def test_left_from_other_threads_with_a_shared_loop(child):
    r = child(
        """
        import asyncio, threading, contextlib
        import aionest
        aionest.apply(shared=True)
        import anyio

        @contextlib.asynccontextmanager
        async def resource(n):
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                yield n
                group.cancel_scope.cancel()

        cms = [resource(n) for n in range(4)]
        done = []

        def step(coro):
            t = threading.Thread(target=lambda: done.append(asyncio.run(coro)))
            t.start(); t.join()

        async def enter():
            return [await cm.__aenter__() for cm in cms]

        step(enter())
        for n in (2, 0, 3, 1):
            step(cms[n].__aexit__(None, None, None))
        print(done)
        """
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "[[0, 1, 2, 3], False, False, False, False]\n", ""), r


@pytest.mark.long
def test_a_thousand_left_in_random_order(applied):
    log = []
    cms = [resource(log, n, period=0.05) for n in range(1000)]

    async def enter():
        for cm in cms:
            await cm.__aenter__()

    asyncio.run(enter())
    order = list(range(1000))
    random.Random(3).shuffle(order)
    for n in order:
        asyncio.run(cms[n].__aexit__(None, None, None))
    assert len([entry for entry in log if entry[0] == "closed"]) == 1000
    assert asyncio.run(count_tasks()) == 1


async def count_tasks():
    return len(asyncio.all_tasks())


def test_a_loop_that_closes_hears_other_threads(applied):
    # child watchers report a process's end from a thread of their own: closing a session waits for that
    heard = []

    @contextlib.asynccontextmanager
    async def resource():
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            try:
                yield
            finally:
                loop = asyncio.get_running_loop()
                told = asyncio.Event()
                threading.Timer(0.05, loop.call_soon_threadsafe, (told.set,)).start()
                with anyio.move_on_after(30, shield=True):
                    await told.wait()
                    heard.append(time.monotonic())
                heard.append(told.is_set())
                group.cancel_scope.cancel()

    begin = time.monotonic()
    loop = asyncio.new_event_loop()

    async def enter():
        await resource().__aenter__()

    loop.run_until_complete(enter())
    loop.close()
    assert heard[1:] == [True] and heard[0] - begin < 25
