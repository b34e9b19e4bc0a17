"""Code that runs in the midst of a switch of stacks (tracers, finalizers) may nest there: nothing crashes, hangs or gets lost."""

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
        return [asyncio.run(asyncio.sleep(0.001, i)) for i in range(n)]

    async def main():
        # more of them at once than hubs are kept, so some hubs end
        tasks = [asyncio.create_task(x) for x in (spawn(body), *(other(2) for i in range(12)))]
        done, pending = await asyncio.wait(tasks, timeout=60)
        if pending or [t.exception() or t.result() for t in tasks] != [[0, 0, 1, 1]] + [[0, 1]] * 12:
            print("at", first, [repr(t) for t in tasks], flush=True)
            os._exit(0)

    def run():
        if {adopted}:
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

    for first in range({start}, {start} + 4 * {step}, {step}):
        left = first
        on()
        run()
        off()
        _core._check()
    print("over", nested > 0)
"""


@pytest.mark.parametrize("adopted", [False, True], ids=["own", "adopted"])
@pytest.mark.parametrize("what", ["nest", "collected"])
@pytest.mark.parametrize("how", ["switches", "profile", "trace"])
@pytest.mark.parametrize(("start", "step"), [(1, 1), (5, 3), (17, 11)], ids=["first", "early", "late"])
def test_a_tracer_or_finalizer_nests(how, what, adopted, start, step):
    """At each of several places: in a switch, and where a hub begins and ends."""
    program = textwrap.dedent(PROGRAM).format(how=how, what=what, adopted=adopted, start=start, step=step)
    r = subprocess.run([sys.executable, "-X", "faulthandler", "-c", program], capture_output=True, text=True)
    assert (r.returncode, r.stdout, r.stderr) == (0, "over True\n", ""), r.stdout + r.stderr[-3000:]
