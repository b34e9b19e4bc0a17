"""Other libraries' greenlets live through nested runs as if every step ran on one stack."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import importlib.util
import random
import weakref

import greenlet
import pytest
from support import child, eventually_async

from aionest import _core

variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=-1)


class Adopted(asyncio.SelectorEventLoop):
    run_forever = asyncio.SelectorEventLoop.run_forever  # as it is before apply()


@pytest.fixture(params=["own", "adopted"])
def run(request, applied):
    """asyncio.run, on a loop that is ours, or on one whose run_forever is asyncio's own."""
    if request.param == "own":
        yield asyncio.run
        return
    loop = Adopted()
    asyncio.set_event_loop(loop)
    yield loop.run_until_complete
    asyncio.set_event_loop(None)
    loop.close()


def hubs():
    return _core._counters()["fibers"]


async def spawn(fn, *args):
    """As SQLAlchemy's greenlet_spawn: a parent that is kept over steps, and the end of a greenlet brings its result."""
    current = greenlet.getcurrent()
    g = greenlet.greenlet(fn, current)
    g.gr_context = current.gr_context
    r = g.switch(*args)
    while not g.dead:
        try:
            v = await r
        except BaseException as exc:
            r = g.throw(exc)
        else:
            r = g.switch(v)
    return r


def await_parent(x):
    return greenlet.getcurrent().parent.switch(x)


async def portal(fn):
    """As greenback: the loop's greenlet itself is kept over steps, and switched to by its name; contexts are set from it."""
    loop_greenlet, context = greenlet.getcurrent(), None

    def await_portal(x):
        return loop_greenlet.switch(x)

    child = greenlet.greenlet(lambda _: fn(await_portal))
    send = None
    while True:
        if loop_greenlet.gr_context is not context and child.gr_context is context:
            child.gr_context = context = loop_greenlet.gr_context
        r = child.switch(send)
        if child.dead:
            return r
        send = await r


async def nester(delay, times=1):
    await asyncio.sleep(delay / 2)
    return [asyncio.run(asyncio.sleep(delay, i)) for i in range(times)]


def test_a_task_that_nests_nothing_is_not_disturbed_by_one_that_does(run):
    def body():
        return [await_parent(asyncio.sleep(0.01, i)) for i in range(4)]

    async def main():
        return await asyncio.gather(spawn(body), nester(0.015, 2))

    assert run(main()) == [[0, 1, 2, 3], [0, 1]]


def test_it_may_end_with_an_exception_while_its_parent_sleeps(run):
    def body():
        await_parent(asyncio.sleep(0.02))
        raise KeyError("mine")

    async def main():
        return await asyncio.gather(spawn(body), nester(0.05), return_exceptions=True)

    error, other = run(main())
    assert isinstance(error, KeyError)
    assert other == [0]


def test_its_awaitable_may_fail_while_its_parent_sleeps(run):
    async def fail():
        await asyncio.sleep(0.02)
        raise KeyError("inner")

    def body():
        with pytest.raises(KeyError):
            await_parent(fail())
        return "went on"

    async def main():
        return await asyncio.gather(spawn(body), nester(0.05))

    assert run(main()) == ["went on", [0]]


def everything(rng, me, how):
    """What a foreign greenlet may do: wait by its own means, nest, nest a coroutine that starts another one."""
    for i in range(5):
        kind = rng.randrange(3)
        delay = rng.random() * 0.003
        if kind == 0:
            assert how(asyncio.sleep(delay, (me, i))) == (me, i)
        elif kind == 1:
            assert asyncio.run(asyncio.sleep(delay, (me, i))) == (me, i)
        else:

            def inner(me=me, i=i, delay=delay):
                await_parent(asyncio.sleep(delay))
                asyncio.run(asyncio.sleep(delay))
                return (me, i)

            assert asyncio.run(spawn(inner)) == (me, i)
        assert variable.get() == me
        _core._check()
    return me


@pytest.mark.parametrize("seed", range(10))
def test_many_nest_inside_their_greenlets_at_once(seed, run):
    async def task(rng, me):
        variable.set(me)
        return await spawn(everything, rng, me, await_parent)

    async def main():
        rng = random.Random(seed)
        tasks = [task(rng, i) if rng.random() < 0.7 else nester(0.003, 3) for i in range(12)]
        return [r for r in await asyncio.gather(*tasks) if isinstance(r, int)]

    r = run(main())
    assert r == sorted(r)
    assert len(r) > 2
    assert greenlet.gettrace() is None


