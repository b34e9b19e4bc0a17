"""Portal.call and Portal.run: outcome, context, timeout, from every kind of thread."""

import asyncio
import concurrent.futures
import contextvars
import functools
import gc
import threading
import traceback
import weakref

import pytest
from support import eventually, eventually_async, timeouts_until

from aionest import Portal

GUARD = 60
variable = contextvars.ContextVar("variable", default="unset")


async def noop():
    pass


async def double(x):
    await asyncio.sleep(0)
    return 2 * x


def test_a_call_returns_the_result_and_runs_in_the_portals_thread(portal):
    async def where(*args):
        before = threading.current_thread()
        await asyncio.sleep(0)
        assert threading.current_thread() is before
        return before, asyncio.get_running_loop(), args

    thread, loop, args = portal.call(where, 1, "two")
    assert args == (1, "two")
    assert thread is not threading.current_thread()
    assert thread.daemon and thread.name.startswith("test-")
    assert portal.call(where)[:2] == (thread, loop)


def test_plain_functions_bound_methods_partials_and_callable_objects_are_called_inside_a_task(portal):
    class Thing:
        async def method(self, x):
            return await double(x)

        async def __call__(self, x):
            return await double(x)

        @classmethod
        async def cls(cls, x):
            return await double(x)

        @functools.lru_cache  # noqa: B019
        def cached(self, x):
            return double(x)

    thing = Thing()
    assert portal.call(thing.method, 1) == 2
    assert portal.call(thing, 1) == 2
    assert portal.call(Thing.cls, 1) == 2
    assert portal.call(thing.cached, 1) == 2
    assert portal.call(functools.partial(double, 1)) == 2
    assert portal.call(lambda: double(1)) == 2
    assert portal.call(threading.current_thread).name.startswith("test-")
    assert portal.call(lambda: isinstance(asyncio.current_task(), asyncio.Task))
    assert isinstance(portal.call(asyncio.Event), asyncio.Event)


def test_a_coroutine_function_is_the_tasks_own_coroutine(portal):
    async def mine():
        return asyncio.current_task().get_coro().cr_code

    assert portal.call(mine) is mine.__code__


def test_run_takes_coroutines_futures_and_objects_with_await(portal):
    class Awaitable:
        def __await__(self):
            return (yield from double(4).__await__())

    assert portal.run(double(2)) == 4
    assert portal.run(Awaitable()) == 8

    async def future():
        f = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, f.set_result, "set")
        return [f]

    [f] = portal.call(future)
    assert portal.run(f) == "set"


def test_the_exception_comes_back_with_its_traceback_and_without_a_reference_cycle(portal):
    class Mine(Exception):
        pass

    async def fails_here():
        await asyncio.sleep(0)
        raise Mine("text")

    def caller():
        portal.call(fails_here)

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(Mine, match="text") as info:
            caller()
        names = [frame.name for frame in traceback.extract_tb(info.value.__traceback__)]
        assert names[-1] == "fails_here"
        assert "caller" in names
        ref = weakref.ref(info.value)
        del info
        # the loop's thread may be at the end of the iteration that told us
        eventually(lambda: ref() is None, every=0.001)
    finally:
        gc.enable()


def test_an_exception_in_a_plain_function_and_wrong_arguments_come_back_too(portal):
    def fails():
        raise LookupError("plain")

    with pytest.raises(LookupError, match="plain"):
        portal.call(fails)
    with pytest.raises(TypeError, match="noop"):
        portal.call(noop, 1)
    assert portal.call(double, 1) == 2


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
def test_an_exception_that_is_no_error_goes_to_the_caller_and_the_portal_goes_on(portal, kind):
    seen = []
    portal.call(lambda: asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(context)))

    async def leave():
        await asyncio.sleep(0)
        raise kind("out")

    other = portal.submit(asyncio.sleep, 0.05, "other")
    with pytest.raises(kind, match="out"):
        portal.call(leave)
    assert other.result(GUARD) == "other"
    assert not seen


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_system_exit_in_a_background_task_is_reported_and_the_portal_goes_on(portal, kind):
    seen = []
    portal.call(lambda: asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(context)))
    told = threading.Event()

    async def leave():
        raise kind("out")

    async def begin():
        task = asyncio.get_running_loop().create_task(leave())
        task.add_done_callback(lambda t: (t.exception(), told.set()))

    portal.call(begin)
    assert told.wait(GUARD)
    assert portal.call(double, 1) == 2
    assert [type(context["exception"]) for context in seen] == [kind]


