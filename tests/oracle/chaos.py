"""Random programs without an oracle: whatever they nest, cancel, drop and close, the process lives, nothing hangs, nothing is left.

    python tests/oracle/chaos.py FIRST LAST [plain|debug|eager|adopted|uvloop|foreign]

"adopted" is a loop whose run_forever is asyncio's own, as where a loop ran before apply(). "uvloop" and "foreign" (the loop written
for the tests) are all loops of the program, guests and those of other threads included.

Run by test_chaos.py in a process of its own. Prints "clean", or what went wrong and for which seed; of a program that hangs, on
stderr, all that waits in it. Seeds from UNLUCKY on are programs in which garbage that nests is found at any moment, those from HOSTILE
on have greenlets that are let go of by another thread or amid a nested run, outlive the loop of the step that they began in, or are
given another parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import faulthandler
import gc
import os
import random
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path

import greenlet

sys.path.insert(0, str(Path(__file__).parent.parent / "helpers"))
import state
import support

import aionest
from aionest import _core
from aionest._runs import thread_loop

MODE = sys.argv[3] if len(sys.argv) > 3 else "plain"
LIMIT = float(os.environ.get("CHAOS_LIMIT", "60"))  # seconds for one program; a fraction of one is usual
UNLUCKY = 1_000_000
HOSTILE = 2_000_000

variable: contextvars.ContextVar[float] = contextvars.ContextVar("variable", default=0.0)
owner: contextvars.ContextVar[object] = contextvars.ContextVar("owner")
THRESHOLD = gc.get_threshold()
faults: list[str] = []
local = threading.local()
kinds = [24]
futures: list[asyncio.Future[int]] = []
threads: list[threading.Thread] = []


class Adopted(asyncio.SelectorEventLoop):
    run_forever = asyncio.SelectorEventLoop.run_forever  # as it is before apply()


class Boom(Exception):
    """What the programs raise themselves."""


def fault(text):
    """At once, too: the program may hang for it."""
    faults.append(text)
    print(text, file=sys.stderr, flush=True)
    print(state.describe(), file=sys.stderr, flush=True)


def of_a_late_timeout(exc):
    """A finalizer nested as asyncio's function for it began, after its handle was seen not to be cancelled."""
    where = [(Path(frame.filename).name, frame.name) for frame in traceback.extract_tb(exc.__traceback__)[-1:]]
    return isinstance(exc, AssertionError) and where == [("timeouts.py", "_on_timeout")]


def check(exc):
    """An invariant of the engine's, or of asyncio's, that did not hold."""
    wrong_task = isinstance(exc, RuntimeError) and ("task" in str(exc) and "enter" in str(exc))
    if (isinstance(exc, (SystemError, AssertionError)) and not of_a_late_timeout(exc)) or wrong_task:
        faults.append(repr(exc))
        traceback.print_exception(exc)


class Nests:
    """Its finalizer nests."""

    def __init__(self, rng, depth):
        self.rng, self.depth = rng, depth

    def __del__(self):
        try:
            if sys.version_info < (3, 12):
                # garbage is collected while contexts are copied, and CPython crashes if one that is copied changes then
                contextvars.copy_context().run(sync, self.rng, self.depth + 1)
            else:
                sync(self.rng, self.depth + 1)
        except BaseException as exc:
            check(exc)


def sync(rng, depth):
    loop = asyncio.get_running_loop()
    how = rng.randrange(4)
    if how == 0:
        return asyncio.run(work(rng, depth))
    if how == 1:
        return loop.run_until_complete(work(rng, depth))
    if how == 2:
        return aionest.await_(work(rng, depth))
    return aionest.await_(asyncio.ensure_future(work(rng, depth)))


def set_result(future):
    if not future.done():
        future.set_result(1)


def in_callback(rng, depth):
    try:
        sync(rng, depth)
    except BaseException as exc:
        check(exc)


def top_level(rng, depth):
    local.__dict__  # before 3.12 CPython loses a dict of the thread's if garbage needs it as it is made
    try:
        asyncio.run(work(rng, depth))
    except BaseException as exc:
        check(exc)
    local.__dict__.pop("kept", None)
    for _ in range(3):  # what is garbage by now can be unwound by its own thread only
        gc.collect()


async def children(rng, depth):
    tasks = [asyncio.create_task(work(rng, depth + 1)) for _ in range(rng.randrange(4))]
    await asyncio.sleep(0)
    for task in tasks:
        if rng.random() < 0.3:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def generator(rng, depth):
    for _ in range(3):
        yield sync(rng, depth + 1)


def as_a_finalizer(rng):
    """What one may do in the place where this is called: its own greenlet sleeps, and the caller's waits for that."""
    if rng.random() < 0.2:
        aionest.await_(spawn(lambda: in_greenlet(rng, 5)))


