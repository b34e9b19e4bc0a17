"""Programs that replace, while a run is on, what asyncio looks up at each turn. Each gives a value that can be compared.

Run as a script: every program's value as JSON; with the argument ``aionest`` after ``apply()``.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import sys
import time
from asyncio import base_events, events
from collections import deque
from contextlib import contextmanager
from unittest import mock

PROGRAMS = {}


def program(function):
    PROGRAMS[function.__name__] = function
    return function


async def turns(number=3):
    for _ in range(number):
        await asyncio.sleep(0)


@contextmanager
def replaced(owner, name, value):
    """setattr for a while, without mock's own ways."""
    before = vars(owner).get(name, replaced)
    setattr(owner, name, value)
    try:
        yield
    finally:
        delattr(owner, name) if before is replaced else setattr(owner, name, before)


# ---- clocks -----------------------------------------------------------------------------------------------------------


@program
async def one_after_another():
    """The first program, since later a loop's __dict__ may look otherwise. Each is put back before the next is replaced."""
    loop, called = asyncio.get_running_loop(), []
    for name in ("call_at", "_run_once", "_process_events", "time", "_timer_handle_cancelled", "_check_closed"):
        before = getattr(loop, name)

        def replacement(*args, name=name, before=before, **kwargs):
            called.append(name)
            return before(*args, **kwargs)

        setattr(loop, name, replacement)
        await asyncio.sleep(0.001)
        loop.call_later(10, len).cancel()
        delattr(loop, name)
    return sorted(set(called))


async def fires(patch):
    loop = asyncio.get_running_loop()
    fired = []
    loop.call_later(100, fired.append, "late")
    later = loop.time() + 101
    with patch(loop, later):
        await turns()
        seen = loop.time() == later
        loop.call_later(5, fired.append, "too late")
        at = max(handle.when() for handle in loop._scheduled) == later + 5
        await turns()
    back = loop.time() < later
    loop.call_later(0, fired.append, "back")
    await asyncio.sleep(0.02)
    return [fired, seen, at, back]


@program
async def time_of_the_loop():
    return await fires(lambda loop, later: mock.patch.object(loop, "time", return_value=later))


@program
async def time_of_the_class():
    return await fires(lambda loop, later: mock.patch.object(base_events.BaseEventLoop, "time", return_value=later))


@program
async def time_of_a_class_between():
    return await fires(lambda loop, later: replaced(type(loop), "time", lambda self: later))


@program
async def time_monotonic():
    return await fires(lambda loop, later: mock.patch.object(time, "monotonic", return_value=later))


@program
async def module_of_the_clock():
    fake = mock.Mock(wraps=time)
    return await fires(
        lambda loop, later: mock.patch.object(base_events, "time", mock.Mock(wraps=fake, monotonic=lambda: later))
    )


@program
async def time_written_into_the_dictionary():
    loop, fired = asyncio.get_running_loop(), []
    loop.call_later(100, fired.append, 1)
    later = loop.time() + 101
    vars(loop)["time"] = lambda: later
    await turns()
    del vars(loop)["time"]
    return fired


@program
async def time_in_the_same_turn():
    """The clock is moved, read and put back by one callback."""
    loop = asyncio.get_running_loop()
    with mock.patch.object(loop, "time", return_value=1e9):
        first = loop.call_later(1, print).when()
    with mock.patch.object(time, "monotonic", return_value=2e9):
        second = loop.call_later(1, print).when()
    third = loop.call_later(1, print).when()
    return [first, second, third < 1e8]


@program
async def time_is_asked_as_often():
    loop = asyncio.get_running_loop()
    with mock.patch.object(loop, "time", return_value=loop.time()) as asked:
        await turns(5)
    return asked.call_count


@program
async def virtual_time():
    """As looptime does: a sleep that is not slept."""
    loop, now = asyncio.get_running_loop(), [0.0]
    select, start = loop._selector.select, time.perf_counter()
    real = loop.time()

    def select_at_once(timeout):
        now[0] += timeout or 0
        return select(0)

    with (
        mock.patch.object(loop, "time", lambda: real + now[0]),
        mock.patch.object(loop._selector, "select", select_at_once),
    ):
        await asyncio.sleep(3600)
        slept = round(loop.time() - real)
    return [slept, time.perf_counter() - start < 100]


@program
async def resolution_of_the_clock():
    loop, fired = asyncio.get_running_loop(), []
    loop.call_later(100, fired.append, 1)
    with replaced(loop, "_clock_resolution", 1000.0):
        await turns()
    return fired


# ---- the turn ---------------------------------------------------------------------------------------------------------


@program
async def run_once_of_the_loop():
    loop, count = asyncio.get_running_loop(), []
    before = loop._run_once

    def run_once():
        count.append(1)
        before()

    loop._run_once = run_once
    await turns(4)
    del loop._run_once
    await turns(4)
    return len(count)