def test_the_callers_context_is_seen_and_changes_stay_there(portal):
    async def change():
        before = variable.get()
        variable.set("changed")
        await asyncio.sleep(0)
        assert variable.get() == "changed"
        inner = await asyncio.get_running_loop().create_task(read())
        return before, inner

    async def read():
        return variable.get()

    def use(value):
        variable.set(value)
        assert portal.call(change) == (value, "changed")
        assert portal.submit(change).result(GUARD) == (value, "changed")
        assert portal.run(change()) == (value, "changed")
        return variable.get()

    assert contextvars.copy_context().run(use, "mine") == "mine"
    assert portal.call(read) == "unset"


def test_a_cancellation_inside_comes_back_as_asyncios(portal):
    async def cancel_myself():
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        portal.call(cancel_myself)


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", ["1", True, [], 1j])
def test_a_timeout_that_is_no_number_is_refused_before_anything_starts(portal, timeout):
    with pytest.raises(TypeError, match="number of seconds"):
        portal.call(noop, timeout=timeout)
    with pytest.raises(TypeError, match="number of seconds"):
        portal.run(noop(), timeout=timeout)
    with pytest.raises(ValueError, match="nan"):
        portal.call(noop, timeout=float("nan"))


def test_wrong_things_are_refused_and_no_coroutine_is_left_unawaited(portal):
    with pytest.raises(TypeError, match="use run"):
        portal.call(noop())
    with pytest.raises(TypeError, match="not int"):
        portal.call(3)
    with pytest.raises(TypeError, match="not function"):
        portal.run(noop)
    with pytest.raises(TypeError, match="not NoneType"):
        portal.run(None)
    portal.close()
    from aionest._errors import PortalClosed

    for refused in (portal.call, portal.submit):
        with pytest.raises(PortalClosed, match="is closed"):
            refused(noop)
    with pytest.raises(PortalClosed):
        portal.run(noop())
    gc.collect()


# ---- timeout ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, 0.05, -1])
def test_a_timeout_cancels_the_work_and_waits_for_its_end(portal, timeout):
    begun, ended = [], []

    async def work():
        begun.append(1)
        try:
            await asyncio.sleep(GUARD)
        finally:
            await asyncio.sleep(0.01)
            ended.append(1)

    with pytest.raises(TimeoutError, match="was cancelled"):
        portal.call(work, timeout=timeout)
    assert ended == begun  # without any time it need not have begun
    assert portal.call(double, 1, timeout=GUARD) == 2
    assert portal.call(double, 1, timeout=float("inf")) == 2


def test_work_that_refuses_to_be_cancelled_does_not_keep_the_caller(portal):
    release = portal.call(asyncio.Event)

    begun = []

    async def stubborn():
        begun.append(True)
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                pass

    for timeout in timeouts_until(begun):
        with pytest.raises(TimeoutError) as info:
            portal.call(stubborn, timeout=timeout)
    assert "has not ended since" in str(info.value)
    portal.call(release.set)


def test_what_the_work_says_to_the_timeout_wins(portal):
    async def answers():
        try:
            await asyncio.sleep(GUARD)
        except asyncio.CancelledError:
            return "answer"

    async def fails():
        try:
            await asyncio.sleep(GUARD)
        except asyncio.CancelledError:
            raise LookupError("in clean-up") from None

    async def times_out():
        raise TimeoutError("its own")

    assert portal.call(answers, timeout=0.5) == "answer"
    with pytest.raises(LookupError, match="in clean-up"):
        portal.call(fails, timeout=0.5)
    with pytest.raises(TimeoutError, match="its own"):
        portal.call(times_out, timeout=GUARD)
    with pytest.raises(TimeoutError, match="its own"):
        portal.call(times_out)