@pytest.mark.parametrize("seed", range(10))
def test_many_that_know_the_loops_greenlet_by_name_nest_at_once(seed, applied):
    async def task(rng, me):
        variable.set(me)
        return await portal(lambda how: everything(rng, me, how))

    async def main():
        rng = random.Random(seed)
        tasks = [task(rng, i) if rng.random() < 0.7 else nester(0.003, 3) for i in range(12)]
        return [r for r in await asyncio.gather(*tasks) if isinstance(r, int)]

    r = asyncio.run(main())
    assert r == sorted(r)
    assert len(r) > 2


def test_the_context_is_right_on_whatever_stack_the_loop_runs(applied):
    """Read off the loop's greenlet by who kept it."""
    seen = []

    def body(how):
        for _ in range(5):
            how(asyncio.sleep(0.005))
            seen.append(variable.get())

    async def bystander():
        variable.set(7)
        await portal(body)

    async def main():
        await asyncio.gather(bystander(), nester(0.01, 2))

    asyncio.run(main())
    assert seen == [7] * 5


class Dispatcher:
    """As Playwright's sync API: a loop in a greenlet of its own; callbacks of the loop switch out of it, calls switch to it."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.fiber = greenlet.greenlet(self.main)
        self.closing = self.loop.create_future()

    def main(self):
        self.loop.run_until_complete(self.closing)

    def call(self, coro):
        me = greenlet.getcurrent()
        task = self.loop.create_task(coro)
        task.add_done_callback(lambda _: me.switch())
        while not task.done():
            self.fiber.switch()
        asyncio._set_running_loop(self.loop)
        return task.result()

    def close(self):
        self.closing.set_result(None)
        while not self.fiber.dead:
            self.fiber.switch()
        asyncio._set_running_loop(None)
        self.loop.close()


@pytest.fixture
def dispatcher(applied):
    d = Dispatcher()
    yield d
    d.close()


def test_a_loop_whose_callbacks_switch_away_keeps_one_stack(dispatcher):
    assert dispatcher.call(asyncio.sleep(0, 0)) == 0
    before = hubs(), len([o for o in gc.get_objects() if isinstance(o, greenlet.greenlet)])
    for i in range(300):
        assert dispatcher.call(asyncio.sleep(0, i)) == i
    gc.collect()
    assert (hubs(), len([o for o in gc.get_objects() if isinstance(o, greenlet.greenlet)])) == before


def test_nested_runs_between_its_calls(dispatcher):
    before = None
    for i in range(50):
        assert dispatcher.call(asyncio.sleep(0, i)) == i
        assert asyncio.run(asyncio.sleep(0.0001, i)) == i
        _core._check()
        before = before or hubs()
    assert hubs() == before


def test_handlers_in_greenlets_of_their_own_call_and_nest(dispatcher):
    results = []

    def handler(i):
        results.append((i, dispatcher.call(asyncio.sleep(0.001, "call"))))
        results.append((i, asyncio.run(asyncio.sleep(0.002, "nested"))))
        results.append((i, dispatcher.call(asyncio.sleep(0.001, "again"))))

    async def fire():
        for i in range(5):
            greenlet.greenlet(handler).switch(i)
        await eventually_async(lambda: len(results) == 15)
        return "fired"

    assert dispatcher.call(fire()) == "fired"
    assert sorted(results) == sorted((i, w) for i in range(5) for w in ("call", "nested", "again"))


def test_a_greenlet_that_runs_a_loop_is_thrown_into_where_the_loop_is(applied):
    """As gevent kills one that sits in a loop: the exception comes out where the loop was left."""

    class Kill(BaseException):
        pass

    main = greenlet.getcurrent()
    seen = []

    def away():
        try:
            main.switch("away")
        except Kill:
            seen.append("callback")
            raise

    async def work():
        asyncio.get_running_loop().call_soon(away)
        try:
            await asyncio.sleep(10)
        finally:
            seen.append("task")

    def body():
        loop = asyncio.new_event_loop()
        # as on stock, what a callback raises goes to the handler of the loop
        loop.set_exception_handler(lambda loop, context: (seen.append(type(context["exception"])), loop.stop()))
        task = loop.create_task(work())
        try:
            loop.run_until_complete(task)
        except RuntimeError as exc:
            seen.append(str(exc))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()

    g = greenlet.greenlet(body)
    assert g.switch() == "away"
    g.throw(Kill)
    assert g.dead
    assert seen == ["callback", Kill, "Event loop stopped before Future completed.", "task"]


def test_what_is_thrown_into_a_greenlet_asleep_in_a_nested_run_is_raised_there(run):
    inner = []

    async def long():
        try:
            await asyncio.sleep(10)
        finally:
            inner.append("cancelled")

    greenlets = []

    def body():
        greenlets.append(greenlet.getcurrent())
        with pytest.raises(KeyError, match="for you"):
            asyncio.run(long())
        return "raised"

    async def thrower():
        await asyncio.sleep(0.01)
        greenlets[0].throw(KeyError("for you"))
        return "thrown"

    async def main():
        return await asyncio.wait_for(asyncio.gather(spawn(body), thrower()), 5)

    assert run(main()) == ["raised", "thrown"]
    run(asyncio.sleep(0))
    assert inner == ["cancelled"]


def test_a_greenlet_killed_in_a_nested_run_ends_and_so_does_its_task(run):
    greenlets = []

    def body():
        greenlets.append(greenlet.getcurrent())
        asyncio.run(asyncio.sleep(10))

    async def killer():
        await asyncio.sleep(0.01)
        greenlets[0].throw()
        return "killed"

    async def main():
        return await asyncio.wait_for(asyncio.gather(spawn(body), killer()), 5)

    ended, killed = run(main())
    assert isinstance(ended, greenlet.GreenletExit)
    assert killed == "killed"


def test_a_value_wakes_no_greenlet_that_is_asleep_in_a_nested_run(run):
    greenlets = []

    def body():
        greenlets.append(greenlet.getcurrent())
        return asyncio.run(asyncio.sleep(0.03, "slept"))

    async def other():
        await asyncio.sleep(0.01)
        assert greenlets[0].switch("stray") == "stray"
        return "went on"

    async def main():
        return await asyncio.gather(spawn(body), other())

    assert run(main()) == ["slept", "went on"]


def test_the_loops_greenlet_switched_to_by_itself(applied):
    """While another stack of it sleeps in a nested run, too."""
    kept = []

    async def first():
        kept.append(greenlet.getcurrent())
        asyncio.run(asyncio.sleep(0.03))

    async def second():
        await asyncio.sleep(0.01)
        assert kept[0].switch("value") == "value"
        with pytest.raises(KeyError):
            kept[0].throw(KeyError())
        return "done"

    async def main():
        return await asyncio.gather(first(), second())

    assert asyncio.run(main()) == [None, "done"]


def test_the_loops_greenlet_is_one_to_those_who_compare(applied):
    """Locals of eventlet and gevent, and what werkzeug did, are kept by greenlet; attributes may be put on it."""
    base = greenlet.getcurrent()
    base.mark = "set outside"
    local = weakref.WeakKeyDictionary({base: "outside"})
    seen = []

    async def look():
        current = greenlet.getcurrent()
        seen.append(current)
        assert current == base and base == current and hash(current) == hash(base)
        assert current.mark == "set outside"
        assert local[current] == "outside"
        assert not current.dead and current
        assert current != greenlet.greenlet()
        asyncio.run(asyncio.sleep(0.01))
        assert all(g == current and not g.dead for g in seen)

    async def main():
        await asyncio.gather(*[look() for _ in range(5)])

    try:
        asyncio.run(main())
    finally:
        del base.mark
    assert len({id(g) for g in seen}) > 1
    assert len(set(seen)) == 1


def test_a_greenlet_collected_while_it_waits_gets_its_exit(run):
    ended = []

    def body():
        try:
            await_parent("out")
        except greenlet.GreenletExit:
            ended.append("exit")
            raise

    async def dropper():
        g = greenlet.greenlet(body)
        assert g.switch() == "out"
        await asyncio.sleep(0.02)  # on another stack from here
        del g
        gc.collect()
        return "went on"

    async def main():
        return await asyncio.gather(dropper(), nester(0.03))

    assert run(main()) == ["went on", [0]]
    assert ended == ["exit"]


def test_a_stack_left_in_the_middle_of_a_callback_for_good(applied):
    """Foreign code switches away, and the loop goes on where it switched to; nothing hangs."""
    outer = []

    def away():
        outer[0].switch()

    async def main():
        outer.append(greenlet.greenlet(lambda: asyncio.run(asyncio.sleep(0.01, "nested")), greenlet.getcurrent()))
        result = outer[0].switch()
        asyncio.get_running_loop().call_soon(lambda: None)
        await asyncio.sleep(0)
        return result

    assert asyncio.run(main()) == "nested"


def test_a_tracer_of_greenlet_is_called_and_put_back(applied):
    events = []

    def tracer(event, args):
        events.append(event)

    def body():
        asyncio.run(asyncio.sleep(0.01))

    async def main():
        await spawn(body)

    greenlet.settrace(tracer)
    try:
        asyncio.run(main())
        assert greenlet.gettrace() is tracer
    finally:
        greenlet.settrace(None)
    assert "switch" in events


def test_cancelled_in_the_middle(run):
    def body():
        for _ in range(100):
            with contextlib.suppress(asyncio.CancelledError):
                asyncio.run(asyncio.sleep(0.001))
            await_parent(asyncio.sleep(0.001))
        return "not cancelled"

    async def main():
        tasks = [asyncio.ensure_future(spawn(body)) for _ in range(8)]
        for task in tasks:
            await asyncio.sleep(0.003)
            task.cancel()
        while not all(t.done() for t in tasks):
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0.002)
        _core._check()
        return [t.cancelled() or t.result() for t in tasks]

    assert set(run(main())) <= {True, "not cancelled"}


def test_a_greenlet_outlives_the_run_that_it_was_started_in(applied):
    kept = []

    def body():
        r = [await_parent("first")]
        r.append(await_parent("second"))
        r.append(asyncio.run(asyncio.sleep(0.01, "nested")))
        return r

    async def first():
        kept.append(greenlet.greenlet(body, greenlet.getcurrent()))
        return kept[0].switch()

    async def second(x):
        return kept[0].switch(x)

    assert asyncio.run(first()) == "first"
    assert asyncio.run(second(1)) == "second"
    assert asyncio.run(second(2)) == [1, 2, "nested"]
    assert kept[0].dead


def test_its_parent_sleeps_on_when_the_run_is_over(applied):
    """No loop runs: what is handed to the loop's greenlet reaches the code that ran it."""
    kept = []

    def body():
        await_parent("in the run")
        return "outside"

    async def background():
        kept.append(greenlet.greenlet(body, greenlet.getcurrent()))
        kept[0].switch()
        asyncio.run(asyncio.sleep(0.05))

    loop = asyncio.new_event_loop()
    task = loop.create_task(background())
    loop.run_until_complete(asyncio.sleep(0.01))
    assert kept[0].switch() == "outside"
    loop.run_until_complete(task)
    loop.close()


