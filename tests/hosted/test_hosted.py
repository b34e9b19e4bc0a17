"""hosted(cm): who enters, who leaves, whose exceptions, whose cancellation."""

import asyncio
import contextvars
import gc
import itertools
import sys
import warnings
from contextlib import asynccontextmanager

import pytest
from support import eventually_async

import aionest
from aionest import Hosted, hosted
from aionest._errors import AionestError, ResourceLost
from aionest._hosted.owner import leave_all

GUARD = 60


class Resource:
    """A context manager that insists on one task and can be told how to behave."""

    def __init__(self, log, name="r", *, on_enter=None, on_exit=None, suppress=False):
        self.log, self.name = log, name
        self.on_enter, self.on_exit, self.suppress = on_enter, on_exit, suppress

    async def __aenter__(self):
        self.task = asyncio.current_task()
        self.log.append(f"{self.name} in")
        if self.on_enter is not None:
            await self.on_enter()
        return self

    async def __aexit__(self, kind, exc, tb):
        assert asyncio.current_task() is self.task
        self.seen = exc
        try:
            if self.on_exit is not None:
                await self.on_exit()
        finally:
            self.log.append(f"{self.name} out")
        return self.suppress

    async def use(self, x=None):
        await asyncio.sleep(0)
        return x


@asynccontextmanager
async def grouped(fail):
    """A task group, one of whose tasks fails when it is told to: the host task is cancelled then."""
    anyio = pytest.importorskip("anyio")

    async def watch():
        await fail.wait()
        raise LookupError("watcher failed")

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        yield "value"
        group.cancel_scope.cancel()


def fails(exc):
    async def fail():
        await asyncio.sleep(0)
        raise exc

    return fail


# ---- the plain life --------------------------------------------------------------------------------------------------


def test_async_with_gives_the_value_as_is_and_leaves_in_the_owner_task(run):
    log = []

    async def main():
        resource = Resource(log)
        async with hosted(resource) as value:
            assert value is resource
            assert resource.task is not asyncio.current_task()
            assert "owner of Resource" in repr(resource.task)
            assert await value.use(3) == 3
        assert resource.seen is None

    run(main)
    assert log == ["r in", "r out"]


