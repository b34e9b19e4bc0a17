"""Programs in which each call of CPython's that the engine makes fails once; run in a child process.

    python programs.py NAME EXCEPTION [asyncio|uvloop]

The last one is whose loops they are. Contract: a program makes its own loop and closes it, and does the same calls each time. For each n the n-th call fails with that
exception, without having been made. Whatever comes of it is fine as long as it is told: an exception, a report to the loop's exception
handler or to sys.unraisablehook. What must never be: a crash, a hang that Ctrl-C does not end, a hang without a report (a callback
that could not be called is lost, as on stock asyncio), an error in place of another (SystemError), a broken invariant, something
that stays. And the program works again right after.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import warnings

import aionest
from aionest import _core

HANG = 0.3  # seconds
STUCK = 60  # seconds that not even a signal ends
told: list[str] = []
new_event_loop = asyncio.new_event_loop


class Hang(BaseException):
    """The program goes on for too long: as a Ctrl-C."""


class Interrupted(Hang, KeyboardInterrupt):
    """The same on uvloop, which tells its exception handler of others that a signal's handler raises, and goes on."""


def hang(*args):
    raise Hang if new_event_loop is asyncio.new_event_loop else Interrupted


def carry(main):
    loop = new_event_loop()
    loop.set_exception_handler(lambda loop, context: told.append(repr(context.get("exception") or context)))
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


async def once(value=1):
    await asyncio.sleep(0)
    return value


async def no_wait():
    return 1


async def plain():
    loop = asyncio.get_running_loop()
    tasks = [asyncio.create_task(once(n)) for n in range(3)]
    loop.call_soon(int)
    loop.call_later(0.001, int)
    loop.call_at(loop.time() + 60, int).cancel()
    loop.call_soon_threadsafe(int)
    await asyncio.gather(*tasks)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.sleep(1), 0.002)
    queue = asyncio.Queue()
    putting = asyncio.create_task(queue.put(1))
    assert await queue.get() == 1
    await putting
    sleeping = asyncio.create_task(asyncio.sleep(5))
    await asyncio.sleep(0)
    sleeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sleeping
    assert asyncio.all_tasks()


async def nested():
    async def inner(seconds):
        return asyncio.run(asyncio.sleep(seconds, 1))

    assert asyncio.run(no_wait()) == 1
    assert asyncio.run(once()) == 1
    one, other = asyncio.create_task(inner(0.002)), asyncio.create_task(inner(0.001))
    assert (await one, await other) == (1, 1)


async def crossing():
    """Two nested runs, each of which waits for the other."""
    first, second = asyncio.Event(), asyncio.Event()

    async def one():
        async def work():
            first.set()
            await second.wait()

        asyncio.run(work())

    async def other():
        async def work():
            await first.wait()
            second.set()

        asyncio.run(work())

    await asyncio.gather(one(), other())


async def awaits():
    loop = asyncio.get_running_loop()
    assert aionest.await_(once(2)) == 2
    future = loop.create_future()
    loop.call_soon(future.set_result, 3)
    assert aionest.block_on(future) == 3
    done = loop.create_future()
    loop.call_soon(lambda: done.set_result(asyncio.run(once(4))))
    assert await done == 4


async def cancels():
    async def inner():
        asyncio.run(asyncio.sleep(5))

    async def fails():
        raise ValueError

    task = asyncio.create_task(inner())
    await asyncio.sleep(0.001)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(inner(), 0.002)
    with contextlib.suppress(ValueError):
        asyncio.run(fails())


async def guests():
    assert carry(lambda: once(2)) == 2


async def forever():
    loop = asyncio.get_running_loop()
    loop.call_later(0.001, loop.stop)
    loop.run_forever()


async def streams():
    ends = socket.socketpair()
    reading, writing = os.pipe()
    loop = asyncio.get_running_loop()
    try:
        (reader, writer), (other_reader, other_writer) = [await asyncio.open_connection(sock=end) for end in ends]
        writer.write(b"x" * 10)
        assert await other_reader.readexactly(10) == b"x" * 10
        other_writer.write(b"y" * 300_000)
        assert len(await reader.readexactly(300_000)) == 300_000
        writer.close()
        other_writer.close()
        readable = loop.create_future()
        loop.add_reader(reading, lambda: readable.done() or readable.set_result(None))
        os.write(writing, b"1")
        await readable
        loop.remove_reader(reading)
    finally:
        for end in ends:
            end.close()
        os.close(reading)
        os.close(writing)