# ---- the libraries themselves


def test_sqlalchemy_beside_and_around_nested_runs(run):
    pytest.importorskip("aiosqlite")
    sqlalchemy = pytest.importorskip("sqlalchemy")
    asyncio_ext = pytest.importorskip("sqlalchemy.ext.asyncio")

    async def database(nests):
        engine = asyncio_ext.create_async_engine("sqlite+aiosqlite://")

        def inside(connection, i):
            if nests:
                assert asyncio.run(asyncio.sleep(0.001, i)) == i
            return connection.execute(sqlalchemy.text(f"select {i}")).scalar()

        async with engine.connect() as connection:
            r = [await connection.run_sync(inside, i) for i in range(15)]
        await engine.dispose()
        return r

    async def main():
        return await asyncio.gather(database(False), database(True), database(True), nester(0.003, 5))

    assert run(main()) == [list(range(15))] * 3 + [list(range(5))]


def test_greenback_beside_and_around_nested_runs(applied):
    greenback = pytest.importorskip("greenback")

    async def user(me, nests):
        variable.set(me)
        await greenback.ensure_portal()
        r = []
        for i in range(10):
            r.append(greenback.await_(asyncio.sleep(0.002, i)))
            if nests:
                assert asyncio.run(asyncio.sleep(0.002, i)) == i
            assert variable.get() == me
        return r

    async def main():
        return await asyncio.gather(user(1, False), user(2, True), user(3, True), nester(0.003, 5))

    assert asyncio.run(main()) == [list(range(10))] * 3 + [list(range(5))]