def test_a_call_that_could_not_begin_in_time_never_begins(portal, start):
    blocked, go, begun = threading.Event(), threading.Event(), []

    async def record():
        begun.append(1)

    blocker = portal.submit(lambda: (blocked.set(), go.wait(GUARD)))
    assert blocked.wait(GUARD)
    late = start(lambda: portal.call(record, timeout=0.01))
    with pytest.raises(TimeoutError):
        late.result()
    go.set()
    blocker.result(GUARD)
    portal.call(noop)
    assert not begun


# ---- on the portal's own thread --------------------------------------------------------------------------------------


def test_a_call_on_the_portals_own_thread_is_a_nested_run(portal):
    async def nested(depth):
        if depth == 0:
            return asyncio.current_task()
        await asyncio.sleep(0)
        inner = portal.call(nested, depth - 1)
        assert inner is not asyncio.current_task()
        return inner

    assert portal.call(nested, 30).done()


def test_own_thread_calls_have_timeouts_contexts_and_exceptions(portal):
    async def outer():
        variable.set("outer")
        assert portal.call(lambda: variable.get()) == "outer"
        assert portal.call(double, 3, timeout=GUARD) == 6
        assert portal.submit(double, 3).result(GUARD) == 6
        assert portal.submit(noop).exception(GUARD) is None
        with pytest.raises(TimeoutError, match="within 0.01 s and was cancelled"):
            portal.call(asyncio.sleep, GUARD, timeout=0.01)
        with pytest.raises(concurrent.futures.TimeoutError):
            portal.submit(asyncio.sleep, 0.1).result(0.01)
        with pytest.raises(ZeroDivisionError):
            portal.call(lambda: 1 / 0)
        return "done"

    assert portal.call(outer) == "done"


def test_own_thread_calls_that_need_each_other_both_end(portal):
    async def main():
        a, b = asyncio.Event(), asyncio.Event()

        async def first():
            b.set()
            portal.call(a.wait)
            return 1

        async def second():
            portal.call(b.wait)
            a.set()
            return 2

        return await asyncio.gather(first(), second())

    assert portal.call(main, timeout=GUARD) == [1, 2]


def test_a_call_from_a_plain_callback_of_the_portals_loop(portal):
    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_soon(lambda: done.set_result(portal.call(double, 21)))
        return await done

    assert portal.call(main, timeout=GUARD) == 42


def test_a_call_from_another_loop_that_runs_on_the_portals_thread(portal):
    async def inner(outer_loop):
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticker = asyncio.get_running_loop().create_task(tick())
        loop = portal.call(asyncio.get_running_loop)
        assert loop is outer_loop
        assert loop is not asyncio.get_running_loop()
        seen = ticks
        assert portal.call(asyncio.sleep, 0.05, "slept") == "slept"
        assert ticks > seen
        ticker.cancel()
        return "inner"

    async def outer():
        guest = asyncio.SelectorEventLoop()
        try:
            return guest.run_until_complete(inner(asyncio.get_running_loop()))
        finally:
            guest.close()

    assert portal.call(outer, timeout=GUARD) == "inner"


# ---- from a thread whose loop runs -----------------------------------------------------------------------------------


def test_the_callers_own_loop_goes_on_during_a_call(portal):
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticker = asyncio.get_running_loop().create_task(tick())
        await asyncio.sleep(0)
        seen = ticks
        assert portal.call(asyncio.sleep, 0.05, "slept") == "slept"
        assert ticks > seen
        with pytest.raises(TimeoutError):
            portal.call(asyncio.sleep, GUARD, timeout=0.02)
        assert portal.submit(asyncio.sleep, 0.02, "future").result() == "future"
        ticker.cancel()

    loop = asyncio.SelectorEventLoop()
    loop.run_until_complete(main())
    loop.close()