class Protocol(asyncio.Protocol):
    def __init__(self):
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        assert asyncio.run(once(data)) == data

    def connection_lost(self, exc):
        self.lost.done() or self.lost.set_result(None)


async def callbacks():
    """Where a loop that is not ours calls back: alone and side by side, with and without a context, from transports; a task that
    leaves a set."""
    loop, seen, tasks = asyncio.get_running_loop(), [], set()
    for n in range(3):
        loop.call_soon(seen.append, n)
    loop.call_soon(seen.append, 3).cancel()
    loop.call_soon(lambda: seen.append(asyncio.run(once(4))), context=contextvars.copy_context())
    loop.call_later(0.001, lambda: seen.append(asyncio.run(once(5))))
    task = loop.create_task(no_wait())
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    await task
    ends = socket.socketpair()
    try:
        made = [await loop.create_connection(Protocol, sock=end) for end in ends]
        made[0][0].write(b"x")
        for _ in range(20):
            await asyncio.sleep(0.001)
            if 5 in seen and not tasks:
                break
        made[0][0].close()
        await asyncio.wait_for(made[1][1].lost, 0.1)
    finally:
        for end in ends:
            end.close()


async def stopped():
    """The loop ends under a run that sleeps."""

    async def inner():
        with contextlib.suppress(RuntimeError):
            asyncio.run(asyncio.sleep(5))

    task = asyncio.create_task(inner())
    await asyncio.sleep(0.001)
    asyncio.get_running_loop().call_soon(task.get_loop().stop)
    await asyncio.sleep(1)


def once_more(program):
    try:
        carry(program)
    except RuntimeError as exc:
        if program is not stopped or "stopped" not in str(exc):
            raise


def left():
    for _ in range(2):
        gc.collect()
    counters = _core._counters()
    return {name: counters[name] for name in ("records", "blocks", "handles", "suspended", "pending")}


def attempt(program, n, exception):
    """What is wrong with what comes of it, or an empty list; and which call has failed."""
    told.clear()
    before, outcome = left(), None
    _core._fault(n, exception)
    signal.setitimer(signal.ITIMER_REAL, HANG, HANG)
    try:
        try:
            once_more(program)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except BaseException as exc:
        outcome = exc
    _, *where = _core._faults()
    said, hung, outcome = repr(outcome), isinstance(outcome, Hang), None
    wrong = []
    gc.collect()  # a task that failed while nobody waited for it says so now
    if hung and not told:
        wrong.append("it hangs, and nothing was told")
    wrong += [one for one in (said, *told) if "SystemError" in one or "AssertionError" in one]
    if asyncio._get_running_loop() is not None:
        wrong.append("a running loop is left")
    try:
        _core._check()
        told.clear()
        once_more(program)
    except BaseException as exc:
        wrong.append(f"afterwards: {exc!r}")
    # a loop that is not found any more cannot be closed: only a class with a __getattribute__ of its own does that
    if where[:1] != ["PyObject_GetOptionalAttr"] and left() != before:
        wrong.append(f"left: {left()}, before: {before}")
    return [f"{what} ({where}; {told})" for what in wrong]


def main(name, kind, whose="asyncio"):
    global new_event_loop
    faulthandler.enable()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")  # of coroutines that could not be begun
    sys.unraisablehook = lambda info: told.append(repr(info.exc_value))
    signal.signal(signal.SIGALRM, hang)
    if whose == "uvloop":
        import uvloop

        new_event_loop = uvloop.new_event_loop
    aionest.apply()
    program, exception = globals()[name], {"MemoryError": MemoryError, "KeyboardInterrupt": KeyboardInterrupt}[kind]
    once_more(program)
    once_more(program)
    _core._fault(0, exception)
    once_more(program)
    calls = _core._faults()[0]
    assert calls > 50, calls
    wrong = []
    for n in range(1, calls + 1):
        faulthandler.dump_traceback_later(STUCK, exit=True)
        wrong += [f"call {n}: {what}" for what in attempt(program, n, exception)]
        faulthandler.cancel_dump_traceback_later()
    print("\n".join(wrong[:20]) or "fine")


if __name__ == "__main__":
    main(*sys.argv[1:])
