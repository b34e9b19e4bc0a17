"""One implementation in a process of its own: reads `workload scale` lines, answers with seconds (or bytes) per operation.

The parent asks the children in turn, so the machine's drift hits all alike. Garbage collection is as it is by default.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
import subprocess
import sys
import time

from _tree import WORKLOADS

IMPLEMENTATION = sys.argv[1]
clock = time.perf_counter

if IMPLEMENTATION == "aionest":
    import aionest

    aionest.apply(close_loop=True)
elif IMPLEMENTATION in ("nest_asyncio", "nest_asyncio2"):
    __import__(IMPLEMENTATION).apply()
elif IMPLEMENTATION == "greenback":
    import greenback


def new_loop():
    if IMPLEMENTATION == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    loop = asyncio.new_event_loop()
    if IMPLEMENTATION in ("nest_asyncio", "nest_asyncio2"):
        __import__(IMPLEMENTATION).apply(loop)
    return loop


async def noop():
    return 1


async def task_switch(scale):
    rounds = max(1, int(400 * scale))

    async def worker():
        for _ in range(rounds):
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(worker()) for _ in range(100)]
    start = clock()
    await asyncio.gather(*tasks)
    return (clock() - start) / rounds / 100


async def create_task(scale):
    n = max(1, int(40_000 * scale))
    start = clock()
    for _ in range(n):
        await asyncio.create_task(noop())
    return (clock() - start) / n


async def queues(scale):
    n = max(1, int(15_000 * scale))
    there, back = asyncio.Queue(), asyncio.Queue()

    async def ping():
        for i in range(n):
            await there.put(i)
            await back.get()

    async def pong():
        for i in range(n):
            await there.get()
            await back.put(i)

    start = clock()
    await asyncio.gather(ping(), pong())
    return (clock() - start) / n


async def call_soon(scale):
    n = max(1, int(100_000 * scale))
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    count = 0

    def step():
        nonlocal count
        count += 1
        if count < n:
            loop.call_soon(step)
        else:
            done.set_result(None)

    start = clock()
    loop.call_soon(step)
    await done
    return (clock() - start) / n


async def timers(scale):
    n = max(1, int(40_000 * scale))
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    rnd = random.Random(1)
    count = 0

    def due():
        nonlocal count
        count += 1
        if count == n:
            done.set_result(None)

    start = clock()
    now = loop.time()
    for _ in range(n):
        loop.call_at(now + rnd.random() * 0.01, due)
    await done
    return (clock() - start) / n


async def timeout(scale):
    n = max(1, int(30_000 * scale))
    start = clock()
    for _ in range(n):
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
    return (clock() - start) / n


async def stream_echo(scale):
    n = max(1, int(8_000 * scale))
    a, b = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=a)
    echo_reader, echo_writer = await asyncio.open_connection(sock=b)
    message = b"x" * 64

    async def echo():
        for _ in range(n):
            echo_writer.write(await echo_reader.readexactly(64))

    async def client():
        for _ in range(n):
            writer.write(message)
            await reader.readexactly(64)

    start = clock()
    await asyncio.gather(echo(), client())
    seconds = (clock() - start) / n
    for w in (writer, echo_writer):
        w.close()
    await asyncio.sleep(0.01)
    return seconds


async def nested(scale):
    n = max(1, int(30_000 * scale))
    loop = asyncio.get_running_loop()
    run = asyncio.run if IMPLEMENTATION == "aionest" else loop.run_until_complete
    start = clock()
    for _ in range(n):
        run(noop())
    return (clock() - start) / n


def await_function():
    return aionest.await_ if IMPLEMENTATION == "aionest" else greenback.await_


async def prepare():
    if IMPLEMENTATION == "greenback":
        await greenback.ensure_portal()


async def await_value(scale):
    await prepare()
    n, await_ = max(1, int(60_000 * scale)), await_function()
    start = clock()
    for _ in range(n):
        await_(noop())
    return (clock() - start) / n


async def await_sleep0(scale):
    await prepare()
    n, await_ = max(1, int(40_000 * scale)), await_function()
    start = clock()
    for _ in range(n):
        await_(asyncio.sleep(0))
    return (clock() - start) / n


def rss():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def suspended(scale):
    """N tasks, each waiting for one event from synchronous code: seconds and bytes each, memory of a plain task off."""
    n, await_ = max(1, int(20_000 * scale)), await_function()

    async def plain(gate):
        await gate.wait()

    def sync(gate):
        await_(gate.wait())

    async def caller(gate):
        await prepare()
        sync(gate)

    async def measure(f):
        gc.collect()
        gate, before, start = asyncio.Event(), rss(), clock()
        tasks = [asyncio.create_task(f(gate)) for _ in range(n)]
        for _ in range(5):
            await asyncio.sleep(0)
        size = rss() - before
        gate.set()
        await asyncio.gather(*tasks)
        return (clock() - start) / n, size / n

    return await measure(caller)


async def suspended_time(scale):
    return (await suspended(scale))[0]


async def suspended_memory(scale):
    return (await suspended(scale))[1]


def top_level(scale):
    """Whole runs that do nothing: mainly a loop that is made and closed."""
    n = max(1, int(2_000 * scale))
    start = clock()
    for _ in range(n):
        asyncio.run(noop())
    return (clock() - start) / n


def import_time():
    """Inside a new process, once asyncio is there: the start of two processes differs by more than what is measured."""
    what = "import aionest; aionest.apply()" if IMPLEMENTATION == "aionest" else "pass"
    code = f"import asyncio, time; start = time.perf_counter(); {what}; print(time.perf_counter() - start)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE).stdout)


def answer(workload, scale):
    if workload == "import":
        return import_time()
    if workload == "top_level":
        return top_level(scale)
    loop = new_loop()
    try:
        return loop.run_until_complete((WORKLOADS.get(workload) or globals()[workload])(scale))
    finally:
        loop.close()


for line in sys.stdin:
    name, scale = line.split()
    print(answer(name, float(scale)), flush=True)