def test_portals_that_call_each_other_do_not_deadlock(portal):
    with Portal("second") as other:

        async def there(n):
            await asyncio.sleep(0)
            return n if n == 0 else other.call(back, n - 1)

        async def back(n):
            await asyncio.sleep(0)
            return n if n == 0 else portal.call(there, n - 1)

        assert portal.call(there, 20, timeout=GUARD) == 0


def test_cancelling_the_calling_task_cancels_the_call(portal):
    begun, ended = threading.Event(), threading.Event()

    async def work():
        begun.set()
        try:
            await asyncio.sleep(GUARD)
        finally:
            ended.set()

    async def caller():
        portal.call(work)

    async def main():
        task = asyncio.get_running_loop().create_task(caller())
        await eventually_async(begun.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    loop = asyncio.SelectorEventLoop()
    loop.run_until_complete(main())
    loop.close()


class _ForeignLoop(asyncio.AbstractEventLoop):
    """As much of a loop as is needed to be the running one."""


def test_a_thread_with_a_loop_that_aionest_cannot_drive_is_blocked(portal):
    asyncio._set_running_loop(_ForeignLoop())
    try:
        assert portal.call(double, 4) == 8
        assert portal.submit(double, 4).result(GUARD) == 8
    finally:
        asyncio._set_running_loop(None)


# ---- many threads ----------------------------------------------------------------------------------------------------


def storm(portal, threads, calls):
    async def work(n):
        if n % 3 == 0:
            await asyncio.sleep(0)
        if n % 7 == 0:
            raise LookupError(n)
        return n

    def run(base):
        for n in range(base, base + calls):
            try:
                assert portal.call(work, n) == n
                assert n % 7 != 0
            except LookupError as exc:
                assert exc.args == (n,)  # noqa: PT017
                assert n % 7 == 0

    return work, run, [i * calls for i in range(threads)]


def test_64_threads_get_each_their_own_results(portal, start):
    _, run, bases = storm(portal, 64, 50)
    for thread in [start(run, base) for base in bases]:
        thread.result()
    assert len(portal._runner.pending) == 0
    assert portal.call(lambda: len(asyncio.all_tasks())) == 1


@pytest.mark.long
@pytest.mark.timeout(600)
def test_64_threads_and_100_000_calls(portal, start):
    _, run, bases = storm(portal, 64, 1600)
    threads = [start(run, base) for base in bases]
    for thread in threads:
        thread.join(500)
        thread.result()
    assert len(portal._runner.pending) == 0
    assert portal.call(lambda: len(asyncio.all_tasks())) == 1


def test_a_coroutine_of_any_loop_calls_without_blocking_its_own(portal):
    async def where(x):
        await asyncio.sleep(0)
        return asyncio.get_running_loop(), variable.get(), x

    async def main():
        variable.set("caller's")
        ticks, home = [], asyncio.get_running_loop()

        async def tick():
            while True:
                ticks.append(1)
                await asyncio.sleep(0)

        ticking = asyncio.ensure_future(tick())
        loop, seen, x = await portal.call_async(where, 5)
        ticking.cancel()
        assert loop is not home and seen == "caller's" and x == 5 and ticks
        with pytest.raises(ZeroDivisionError):
            await portal.call_async(divide, 1, 0)
        return loop

    async def divide(a, b):
        return a / b

    async def at_home():
        task = asyncio.current_task()

        async def here():
            return asyncio.current_task() is task

        return await portal.call_async(here)

    assert asyncio.run(main()) is portal.call(where, 1)[0]
    assert portal.call(at_home)  # on the portal's own loop it is an await


def test_cancelling_who_awaits_a_call_cancels_it(portal):
    begun, ended = threading.Event(), threading.Event()

    async def long():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def main():
        task = asyncio.ensure_future(portal.call_async(long))
        while not begun.is_set():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended.wait(GUARD)


def test_a_call_from_a_coroutine_on_a_closed_portal_is_refused():
    from aionest import PortalClosed

    portal = Portal()
    portal.close()

    async def main():
        with pytest.raises(PortalClosed):
            await portal.call_async(noop)

    asyncio.run(main())