def test_steps_may_be_taken_by_any_task(run):
    log = []

    async def main():
        handle = hosted(Resource(log))
        assert repr(handle) == "<hosted Resource: not entered>"
        assert not handle.is_open
        value = await asyncio.get_running_loop().create_task(handle.enter())
        assert handle.is_open
        assert handle.value is value
        assert repr(handle) == "<hosted Resource: open>"
        assert await asyncio.get_running_loop().create_task(handle.leave()) is False
        assert not handle.is_open
        assert await handle.leave() is False
        assert repr(handle) == "<hosted Resource: gone>"

    run(main)
    assert log == ["r in", "r out"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_resources_are_left_in_any_order_from_one_task(run, order):
    anyio = pytest.importorskip("anyio")

    async def main():
        fail = anyio.Event()
        handles = [hosted(grouped(fail)) for _ in range(3)]
        for handle in handles:
            assert await handle.enter() == "value"
        for n in order:
            await handles[n].leave()
            with anyio.move_on_after(GUARD):
                await asyncio.sleep(0)

    run(main)


def test_a_handle_is_for_one_use(run):
    log = []

    async def main():
        handle = hosted(Resource(log))
        with pytest.raises(RuntimeError, match="never entered"):
            await handle.leave()
        with pytest.raises(RuntimeError, match="not entered"):
            handle.value  # noqa: B018
        with pytest.raises(RuntimeError, match="not entered"):
            await handle.call(asyncio.sleep, 0)
        await handle.enter()
        with pytest.raises(RuntimeError, match="already been entered"):
            await handle.enter()
        await handle.leave()
        with pytest.raises(RuntimeError, match="already been entered"):
            await handle.enter()
        with pytest.raises(RuntimeError, match="is gone"):
            await handle.call(asyncio.sleep, 0)

    run(main)


def test_only_asynchronous_context_managers_are_taken():
    for wrong in (warnings.catch_warnings(), 3, None, asyncio.sleep(0)):
        with pytest.raises(TypeError, match="asynchronous context manager"):
            hosted(wrong)
    gc.collect()


def test_the_owner_has_a_copy_of_the_context_of_enter(run):
    variable = contextvars.ContextVar("variable", default=0)
    log = []

    class Setting(Resource):
        async def __aenter__(self):
            self.log.append(variable.get())
            variable.set(2)

        async def __aexit__(self, *exc_info):
            self.log.append(variable.get())

    async def main():
        variable.set(1)
        async with hosted(Setting(log)):
            assert variable.get() == 1

    run(main)
    assert log == [1, 2]


def test_all_steps_of_leaving_may_be_asked_for_at_once(run):
    log = []

    async def main():
        handle = hosted(Resource(log, on_exit=lambda: asyncio.sleep(0.01)))
        await handle.enter()
        assert await asyncio.gather(*(handle.leave() for _ in range(5))) == [False] * 5

    run(main)
    assert log == ["r in", "r out"]


# ---- exceptions ------------------------------------------------------------------------------------------------------


def test_an_exception_of_entering_goes_to_enter(run):
    error = LookupError("no")

    async def main():
        handle = hosted(Resource([], on_enter=fails(error)))
        with pytest.raises(LookupError) as info:
            await handle.enter()
        assert info.value is error
        with pytest.raises(RuntimeError, match="is gone"):
            handle.value  # noqa: B018
        assert await handle.leave() is False
        with pytest.raises(LookupError):
            async with hosted(Resource([], on_enter=fails(error))):
                raise AssertionError

    run(main)


def test_an_exception_of_leaving_goes_to_the_first_who_leaves(run):
    async def main():
        handle = hosted(Resource([], on_exit=fails(LookupError("no"))))
        await handle.enter()
        with pytest.raises(LookupError, match="no"):
            await handle.leave()
        assert await handle.leave() is False

    run(main)


def test_the_bodys_exception_is_shown_to_the_manager(run):
    async def main():
        error = LookupError("body")
        resource = Resource([])
        with pytest.raises(LookupError) as info:
            async with hosted(resource):
                raise error
        assert info.value is error
        assert resource.seen is error

        resource = Resource([], suppress=True)
        async with hosted(resource):
            raise error
        assert resource.seen is error

        @asynccontextmanager
        async def translating():
            try:
                yield
            except LookupError as exc:
                raise KeyError("translated") from exc

        with pytest.raises(KeyError, match="translated") as translated:
            async with hosted(translating()):
                raise error
        assert translated.value.__cause__ is error

        @asynccontextmanager
        async def passing():
            yield

        with pytest.raises(LookupError) as info:
            async with hosted(passing()):
                raise error
        assert info.value is error

        handle = hosted(Resource([], suppress=True))
        await handle.enter()
        assert await handle.leave(error) is True

    run(main)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_exceptions_that_end_programs_go_to_who_asked_and_not_to_the_loop(run, kind):
    async def main():
        with pytest.raises(kind):
            await hosted(Resource([], on_enter=fails(kind()))).enter()
        handle = hosted(Resource([], on_exit=fails(kind())))
        await handle.enter()
        with pytest.raises(kind):
            await handle.leave()
        await asyncio.sleep(0.01)
        return "goes on"

    assert run(main) == "goes on"


# ---- cancellation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["at once", "while entering"])
def test_a_cancelled_enter_leaves_nothing_behind(run, when):
    log = []

    class Slow(Resource):
        async def __aenter__(self):
            log.append("in")
            try:
                await asyncio.sleep(GUARD)
            finally:
                await asyncio.sleep(0.01)
                log.append("undone")

    async def main():
        handle = hosted(Slow(log))
        task = asyncio.get_running_loop().create_task(handle.enter())
        if when == "while entering":
            await eventually_async(lambda: log)
        else:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log in ([], ["in", "undone"])
        assert not handle.is_open

    run(main)


def test_a_cancelled_enter_whose_resource_opens_nevertheless_leaves_it(run):
    log = []

    class Stubborn(Resource):
        async def __aenter__(self):
            self.task = asyncio.current_task()
            log.append("begun")
            try:
                await asyncio.sleep(GUARD)
            except asyncio.CancelledError:
                log.append("in")

    async def main():
        handle = hosted(Stubborn(log))
        task = asyncio.get_running_loop().create_task(handle.enter())
        await eventually_async(lambda: log)
        task.cancel()
        await asyncio.sleep(0.01)
        if not task.done():
            task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            await handle.leave()
        assert log == ["begun", "in", "r out"]

    run(main)


def test_a_timeout_on_leaving_takes_effect_and_is_seen_by_the_manager(run):
    log = []

    async def slow():
        try:
            await asyncio.sleep(GUARD)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)  # clean-up after one cancellation may wait
            log.append("cancelled")
            raise

    async def main():
        handle = hosted(Resource(log, on_exit=slow))
        await handle.enter()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(handle.leave(), 0.01)
        assert log == ["r in", "cancelled", "r out"]

    run(main)