class Kept:
    """A greenlet of somebody else's that lives over steps of several tasks, who switch to it, throw into it and drop it.

    It says that it waits, or nests, when it does: a finalizer that nests on it just before or after has it for itself. So has one in
    the midst of the nested run's first step, which the engine may run on this greenlet's own stack: it may wait there for greenlets
    of its own, and would take what is sent here for their answer.
    """

    def __init__(self, rng, depth):
        self.greenlet = greenlet.greenlet(Kept.body, greenlet.getcurrent())
        self.switch(self, rng, depth)

    def switch(self, *args):
        self.state = "runs"
        if self.greenlet.switch(*args) is self:
            self.state = "waits"

    def body(self, rng, depth):
        try:
            for _ in range(3):
                as_a_finalizer(rng)
                greenlet.getcurrent().parent.switch(self)
                as_a_finalizer(rng)
                asyncio.run(self.nested(rng.random() * 0.002))
                sync(rng, depth + 1)
        finally:
            self.state = "over"

    async def nested(self, seconds):
        self.state = "nests"
        try:
            await asyncio.sleep(seconds)
        finally:
            if self.state == "nests":
                self.state = "runs"

    def sleeps(self):
        """In its nested run, and in nothing that a finalizer does there."""
        frame = self.greenlet.gr_frame
        return (
            self.state == "nests"
            and frame is not None
            and frame.f_back is not None
            and frame.f_back.f_code is Kept.body.__code__
        )


def use_kept(rng):
    mine = local.__dict__.setdefault("kept", [])
    mine[:] = [k for k in mine if k.state != "over"]
    if not mine:
        return
    kept = rng.choice(mine)
    if kept.state == "waits":
        if rng.random() < 0.2:
            mine.remove(kept)  # it is collected, and has its GreenletExit
        else:
            kept.switch()
    elif kept.sleeps():
        if rng.random() < 0.5:
            kept.greenlet.throw(Boom())
        else:
            value = object()
            got = kept.greenlet.switch(value)
            if kept.state == "nests" and got is not value:
                fault(f"a value for a sleeping greenlet became {got!r}")


class Waits:
    """A greenlet of somebody else's that waits, and ends with a value of its own, or with an error if it is let go of."""

    def __init__(self, rng, depth, nests=False):
        self.rng, self.depth, self.nests, self.value = rng, depth, nests, object()
        self.greenlet = greenlet.greenlet(Waits.body, greenlet.getcurrent())
        self.greenlet.switch(self)

    def body(self):
        try:
            return self.value, greenlet.getcurrent().parent.switch()
        finally:
            if self.nests:
                in_callback(self.rng, self.depth + 1)

    def ends(self, sent, expected):
        got = self.greenlet.switch(sent)
        if got != expected:
            fault(f"the end of a greenlet became {got!r} in place of {expected!r}")


async def let_go_by_a_thread(rng, depth):
    """greenlet ends it at this thread's next look: a switch of ours, if nobody else looks before that."""
    loop, kept = asyncio.get_running_loop(), [Waits(rng, depth, nests=True).greenlet]
    future = loop.create_future()

    def let_go():
        set_result(future)
        thread = threading.Thread(target=kept.clear)
        threads.append(thread)
        thread.start()
        if rng.random() < 0.8:
            thread.join()

    loop.call_later(rng.random() * 0.002, let_go)
    if rng.random() < 0.8:
        aionest.block_on(future)
    else:
        await future


async def let_go_amid_a_run(rng, depth):
    kept = [Waits(rng, depth, nests=True).greenlet]
    asyncio.get_running_loop().call_later(rng.random() * 0.002, kept.clear)
    sync(rng, depth + 1)


async def outlives_its_loop(rng, depth):
    kept = []

    async def sleeps():
        kept.append(Waits(rng, depth))
        with contextlib.suppress(RuntimeError):
            asyncio.run(asyncio.Event().wait())

    async def starts():
        task = asyncio.create_task(sleeps())
        while not kept:
            await asyncio.sleep(0)
        await work(rng, depth + 1)
        return task

    def runs_and_closes():
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(starts())
        finally:
            loop.close()

    def in_a_greenlet():
        try:
            runs_and_closes()
        except (asyncio.CancelledError, Exception) as exc:
            check(exc)
        if rng.random() < 0.5:
            await_parent(asyncio.sleep(rng.random() * 0.002))

    if rng.random() < 0.5:
        runs_and_closes()
    else:
        await spawn(in_a_greenlet)
    await asyncio.sleep(rng.random() * 0.002)
    if on_the_loops_stack():
        for waits in kept:
            waits.ends(1, (waits.value, 1))


