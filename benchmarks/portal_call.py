"""Portal.call against everything else that lets a thread wait for a coroutine, and against the least it can cost; an MCP
session that is kept between runs against one for each call.

    python benchmarks/portal_call.py                 the table
    python benchmarks/portal_call.py --check         and exit status 1 if a target is missed
    python benchmarks/portal_call.py --rounds 3 --calls 50    a quick look

Contract: each contender runs in a process of its own, so that none sees what another did to asyncio; aionest is imported
where aionest is measured and nowhere else. The processes take turns, a round each, and wait in between. What counts are ratios of
medians; times are shown to make sense of them. Rivals that are not installed are left out and named.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

LIMIT = "lock ping-pong"
THREADS = 64
RIVALS = ["run_coroutine_threadsafe", "anyio BlockingPortal", "asgiref async_to_sync"]
TARGETS = [
    # contender, against (several: the best of them), at most
    ("Portal.call", RIVALS, 0.6),
    ("Portal.call", [LIMIT], 1.25),
    ("64 threads, Portal.call", ["64 threads, run_coroutine_threadsafe", "64 threads, anyio BlockingPortal"], 0.6),
    ("Portal.call, own thread", ["nested run"], 1.3),
    ("await hosted value", ["plain await"], 1.05),
    ("kept session, asyncio.run", ["a session per call"], 1 / 50),
]
NEEDS = {
    "anyio BlockingPortal": "anyio",
    "64 threads, anyio BlockingPortal": "anyio",
    "asgiref async_to_sync": "asgiref",
    "kept session, asyncio.run": "mcp",
    "a session per call": "mcp",
}
SERVER = str(Path(__file__).resolve().parent.parent / "examples" / "servers" / "bare.py")


async def noop() -> None:
    pass


# ---- contenders: each yields a function that makes so many calls ----------------------------------------------------------


@contextlib.contextmanager
def lock_ping_pong():
    """Two threads, two locks: what the hand-over alone costs."""
    ping, pong = threading.Lock(), threading.Lock()
    ping.acquire()
    pong.acquire()
    running = True

    def other():
        while True:
            ping.acquire()
            if not running:
                return
            pong.release()

    thread = threading.Thread(target=other, daemon=True)
    thread.start()

    def calls(n):
        for _ in range(n):
            ping.release()
            pong.acquire()

    yield calls
    running = False
    ping.release()
    thread.join()


@contextlib.contextmanager
def portal_call():
    from aionest import Portal

    with Portal() as portal:
        call = portal.call

        def calls(n):
            for _ in range(n):
                call(noop)

        yield calls


@contextlib.contextmanager
def threadsafe():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def calls(n):
        for _ in range(n):
            asyncio.run_coroutine_threadsafe(noop(), loop).result()

    yield calls
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@contextlib.contextmanager
def anyio_portal():
    from anyio.from_thread import start_blocking_portal

    with start_blocking_portal() as portal:

        def calls(n):
            for _ in range(n):
                portal.call(noop)

        yield calls


@contextlib.contextmanager
def crowd(make):
    """The calls of a contender, made by many threads at once."""
    with make() as calls:

        def share(n):
            each = max(1, n // THREADS)
            threads = [threading.Thread(target=calls, args=(each,)) for _ in range(THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        yield share


@contextlib.contextmanager
def asgiref():
    from asgiref.sync import async_to_sync

    function = async_to_sync(noop)

    def calls(n):
        for _ in range(n):
            function()

    yield calls


@contextlib.contextmanager
def on_the_loop(make):
    """For what is measured by code that runs on a portal's loop."""
    from aionest import Portal

    with Portal() as portal:
        body = portal.call(make, portal)

        def calls(n):
            result = portal.run(body(n))
            assert result is None

        yield calls


async def nested_run(portal):
    import aionest

    async def calls(n):
        run = aionest.run
        for _ in range(n):
            run(noop())

    return Wrapped(calls)


async def own_thread(portal):
    async def calls(n):
        call = portal.call
        for _ in range(n):
            call(noop)

    return Wrapped(calls)


class Wrapped:
    """A coroutine function as a result."""

    def __init__(self, function):
        self.function = function

    def __call__(self, n):
        return self.function(n)


class Service:
    async def use(self):
        pass


@contextlib.asynccontextmanager
async def service():
    yield Service()


async def plain_await(portal):
    value = Service()

    async def calls(n):
        use = value.use
        for _ in range(n):
            await use()

    return Wrapped(calls)


