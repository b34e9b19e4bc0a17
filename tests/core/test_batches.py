"""Callbacks that stand side by side in uvloop's queue are called back in one go: nobody can tell, but by the time it takes."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import sys
import textwrap
import threading
import weakref

import pytest
import support

import aionest
from aionest import _core

uvloop = (
    pytest.importorskip("uvloop") if sys.version_info < (3, 14) else pytest.skip("no uvloop", allow_module_level=True)
)

# Whatever makes callbacks: by themselves, transports that call back amid the queue, timers, readers, other threads, cancelled
# ones. Each program writes what it sees to `log`.
PROGRAMS = {
    "callbacks that make callbacks": """
        def step(name, depth):
            log.append(f"{name} {depth}")
            if depth:
                for i in range(3):
                    loop.call_soon(step, f"{name}.{i}", depth - 1)
        for i in range(3):
            loop.call_soon(step, str(i), 3)
        loop.call_later(0.2, loop.stop)
        loop.run_forever()
    """,
    "transports between them": """
        class Protocol(asyncio.Protocol):
            __slots__ = ("name",)  # its methods are called on the loop's own stack
            def __init__(self, name):
                self.name = name
            def connection_made(self, transport):
                log.append(f"{self.name} made")
                loop.call_soon(log.append, f"after {self.name} made")
            def data_received(self, data):
                log.append(f"{self.name} got {data!r}")
                loop.call_soon(log.append, f"after {self.name} got")
                loop.call_soon(log.append, f"after {self.name} got, again")
            def connection_lost(self, exc):
                log.append(f"{self.name} lost")
        async def until(text):
            while text not in log:
                await asyncio.sleep(0)
        async def main():
            for i in range(3):
                loop.call_soon(log.append, f"before {i}")
                a, b = socket.socketpair()
                (left, _), (right, _) = [
                    await loop.create_connection(lambda n=n: Protocol(f"{i}{n}"), sock=s) for n, s in (("a", a), ("b", b))]
                loop.call_soon(log.append, f"between {i}")
                left.write(b"x")
                await until(f"after {i}b got, again")
                left.close()
                loop.call_soon(log.append, f"closed {i}")
                await until(f"{i}b lost")
                right.close()
                loop.call_soon(log.append, f"closed, too {i}")
                await until(f"closed, too {i}")
        loop.run_until_complete(main())
    """,
    "tasks, events and a lock": """
        async def worker(name, lock, event):
            for i in range(5):
                async with lock:
                    log.append(f"{name} has it {i}")
                    await asyncio.sleep(0)
                if name == "e":
                    event.set()
                await event.wait()
                log.append(f"{name} {i}")
        async def main():
            lock, event = asyncio.Lock(), asyncio.Event()
            await asyncio.gather(*(worker(n, lock, event) for n in "abcde"))
        loop.run_until_complete(main())
    """,
    "what is due and what was called": """
        a, b = socket.socketpair()
        b.send(b"x")
        turns = 0
        def read():
            log.append("read")
            loop.remove_reader(a)
            loop.call_soon(log.append, "after read")
        def turn():
            global turns
            turns += 1
            log.append(f"turn {turns}")
            if turns == 1:
                loop.add_reader(a, read)
                loop.call_soon(log.append, "with turn 2")
            if turns < 5:
                loop.call_soon(turn)
                loop.call_soon(log.append, f"after turn {turns + 1}")
            else:
                loop.stop()
                loop.call_soon(log.append, "after stop")
        loop.call_soon(turn)
        loop.call_soon(log.append, "first")
        loop.run_forever()
        log.append("stopped")
        loop.call_soon(loop.stop)
        loop.run_forever()
    """,
    "cancelled ones": """
        def cancel():
            log.append("cancel")
            for h in handles[::2]:
                h.cancel()
            more = [loop.call_soon(log.append, f"more {i}") for i in range(4)]
            more[1].cancel()
            more[3].cancel()
            log.append([h.cancelled() for h in handles + more])
        loop.call_soon(log.append, "first")
        loop.call_soon(cancel)
        handles = [loop.call_soon(log.append, i) for i in range(5)]
        loop.call_soon(loop.call_soon, loop.stop)
        loop.run_forever()
    """,
    "an exception ends the run amid them": """
        def fail(exc):
            log.append(f"raises {exc.__name__}")
            loop.call_soon(log.append, f"made by {exc.__name__}")
            raise exc
        for exc in (SystemExit, KeyboardInterrupt):
            loop.call_soon(log.append, "before")
            loop.call_soon(fail, exc)
            loop.call_soon(log.append, "after")
            loop.call_soon(log.append, "after, too")
            try:
                loop.run_forever()
            except BaseException as e:
                log.append(f"caught {type(e).__name__}")
            loop.call_soon(log.append, "called meanwhile")
            loop.call_soon(loop.stop)
            loop.run_forever()
            log.append("over")
    """,
    "errors": """
        def broken(*args):
            raise ValueError(args)
        def handler(loop, context):
            log.append([context["message"].split(" at 0x")[0], repr(context["exception"]), sorted(context)])
            loop.call_soon(log.append, "from the handler")
        loop.set_exception_handler(handler)
        loop.call_soon(log.append, 1)
        loop.call_soon(broken)
        loop.call_soon(broken, 1, 2)
        loop.call_soon(log.append, 2)
        loop.call_soon(loop.stop)
        loop.run_forever()
        try:
            loop.call_soon(None)
        except Exception as e:
            log.append(repr(e))
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        try:
            loop.call_soon(print)
        except Exception as e:
            log.append(repr(e))
    """,
    "contexts": """
        var = contextvars.ContextVar("var", default=None)
        def see(name):
            log.append(f"{name} {var.get()}")
            var.set(name)
        for i in range(3):
            var.set(i)
            loop.call_soon(see, f"own {i}")
        context = contextvars.copy_context()
        loop.call_soon(see, "given", context=context)
        loop.call_soon(see, "again", context=context)
        loop.call_soon(see, "none", context=None)
        loop.call_soon(loop.stop)
        loop.run_forever()
        log.append(f"{var.get()} {context[var]}")
        for bad in ({"context": 1}, {"kontext": None}):
            try:
                loop.call_soon(see, "bad", **bad)
                loop.call_soon(loop.stop)
                loop.run_forever()
            except BaseException as e:
                log.append(type(e).__name__)
    """,
    "done callbacks that take tasks out of a set": """
        class Result:
            def __init__(self, name):
                self.name = name
            def __del__(self):
                log.append(f"{self.name} dies")
                loop.call_soon(log.append, f"after {self.name}")
        var = contextvars.ContextVar("var")
        async def work(name):
            log.append(name)
            if name == "value":
                var.set(Result(name))
            if name == "raises":
                raise ValueError(name)
            return Result(name) if name == "result" else None
        loop.set_exception_handler(lambda loop, context: log.append(repr(context["exception"])))
        tasks = set()
        def start(name):
            task = loop.create_task(work(name))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            if name == "twice":
                task.add_done_callback(tasks.discard)
            loop.call_soon(log.append, f"{name} is made")
        names = ["nothing", "result", "value", "raises", "twice"]
        async def main():
            for name in names:
                start(name)
                for i in range(4):
                    log.append([name, i, len(tasks)])
                    await asyncio.sleep(0)
        loop.run_until_complete(main())
        log.append(len(tasks))
    """,
    "debug mode, on and off": """
        for debug in (False, True, False, True):
            loop.set_debug(debug)
            handles = [loop.call_soon(log.append, i) for i in range(3)]
            log.append([bool(getattr(h, "_source_traceback", None)) for h in handles])
            loop.call_soon(loop.stop)
            loop.run_forever()
    """,
}

FRAME = """
import asyncio, contextvars, json, socket, sys
import uvloop
if sys.argv[1] == "applied":
    import aionest
    aionest.apply()