async def given_another_parent(rng, depth):
    above, below = Waits(rng, depth), Waits(rng, depth)
    await work(rng, depth + 1)
    if not on_the_loops_stack():
        return
    above.greenlet.parent = below.greenlet
    if rng.random() < 0.3:
        await asyncio.sleep(rng.random() * 0.002)
        below.greenlet.parent = greenlet.getcurrent()
    if rng.random() < 0.5:
        above.ends(1, (below.value, (above.value, 1)))
    else:
        with contextlib.suppress(Boom):
            fault(f"what was thrown into a greenlet came out as {above.greenlet.throw(Boom())!r}")


def on_the_loops_stack():
    current = greenlet.getcurrent()
    return current.parent is None or type(current) is not greenlet.greenlet


def await_parent(awaitable):
    current = greenlet.getcurrent()
    return current.parent.switch((current, awaitable))


async def spawn(fn):
    """As SQLAlchemy's greenlet_spawn, but that it knows what its greenlet sends from what others do."""
    current = greenlet.getcurrent()
    g = greenlet.greenlet(fn, current)
    g.gr_context = current.gr_context
    r = g.switch()
    while not g.dead:
        if not (isinstance(r, tuple) and len(r) == 2 and r[0] is g):
            fault(f"who waits for {g!r}, {g.gr_frame!r}, got {r!r}")
            raise Boom
        try:
            v = await r[1]
        except BaseException as exc:
            r = g.throw(exc)
        else:
            r = g.switch(v)
    return r


def in_greenlet(rng, depth):
    mine = object()
    token = owner.set(mine)
    try:
        for i in range(4):
            if rng.random() < 0.6:
                got = await_parent(asyncio.sleep(rng.random() * 0.002, (mine, i)))
                if got != (mine, i):
                    fault(f"a wake-up went to another greenlet: {got!r} in place of {(mine, i)!r}")
            else:
                sync(rng, depth + 1)
            if owner.get() is not mine:
                fault("a greenlet has the context of another one")
    finally:
        owner.reset(token)


async def work(rng, depth):
    loop = asyncio.get_running_loop()
    kind = rng.randrange(kinds[0]) if depth <= 5 else rng.randrange(4)
    if kind == 0:
        _core._check()
    elif kind == 1:
        await asyncio.sleep(0)
    elif kind == 2:
        await asyncio.sleep(rng.random() * 0.003)
    elif kind == 3:
        raise Boom
    elif kind == 4:
        sync(rng, depth + 1)
    elif kind == 5:
        await children(rng, depth)
    elif kind == 6:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(work(rng, depth + 1), rng.random() * 0.003)
    elif kind == 7:
        future = loop.create_future()
        futures.append(future)
        loop.call_later(rng.random() * 0.004, set_result, future)
        aionest.block_on(future)
    elif kind == 8:
        Nests(rng, depth)
    elif kind == 9:
        cycle = Nests(rng, depth)
        cycle.itself = cycle
        del cycle
        gc.collect(0)
    elif kind == 10:
        greenlet.greenlet(lambda: sync(rng, depth + 1)).switch()
    elif kind == 11:
        variable.set(rng.random())
        contextvars.copy_context().run(sync, rng, depth + 1)
    elif kind == 12:
        loop.call_soon(in_callback, rng, depth + 1)
        await asyncio.sleep(0)
    elif kind == 13 and depth < 4:
        other = asyncio.new_event_loop()
        try:
            other.run_until_complete(work(rng, depth + 1))
        finally:
            other.close()
    elif kind == 14:
        for _ in generator(rng, depth):
            pass
    elif kind == 15:
        aionest.await_(work(rng, depth + 1))
    elif kind == 16:
        task = asyncio.current_task()
        if task is not None and task.get_name() == "main":
            return 0  # a finalizer in the middle of the program's own step
        task.cancel()
        try:
            sync(rng, depth + 1)
        finally:
            if hasattr(task, "uncancel"):
                task.uncancel()
    elif kind == 17:
        # not the ones that asyncio.run() shuts a loop down with
        others = [
            t for t in asyncio.all_tasks() if getattr(t.get_coro(), "cr_code", None) in (work.__code__, worker.__code__)
        ]
        if others:
            rng.choice(others).cancel()
    elif kind == 18:
        for future in futures[-3:]:
            if not future.done() and future.get_loop() is loop:
                future.cancel() if rng.random() < 0.5 else future.set_exception(Boom())
    elif kind == 19 and depth < 3:
        thread = threading.Thread(target=top_level, args=(rng, depth + 1))
        threads.append(thread)
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0.001)
    elif kind >= 20 and MODE == "eager":
        pass  # a task begins on its creator's stack, on stock as well: it may be a greenlet that is taken for the loop's
    elif kind == 20 or kind == 21:
        await spawn(lambda: in_greenlet(rng, depth))
    elif kind >= 22 and not on_the_loops_stack():
        pass  # await_() in a greenlet: one that hangs below it, or below the loop's, would come back to the wrong place on stock, too
    elif kind == 22 and depth < 4:
        local.__dict__.setdefault("kept", []).append(Kept(rng, depth))
    elif kind == 23:
        use_kept(rng)
    elif kind == 24 or kind == 25:
        await let_go_by_a_thread(rng, depth)
    elif kind == 26:
        await let_go_amid_a_run(rng, depth)
    elif (kind == 27 or kind == 28) and depth < 4:
        await outlives_its_loop(rng, depth)
    elif kind == 29:
        await given_another_parent(rng, depth)
    return 0