async def hosted_await(portal):
    from aionest import hosted

    handle = hosted(service())
    value = await handle.enter()

    async def calls(n):
        use = value.use
        for _ in range(n):
            await use()

    calls.keep = handle
    return Wrapped(calls)


@contextlib.asynccontextmanager
async def mcp_session():
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    async with stdio_client(StdioServerParameters(command=sys.executable, args=[SERVER])) as streams:
        async with ClientSession(*streams) as session:
            await session.initialize()
            yield session


@contextlib.contextmanager
def kept_session():
    """Entered in one run, used in as many as there are calls, left in another."""
    import aionest

    aionest.apply()
    cm = mcp_session()
    session = asyncio.run(cm.__aenter__())

    def calls(n):
        for _ in range(n):
            asyncio.run(session.call_tool("echo", {"text": "hello"}))

    yield calls
    asyncio.run(cm.__aexit__(None, None, None))


@contextlib.contextmanager
def session_per_call():
    async def call():
        async with mcp_session() as session:
            await session.call_tool("echo", {"text": "hello"})

    def calls(n):
        for _ in range(n):
            asyncio.run(call())

    yield calls


CONTENDERS = {
    LIMIT: (lock_ping_pong, 1),
    "Portal.call": (portal_call, 1),
    "run_coroutine_threadsafe": (threadsafe, 1),
    "anyio BlockingPortal": (anyio_portal, 1),
    "asgiref async_to_sync": (asgiref, 1),
    # many each: the start of the threads is not meant
    "64 threads, Portal.call": (lambda: crowd(portal_call), 20),
    "64 threads, run_coroutine_threadsafe": (lambda: crowd(threadsafe), 20),
    "64 threads, anyio BlockingPortal": (lambda: crowd(anyio_portal), 20),
    "nested run": (lambda: on_the_loop(nested_run), 10),
    "Portal.call, own thread": (lambda: on_the_loop(own_thread), 10),
    "plain await": (lambda: on_the_loop(plain_await), 100),
    "await hosted value": (lambda: on_the_loop(hosted_await), 100),
    "kept session, asyncio.run": (kept_session, 0.1),
    "a session per call": (session_per_call, 0.004),
}


# ---- taking turns -----------------------------------------------------------------------------------------------------------


def work(name: str) -> None:
    """In the contender's process: a line with a number of calls comes in, a line with the seconds for each goes out."""
    make, more = CONTENDERS[name]
    with make() as calls:
        calls(2)
        print("ready", flush=True)
        for line in sys.stdin:
            n = max(1, round(int(line) * more))
            begin = time.perf_counter()
            calls(n)
            print((time.perf_counter() - begin) / n, flush=True)


class Contender:
    def __init__(self, name: str) -> None:
        self.name = name
        self.times: list[float] = []
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self.read() != "ready":
            raise SystemExit(f"{name} could not begin")

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def round(self, calls: int, count: bool) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{calls}\n")
        self.process.stdin.flush()
        seconds = float(self.read())
        if count:
            self.times.append(seconds)

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def measure(rounds: int, calls: int, names: list[str] | None = None) -> dict[str, list[float]]:
    there = [n for n in names or CONTENDERS if n not in NEEDS or importlib.util.find_spec(NEEDS[n]) is not None]
    contenders = [Contender(name) for name in there]
    for turn in range(rounds + 1):
        for contender in contenders:
            contender.round(calls, count=turn > 0)
    for contender in contenders:
        contender.end()
    return {contender.name: contender.times for contender in contenders}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--calls", type=int, default=300, help="calls in each round")
    parser.add_argument("--check", action="store_true", help="exit status 1 if a target is missed")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return 0
    times = measure(options.rounds, options.calls)
    missing = [name for name in CONTENDERS if name not in times]
    print(f"CPython {platform.python_version()}, {os.cpu_count()} CPUs; medians of {options.rounds} rounds in turns\n")
    print("| | median | fastest round |\n|---|---|---|")
    for name, values in times.items():
        print(f"| {name} | {statistics.median(values) * 1e6:.2f} us | {min(values) * 1e6:.2f} us |")
    print("\n| ratio | measured | at most |\n|---|---|---|")
    missed = 0
    for name, against, limit in TARGETS:
        rivals = [rival for rival in against if rival in times]
        if not rivals:
            continue
        best = min(rivals, key=lambda rival: statistics.median(times[rival]))
        ratio = statistics.median(times[name]) / statistics.median(times[best])
        missed += ratio > limit
        print(f"| {name} / {best} | {ratio:.3g} | {limit:.3g} |")
    if missing:
        print(f"\nnot installed, so not measured: {', '.join(missing)}")
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
