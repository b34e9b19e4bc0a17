"""What ToolsLoader costs and saves, against the SDK used directly, the same servers and calls on both sides.

    python -m benchmarks.loader                      the table
    python -m benchmarks.loader --quick              a quick look
    python -m benchmarks.loader --check              and exit status 1 if a target is missed

Contract: each contender runs in a process of its own, with a server process of its own (examples/servers/bare.py), and
aionest is imported where aionest is measured and nowhere else. Those that are compared take turns, a round each, and wait
in between; rounds are short and many, so that what else the machine does hits all alike, and the first is warm-up. A ratio
is the median over the rounds of (this / the other) in the same round, with its quartiles. Contenders that need what is
not installed are left out and named.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib import metadata
from pathlib import Path

SERVER = str(Path(__file__).resolve().parent.parent / "examples" / "servers" / "bare.py")
WEB_SERVER = str(Path(SERVER).with_name("bare_http.py"))
THREADS = 64
TEXT = {"text": "hello"}

BARE = "session.call_tool in a coroutine"
CALL = "loader.call"
CALL_ASYNC = "loader.call_async, any loop"
AT_HOME = "loader.call_async, the portal's loop"
ANYIO = "anyio's portal, session.call_tool"
PER_CALL = "a session per call, SDK"
ADAPTERS = "a session per call, langchain-mcp-adapters"
GATHER = f"gather of {THREADS}, session.call_tool"
CROWD = f"{THREADS} threads, loader.call"
ALONE = "load of a slow server alone"
MIXED = "load of it and 7 quick ones"
ASLEEP = "load of 8 slow ones"
RELOAD = "reload, nothing changed"
STARTED = "processes that a reload starts"
HTTP_BARE = "HTTP, session.call_tool, {} at once"
HTTP_FASTMCP = "HTTP, fastmcp's client, {} at once"
HTTP_CALL = "HTTP, loader.call_async, {} at once"
CROWDS = (1, 16, 64)
SUM_CALL = "loader.call_async, a result with a schema"
PLAIN_CALL = "loader.call_async, a result without a schema"
MANY = 5_000
SAVE = f"ToolsConfig.set and save, one of {MANY} servers"
REWRITE = "the whole file by json.loads, json.dumps"

TARGETS = [
    # what, against, its name, "<=" or ">=", the target
    (MIXED, ALONE, "time to load 8 servers, to the slowest alone", "<=", 1.3),
    (ASLEEP, ALONE, "time to load 8 that mostly wait, to one alone", "<=", 1.3),
    (CALL, BARE, "loader.call, to a bare session in a coroutine", "<=", 1.15),
    (CALL_ASYNC, BARE, "loader.call_async on another loop, to the same", "<=", 1.15),
    (AT_HOME, BARE, "loader.call_async on the portal's loop, to the same", "<=", 1.15),
    (CALL, ANYIO, "loader.call, to anyio's portal with a bare session", "<=", 0.85),
    (PER_CALL, CALL, "a session per call (SDK), to loader.call", ">=", 50),
    (ADAPTERS, CALL, "a session per call (langchain-mcp-adapters), to the same", ">=", 50),
    (SAVE, REWRITE, f"a change saved in a file of {MANY} servers, to json alone", "<=", 1.5),
    *((HTTP_CALL.format(n), HTTP_BARE.format(n), f"HTTP, {n} at once, to a bare session", "<=", 0.8) for n in CROWDS),
    *(
        (HTTP_CALL.format(n), HTTP_FASTMCP.format(n), f"HTTP, {n} at once, to fastmcp's client", "<=", 0.9)
        for n in CROWDS
    ),
    (SUM_CALL, PLAIN_CALL, "a result with a schema, to one without", "<=", 1.15),
    (GATHER, CROWD, f"throughput of {THREADS} threads, to gather with a bare session", ">=", 0.9),
]
ABSOLUTE = [
    # what, its name, factor and unit, less than
    (RELOAD, "reload with nothing changed", 1e3, " ms", 1.0),
    (STARTED, "processes started by it", 1, "", 1),
    (SAVE, f"a change saved in a file of {MANY} servers", 1e3, " ms", 300.0),
]
NEEDS = {ADAPTERS: "langchain_mcp_adapters", ANYIO: "anyio", **{HTTP_FASTMCP.format(n): "fastmcp" for n in CROWDS}}


# ---- contenders: each takes its turns, and says how many seconds one operation took --------------------------------------


class Turns:
    """In the contender's process: a line with a number of operations comes in, a line with the seconds for each goes out."""

    def __init__(self, more: float) -> None:
        self.more = more

    def __iter__(self):
        print("ready", flush=True)
        for line in sys.stdin:
            yield max(1, round(int(line) * self.more))

    def took(self, seconds: float) -> None:
        print(seconds, flush=True)