async def worker(rng):
    for _ in range(3):
        try:
            await work(rng, 0)
        except (asyncio.CancelledError, Exception) as exc:
            check(exc)


async def litter(rng):
    """Garbage that nests, found by whoever allocates next."""
    for _ in range(500):
        cycle = Nests(rng, 3)
        cycle.itself = cycle
        del cycle
        await asyncio.sleep(rng.random() * 0.003)


async def program(rng, unlucky=False):
    asyncio.current_task().set_name("main")
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: check(context.get("exception")))
    if MODE == "eager":
        loop.set_task_factory(asyncio.eager_task_factory)
    try:
        tasks = [asyncio.create_task(worker(rng)) for _ in range(10)]
        if unlucky:
            gc.set_threshold(rng.choice((1, 3, 10, 30, 100)))
            tasks.append(asyncio.create_task(litter(rng)))
            asyncio.gather(*tasks[:-1], return_exceptions=True).add_done_callback(lambda _: tasks[-1].cancel())
        done, pending = await asyncio.wait(tasks, timeout=LIMIT)
        if pending:
            faults.append(f"{len(pending)} tasks hang")
            print(state.describe(), file=sys.stderr)
    finally:
        gc.set_threshold(*THRESHOLD)
        loop.set_task_factory(None)


def main():
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda info: check(info.exc_value)
    aionest.apply()
    with support.loops_made_by(loop_factory()):
        return programs()


def loop_factory():
    if MODE == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    if MODE == "foreign":
        import foreign_loop

        return foreign_loop.ForeignLoop
    return None


def join_threads():
    """Who has started one may have been cancelled: it goes on, with hubs and sleeping runs of its own."""
    while threads:
        thread = threads.pop(0)  # after the one that was to start it
        end = time.monotonic() + LIMIT
        # its start() may have been interrupted: before it began, or just after
        while not thread.is_alive() and thread in threading.enumerate() and time.monotonic() < end:
            time.sleep(0.001)
        if thread.ident is not None:
            thread.join(LIMIT)
        if thread.is_alive():
            faults.append("a thread hangs")


def report():
    """Also where the program's own task does not come to its end."""
    print(state.describe(), file=sys.stderr, flush=True)


def programs():
    for seed in range(int(sys.argv[1]), int(sys.argv[2])):
        faulthandler.dump_traceback_later(2 * LIMIT, exit=True)
        watch = threading.Timer(1.5 * LIMIT, report)
        watch.daemon = True
        watch.start()
        futures.clear()
        kinds[:] = [30 if seed >= HOSTILE else 24]
        top_level_error = None
        try:
            if MODE == "adopted":
                loop = Adopted()
                try:
                    loop.run_until_complete(program(random.Random(seed), UNLUCKY <= seed < HOSTILE))
                finally:
                    loop.close()
            else:
                asyncio.run(program(random.Random(seed), UNLUCKY <= seed < HOSTILE), debug=MODE == "debug")
        except BaseException as exc:
            # 3.10 does not tell a cancelled finalizer's run from one that has cancelled itself (docs/limits.md)
            if not (
                UNLUCKY <= seed < HOSTILE and sys.version_info < (3, 11) and isinstance(exc, asyncio.CancelledError)
            ):
                top_level_error = repr(exc)
                traceback.print_exception(exc)
        local.__dict__.pop("kept", None)
        join_threads()
        watch.cancel()
        _core._check()
        if faults or top_level_error:
            print(f"seed {seed}: {faults[:3]} {top_level_error}")
            return 1
    faulthandler.cancel_dump_traceback_later()
    thread_loop.close_persistent_loops()
    futures.clear()
    for _ in range(5):  # what one collection's finalizers let go of, the next one finds
        gc.collect()
        left = {name: _core._counters()[name] for name in ("blocks", "fibers", "suspended", "pending")}
        if not any(left.values()):
            break
    print("clean" if not any(left.values()) else f"left: {left}")
    return any(left.values())


if __name__ == "__main__":
    sys.exit(main())
