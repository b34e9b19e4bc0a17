"""Code that runs in the midst of a switch of stacks (tracers, finalizers) may nest, or use greenlets: nothing crashes, hangs or gets lost."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import asyncio, faulthandler, gc, greenlet, os, sys, threading
    import aionest
    from aionest import _core
    aionest.apply()
    faulthandler.dump_traceback_later(300, exit=True)
    busy = False
    nested = 0

    class Adopted(asyncio.SelectorEventLoop):
        run_forever = asyncio.SelectorEventLoop.run_forever  # as it is before apply()

    def nest():
        global busy, nested
        if busy:
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return  # the run is over
        busy = True
        try:
            _core._check()
            asyncio.run(asyncio.sleep(0.002))
            aionest.await_(asyncio.sleep(0))
            _core._check()
            nested += 1
        finally:
            busy = False

    class Nests:
        def __del__(self):
            nest()

    def collected():
        cycle = Nests()
        cycle.itself = cycle
        del cycle
        gc.collect()

    def answers():
        return 5

    def fails():
        raise LookupError

    def strays():
        # what ends below other stacks of the loop is for the one that switched there, as if they were one
        global busy, nested
        if busy:
            return
        busy = True
        current = greenlet.getcurrent()
        ours = current.parent is None or type(current) is not greenlet.greenlet
        for parent in {{id(stack): stack for stack in stacks}}.values():
            if ours and parent is not current and parent:
                got = []
                try:
                    greenlet.greenlet(fails, parent).switch()
                except LookupError:
                    got.append("failed")
                got.append(greenlet.greenlet(answers, parent).switch())
                if got != ["failed", 5]:
                    print(got, flush=True)
        nested += 1
        busy = False

    def event():
        global left
        left -= 1
        if left == 0:
            {what}()

    def of_switches(event_, args):
        event()

    def of_calls(frame, event_, arg):
        if frame.f_code.co_name in ("_run", "_run_once"):
            event()
        return of_calls

    async def spawn(fn):
        g = greenlet.greenlet(fn, greenlet.getcurrent())
        r = g.switch()
        while not g.dead:
            r = g.switch(await r)
        return r

    def body():
        got = []
        for i in range(2):
            got.append(greenlet.getcurrent().parent.switch(asyncio.sleep(0.001, i)))
            got.append(asyncio.run(asyncio.sleep(0.001, i)))
        return got

    async def other(n):
        stacks.append(greenlet.getcurrent())
        return [asyncio.run(asyncio.sleep(0.001, i)) for i in range(n)]

    async def main():
        # more of them at once than hubs are kept, so some hubs end
        tasks = [asyncio.create_task(x) for x in (spawn(body), *(other(2) for i in range(12)))]
        done, pending = await asyncio.wait(tasks, timeout=60)
        if pending or [t.exception() or t.result() for t in tasks] != [[0, 0, 1, 1]] + [[0, 1]] * 12:
            print("at", adopted, first, [repr(t) for t in tasks], flush=True)
            os._exit(0)

    def run():
        if adopted:
            loop = Adopted()
            loop.run_until_complete(main())
            loop.close()
        else:
            asyncio.run(main())

    def on():
        if {how!r} == "switches":
            greenlet.settrace(of_switches)
        elif {how!r} == "profile":
            sys.setprofile(of_calls)
        else:
            sys.settrace(of_calls)

    def off():
        greenlet.settrace(None)
        sys.setprofile(None)
        sys.settrace(None)

    for start, step in {places}:
        nested = 0
        for first in range(start, start + 4 * step, step):
            left, stacks = first, [greenlet.getcurrent()]
            on()
            run()
            off()
            _core._check()
        print("over", adopted, start, nested > 0, flush=True)
"""
PLACES = [
    (1, 1),
    (5, 3),
    (17, 11),
]  # the first, early ones, late ones: each the first of four, and from one to the next


@pytest.mark.parametrize("adopted", [False, True], ids=["own", "adopted"])
@pytest.mark.parametrize("what", ["nest", "collected", "strays"])
@pytest.mark.parametrize("how", ["switches", "profile", "trace"])
def test_a_tracer_or_finalizer_nests(how, what, adopted):
    """At each of several places: in a switch, and where a hub begins and ends."""
    places = PLACES
    if how != "switches" and hasattr(sys, "gettotalrefcount") and sys.version_info >= (3, 14):
        # CPython's debug builds assert that no tracer comes or goes while a traced function is under way elsewhere
        places = PLACES[1:]
    program = f"adopted = {adopted}\n" + textwrap.dedent(PROGRAM).format(how=how, what=what, places=places)
    r = subprocess.run([sys.executable, "-X", "faulthandler", "-c", program], capture_output=True, text=True)
    lines = "".join(f"over {adopted} {start} True\n" for start, _ in places)
    assert (r.returncode, r.stdout, r.stderr) == (0, lines, ""), r.stdout + r.stderr[-3000:]


