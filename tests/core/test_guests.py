"""Two loops on one thread: a loop that is run inside another one is its guest."""

from __future__ import annotations

import asyncio
import sys
import threading

import greenlet
import pytest
from support import eventually_async, sync, value

import aionest

ON_EACH_LOOP = True


def test_guest_loop_does_not_starve_the_outer_one(applied):
    async def main():
        ticks = []

        async def ticker(out):
            while True:
                await asyncio.sleep(0.002)
                out.append(1)

        outer = asyncio.create_task(ticker(ticks))
        inner_ticks = []

        async def inner():
            t = asyncio.create_task(ticker(inner_ticks))
            await eventually_async(lambda: len(ticks) >= 6 and len(inner_ticks) >= 6)
            t.cancel()
            return asyncio.get_running_loop()

        loop = asyncio.new_event_loop()
        try:
            assert loop.run_until_complete(asyncio.wait_for(inner(), 60)) is loop
        finally:
            loop.close()
        assert asyncio.get_running_loop() is not loop
        n = len(ticks)
        await eventually_async(lambda: len(ticks) != n)
        outer.cancel()

    asyncio.run(main())


def test_guest_with_nested_runs_inside_both(applied):
    async def main():
        gate_outer = asyncio.Event()
        log = []

        async def outer_caller():
            asyncio.run(gate_outer.wait())
            log.append("outer")

        task = asyncio.create_task(outer_caller())
        await asyncio.sleep(0)

        async def inner():
            gates = [asyncio.Event() for _ in range(3)]

            async def caller(i):
                asyncio.run(gates[i].wait())
                log.append(i)
                gates[i - 1].set()

            async def begin():
                gates[2].set()

            await asyncio.gather(*[caller(i) for i in range(3)], begin())
            gate = asyncio.Event()

            async def waits():
                asyncio.run(gate.wait())
                log.append("inner")

            t = asyncio.create_task(waits())
            sync()
            gate.set()
            await t
            return "result"

        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(inner()) == "result"
        loop.close()
        gate_outer.set()
        await task
        return log

    assert asyncio.run(main()) == [2, 1, 0, "inner", "outer"]


def test_loop_factory_and_guests_in_guests(applied):
    made = []

    def factory():
        made.append(asyncio.new_event_loop())
        return made[-1]

    def run_with_factory(coro):
        if sys.version_info >= (3, 12):
            return asyncio.run(coro, loop_factory=factory)
        return aionest.run(coro, loop_factory=factory)

    async def level(n):
        loops = [asyncio.get_running_loop()]
        if n:
            loops += run_with_factory(level(n - 1))
        await asyncio.sleep(0.001)
        assert asyncio.get_running_loop() is loops[0]
        return loops

    loops = asyncio.run(level(3))
    assert loops[1:] == made and len(set(loops)) == 4
    assert all(loop.is_closed() for loop in made)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Runner came with 3.11")
def test_runner_inside_a_running_loop(applied):
    async def main():
        outer = asyncio.get_running_loop()
        current = asyncio.get_event_loop()
        with asyncio.Runner() as runner:
            assert runner.run(value(1)) == 1
            loop = runner.get_loop()
            assert loop is not outer
            assert runner.run(value(2, 0.01)) == 2
        assert loop.is_closed()
        assert asyncio.get_running_loop() is outer and asyncio.get_event_loop() is current
        await asyncio.sleep(0)

    asyncio.run(main())


def test_a_loop_that_is_closed_around_a_guest_leaves_no_hooks(applied):
    """Ctrl-C ends the outer run while the guest's sleeps; closing the outer loop ends that."""

    async def sleeps():
        outer.call_soon(interrupt)
        await asyncio.sleep(60)

    async def work():
        inner = asyncio.new_event_loop()
        try:
            inner.run_until_complete(sleeps())
        except RuntimeError as exc:
            ended.append(str(exc))
        finally:
            inner.close()

    def interrupt():
        raise KeyboardInterrupt

    ended = []
    before = sys.get_asyncgen_hooks()
    outer = asyncio.new_event_loop()
    with pytest.raises(KeyboardInterrupt):
        outer.run_until_complete(work())
    outer.close()
    assert len(ended) == 1 and "closed" in ended[0]
    assert sys.get_asyncgen_hooks() == before
    assert asyncio._get_running_loop() is None