def test_anyio_cancellation_of_leaving_respects_shielded_clean_up(run):
    anyio = pytest.importorskip("anyio")
    log = []

    async def shielded():
        with anyio.CancelScope(shield=True):
            await asyncio.sleep(0.02)
            log.append("shielded part ended")
        await asyncio.sleep(GUARD)

    async def main():
        handle = hosted(Resource(log, on_exit=shielded))
        await handle.enter()
        with anyio.move_on_after(0.005) as scope:
            await handle.leave()
        assert scope.cancelled_caught
        assert log == ["r in", "shielded part ended", "r out"]

    run(main)


def test_a_body_cancelled_by_anyio_leaves_the_resource(run):
    anyio = pytest.importorskip("anyio")
    log = []

    async def main():
        with anyio.move_on_after(0.01):
            async with hosted(Resource(log)):
                await asyncio.sleep(GUARD)
        with anyio.move_on_after(0.01):
            async with hosted(grouped(anyio.Event())):
                await asyncio.sleep(GUARD)
        assert log == ["r in", "r out"]

    run(main)


def test_scopes_of_the_resource_do_not_reach_the_user_and_the_other_way_round(run):
    anyio = pytest.importorskip("anyio")

    @asynccontextmanager
    async def scoped():
        with anyio.CancelScope() as scope:
            yield scope

    async def main():
        with anyio.move_on_after(GUARD) as mine:
            handle = hosted(scoped())
            theirs = await handle.enter()
            theirs.cancel()
            await asyncio.sleep(0.01)
            assert not mine.cancel_called
            await asyncio.sleep(0)
            assert handle.lost is not None
            await handle.leave()
        handle = hosted(scoped())
        with anyio.move_on_after(0.01):
            theirs = await handle.enter()
            await asyncio.sleep(GUARD)
        assert handle.is_open
        assert not theirs.cancel_called
        await handle.leave()

    run(main)


# ---- loss ------------------------------------------------------------------------------------------------------------


def test_a_guarded_wait_ends_at_once_with_the_cause_and_nobody_else_is_disturbed(run):
    anyio = pytest.importorskip("anyio")

    async def main():
        fail, log = anyio.Event(), []
        handle = hosted(grouped(fail))
        await handle.enter()

        async def waits():
            try:
                await asyncio.sleep(GUARD)
            finally:
                log.append("cancelled")

        async def stranger():
            await asyncio.sleep(0.05)
            return "undisturbed"

        user = asyncio.get_running_loop().create_task(handle.guard(waits()))
        other = asyncio.get_running_loop().create_task(stranger())
        await asyncio.sleep(0)
        fail.set()
        with pytest.raises(ResourceLost, match="grouped is lost") as info:
            await user
        assert isinstance(info.value, AionestError)
        assert isinstance(info.value, RuntimeError)
        assert [str(e) for e in info.value.__cause__.exceptions] == ["watcher failed"]
        assert log == ["cancelled"]
        assert await other == "undisturbed"
        assert "lost" in repr(handle)
        for late in (handle.guard(waits()), handle.call(waits)):
            with pytest.raises(ResourceLost):
                await late
        assert log == ["cancelled"]
        assert await handle.leave() is False

    run(main)


def test_guard_adds_nothing_else(run):
    async def main():
        async with hosted(Resource([])) as r:
            handle = main.handle = hosted(Resource([]))
            async with handle:
                task = asyncio.current_task()

                async def who():
                    return asyncio.current_task()

                assert await handle.guard(who()) is task
                assert await handle.guard(r.use(5)) == 5
                with pytest.raises(LookupError, match="mine"):
                    await handle.guard(fails(LookupError("mine"))())
                inner = asyncio.get_running_loop().create_task(handle.guard(asyncio.sleep(GUARD)))
                await asyncio.sleep(0)
                inner.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await inner
                assert not handle._owner.lost._wakers
                if sys.version_info >= (3, 11):
                    assert task.cancelling() == 0

    run(main)