def test_a_finalizer_that_nests_in_the_midst_of_a_switch_loses_no_wake_up():
    """Collected while somebody's tracer tells of a switch, at each place in turn: the switch that it came amid goes on."""
    source = """
        import asyncio, gc, greenlet, os
        import aionest
        aionest.apply()

        class Nests:
            def __del__(self):
                asyncio.run(asyncio.sleep(0.002))

        def tracer(event, args):
            global left
            left -= 1
            if left == 0:
                cycle = Nests()
                cycle.itself = cycle
                del cycle
                gc.collect()

        async def spawn(fn):
            g = greenlet.greenlet(fn, greenlet.getcurrent())
            r = g.switch()
            while not g.dead:
                r = g.switch(await r)
            return r

        def body():
            got = []
            for i in range(3):
                got.append(greenlet.getcurrent().parent.switch(asyncio.sleep(0.001, i)))
                got.append(asyncio.run(asyncio.sleep(0.001, i)))
            return got

        async def other():
            return [asyncio.run(asyncio.sleep(0.001, i)) for i in range(5)]

        async def main():
            tasks = [asyncio.create_task(x) for x in (spawn(body), other(), spawn(body))]
            done, pending = await asyncio.wait(tasks, timeout=20)
            if pending or [t.exception() or t.result() for t in tasks] != [[0, 0, 1, 1, 2, 2], [0, 1, 2, 3, 4], [0, 0, 1, 1, 2, 2]]:
                print("at", first, [repr(t) for t in tasks], flush=True)
                os._exit(0)

        for first in range(2, 40):
            left = first
            greenlet.settrace(tracer)
            asyncio.run(main())
            greenlet.settrace(None)
        print("over")
    """
    done = child(source, dev=False)  # a finalizer that is cancelled is told of
    assert (done.returncode, done.stdout) == (0, "over\n"), done.stderr


