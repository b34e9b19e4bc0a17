"""uvloop with aionest applied against uvloop alone: what wrapping its callbacks costs, and what a nested run takes there.

    python -m benchmarks.foreign [--rounds N]

Each side is a process of its own, asked in turn, so the machine's drift hits both alike. Prints medians of ratios. The server rows
are the processor time of a uvicorn server for the same requests; the last row is the resident memory of a run that sleeps, in processes
of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time

CLOCK = time.perf_counter
WORKLOADS = ["task switch", "call_soon", "call_soon, 10 at once", "stream echo", "hello", "nested run", "suspended run"]
SIDES = ["alone", "aionest", "asyncio"]  # the last one for nested runs only


async def task_switch(n):
    async def worker():
        for _ in range(n // 100):
            await asyncio.sleep(0)

    begin = CLOCK()
    await asyncio.gather(*(worker() for _ in range(100)))
    return (CLOCK() - begin) / n


async def call_soon(n):
    loop, done, left = asyncio.get_running_loop(), asyncio.Event(), n

    def step():
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(step)
        else:
            done.set()

    begin = CLOCK()
    step()
    await done.wait()
    return (CLOCK() - begin) / n


async def call_soon_10(n):
    """Ten callbacks in each turn of the loop."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def step(left):
        if left:
            loop.call_soon(step, left - 1)
        else:
            done.set()

    begin = CLOCK()
    for _ in range(10):
        loop.call_soon(step, n // 10)
    await done.wait()
    return (CLOCK() - begin) / n


async def stream_echo(n):
    """Processor time: the client is part of it, on both sides."""
    left, right = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=left)
    other_reader, other_writer = await asyncio.open_connection(sock=right)

    async def echo():
        while data := await other_reader.read(64):
            other_writer.write(data)

    task = asyncio.create_task(echo())
    begin = time.process_time()
    for _ in range(n // 10):
        writer.write(b"x" * 64)
        await reader.readexactly(64)
    used = time.process_time() - begin
    writer.close()
    await task
    other_writer.close()
    return used / (n // 10)


async def nested_run(n):
    async def inner():
        await asyncio.sleep(0)

    async def caller():
        for _ in range(n // 200):
            asyncio.run(inner())
            await asyncio.sleep(0)

    begin = CLOCK()
    await asyncio.gather(*(caller() for _ in range(10)))
    return (CLOCK() - begin) / (n // 200 * 10)


async def suspended(n):
    """Bytes of resident memory for each of n nested runs that sleep at once."""

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    go, asleep = asyncio.Event(), 0

    async def inner():
        nonlocal asleep
        asleep += 1
        await go.wait()

    async def caller():
        asyncio.run(inner())

    before = resident()
    tasks = [asyncio.create_task(caller()) for _ in range(n // 2)]
    while asleep < n // 2:
        await asyncio.sleep(0)
    used = resident() - before
    go.set()
    await asyncio.gather(*tasks)
    return used / (n // 2)


def hello(n):
    """Processor time of the server's thread for a request."""
    import uvicorn

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})

    server = uvicorn.Server(
        uvicorn.Config(app, port=0, loop="uvloop", http="httptools", log_level="error", lifespan="off")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not (server.started and server.servers):
        time.sleep(0.01)
    clock = time.pthread_getcpuclockid(thread.ident)
    address = server.servers[0].sockets[0].getsockname()
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(address) as client:
        for i in range(n // 20 + 100):
            if i == 100:
                begin = time.clock_gettime(clock)
            client.sendall(request)
            while not client.recv(4096).endswith(b"hello"):
                pass
        used = time.clock_gettime(clock) - begin
    server.should_exit = True
    thread.join()
    return used / (n // 20)


def child(side):
    if side != "alone":
        import aionest

        aionest.apply()
    functions = {
        "task switch": task_switch,
        "call_soon": call_soon,
        "call_soon, 10 at once": call_soon_10,
        "stream echo": stream_echo,
        "nested run": nested_run,
        "suspended run": suspended,
    }
    for line in sys.stdin:
        workload, n = json.loads(line)
        if workload == "hello":
            result = hello(n)
        else:
            import uvloop

            loop = asyncio.new_event_loop() if side == "asyncio" else uvloop.new_event_loop()
            result = loop.run_until_complete(functions[workload](n))
            loop.close()
        print(json.dumps(result), flush=True)


class Child:
    def __init__(self, side):
        command = [sys.executable, "-m", "benchmarks.foreign", "--child", side]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
        )

    def ask(self, workload, n):
        self.process.stdin.write(json.dumps([workload, n]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def quartiles(values):
    """Between the least and the greatest of them, however few there are."""
    return statistics.quantiles(values, n=4, method="inclusive")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--scale", type=int, default=40_000, help="callbacks per measurement")
    parser.add_argument("--child", choices=SIDES)
    args = parser.parse_args()
    if args.child:
        child(args.child)
        return
    children = {side: Child(side) for side in SIDES}
    print(f"{'workload':22}{'reference':>12}{'ratio':>8}   quartiles")
    for workload in WORKLOADS:
        base = "asyncio" if workload.endswith(" run") else "alone"
        ratios, times = [], []
        for _ in range(args.rounds + 1):
            if workload == "suspended run":  # what a process has once got, it keeps
                for one in children.values():
                    one.end()
                children = {side: Child(side) for side in SIDES}
            reference = children[base].ask(workload, args.scale)
            ratios.append(children["aionest"].ask(workload, args.scale) / reference)
            times.append(reference)
        low, middle, high = quartiles(ratios[1:])  # the first one warms up
        reference = statistics.median(times)
        amount = f"{reference / 1024:9.2f} KB" if workload == "suspended run" else f"{reference * 1e6:9.2f} us"
        print(f"{workload:22}{amount}{middle:8.2f}   {low:.2f} to {high:.2f}", flush=True)
    for one in children.values():
        one.end()


if __name__ == "__main__":
    main()
