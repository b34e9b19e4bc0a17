"""Programs that look at the frames beneath them. Each gives a value that is the same on stock asyncio.

Run as a script with the name of a loop: every program's value as JSON; with ``aionest`` besides, after ``apply()``.
"""

from __future__ import annotations

import asyncio
import contextlib
import cProfile
import faulthandler
import inspect
import io
import json
import logging
import pstats
import signal
import sys
import tempfile
import threading
import traceback
import warnings

PROGRAMS = {}
ASYNCIOS = {"get_frame_with_a_depth", "frames_that_outlive_the_run"}  # they name frames of asyncio's loop


def program(function):
    PROGRAMS[function.__name__] = function
    return function


def names(frame):
    found = []
    while frame is not None:
        found.append(frame.f_code.co_name)
        frame = frame.f_back
    return found


def here():
    """The names of the frames from the caller to the module, without those that differ between versions and loops."""
    mine = {
        "leaf",
        "outer",
        "inner",
        "callback",
        "caller",
        "main",
        "generator",
        "<module>",
        "_run",
        "_run_once",
        "run_forever",
    }
    return [name for name in names(sys._getframe(1)) if name in mine]


def caller(coroutine):
    return asyncio.run(coroutine)


@program
def in_the_first_coroutine():
    async def main():
        return here()

    return caller(main())


@program
def in_a_later_step():
    async def main():
        await asyncio.sleep(0)
        return here()

    return caller(main())


@program
def in_a_task():
    async def leaf():
        await asyncio.sleep(0)
        return here()

    async def main():
        return await asyncio.create_task(leaf())

    return caller(main())


@program
def in_a_callback():
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def callback():
            future.set_result(here())

        loop.call_later(0.001, callback)
        return await future

    return caller(main())


@program
def in_an_asynchronous_generator():
    async def generator():
        await asyncio.sleep(0)
        yield here()

    async def main():
        return [x async for x in generator()][0]

    return caller(main())


@program
def locals_of_the_caller():
    async def main():
        frame = sys._getframe()
        while frame.f_code.co_name != "locals_of_the_caller":
            frame = frame.f_back
        return frame.f_locals["secret"], frame.f_lineno > 1

    secret = 42
    return caller(main())[0], secret


@program
def get_frame_with_a_depth():
    async def main():
        return sys._getframe(0).f_code.co_name, sys._getframe(1).f_code.co_name, sys._getframe(2).f_code.co_name

    return asyncio.run(main())


@program
def inspect_stack():
    async def main():
        return [
            info.function
            for info in inspect.stack()
            if info.function in ("main", "caller", "inspect_stack", "<module>")
        ]

    return caller(main())


@program
def extract_stack():
    async def main():
        return [f.name for f in traceback.extract_stack() if f.name in ("main", "caller", "extract_stack")]

    return caller(main())


@program
def no_traceback_changes():
    async def leaf():
        raise ValueError

    async def main():
        await leaf()

    try:
        caller(main())
    except ValueError as exc:
        found = [f.name for f in traceback.extract_tb(exc.__traceback__)]
        return found[:2], found[-2:], "_run_once" in found


@program
def warning_out_of_a_callback():
    async def main():
        loop = asyncio.get_running_loop()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loop.call_soon(warnings.warn, "from C")
            for level in (1, 2, 3):
                warnings.warn("x", stacklevel=level)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return ["sys" in w.filename for w in caught]

    return caller(main())


@program
def logging_with_a_stacklevel():
    seen = []

    class Handler(logging.Handler):
        def emit(self, record):
            seen.append(record.funcName)

    logger = logging.getLogger("frames")
    logger.propagate = False
    logger.addHandler(Handler())

    async def main():
        logger.error("x")
        logger.error("x", stacklevel=2)

    caller(main())
    return seen[0], seen[1] in ("_run", "run")