def test_eventlets_hub_on_asyncio():
    if importlib.util.find_spec("eventlet") is None:  # imported here, it would warn of each fork of other tests
        pytest.skip("eventlet is missing")
    source = """
        import os, warnings; os.environ["EVENTLET_HUB"] = "asyncio"; warnings.simplefilter("ignore")
        import eventlet, asyncio
        from eventlet import corolocal
        import aionest
        aionest.apply()
        local = corolocal.local()
        def green(i):
            local.x = i
            eventlet.sleep(0.01 * i)
            return local.x
        print([g.wait() for g in [eventlet.spawn(green, i) for i in range(3)]])
        print(eventlet.spawn(lambda: asyncio.run(asyncio.sleep(0.01, "nested"))).wait())
        with eventlet.Timeout(0.01, False):
            eventlet.sleep(5)
        queue = eventlet.Queue()  # asks whether it runs on the hub's own greenlet
        eventlet.spawn_after(0.01, queue.put, "queued")
        print(queue.get())
        print("over")
    """
    done = child(source, dev=False)
    assert (done.returncode, done.stdout) == (0, "[0, 1, 2]\nnested\nqueued\nover\n"), done.stderr


def test_every_step_runs_on_the_greenlet_that_the_loop_was_started_in(applied):
    """Its maker may compare: ``assert getcurrent() is hub``."""
    seen = set()

    def look():
        seen.add(greenlet.getcurrent())

    async def step():
        look()
        await asyncio.sleep(0)
        look()

    async def main():
        asyncio.get_running_loop().call_soon(look)
        await asyncio.gather(step(), step(), asyncio.sleep(0.001))

    hub = greenlet.greenlet(lambda: asyncio.run(main()))
    hub.switch()
    assert [each is hub for each in seen] == [True]


@pytest.mark.parametrize("own_loop", [False, True])
@pytest.mark.parametrize("beneath", [1, 3])
def test_tasks_asleep_in_nested_runs_when_a_greenlets_loop_ends_are_cancelled(applied, beneath, own_loop):
    ended = []

    async def inner():
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            ended.append("inner")
            raise

    async def nests():
        try:
            asyncio.run(inner())
        finally:
            await asyncio.sleep(0)
            ended.append("outer")

    async def main():
        tasks.extend(asyncio.create_task(nests()) for _ in range(beneath))
        await asyncio.sleep(0.01)
        return "main"

    def body():
        if not own_loop:
            return asyncio.run(main())
        loop = asyncio.new_event_loop()
        try:
            result = loop.run_until_complete(main())
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            return result
        finally:
            loop.close()

    tasks = []
    assert greenlet.greenlet(body).switch() == "main"
    assert sorted(ended) == ["inner"] * beneath + ["outer"] * beneath
    assert all(task.cancelled() for task in tasks)