def test_a_loss_and_a_cancellation_at_the_same_time_is_a_cancellation(run):
    if sys.version_info < (3, 11):
        pytest.skip("tasks do not count cancellations before 3.11")
    anyio = pytest.importorskip("anyio")

    async def main():
        fail = anyio.Event()
        handle = hosted(grouped(fail))
        await handle.enter()
        user = asyncio.get_running_loop().create_task(handle.guard(asyncio.sleep(GUARD)))
        await asyncio.sleep(0)
        handle._owner.lost.subscribe(user.cancel)
        fail.set()
        with pytest.raises(asyncio.CancelledError):
            await user
        with pytest.raises(ResourceLost):  # so nobody was told of that yet
            await handle.leave()

    run(main)


def test_the_news_do_not_wait_for_a_long_clean_up_and_the_cause_follows(run):
    release = asyncio.Event() if sys.version_info >= (3, 10) else None

    async def clean_up():
        await release.wait()
        raise LookupError("the cause")

    async def main():
        handle = hosted(Resource([], on_exit=clean_up))
        resource = await handle.enter()
        user = asyncio.get_running_loop().create_task(handle.guard(asyncio.sleep(GUARD)))
        await asyncio.sleep(0)
        resource.task.cancel()
        with pytest.raises(ResourceLost) as info:
            await user
        assert info.value.__cause__ is None
        assert not handle.is_open
        release.set()
        await handle.leave()
        assert str(info.value.__cause__) == "the cause"

    run(main)


def test_on_lost_is_called_once_each_and_its_errors_are_reported(run):
    anyio = pytest.importorskip("anyio")

    async def main():
        fail, told, reported = anyio.Event(), [], []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
        handle = hosted(grouped(fail))
        handle.on_lost(told.append)
        await handle.enter()
        handle.on_lost(lambda exc: 1 / 0)
        handle.on_lost(told.append)
        fail.set()
        await eventually_async(lambda: handle.lost)
        await eventually_async(lambda: len(told) == 2)
        handle.on_lost(told.append)
        assert [type(exc) for exc in told] == [ResourceLost] * 3
        assert {len(exc.__cause__.exceptions) for exc in told} == {1}
        assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]
        await handle.leave()

        handle = hosted(grouped(anyio.Event()))
        await handle.enter()
        handle.on_lost(told.append)
        await handle.leave()
        assert len(told) == 3
        assert handle.lost is None

    run(main)


@pytest.mark.parametrize("how", ["leave", "with", "with an exception"])
def test_a_loss_that_nobody_was_told_of_comes_out_of_leaving(run, how):
    anyio = pytest.importorskip("anyio")

    async def main():
        fail = anyio.Event()
        handle = hosted(grouped(fail))
        if how == "leave":
            await handle.enter()
            fail.set()
            await eventually_async(lambda: not handle.is_open)
            with pytest.raises(ResourceLost) as info:
                await handle.leave()
            assert info.value.__cause__ is not None
            assert await handle.leave() is False
            return
        with pytest.raises(ResourceLost if how == "with" else KeyError):
            async with handle:
                fail.set()
                await eventually_async(lambda: not handle.is_open)
                if how != "with":
                    raise KeyError
        assert handle.lost is not None

    run(main)


def test_a_loss_that_nobody_asks_about_is_reported_when_the_handle_is_dropped(run):
    anyio = pytest.importorskip("anyio")

    async def main():
        fail, reported = anyio.Event(), []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
        handle = hosted(grouped(fail))
        await handle.enter()
        fail.set()
        while handle.is_open:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        del handle
        gc.collect()
        assert [context["message"] for context in reported] == ["grouped failed, and its failure was never retrieved"]

    run(main)


# ---- dropped, and the loop's end -------------------------------------------------------------------------------------


def test_a_dropped_handle_warns_and_the_resource_is_left(run):
    log = []

    async def main():
        handle = hosted(Resource(log))
        await handle.enter()
        with pytest.warns(ResourceWarning, match="Resource: open> was never left"):
            del handle
            gc.collect()
        await asyncio.sleep(0.01)
        assert log == ["r in", "r out"]
        hosted(Resource(log))
        gc.collect()

    run(main)


def test_a_running_owner_is_not_collected(run):
    log = []

    async def main():
        handle = hosted(Resource(log))
        await handle.enter()
        for _ in range(3):
            gc.collect()
            await asyncio.sleep(0)
        assert handle.is_open
        await handle.leave()

    run(main)
    assert log == ["r in", "r out"]


