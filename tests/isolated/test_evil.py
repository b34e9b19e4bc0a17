"""Code that does what nobody should: it gets an exception, as on plain asyncio, and never ends the interpreter. Each program
runs in a process of its own."""

from __future__ import annotations

import json

import pytest

HANDLES = """
import asyncio, json, sys

if sys.argv[1] == "applied":
    import aionest
    aionest.apply()

def report(exc):
    print(type(exc).__name__)

def fails():
    raise LookupError

async def main(line):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: print(type(context.get("exception")).__name__))
    names = {"asyncio": asyncio, "loop": loop, "fails": fails}
    try:
        exec(line, names)
    except Exception as exc:
        report(exc)
    await asyncio.sleep(0.02)
    print("goes on")

for name, line in json.loads(sys.argv[2]).items():
    print("--", name, flush=True)
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main(line))
    except BaseException as exc:
        report(exc)
"""

DELETED = {
    "_context": "h = loop.call_soon(print); del h._context",
    "_args": "h = loop.call_soon(print); del h._args",
    "_callback": "h = loop.call_soon(print); del h._callback",
    "_loop of one that fails": "h = loop.call_soon(fails); del h._loop",
    "_source_traceback of one that fails": "h = loop.call_soon(fails); del h._source_traceback",
    "_when": "h = loop.call_later(0.001, print); del h._when; loop.call_later(0.002, print)",
    "_scheduled, cancel": "h = loop.call_later(0.001, print); del h._scheduled; h.cancel()",
    "_scheduled": "h = loop.call_later(0.001, print, 1); del h._scheduled",
    "_loop, cancel": "h = loop.call_later(0.001, print); del h._loop; h.cancel()",
    "_callback, cancel": "h = loop.call_soon(print); del h._callback; h.cancel()",
    "empty handle": "loop._ready.append(asyncio.Handle.__new__(asyncio.Handle))",
    "no handle": "loop._ready.append(None)",
    "no timer": "loop._scheduled.append(None)",
}


def test_handles_without_some_of_their_slots(child):
    stock, applied = (child(HANDLES, mode, json.dumps(DELETED), dev=False) for mode in ("stock", "applied"))
    assert applied.returncode == stock.returncode == 0, applied.stdout + applied.stderr

    def ends(done):
        """The last word that was printed, of each."""
        return [part.split()[-1] for part in f"\n{done.stdout}".split("\n-- ")[1:]]

    assert len(ends(stock)) == len(DELETED)
    assert dict(zip(DELETED, ends(applied))) == dict(zip(DELETED, ends(stock)))


def test_handles_of_the_engine_that_were_never_filled(child):
    r = child(
        """
        import asyncio, aionest
        from aionest import _core
        aionest.apply()

        for cls in (_core.Handle, _core.TimerHandle):
            h = cls.__new__(cls)
            for call in (h.cancel, h.cancelled, h._run):
                try:
                    print(call())
                except AttributeError:
                    print("AttributeError")
            try:
                loop = asyncio.new_event_loop()
                loop._ready.append(cls.__new__(cls))
                loop._scheduled.append(cls.__new__(cls))
                loop.run_until_complete(asyncio.sleep(0))
            except AttributeError:
                print("AttributeError")
            finally:
                loop._scheduled.clear()
                loop.close()
        """,
        dev=False,
    )
    assert r.returncode == 0 and set(r.stdout.split()) == {"AttributeError"}, r.stderr


def test_foreign_items_that_change_the_queues_while_they_are_looked_at(child):
    r = child(
        """
        import asyncio, aionest
        aionest.apply()

        class Evil:
            def __init__(self, loop):
                self.loop = loop

            @property
            def _cancelled(self):
                self.loop._ready.clear()
                self.loop._scheduled.clear()
                return True

            @property
            def _when(self):
                self.loop._scheduled.clear()
                return 0.0

            def __lt__(self, other):
                return True

            def __gt__(self, other):
                return False

        for name in ("_ready", "_scheduled"):
            loop = asyncio.new_event_loop()
            getattr(loop, name).append(Evil(loop))
            loop.call_soon(loop.stop)
            loop.call_later(1, print)
            try:
                for _ in range(3):
                    loop._run_once()
                    loop.call_soon(int)
            except Exception as exc:
                print(type(exc).__name__)
            loop.close()
        print("lives")
        """,
        dev=False,
    )
    assert r.returncode == 0 and r.stdout.endswith("lives\n"), r.stderr


def test_long_chains_of_handles(child):
    """They are freed one after the other, not each inside the one before."""
    r = child(
        """
        import asyncio, aionest
        aionest.apply()
        loop = asyncio.new_event_loop()
        for chain in (lambda h: loop.call_soon(h.cancel), lambda h: loop.call_soon(print, h),
                      lambda h: loop.call_later(60, h.cancel)):
            h = loop.call_soon(print)
            for _ in range(300_000):
                h = chain(h)
            del h
            loop._ready.clear()
            loop._scheduled.clear()
        loop.close()
        print("lives")
        """,
        dev=False,
    )
    assert (r.returncode, r.stdout) == (0, "lives\n"), r.stderr