@program
async def run_once_of_the_class():
    count = []
    before = base_events.BaseEventLoop._run_once

    def run_once(self):
        count.append(1)
        before(self)

    with replaced(base_events.BaseEventLoop, "_run_once", run_once):
        await turns(4)
    await turns(4)
    return len(count)


@program
async def run_once_does_not_cut_the_turn_short():
    loop, order = asyncio.get_running_loop(), []
    before = loop._run_once

    def run_once():
        order.append("turn")
        before()

    loop.call_soon(setattr, loop, "_run_once", run_once)
    for i in range(3):
        loop.call_soon(order.append, i)
    await turns(2)
    del loop._run_once
    return order


@program
async def handle_run():
    """Tools that look for slow callbacks replace Handle._run."""
    names, before = [], events.Handle._run

    def run(self):
        names.append(getattr(self._callback, "__name__", "?"))
        return before(self)

    def mine():
        pass

    loop = asyncio.get_running_loop()
    with replaced(events.Handle, "_run", run):
        await turns(1)
        loop.call_soon(mine)
        loop.call_later(0, mine)
        await asyncio.sleep(0.02)
    loop.call_soon(mine)
    await turns(2)
    return names.count("mine")


# ---- what puts into the queues ----------------------------------------------------------------------------------------


@program
async def call_soon():
    loop, asked = asyncio.get_running_loop(), []
    before = loop.call_soon

    def call_soon(callback, *args, context=None):
        asked.append(getattr(callback, "__name__", "?"))
        return before(callback, *args, context=context)

    with replaced(loop, "call_soon", call_soon):
        await turns(1)
        loop.call_soon(len, "x")
        loop.create_task(turns(1))
        asyncio.gather(turns(0))
        await turns(3)
    loop.call_soon(len, "x")
    return asked


@program
async def call_soon_inside():
    loop, asked = asyncio.get_running_loop(), []
    before = loop._call_soon

    def call_soon(callback, args, context):
        asked.append(getattr(callback, "__name__", "?"))
        return before(callback, args, context)

    with replaced(loop, "_call_soon", call_soon):
        loop.call_soon(len, "x")
        loop.call_soon_threadsafe(len, "x")
    loop.call_soon(len, "x")
    return asked


@program
async def check_closed():
    loop, asked = asyncio.get_running_loop(), []
    with replaced(loop, "_check_closed", lambda: asked.append(1)):
        loop.call_soon(len, "x")
        loop.call_at(0, len, "x")
    loop.call_soon(len, "x")
    return len(asked)


@program
async def call_at():
    loop, asked = asyncio.get_running_loop(), []
    before = loop.call_at

    def call_at(when, callback, *args, context=None):
        asked.append(callback.__name__)
        return before(when, callback, *args, context=context)

    with replaced(loop, "call_at", call_at):
        loop.call_later(0, len, "x")
        await asyncio.sleep(0.001)
    loop.call_later(0, len, "x")
    return asked


@program
async def timer_handle_cancelled():
    loop, told = asyncio.get_running_loop(), []
    first, second, third = (loop.call_later(10, len, "x") for _ in range(3))
    first.cancel()
    with mock.patch.object(loop, "_timer_handle_cancelled", side_effect=told.append):
        second.cancel()
    third.cancel()
    return [len(told), told[0] is second]


@program
async def create_task():
    loop = asyncio.get_running_loop()
    with mock.patch.object(loop, "create_task", wraps=loop.create_task) as made:
        await asyncio.gather(turns(1), turns(1))
    return made.call_count


@program
async def task_factory():
    loop, made = asyncio.get_running_loop(), []

    def factory(loop, coro, **kwargs):
        made.append(coro.__name__)
        return asyncio.Task(coro, loop=loop, **kwargs)

    loop.set_task_factory(factory)
    await asyncio.gather(turns(1))
    loop.set_task_factory(None)
    await asyncio.gather(turns(1))
    return made


@program
async def ready():
    loop, order = asyncio.get_running_loop(), []
    loop.call_soon(order.append, 1)
    loop._ready = deque([*loop._ready, events.Handle(order.append, (2,), loop)])
    await turns(2)
    return [order, len(loop._ready)]


@program
async def scheduled():
    loop, fired = asyncio.get_running_loop(), []
    loop.call_later(0, fired.append, "dropped")
    before, loop._scheduled = loop._scheduled, []
    loop.call_later(0, fired.append, "kept")
    await asyncio.sleep(0.01)
    return [fired, len(before), len(loop._scheduled)]


@program
async def get_debug():
    loop = asyncio.get_running_loop()
    with mock.patch.object(loop, "get_debug", return_value=True):
        handle, future = loop.call_soon(len, "x"), loop.create_future()
        made = [handle._source_traceback is not None, future._source_traceback is not None]
        handle.cancel()
        shown = "len('x')" in repr(handle)
    handle = loop.call_soon(len, "x")
    return [*made, shown, handle._source_traceback is None]