@program
def a_class_that_looks_for_its_module():
    """As aiohttp's AppKey does."""

    async def main():
        frame = inspect.currentframe()
        while frame:
            if frame.f_code.co_name == "<module>":
                module = frame.f_globals["__name__"]
                break
            frame = frame.f_back
        return module

    return caller(main())


@program
def current_frames_of_an_idle_loop():
    seen, main_thread = [], threading.get_ident()

    async def main():
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def look():
            frame = sys._current_frames()[main_thread]
            seen.append(
                [
                    n
                    for n in names(frame)
                    if n in ("caller", "run_forever", "current_frames_of_an_idle_loop", "<module>")
                ]
            )
            loop.call_soon_threadsafe(done.set)

        timer = threading.Timer(0.1, look)
        timer.start()
        await done.wait()
        timer.join()

    caller(main())
    return seen


@program
def frame_of_a_signal_handler():
    seen = []

    async def main():
        before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append("caller" in names(frame)))
        timer = threading.Timer(0.1, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
        timer.start()
        await asyncio.sleep(0.3)
        timer.join()
        signal.signal(signal.SIGUSR1, before)

    caller(main())
    return seen


@program
def faulthandler_of_an_idle_loop():
    with tempfile.TemporaryFile("w+") as file:

        async def main():
            thread = threading.Timer(0.05, lambda: faulthandler.dump_traceback(file))
            thread.start()
            await asyncio.sleep(0.2)
            thread.join()

        caller(main())
        file.seek(0)
        text = file.read()
    return "no Python frame" in text, "_run_once" in text


@program
def profile():
    profiler = cProfile.Profile()

    def leaf():
        pass

    async def main():
        for _ in range(3):
            leaf()
            await asyncio.sleep(0)

    profiler.runcall(caller, main())
    stats = pstats.Stats(profiler, stream=io.StringIO())
    return sorted((name, calls[0]) for (_, _, name), calls in stats.stats.items() if name in ("leaf", "caller"))


@program
def trace():
    calls, local = [], []

    def tracer(frame, event, arg):
        if frame.f_code.co_filename == __file__:
            calls.append((event, frame.f_code.co_name))
            return tracer
        return None

    async def main():
        await asyncio.sleep(0)
        here()

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        caller(main())
    finally:
        sys.settrace(before)
    return [c for c in calls if c[0] == "call"], local


@program
def monitoring():
    if sys.version_info < (3, 12):
        return None
    mon, seen = sys.monitoring, []
    mon.use_tool_id(4, "frames")

    def started(code, offset):
        if code.co_filename == __file__:
            seen.append(code.co_name)

    mon.register_callback(4, mon.events.PY_START, started)

    async def leaf():
        await asyncio.sleep(0)

    async def main():
        mon.set_events(4, mon.events.PY_START)
        await leaf()
        mon.set_events(4, 0)

    caller(main())
    mon.free_tool_id(4)
    return seen


@program
def frames_that_outlive_the_run():
    kept = []

    async def main():
        kept.append(sys._getframe())
        kept.append(sys._getframe().f_back)

    caller(main())
    return [names(frame)[:1] for frame in kept]


@program
def many_runs_end_at_the_same_depth():
    depths = []

    async def main():
        depths.append(len(names(sys._getframe())))

    for _ in range(5):
        caller(main())
    return len(set(depths))


@program
def a_thread():
    found = []

    def run():
        async def main():
            found.extend(n for n in names(sys._getframe()) if n in ("main", "caller", "run"))

        caller(main())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0], found[-2:]


if __name__ == "__main__":
    if "aionest" in sys.argv:
        import aionest

        aionest.apply()
    if "uvloop" in sys.argv:
        import uvloop

        asyncio.new_event_loop = asyncio.events.new_event_loop = uvloop.new_event_loop
    values = {}
    for name, function in PROGRAMS.items():
        with contextlib.suppress(Exception):
            values[name] = function()
    json.dump(values, sys.stdout)