@pytest.mark.parametrize("rounds", [1, 20])
def test_thread_that_ends_while_a_run_sleeps_on_a_loop_that_goes_on(child, rounds):
    """Its stack is gone with the thread: the run is ended there, and the wake-up that comes later finds nobody."""
    r = child(
        """
        import asyncio, gc, sys, threading
        import aionest
        from aionest import _core
        aionest.apply()
        kept = []

        def once():
            loop = asyncio.new_event_loop()
            future = loop.create_future()

            async def caller():
                try:
                    loop.run_until_complete(future)
                except RuntimeError as exc:
                    print(exc)

            async def main():
                kept.append(asyncio.ensure_future(caller()))
                await asyncio.sleep(0.001)

            t = threading.Thread(target=lambda: loop.run_until_complete(main()))
            t.start()
            t.join()
            gc.collect()
            junk = [bytearray(n) for n in range(100, 400)]

            async def other():
                if not future.done():
                    future.set_result(1)
                await asyncio.sleep(0.001)

            loop.run_until_complete(other())
            loop.close()

        for _ in range(int(sys.argv[1])):
            once()
        counters = _core._counters()
        assert counters["blocks"] == counters["fibers"] == 0, counters
        """,
        str(rounds),
    )
    assert (r.returncode, r.stdout) == (0, "The thread ended before Future completed.\n" * rounds), r.stderr


def test_run_that_sleeps_in_a_loops_own_run_once_over_the_end_of_a_run(child):
    r = child(
        """
        import asyncio
        import aionest
        aionest.apply()

        class Loop(asyncio.SelectorEventLoop):
            def _run_once(self):
                super()._run_once()

        loop = Loop()
        for i in range(3):
            future = loop.create_future()

            async def caller():
                return loop.run_until_complete(future)

            async def first():
                task = asyncio.ensure_future(caller())
                await asyncio.sleep(0.001)
                return task

            async def second(task):
                future.set_result(i)
                await asyncio.sleep(0.001)
                return await task

            task = loop.run_until_complete(first())
            junk = [bytearray(n) for n in range(40, 200)]
            print(loop.run_until_complete(second(task)))
        loop.close()
        """
    )
    assert (r.returncode, r.stdout) == (0, "0\n1\n2\n"), r.stderr


def test_signal_handler_that_nests(child):
    """Most often it strikes while the loop polls: that stack then sleeps in the poll, over the end of its run. Where it
    strikes in the task's own step, the timer frees the task."""
    r = child(
        """
        import asyncio, gc, os, signal, threading
        import aionest
        aionest.apply()
        loop = asyncio.new_event_loop()
        future = loop.create_future()
        entered = []

        def handler(*args):
            entered.append(1)
            print("handler", loop.run_until_complete(future))

        def finish():
            if not future.done():
                future.set_result(7)

        signal.signal(signal.SIGUSR1, handler)

        async def first():
            loop.call_later(2, finish)
            threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            while not entered:
                await asyncio.sleep(0.05)

        async def second():
            finish()
            await asyncio.sleep(0.01)

        loop.run_until_complete(first())
        loop.run_until_complete(second())
        loop.close()
        del loop
        gc.collect()
        print("bye")
        """
    )
    assert (r.returncode, r.stdout) == (0, "handler 7\nbye\n"), r.stderr


@pytest.mark.noasan
@pytest.mark.parametrize("call", ["asyncio.run(noop())", "aionest.await_(once())", "schedule(loop)"])
def test_no_memory_at_any_allocation(child, call):
    """The paths that switch no stack (greenlet itself cannot switch without memory): MemoryError, and the loop goes on."""
    pytest.importorskip("_testcapi")
    r = child(
        f"""
        import asyncio, sys, warnings
        import _testcapi
        import aionest
        aionest.apply()
        warnings.simplefilter("ignore")
        sys.unraisablehook = lambda info: None

        async def noop():
            return 1

        async def once():
            await asyncio.sleep(0)
            return 1

        def schedule(loop):
            loop.call_soon(int)
            loop.call_soon_threadsafe(int)
            loop.call_later(0, int)
            loop.call_at(loop.time() + 60, int).cancel()
            loop._ready.append(loop.call_soon(int))
            return 1

        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda loop, context: None)
            refused = 0
            for n in range(300):
                try:
                    _testcapi.set_nomemory(n, n + 1)
                    try:
                        assert {call} == 1
                    finally:
                        _testcapi.remove_mem_hooks()
                except MemoryError:
                    refused += 1
                await asyncio.sleep(0)
            assert 0 < refused < 300, refused
            return {call}

        print(asyncio.run(main()))
        """,
        dev=False,
    )
    assert (r.returncode, r.stdout) == (0, "1\n"), r.stderr