loop = uvloop.new_event_loop()
log = []
"""


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_order_is_the_loops_own(name):
    source = FRAME + textwrap.dedent(PROGRAMS[name]) + "\nprint(json.dumps(log))\n"
    stock, applied = (
        json.loads(support.lines_of(support.child(source, side, dev=False), stderr=None)[-1])
        for side in ("stock", "applied")
    )
    assert applied == stock
    assert len(stock) > 5


@pytest.fixture
def run(applied):
    def run(main):
        return aionest.run(main(), loop_factory=uvloop.new_event_loop)

    return run


async def value(x):
    await asyncio.sleep(0)
    return x


def test_callbacks_side_by_side_share_their_switches(run):
    async def main():
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        for _ in range(100):
            loop.call_soon(int)
        before = _core._counters()["switches"]
        loop.call_soon(done.set)
        await done.wait()
        return _core._counters()["switches"] - before

    assert run(main) < 20


def test_a_task_that_leaves_a_set_takes_no_switch(run):
    async def main():
        tasks = set()

        async def use(callback):
            before = _core._counters()["switches"]
            for _ in range(20):
                task = asyncio.create_task(value(None))
                tasks.add(task)
                task.add_done_callback(callback)
                del task
                while tasks:
                    await asyncio.sleep(0.001)
            return _core._counters()["switches"] - before

        return await use(lambda task: tasks.discard(task)), await use(tasks.discard)

    any_callback, known = run(main)
    assert known < any_callback - 20


class Nests:
    """Its end nests."""

    def __init__(self, log, ended):
        self.log, self.ended = log, ended

    def __del__(self):
        self.log.append(asyncio.run(value("nested")))
        self.ended.set()


variable = contextvars.ContextVar("variable")


async def returns_it(thing):
    return thing


async def returns_it_deep_inside(thing):
    return "x", ([{1: thing}], 2)


async def sets_it_in_its_context(thing):
    variable.set(thing)


async def sets_it_in_itself(thing):
    asyncio.current_task().kept = thing


async def raises_it(thing):
    try:
        raise ValueError(thing)
    finally:
        del thing


async def leaves_a_coroutine_that_has_it(thing):
    return returns_it(thing)


async def leaves_a_task_that_has_it(thing):
    return asyncio.create_task(returns_it(thing))


@pytest.mark.filterwarnings("ignore:coroutine .*returns_it:RuntimeWarning")
@pytest.mark.parametrize(
    "work",
    [
        returns_it,
        returns_it_deep_inside,
        sets_it_in_its_context,
        sets_it_in_itself,
        raises_it,
        leaves_a_coroutine_that_has_it,
        leaves_a_task_that_has_it,
    ],
)
def test_what_dies_with_a_task_that_leaves_a_set_may_nest(run, work):
    log = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        tasks, ended = set(), asyncio.Event()
        task = asyncio.create_task(work(Nests(log, ended)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        del task
        await asyncio.wait_for(ended.wait(), 20)
        _core._check()

    run(main)
    assert log == ["nested"]


def test_who_is_told_of_the_end_of_a_task_that_leaves_a_set_may_nest(run):
    log = []

    async def main():
        tasks, ended = set(), asyncio.Event()

        def died(ref):
            log.append(asyncio.run(value("nested")))
            ended.set()

        task = asyncio.create_task(value(None))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        ref = weakref.ref(task, died)
        del task
        await asyncio.wait_for(ended.wait(), 20)
        assert ref() is None

    run(main)
    assert log == ["nested"]


def test_the_handler_that_is_told_of_a_lost_exception_may_nest(run):
    log, errors = [], []

    async def fails():
        try:
            raise ValueError
        except ValueError as exc:
            errors.append(exc)
            raise

    async def main():
        loop, tasks, told = asyncio.get_running_loop(), set(), asyncio.Event()

        def handler(loop, context):
            log.append(asyncio.run(value("nested")))
            told.set()

        loop.set_exception_handler(handler)
        task = asyncio.create_task(fails())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        del task
        await asyncio.wait_for(told.wait(), 20)

    run(main)
    assert log == ["nested"]


def test_each_of_them_nests_and_the_others_go_on_meanwhile(run):
    log = []

    async def main():
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def step(i):
            log.append(f"begin {i}")
            log.append(asyncio.run(value(i)))
            log.append(f"end {i}")
            if i == 4:
                loop.call_soon(done.set)

        for i in range(5):
            loop.call_soon(step, i)
        await done.wait()
        _core._check()

    run(main)
    assert log[:5] == [f"begin {i}" for i in range(5)]
    assert log[5:] == [x for i in range(5) for x in (i, f"end {i}")]


def test_one_that_nests_is_cancelled_by_another_one(run):
    async def main():
        loop = asyncio.get_running_loop()
        ended = loop.create_future()

        async def inner():
            tasks.append(asyncio.current_task())
            await asyncio.sleep(60)

        def step():
            try:
                asyncio.run(inner())
            except asyncio.CancelledError:
                ended.set_result("cancelled")

        tasks = []
        loop.call_soon(step)
        loop.call_soon(loop.call_soon, loop.call_soon, lambda: tasks[0].cancel())
        return await ended

    assert run(main) == "cancelled"


def test_the_exception_of_one_that_nested_ends_the_run_and_the_rest_waits(applied):
    loop, log = uvloop.new_event_loop(), []

    def step():
        log.append(asyncio.run(value("nested")))
        loop.call_soon(fail)
        loop.call_soon(log.append, "rest")

    def fail():
        asyncio.run(value("again"))
        raise SystemExit(3)

    loop.call_soon(step)
    with pytest.raises(SystemExit):
        loop.run_forever()
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert log == ["nested", "rest"]


def test_a_loop_with_callbacks_that_were_never_called_is_freed(applied):
    class Kept:
        def called(self):
            raise AssertionError

    kept = Kept()
    ref = weakref.ref(kept)
    loop = uvloop.new_event_loop()
    handles = [loop.call_soon(kept.called) for _ in range(3)]
    loop.close()
    del kept, handles, loop
    gc.collect()
    assert ref() is None


def test_callbacks_from_other_threads_come_in_their_order(run):
    async def main():
        loop, log, all_in = asyncio.get_running_loop(), [], asyncio.Event()

        def other(n):
            for i in range(200):
                loop.call_soon_threadsafe(log.append, (n, i))
            loop.call_soon_threadsafe(loop.call_soon, done, n)

        def done(n):
            left.discard(n)
            if not left:
                all_in.set()

        left = {0, 1, 2}
        threads = [threading.Thread(target=other, args=(n,)) for n in left]
        for thread in threads:
            thread.start()
        while not all_in.is_set():
            loop.call_soon(log.append, None)
            await asyncio.sleep(0)
        for thread in threads:
            thread.join()
        return [[i for x in log if x is not None and x[0] == n for i in (x[1],)] for n in range(3)]

    assert run(main) == [list(range(200))] * 3


def test_unapply_leaves_what_was_queued(child):
    done = child("""
        import asyncio, uvloop
        import aionest
        aionest.apply()
        loop = uvloop.new_event_loop()
        log = []
        handles = [loop.call_soon(log.append, i) for i in range(4)]
        handles[2].cancel()
        aionest.unapply()
        loop.call_soon(log.append, "stock")
        loop.call_soon(loop.stop)
        loop.run_forever()
        print(log)
    """)
    assert support.lines_of(done) == ["[0, 1, 3, 'stock']"]


def test_a_context_is_the_handles_own(run):
    var = contextvars.ContextVar("var", default=0)

    async def main():
        loop, seen, done = asyncio.get_running_loop(), [], asyncio.Event()

        def step(i):
            var.set(i)
            asyncio.run(value(i))
            seen.append(var.get())
            if len(seen) == 10:
                done.set()

        for i in range(10):
            loop.call_soon(step, i)
        await done.wait()
        return seen, var.get()

    assert run(main) == (list(range(10)), 0)