def test_what_is_thrown_into_a_greenlet_that_nests_amid_a_switch_to_it_loses_no_wake_up():
    program = textwrap.dedent("""
        import asyncio, greenlet
        import aionest
        aionest.apply()
        armed = False
        thrown = []

        class Boom(Exception):
            pass

        def tracer(event, args):
            global armed
            if armed and args[1] is g:
                armed = False
                try:
                    asyncio.run(asyncio.sleep(60))
                except Boom:
                    thrown.append(1)

        async def thrower():
            global armed
            await asyncio.sleep(0)
            armed = True
            while armed:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.001)
            g.throw(Boom())

        async def main():
            global g
            results = []
            task = asyncio.create_task(thrower())
            greenlet.settrace(tracer)
            g = greenlet.greenlet(lambda: results.append(asyncio.run(asyncio.sleep(0.01, "slept"))))
            g.switch()
            greenlet.settrace(None)
            await task
            return results

        print(asyncio.run(main()), thrown)
    """)
    r = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (r.stdout, r.stderr) == ("['slept'] [1]\n", ""), r.stderr[-3000:]


def test_a_finalizer_that_nests_while_a_coroutine_learns_where_it_was_made():
    """CPython 3.10 walks frames over a collection of garbage; the ones beneath a hub are other stacks', which would go on."""
    program = textwrap.dedent("""
        import asyncio, gc, sys
        import aionest
        aionest.apply()
        nested, refused = [], []

        async def sleeper():
            asyncio.run(asyncio.sleep(0.005))

        async def leaf():
            pass

        class Nests:
            def __del__(self):
                try:
                    nested.append(asyncio.run(asyncio.sleep(0.02, 1)))
                except RuntimeError as exc:
                    refused.append(str(exc))

        def make(allocations):
            held = [tuple([i] * n) for n in range(1, 19) for i in range(2001)]  # no free tuple is left: the next one is allocated
            cycle = Nests()
            cycle.itself = cycle
            del cycle
            gc.set_threshold(gc.get_count()[0] + allocations, 1000, 1000)
            try:
                return leaf()
            finally:
                gc.set_threshold(700, 10, 10)

        async def main(allocations):
            task = asyncio.create_task(sleeper())
            await asyncio.sleep(0)
            await make(allocations)
            await task

        loop = asyncio.new_event_loop()
        loop.set_debug(True)
        for allocations in range(8):
            loop.run_until_complete(main(allocations))
        gc.collect()
        loop.close()
        if sys.version_info < (3, 11):
            assert all("3.10 in debug mode" in text for text in refused) and refused, refused
        else:
            assert nested and not refused, refused
        print("over")
    """)
    r = subprocess.run([sys.executable, "-X", "faulthandler", "-c", program], capture_output=True, text=True)
    assert (r.returncode, r.stdout) == (0, "over\n"), r.stderr[-3000:]


def test_it_is_not_the_end_of_a_run_where_the_last_nested_one_ends_amid_a_switch_to_its_base():
    program = textwrap.dedent("""
        import asyncio, greenlet
        import aionest
        from aionest import _core

        class Adopted(asyncio.SelectorEventLoop):
            run_forever = asyncio.SelectorEventLoop.run_forever  # as it is before apply()

        aionest.apply()
        busy = False

        def tracer(event, args):
            global left, busy
            if not busy:
                left -= 1
                if left == 0:
                    busy = True
                    asyncio.run(asyncio.sleep(0.002))
                    busy = False

        async def nests(seconds):
            return asyncio.run(asyncio.sleep(seconds, seconds))

        async def main():
            tasks = [asyncio.create_task(nests(0.002)), asyncio.create_task(nests(0.01))]
            await asyncio.sleep(0.05)
            return [await t for t in tasks]

        results = []
        for first in range(1, 14):
            left = first
            greenlet.settrace(tracer)
            loop = Adopted()
            results.append(loop.run_until_complete(main()))
            greenlet.settrace(None)
            _core._check()
            loop.close()
        print(results == [[0.002, 0.01]] * 13)
    """)
    r = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (r.stdout, r.stderr) == ("True\n", ""), r.stderr[-3000:]