def test_leave_all_leaves_newest_first_and_reports_errors(run):
    log = []

    async def main():
        loop = asyncio.get_running_loop()
        reported = []
        loop.set_exception_handler(lambda loop, context: reported.append(context))
        handles = [hosted(Resource(log, name)) for name in "abc"]
        handles.insert(1, hosted(Resource(log, "bad", on_exit=fails(LookupError("no")))))
        entering = hosted(Resource(log, "slow", on_enter=lambda: asyncio.sleep(GUARD)))
        for handle in handles:
            await handle.enter()
        task = loop.create_task(entering.enter())
        await asyncio.sleep(0.01)
        log.clear()
        await leave_all(loop)
        assert log == ["c out", "b out", "bad out", "a out"]
        assert [str(context["exception"]) for context in reported] == ["no"]
        with pytest.raises(asyncio.CancelledError):
            await task
        for handle in handles:
            assert await handle.leave() is False

    run(main)


def test_cancelling_all_tasks_as_asyncio_run_does_leaves_everything_quietly(run):
    log, handles = [], []

    async def main():
        for name in "abc":
            handles.append(hosted(Resource(log, name)))
            await handles[-1].enter()

    async def later():
        for handle in handles:
            assert await handle.leave() is False
            with pytest.raises(ResourceLost):
                await handle.guard(asyncio.sleep(0))

    run(main)
    asyncio.runners._cancel_all_tasks(run.loop)
    assert sorted(log[3:]) == ["a out", "b out", "c out"]
    run(later)
    handles.clear()
    gc.collect()


# ---- other loops and threads -----------------------------------------------------------------------------------------


def test_a_resource_is_left_and_used_from_other_threads_and_loops(run, elsewhere):
    log = []

    async def main():
        handle = hosted(Resource(log))
        resource = await handle.enter()
        loop = asyncio.get_running_loop()

        async def use():
            async def where(x):
                return asyncio.get_running_loop() is loop, await resource.use(x)

            with pytest.raises(LookupError, match="there"):
                await handle.call(fails(LookupError("there")))
            return await handle.call(where, 3)

        async def leave():
            return await handle.leave()

        for function, expected in ((use, (True, 3)), (use, (True, 3)), (leave, False), (leave, False)):
            thread = elsewhere(function)
            await eventually_async(lambda thread=thread: not thread.is_alive())
            assert thread.result() == expected

    run(main)
    assert log == ["r in", "r out"]


def test_a_call_from_another_loop_is_cancelled_with_its_caller_and_ended_by_a_loss(run, elsewhere):
    anyio = pytest.importorskip("anyio")

    async def main():
        fail, log = anyio.Event(), []
        handle = hosted(grouped(fail))
        await handle.enter()

        async def waits():
            log.append("begun")
            try:
                await asyncio.sleep(GUARD)
            finally:
                log.append("ended")

        async def cancelled():
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(handle.call(waits), 0.05)
            return list(log)

        async def lost():
            with pytest.raises(ResourceLost) as info:
                await handle.call(waits)
            return info.value.__cause__

        thread = elsewhere(cancelled)
        await eventually_async(lambda: not thread.is_alive())
        assert thread.result() == ["begun", "ended"]
        thread = elsewhere(lost)
        await eventually_async(lambda: len(log) == 3)
        fail.set()
        await eventually_async(lambda: not thread.is_alive())
        assert thread.result() is not None
        await handle.leave()

    run(main)


def test_a_guard_on_another_loop_hears_of_the_loss(run, elsewhere):
    anyio = pytest.importorskip("anyio")

    async def main():
        fail, begun = anyio.Event(), []
        handle = hosted(grouped(fail))
        await handle.enter()

        async def there():
            begun.append(1)
            with pytest.raises(ResourceLost):
                await handle.guard(asyncio.sleep(GUARD))
            return "told"

        thread = elsewhere(there)
        await eventually_async(lambda: begun)
        await asyncio.sleep(0.01)
        fail.set()
        await eventually_async(lambda: not thread.is_alive())
        assert thread.result() == "told"
        await handle.leave()

    run(main)


@pytest.mark.parametrize("where", ["same thread", "other thread"])
def test_a_resource_whose_loop_nobody_runs_can_be_used_and_left(run, elsewhere, where):
    log = []
    handle = hosted(Resource(log))
    run(handle.enter)
    there = asyncio.SelectorEventLoop()

    async def use_and_leave():
        assert await handle.call(handle.value.use, 5) == 5
        await handle.leave()
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    if where == "same thread":
        assert there.run_until_complete(asyncio.wait_for(use_and_leave(), GUARD)) is there
    else:
        elsewhere(use_and_leave).result()
    there.close()
    assert log == ["r in", "r out"]