@program
async def debug():
    loop, told = asyncio.get_running_loop(), []
    with mock.patch.object(base_events.logger, "warning", side_effect=lambda text, *args: told.append(text)):
        with replaced(loop, "slow_callback_duration", 0.01):
            loop._debug = True
            loop.call_soon(time.sleep, 0.02)
            await turns(2)
            loop._debug = False
            loop.call_soon(time.sleep, 0.02)
            await turns(2)
    return told


# ---- errors -----------------------------------------------------------------------------------------------------------


@program
async def default_exception_handler():
    loop, told = asyncio.get_running_loop(), []
    with mock.patch.object(
        loop, "default_exception_handler", side_effect=lambda context: told.append(context["message"][:21])
    ):
        loop.call_soon(int, "x")
        await turns(2)
    with mock.patch.object(
        base_events.BaseEventLoop,
        "default_exception_handler",
        lambda self, context: told.append(str(context["exception"])[:7]),
    ):
        loop.call_soon(int, "x")
        await turns(2)
    return told


@program
async def call_exception_handler():
    loop, told = asyncio.get_running_loop(), []
    with mock.patch.object(loop, "call_exception_handler", side_effect=lambda context: told.append(sorted(context))):
        loop.call_soon(int, "x")
        await turns(2)
    return told


# ---- the selector -----------------------------------------------------------------------------------------------------


@program
async def selector_of_the_loop():
    loop = asyncio.get_running_loop()
    asked = []

    class Selector:
        def __init__(self, inner):
            self.inner = inner

        def select(self, timeout):
            asked.append(timeout)
            return self.inner.select(timeout)

        def __getattr__(self, name):
            return getattr(self.inner, name)

    before, loop._selector = loop._selector, Selector(loop._selector)
    await turns(3)
    loop._selector = before
    await turns(3)
    return asked


@program
async def select_of_the_selector():
    loop = asyncio.get_running_loop()
    with mock.patch.object(loop._selector, "select", wraps=loop._selector.select) as select:
        await turns(3)
    await turns(3)
    return [call.args for call in select.mock_calls]


@program
async def select_of_the_class():
    kind, asked = selectors.DefaultSelector, []
    before = kind.select

    def select(self, timeout=None):
        asked.append(timeout)
        return before(self, timeout)

    with replaced(kind, "select", select):
        await turns(3)
    await turns(3)
    return asked


@program
async def process_events():
    loop, events_seen = asyncio.get_running_loop(), []
    before = loop._process_events

    def process_events(event_list):
        events_seen.append(len(event_list))
        before(event_list)

    with replaced(loop, "_process_events", process_events):
        await turns(3)
    await turns(3)
    return events_seen


@program
async def write_to_self():
    loop = asyncio.get_running_loop()
    with mock.patch.object(loop, "_write_to_self", wraps=loop._write_to_self) as write:
        loop.call_soon_threadsafe(len, "x")
        await turns(2)
    loop.call_soon_threadsafe(len, "x")
    return write.call_count


# ---- sockets ----------------------------------------------------------------------------------------------------------


@program
async def send_and_recv_of_the_class():
    here, there = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=here)
    other_reader, other = await asyncio.open_connection(sock=there)
    called = []

    def counting(name):
        before = getattr(socket.socket, name)

        def method(self, *args):
            called.append(name)
            return before(self, *args)

        return replaced(socket.socket, name, method)

    with counting("send"), counting("recv"):
        writer.write(data=b"one")
        called.append(bytes(await other_reader.readexactly(3)).decode())
    other.write(b"two")
    called.append((await reader.readexactly(3)).decode())
    writer.close()
    other.close()
    return called


# ---- constants --------------------------------------------------------------------------------------------------------


@program
async def when_cancelled_timers_are_swept():
    loop = asyncio.get_running_loop()
    with mock.patch.object(base_events, "_MIN_SCHEDULED_TIMER_HANDLES", 4):
        await turns(1)
        keep = loop.call_later(50, len, "x")
        for handle in [loop.call_later(100, len, "x") for _ in range(6)]:
            handle.cancel()
        await turns(2)
        left = len(loop._scheduled)
    keep.cancel()
    return left


@program
async def longest_sleep():
    loop = asyncio.get_running_loop()
    loop.call_later(1e6, len, "x")
    with mock.patch.object(loop._selector, "select", wraps=loop._selector.select) as select:
        with mock.patch.object(base_events, "MAXIMUM_SELECT_TIMEOUT", 0.01):
            loop.call_soon(lambda: asyncio.get_running_loop().call_later(1e7, len, "x"))
            thread = asyncio.to_thread(time.sleep, 0.05)
            await thread
    return 0.01 in [call.args[0] for call in select.mock_calls]


if __name__ == "__main__":
    if sys.argv[1:] == ["aionest"]:
        import aionest

        aionest.apply(close_loop=True)
    json.dump({name: asyncio.run(function()) for name, function in PROGRAMS.items()}, sys.stdout)
