"""What a foreign loop has on its own stack while it calls back stays in place: libuv keeps lists there, which its functions change."""

from __future__ import annotations

import sys

import pytest

if sys.version_info >= (3, 14):
    pytest.skip("uvloop is missing", allow_module_level=True)
pytest.importorskip("uvloop")

BEGIN = """
import asyncio, functools, os, socket, sys, threading, time
import uvloop
import aionest
aionest.apply()

def timers(loop, *callbacks):
    "All are due in the same turn of the loop."
    handles = [loop.call_later(0.002, c) for c in callbacks]
    end = time.monotonic() + 0.02
    while time.monotonic() < end:
        pass
    return handles

async def a_while():
    await asyncio.sleep(0.02)

async def nests():
    asyncio.run(asyncio.sleep(0))

def deeper(n, f):
    "Called with more on the C stack."
    return f() if n == 0 else functools.reduce(lambda *_: deeper(n - 1, f), (0, 0))
"""


GUEST = """
def guest(program):
    "With hubs idle that began for the outer loop: above the guest's frames."
    async def main():
        for _ in range(3):
            await asyncio.gather(*[nests() for _ in range(6)])
            inner = uvloop.new_event_loop()
            try:
                inner.run_until_complete(program())
            finally:
                inner.close()
    uvloop.run(main())
"""


def test_a_timer_of_a_guest_cancels_others_that_are_due(child):
    r = child(
        BEGIN
        + GUEST
        + """
async def program():
    handles = []
    def first():
        for handle in handles[1:]:
            handle.cancel()
        print("first")
    handles += timers(asyncio.get_running_loop(), first, *[lambda: print("cancelled")] * 3)
    await a_while()

guest(program)
""",
        dev=False,  # debug mode has other callbacks
    )
    assert r.stdout.split() == ["first"] * 3, r.stderr


def test_a_reader_of_a_guest_removes_others_that_are_ready(child):
    r = child(
        BEGIN
        + GUEST
        + """
async def program():
    loop, pairs = asyncio.get_running_loop(), [socket.socketpair() for _ in range(40)]
    def ready(mine):
        print("ready")
        for mine, other in pairs:
            loop.remove_reader(mine)
            mine.close()
            other.close()
    for mine, other in pairs:
        loop.add_reader(mine, ready, mine)
        other.send(b"x")
    await a_while()

guest(program)
""",
        dev=False,
    )
    assert r.stdout.split() == ["ready"] * 3, r.stderr


def test_a_run_that_began_above_the_loop_goes_on_from_its_queue_only(child):
    """It slept in a run of the loop that stood higher on the stack. A future of somebody's own wakes it amid the timers."""
    r = child(
        BEGIN
        + """
class Direct(asyncio.Future):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.callbacks = []
    def add_done_callback(self, callback, **kwargs):
        self.callbacks.append(callback)
    def set_result(self, value):
        super().set_result(value)
        for callback in self.callbacks:
            callback(self)

async def sleeps(future, handles, told):
    aionest.block_on(future)
    told.append("awake")
    for handle in handles:
        handle.cancel()

async def second(future, handles, told):
    handles += timers(asyncio.get_running_loop(), lambda: future.set_result(1), *[lambda: told.append("timer")] * 3)
    await a_while()

loop = uvloop.new_event_loop()
future, handles, told = Direct(loop=loop), [], []
task = loop.create_task(sleeps(future, handles, told))
loop.run_until_complete(asyncio.sleep(0))
deeper(200, lambda: loop.run_until_complete(second(future, handles, told)))
loop.run_until_complete(task)
loop.close()
print(*told)
""",
        dev=False,
    )
    assert r.stdout.split() == ["timer"] * 3 + ["awake"], r.stderr


@pytest.mark.parametrize("outer", ["asyncio", "uvloop"])
def test_a_guest_does_not_stand_deeper_each_time(outer, child):
    """Each of many runs sleeps on a stack that a guest's loop may have been on before."""
    r = child(
        BEGIN
        + """
async def program(n):
    await asyncio.gather(*[nests() for _ in range(n)])

def guest(n):
    inner = uvloop.new_event_loop()
    try:
        inner.run_until_complete(program(n))
    finally:
        inner.close()

async def waits(event):
    asyncio.run(event.wait())

async def main():
    event, tasks = asyncio.Event(), []
    for _ in range(100):
        tasks.append(asyncio.ensure_future(waits(event)))
        await asyncio.sleep(0)
        guest(3)
    event.set()
    await asyncio.gather(*tasks)

def thread():
    loop = uvloop.new_event_loop() if sys.argv[1] == "uvloop" else asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    print("done")

threading.stack_size(1024 * 1024)
thread = threading.Thread(target=thread)
thread.start()
thread.join()
""",
        outer,
    )
    assert r.stdout == "done\n", r.stderr