def test_a_loop_that_stops_while_somebody_waits_for_it(run, elsewhere):
    log = []
    handle = hosted(Resource(log, on_exit=lambda: asyncio.sleep(0.2)))
    run(handle.enter)

    async def leave():
        await handle.leave()

    async def a_moment():
        leaver.append(elsewhere(leave))
        await eventually_async(lambda: not handle.is_open)

    leaver = []
    run(a_moment)  # the leaving has begun, and now nobody runs this loop
    leaver[0].result()
    assert log == ["r in", "r out"]


@pytest.mark.parametrize("first", ["call", "leave"])
def test_a_loop_that_was_closed_under_a_resource(run, first):
    log = []
    handle = hosted(Resource(log))
    run(handle.enter)
    task = handle._owner.task
    run.loop.close()
    other = run.new_loop()

    async def main():
        if first == "call":
            with pytest.raises(ResourceLost, match="is lost") as info:
                await handle.call(asyncio.sleep, 0)
        else:
            with pytest.raises(ResourceLost) as info:
                await handle.leave()
        assert "closed while" in str(info.value.__cause__)
        assert await handle.leave() is False

    try:
        other.run_until_complete(main())
    finally:
        other.close()
    task._log_destroy_pending = False
    assert log == ["r in"]


def test_threads_leave_in_any_order(run, elsewhere):
    log = []

    async def main():
        handles = [hosted(Resource(log, f"r{n}")) for n in range(20)]
        for handle in handles:
            await handle.enter()

        async def leave(part):
            for handle in part:
                await handle.leave()

        threads = [elsewhere(leave, handles[n::4]) for n in range(4)]
        await eventually_async(lambda: not any(thread.is_alive() for thread in threads))
        for thread in threads:
            thread.result()

    run(main)
    assert sorted(log[20:]) == sorted(f"r{n} out" for n in range(20))


def test_the_owner_itself_cannot_leave(run):
    seen = []

    class Selfish(Resource):
        async def __aexit__(self, *exc_info):
            with pytest.raises(RuntimeError, match="cannot be left by the task that owns it"):
                await handle.leave()
            seen.append(1)

    handle = hosted(Selfish([]))

    async def main():
        async with handle:
            pass

    run(main)
    assert seen == [1]


# ---- nested runs, fork, exit -----------------------------------------------------------------------------------------


def test_a_resource_is_entered_used_and_left_in_separate_nested_runs():
    aionest.apply()
    log = []
    handle = hosted(Resource(log))

    async def outer():
        asyncio.run(handle.enter())
        assert asyncio.run(handle.guard(handle.value.use(1))) == 1
        asyncio.run(handle.leave())

    try:
        loop = asyncio.SelectorEventLoop()
        loop.run_until_complete(outer())
        loop.close()
    finally:
        aionest.unapply()
    assert log == ["r in", "r out"]


def test_a_forked_child_has_nothing_and_touches_nothing(child):
    assert child("""
        import asyncio, os, sys
        from contextlib import asynccontextmanager
        from aionest import hosted
        @asynccontextmanager
        async def resource():
            try:
                yield 1
            finally:
                print("left in", "parent" if os.getpid() == parent else "child")
        parent = os.getpid()
        loop = asyncio.new_event_loop()
        handle = hosted(resource())
        loop.run_until_complete(handle.enter())
        pid = os.fork()
        if pid == 0:
            other = asyncio.new_event_loop()
            async def main():
                assert not handle.is_open
                assert await handle.leave() is False
                try:
                    await handle.guard(asyncio.sleep(0))
                except RuntimeError as exc:
                    print(type(exc).__name__, "fork" in str(exc.__cause__))
            other.run_until_complete(main())
            os._exit(4)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
        assert handle.is_open
        loop.run_until_complete(handle.leave())
        loop.close()
    """) == ["ResourceLost True", "left in parent"]


def test_exit_with_a_resource_on_the_main_threads_own_loop(child):
    assert child("""
        import asyncio, aionest
        from contextlib import asynccontextmanager
        from aionest import hosted
        aionest.apply()
        @asynccontextmanager
        async def resource():
            try:
                yield 1
            finally:
                print("left")
        handle = hosted(resource())
        asyncio.run(handle.enter())
        print("exit")
    """) == ["exit", "left"]


def test_types_and_names():
    assert isinstance(hosted(Resource([])), Hosted)
    assert hosted(Resource([]))._owner.name.endswith("Resource")