def server(*args: str) -> dict[str, object]:
    return {"command": sys.executable, "args": [SERVER, *args]}


@contextlib.asynccontextmanager
async def bare_session():
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    parameters = StdioServerParameters(command=sys.executable, args=[SERVER])
    async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        await session.list_tools()  # as adapters do, and as the checking of results needs
        yield session


def take(turns: Turns, operations) -> None:
    for n in turns:
        begin = time.perf_counter()
        operations(n)
        turns.took((time.perf_counter() - begin) / n)


async def take_async(turns: Turns, operation) -> None:
    for n in turns:
        begin = time.perf_counter()
        for _ in range(n):
            await operation()
        turns.took((time.perf_counter() - begin) / n)


def bare(turns: Turns) -> None:
    async def main():
        async with bare_session() as session:
            await take_async(turns, lambda: session.call_tool("echo", TEXT))

    asyncio.run(main())


def gather(turns: Turns) -> None:
    async def main():
        async with bare_session() as session:
            for n in turns:
                each = max(1, n // THREADS)

                async def calls(each=each):
                    for _ in range(each):
                        await session.call_tool("echo", TEXT)

                begin = time.perf_counter()
                await asyncio.gather(*(calls() for _ in range(THREADS)))
                turns.took((time.perf_counter() - begin) / each / THREADS)

    asyncio.run(main())


def anyio_portal(turns: Turns) -> None:
    from anyio.from_thread import start_blocking_portal

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(bare_session()) as session:

        def calls(n):
            for _ in range(n):
                portal.call(session.call_tool, "echo", TEXT)

        take(turns, calls)


def session_per_call(turns: Turns) -> None:
    async def operation():
        async with bare_session() as session:
            await session.call_tool("echo", TEXT)

    asyncio.run(take_async(turns, operation))


def adapters(turns: Turns) -> None:
    async def main():
        from langchain_mcp_adapters.client import MultiServerMCPClient

        client = MultiServerMCPClient({"bare": {**server(), "transport": "stdio"}})
        tool = next(tool for tool in await client.get_tools() if tool.name == "echo")
        await take_async(turns, lambda: tool.ainvoke(TEXT))

    asyncio.run(main())


def loaded(*servers: dict[str, object]):
    from aionest.mcp import ToolsLoader

    given = servers or (server(),)
    return ToolsLoader(config={f"server{number}": one for number, one in enumerate(given)}, strict=True)


def loader_call(turns: Turns) -> None:
    with loaded() as loader:

        def calls(n):
            for _ in range(n):
                loader.call("server0__echo", TEXT)

        take(turns, calls)


def loader_call_async(turns: Turns) -> None:
    with loaded() as loader:
        asyncio.run(take_async(turns, lambda: loader.call_async("server0__echo", TEXT)))


def loader_at_home(turns: Turns) -> None:
    async def calls(n):
        for _ in range(n):
            await loader.call_async("server0__echo", TEXT)

    with loaded() as loader:
        take(turns, lambda n: loader.portal.call(calls, n))


def threads(turns: Turns) -> None:
    with loaded() as loader:
        for n in turns:
            each = max(1, n // THREADS)
            gate = threading.Barrier(THREADS + 1)

            def calls(gate=gate, each=each):
                gate.wait()
                for _ in range(each):
                    loader.call("server0__echo", TEXT)

            crowd = [threading.Thread(target=calls) for _ in range(THREADS)]
            for thread in crowd:
                thread.start()
            begin = time.perf_counter()  # before they can have begun
            gate.wait()
            for thread in crowd:
                thread.join()
            turns.took((time.perf_counter() - begin) / each / THREADS)


def load_of(*servers: dict[str, object]):
    def contender(turns: Turns) -> None:
        from aionest import portal

        portal().call(asyncio.sleep, 0)  # its thread starts once in a process, whatever is loaded
        for _ in turns:
            loader = loaded(*servers)
            begin = time.perf_counter()
            loader.load()
            turns.took(time.perf_counter() - begin)
            loader.cleanup()

    return contender


def reload(turns: Turns, count: bool = False) -> None:
    started = 0

    def audit(event, _):
        nonlocal started
        started += event in ("subprocess.Popen", "os.fork", "os.posix_spawn")

    with loaded(*[server()] * 4) as loader:
        sys.addaudithook(audit)
        for n in turns:
            started, times = 0, []
            for _ in range(n):
                begin = time.perf_counter()
                loader.reload()
                times.append(time.perf_counter() - begin)
            turns.took(started if count else statistics.median(times))


@contextlib.contextmanager
def many_servers():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mcp.json"
        servers = {f"server{number}": {"command": "npx", "args": ["-y", f"p{number}"]} for number in range(MANY)}
        file.write_text(json.dumps({"mcpServers": servers}, indent=2), "utf-8")
        yield file


def save(turns: Turns) -> None:
    from aionest.mcp import ToolsConfig

    with many_servers() as file:
        config = ToolsConfig(file)

        def operations(n):
            for number in range(n):
                config.set(f"server{number * 37 % MANY}", {"command": "uvx", "args": [f"q{time.perf_counter_ns()}"]})
                if not config.save():
                    raise SystemExit(config.get_errors())

        take(turns, operations)


def rewrite(turns: Turns) -> None:
    with many_servers() as file:

        def operations(n):
            for number in range(n):
                found = json.loads(file.read_text("utf-8"))
                found["mcpServers"][f"server{number * 37 % MANY}"]["args"] = [f"q{time.perf_counter_ns()}"]
                new = file.with_suffix(".new")
                with new.open("w", encoding="utf-8") as stream:
                    stream.write(json.dumps(found, indent=2))
                    stream.flush()
                    os.fsync(stream.fileno())
                os.replace(new, file)

        take(turns, operations)


@contextlib.contextmanager
def web_server():
    process = subprocess.Popen([sys.executable, WEB_SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def take_crowd(turns: Turns, crowd: int, operation) -> None:
    for n in turns:
        each = max(1, n // crowd)

        async def calls(each=each):
            for _ in range(each):
                await operation()

        begin = time.perf_counter()
        await asyncio.gather(*(calls() for _ in range(crowd)))
        turns.took((time.perf_counter() - begin) / each / crowd)


def http_bare(crowd: int):
    def contender(turns: Turns) -> None:
        async def main(url):
            from mcp import ClientSession
            from mcp.client.streamable_http import streamable_http_client

            async with streamable_http_client(url) as streams, ClientSession(*streams[:2]) as session:
                # the newest protocol that there is for it, as the others
                await (session.discover() if hasattr(session, "discover") else session.initialize())
                await session.list_tools()
                await take_crowd(turns, crowd, lambda: session.call_tool("echo", TEXT))

        with web_server() as url:
            asyncio.run(main(url))

    return contender


def http_fastmcp(crowd: int):
    def contender(turns: Turns) -> None:
        async def main(url):
            from fastmcp import Client

            async with Client(url) as client:
                await client.list_tools()
                await take_crowd(turns, crowd, lambda: client.call_tool("echo", TEXT))

        with web_server() as url:
            asyncio.run(main(url))

    return contender


def http_loader(crowd: int, tool: str = "echo", arguments=TEXT):
    def contender(turns: Turns) -> None:
        with web_server() as url, loaded({"url": url}) as loader:
            asyncio.run(take_crowd(turns, crowd, lambda: loader.call_async(f"server0__{tool}", arguments)))

    return contender


SLOW, QUICK = server("--fault", "slow"), server()
GROUPS = [
    # rounds, calls in each, {name: (what it does, how many times the calls)}
    (
        60,
        30,
        {
            BARE: (bare, 1),
            CALL: (loader_call, 1),
            CALL_ASYNC: (loader_call_async, 1),
            AT_HOME: (loader_at_home, 1),
            ANYIO: (anyio_portal, 1),
        },
    ),
    (15, 50, {CALL: (loader_call, 1), PER_CALL: (session_per_call, 0.04), ADAPTERS: (adapters, 0.04)}),
    *(
        (
            20,
            max(20, n * 3),
            {
                HTTP_BARE.format(n): (http_bare(n), 1),
                HTTP_FASTMCP.format(n): (http_fastmcp(n), 1),
                HTTP_CALL.format(n): (http_loader(n), 1),
            },
        )
        for n in CROWDS
    ),
    (20, 20, {PLAIN_CALL: (http_loader(1), 1), SUM_CALL: (http_loader(1, "add", {"a": 1, "b": 2}), 1)}),
    (12, THREADS * 25, {GATHER: (gather, 1), CROWD: (threads, 1)}),  # long: the start of the threads is not meant
    (
        7,
        1,
        {
            ALONE: (load_of(SLOW), 1),
            MIXED: (load_of(SLOW, *[QUICK] * 7), 1),
            ASLEEP: (load_of(*[SLOW] * 8), 1),
        },
    ),
    (15, 3, {SAVE: (save, 1), REWRITE: (rewrite, 1)}),
    (7, 100, {RELOAD: (reload, 1), STARTED: (lambda turns: reload(turns, count=True), 1)}),
]
CONTENDERS = {name: contender for _, _, group in GROUPS for name, contender in group.items()}


# ---- taking turns --------------------------------------------------------------------------------------------------------


class Contender:
    def __init__(self, name: str) -> None:
        self.times: list[float] = []
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self.read() != "ready":
            raise SystemExit(f"{name!r} could not begin")

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
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


def measure(names: list[str], rounds: int, calls: int) -> dict[str, list[float]]:
    """The seconds of each contender in each round."""
    contenders: dict[str, Contender] = {}
    try:
        for name in names:
            contenders[name] = Contender(name)
        for turn in range(rounds + 1):
            for contender in contenders.values():
                contender.round(calls, count=turn > 0)
    finally:
        for contender in contenders.values():
            contender.end()
    return {name: contender.times for name, contender in contenders.items()}


def show(times: dict[str, list[float]], tolerance: float, missed: list[str]) -> None:
    """A group's rows; what is missed goes into the list."""
    for what, against, title, sense, target in TARGETS:
        if what not in times or against not in times:
            continue
        ratio, low, high = quartiles([a / b for a, b in zip(times[what], times[against])])
        reached = ratio <= target if sense == "<=" else ratio >= target
        over = ratio > target * (1 + tolerance) if sense == "<=" else ratio < target / (1 + tolerance)
        missed += [title] * over
        own, other = (f"{statistics.median(times[name]) * 1e3:.3f} ms" for name in (what, against))
        print(
            f"| {title} | {own} | {other} | {ratio:.2f} ({low:.2f}-{high:.2f}) | {sense} {target} | "
            f"{'yes' if reached else 'no'} |",
            flush=True,
        )
    for what, title, factor, unit, target in ABSOLUTE:
        if what in times:
            value = statistics.median(times[what]) * factor
            missed += [title] * (value >= target)
            reached = "yes" if value < target else "no"
            print(f"| {title} | {value:.3g}{unit} | | | < {target:g}{unit} | {reached} |", flush=True)


def quartiles(values: list[float]) -> tuple[float, float, float]:
    ordered = sorted(values)
    return statistics.median(ordered), ordered[len(ordered) // 4], ordered[3 * len(ordered) // 4]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loader", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=float, default=1.0, metavar="FACTOR", help="so many times the usual rounds")
    parser.add_argument("--only", action="append", choices=list(CONTENDERS), metavar="CONTENDER", help="some of them")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--check", action="store_true", help="exit status 1 if a target is missed")
    parser.add_argument("--tolerance", type=float, default=0.0, help="with --check: 0.1 allows 10 %% beyond the target")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        what, more = CONTENDERS[options.worker]
        what(Turns(more))
        return 0
    factor = 0.2 if options.quick else options.rounds
    absent = [name for name, module in NEEDS.items() if importlib.util.find_spec(module) is None]
    missed: list[str] = []
    print(
        f"CPython {platform.python_version()}, mcp {metadata.version('mcp')}, {platform.system()}, {os.cpu_count()} CPUs; "
        "medians, quartiles in brackets\n\n"
        "| | this | the other | ratio | target | reached |\n|---|---|---|---|---|---|"
    )
    for rounds, calls, group in GROUPS:
        names = [name for name in group if name not in absent and name in (options.only or CONTENDERS)]
        show(measure(names, max(3, round(rounds * factor)), calls), options.tolerance, missed)
    if absent:
        print(f"\nnot installed, so not measured: {', '.join(absent)}")
    if options.check and missed:
        print(f"\nmissed: {'; '.join(missed)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