def test_a_loop_whose_attributes_cannot_be_looked_at_for_once(applied):
    """It keeps its only queue: the error is raised, and no second record is made in place of the one that was not found."""

    class Loop(asyncio.SelectorEventLoop):
        fails = False

        def __getattribute__(self, name):
            if name == "_aionest" and Loop.fails:
                raise KeyboardInterrupt
            return super().__getattribute__(name)

    loop, other = Loop(), asyncio.new_event_loop()
    called = []
    try:
        loop.call_soon(called.append, 1)
        other.call_soon(called.append, 2)  # now it is the other one that the engine has at hand
        Loop.fails = True
        with pytest.raises(KeyboardInterrupt):
            loop.call_soon(called.append, 3)
        Loop.fails = False
        loop.run_until_complete(asyncio.sleep(0))
        assert called == [1]
    finally:
        Loop.fails = False
        loop.close()
        other.close()


def test_cancel_around_a_guest_reaches_what_runs_there(applied):
    async def main():
        loop, log = asyncio.new_event_loop(), []

        async def inner():
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.001)
                log.append("cleaned up")

        async def caller():
            loop.run_until_complete(inner())

        task = asyncio.ensure_future(caller())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == ["cleaned up"] and not asyncio.all_tasks(loop)
        loop.close()

    asyncio.run(main())


def test_cancel_around_a_guest(applied):
    async def main():
        loop = asyncio.new_event_loop()

        async def caller():
            loop.run_until_complete(asyncio.sleep(60))

        task = asyncio.ensure_future(caller())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not loop.is_running()
        for t in asyncio.all_tasks(loop):
            t.cancel()
        assert loop.run_until_complete(value(3)) == 3
        loop.close()

    asyncio.run(main())


def test_cancel_of_a_guest_whose_first_step_sleeps(applied):
    """Cancellation reaches through the guest and what is nested in it."""
    log = []

    async def inside():
        try:
            sync(1, 60)
        except asyncio.CancelledError:
            log.append("inside")
            raise

    async def caller():
        inner = asyncio.new_event_loop()
        try:
            inner.run_until_complete(inside())
        except asyncio.CancelledError:
            log.append("cancelled")
        finally:
            inner.close()

    async def main():
        task = asyncio.create_task(caller())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait_for(task, 30)

    asyncio.run(main())
    assert log == ["inside", "cancelled"]


def test_guest_goes_on_while_a_greenlet_inside_it_sleeps(applied):
    """The greenlet's stack leaves no context: those of the stack below stay entered as long as it sleeps."""

    async def inside():
        other = asyncio.create_task(asyncio.sleep(0.001, "other"))
        return await asyncio.gather(in_greenlet(), other)

    async def in_greenlet():
        return greenlet.greenlet(lambda: sync("slept", 0.01)).switch()

    async def main():
        inner = asyncio.new_event_loop()
        try:
            return await asyncio.wait_for(run_inside(inner), 30)
        finally:
            inner.close()

    async def run_inside(inner):
        return inner.run_until_complete(inside())

    assert asyncio.run(main()) == ["slept", "other"]


@pytest.mark.parametrize("at", range(8))
def test_guest_whose_pump_is_queued_by_a_stack_that_then_sleeps(applied, at):
    """As when a finalizer that nests runs right after the outer loop's call_soon."""

    class Outer(asyncio.SelectorEventLoop):
        countdown = None

        def call_soon(self, *args, **kwargs):
            handle = super().call_soon(*args, **kwargs)
            if self.countdown is not None and type(getattr(args[0], "__self__", None)).__name__ == "Guest":
                self.countdown -= 1
                if self.countdown == 0:
                    asyncio.run(asyncio.sleep(0.005))
            return handle

    outer, inner = Outer(), asyncio.new_event_loop()

    async def inside():
        for _ in range(6):
            await asyncio.sleep(0.001)
            sync(1, 0.001)
        return "done"

    async def main():
        outer.countdown = at + 1
        return inner.run_until_complete(asyncio.wait_for(inside(), 30))

    assert outer.run_until_complete(main()) == "done"
    inner.close()
    outer.close()


def test_guest_wakes_for_other_threads_and_io(applied, new_loops):
    if new_loops == "foreign":
        pytest.skip("it has no connections")

    async def main():
        loop = asyncio.new_event_loop()

        async def inner():
            future = asyncio.get_running_loop().create_future()
            threading.Timer(0.02, loop.call_soon_threadsafe, (future.set_result, "thread")).start()
            a = await future
            b = await asyncio.get_running_loop().run_in_executor(None, lambda: "executor")
            return a, b

        try:
            return loop.run_until_complete(inner())
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    assert asyncio.run(main()) == ("thread", "executor")
