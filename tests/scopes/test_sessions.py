"""MCP sessions over real pipes and HTTP, by the SDK and langchain-mcp-adapters as they are, across runs, threads and exits."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import forked
import psutil
import pytest
import support
from servers import SERVERS
from support import DEV, SLOW, eventually, free_port, listens

support.needs("mcp", "langchain_mcp_adapters")

GUARD = 60  # seconds: against hanging, never an expectation
LIBRARIES = ("langchain_mcp_adapters.client", "mcp.client.streamable_http", "anyio._backends._asyncio", "psutil")
FORKS = {dev: forked.Server(*LIBRARIES, options=DEV if dev else (), shared=True) for dev in (False, True)}


@pytest.fixture(scope="session", autouse=True)
def forked_programs():
    with FORKS[False].there(), FORKS[True].there():
        yield


@pytest.fixture
def child():
    """Programs are forked; really: by a new interpreter, for tests of exits: their order depends on what is imported when."""

    def child(source, *, timeout=100, dev=True, really=False):
        if really:
            return support.child(source, timeout=timeout, dev=dev)
        done = FORKS[dev].run([sys.executable, "-c", source], timeout=timeout)
        done.stderr = SLOW.sub("", done.stderr)
        return done

    return child


# ``run(function, *args)`` is an asyncio.run at top level: of this thread, or of a new one each time
SETUP = """
import asyncio, contextlib, gc, os, random, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of the adapters' own imports, on newer Pythons
import logging
# debug mode's word about a slow callback: the machine may be slow
logging.getLogger("asyncio").addFilter(lambda record: not record.msg.startswith("Executing"))
import aionest
aionest.apply({options})
if {uvloop}:
    import uvloop
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
import psutil
{client}
S = {connection!r}
client = MultiServerMCPClient({{f"s{{n}}": S for n in range(3)}})

def run(function, *args):
    if not {threads}:
        return asyncio.run(function(*args))
    box = []
    def work():
        try:
            box.append((True, asyncio.run(function(*args))))
        except BaseException as exc:
            box.append((False, exc))
    thread = threading.Thread(target=work); thread.start(); thread.join()
    ok, value = box.pop()
    if not ok:
        raise value
    return value

async def enter(n):
    return await client.session(f"s{{n % 3}}").__aenter__()
async def enter_all():
    return [await enter(n) for n in range(3)]
async def say(session, text="hi"):
    return (await session.call_tool("echo", {{"text": text}})).content[0].text
async def leave(session):
    await session.__aexit__(None, None, None)
async def tasks():
    return len(asyncio.all_tasks())
def servers():
    return [p for p in psutil.Process().children() if p.status() != "zombie"]
"""

ADAPTERS = "from langchain_mcp_adapters.client import MultiServerMCPClient"
# what they do, where the second that their imports take would be paid by each new interpreter
SDK = """
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

class MultiServerMCPClient:
    def __init__(self, connections):
        self.connections = connections

    @contextlib.asynccontextmanager
    async def session(self, name):
        server = StdioServerParameters(command=self.connections[name]["command"], args=self.connections[name]["args"])
        async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            yield session
"""

ALL_LOOPS = os.environ.get("AIONEST_LOOPS") != "asyncio" and importlib.util.find_spec("uvloop")
LOOPS = ["asyncio", *(["uvloop"] if ALL_LOOPS else [])]
MODES = {
    "one thread": ("", False, "asyncio"),
    "threads": ("shared=True", True, "asyncio"),
    **({"uvloop": ("", False, "uvloop")} if "uvloop" in LOOPS else {}),
}
STDIO = {"command": sys.executable, "args": [str(SERVERS / "bare.py")], "transport": "stdio"}


def http(port):
    return {"url": f"http://127.0.0.1:{port}/mcp", "transport": "streamable_http"}


def setup(options, connection, *, threads=False, loop="asyncio", client=ADAPTERS):
    return SETUP.format(options=options, threads=threads, connection=connection, uvloop=loop == "uvloop", client=client)


def program(body, mode="one thread", connection=STDIO, client=ADAPTERS):
    options, threads, loop = MODES[mode]
    return setup(options, connection, threads=threads, loop=loop, client=client) + body


def server_at(port):
    """Start the HTTP server and wait until it listens."""
    server = subprocess.Popen(
        [sys.executable, str(SERVERS / "http_echo.py"), str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    eventually(lambda: listens(port) or server.poll() is not None, "the HTTP server does not start")
    assert server.poll() is None, "the HTTP server has ended"
    return server


@pytest.fixture(scope="module")
def http_server():
    """One for all tests that leave it running."""
    yield from a_server()


@pytest.fixture
def http_server_of_its_own():
    yield from a_server()


def a_server():
    port = free_port()
    server = server_at(port)
    yield port, server
    server.kill()
    server.wait()


@pytest.fixture
def connection(request):
    """The stdio server, or a running HTTP server, by the test's parameter."""
    if request.param == "stdio":
        return STDIO
    return http(request.getfixturevalue("http_server")[0])


both = pytest.mark.parametrize("connection", ["stdio", "http"], indirect=True)
each_mode = pytest.mark.parametrize("mode", MODES)
each_loop = pytest.mark.parametrize("loop", LOOPS)


# ---- entered, used and left in runs of their own ------------------------------------------------------------------------


@both
@each_mode
@pytest.mark.timeout(5 * GUARD)
def test_entered_used_and_left_in_any_order(child, connection, mode):
    # by the session alone, nobody keeping the context manager; by the context manager; by an exit stack for each
    r = child(
        program(
            """
pipes = S["transport"] == "stdio"

class BySession:
    async def enter(self, n):
        self.session = await client.session(f"s{n}").__aenter__()
    async def leave(self):
        await self.session.__aexit__(None, None, None)

class ByManager:
    async def enter(self, n):
        self.cm = client.session(f"s{n}")
        self.session = await self.cm.__aenter__()
    async def leave(self):
        assert not await self.cm.__aexit__(None, None, None)

class ByStack:
    async def enter(self, n):
        self.stack = contextlib.AsyncExitStack()
        self.session = await self.stack.enter_async_context(client.session(f"s{n}"))
    async def leave(self):
        await self.stack.aclose()

async def enter_all(kind):
    opened = [kind() for _ in range(3)]
    for n, one in enumerate(opened):
        await one.enter(n)
    return opened

async def enter_at_once(kind):
    opened = [kind() for _ in range(3)]
    await asyncio.gather(*[one.enter(n) for n, one in enumerate(opened)])
    return opened

before = run(tasks)
for kind, begin, order in (
    (BySession, enter_all, (0, 1, 2)), (BySession, enter_all, (2, 1, 0)), (BySession, enter_at_once, (1, 0, 2)),
    (ByManager, enter_all, (0, 1, 2)), (ByManager, enter_at_once, (2, 0, 1)), (ByManager, enter_all, (1, 2, 0)),
    (ByStack, enter_all, (0, 2, 1)), (ByStack, enter_all, (2, 1, 0)),
):
    opened = run(begin, kind)
    gc.collect()
    assert not pipes or len(servers()) == 3
    left = set()
    for n in order:
        run(opened[n].leave); left.add(n)
        assert not pipes or len(servers()) == 3 - len(left), "the server is there after its session was left"
        for other in set(range(3)) - left:
            assert run(say, opened[other].session, str(other)) == str(other)
    assert run(tasks) == before
print("done")
""",
            mode,
            connection,
        ),
        dev="stdio" in connection.values(),  # the SDK leaves HTTP streams to the collector
        timeout=4 * GUARD,
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "done\n", ""), r


@each_mode
def test_all_in_one_exit_stack_and_in_nested_runs(child, mode):
    r = child(
        program(
            """
stack = contextlib.AsyncExitStack()
async def fill():
    return [await stack.enter_async_context(client.session(f"s{n}")) for n in range(3)]
async def nested(function, *args):  # synchronous code in the middle of a coroutine
    return asyncio.run(function(*args))
sessions = run(fill)
assert [run(nested, say, session) for session in sessions] == ["hi"] * 3
run(stack.aclose)
assert not servers()
sessions = run(nested, enter_all)
assert [run(say, session) for session in sessions] == ["hi"] * 3
for n in (1, 2, 0):
    run(nested, leave, sessions[n])
assert not servers()
print("done")
""",
            mode,
        )
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "done\n", ""), r


@pytest.mark.slow
@each_mode
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.timeout(5 * GUARD)
def test_random_orders(child, mode, seed):
    r = child(
        program(
            f"""
rng = random.Random({seed})
opened, number = {{}}, 0
async def many(n):
    return await asyncio.gather(*[enter(n) for _ in range(n)])
async def use(session, text):
    return await asyncio.gather(*[say(session, f"{{text}} {{n}}") for n in range(3)])
for _ in range(60):
    action = rng.choice(["open", "open several", "call", "call", "leave", "leave two"])
    if action == "open" and len(opened) < 8:
        opened[number] = run(enter, number); number += 1
    elif action == "open several" and len(opened) < 6:
        for session in run(many, 2):
            opened[number] = session; number += 1
    elif action == "call" and opened:
        n = rng.choice(list(opened))
        assert run(use, opened[n], n) == [f"{{n}} {{i}}" for i in range(3)]
    elif action == "leave" and opened:
        run(leave, opened.pop(rng.choice(list(opened))))
    elif action == "leave two" and len(opened) > 1:
        async def two(*sessions):
            await asyncio.gather(*map(leave, sessions))
        run(two, *[opened.pop(n) for n in rng.sample(list(opened), 2)])
    if rng.random() < 0.2:
        gc.collect()
    assert len(servers()) == len(opened), (action, len(opened))
for n in rng.sample(list(opened), len(opened)):
    run(leave, opened.pop(n))
assert not servers()
print("done")
""",
            mode,
        ),
        timeout=4 * GUARD,
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "done\n", ""), r


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("mode", "total"), [("one thread", 200), ("threads", 1000)])
def test_a_thousand_sessions_leave_nothing_behind(child, mode, total):
    r = child(
        program(
            """
rng = random.Random(5)
KINDS = ("Task", "CancelScope", "TaskGroup", "ClientSession", "async_generator", "Process", "MemoryObjectSendStream",
         "_UnixReadPipeTransport", "_UnixWritePipeTransport", "_UnixSubprocessTransport", "coroutine", "Birth")
def kinds():
    gc.collect()
    counts = dict.fromkeys(KINDS, 0)
    for one in gc.get_objects():
        name = type(one).__name__
        if name in counts:
            counts[name] += 1
    return counts
def state():
    return {"fds": len(os.listdir("/proc/self/fd")), "threads": sorted(t.name for t in threading.enumerate()),
            "servers": len(servers()), "tasks": run(tasks), **kinds()}
async def several(n):
    return await asyncio.gather(*[enter(n) for _ in range(n)])
def round(total, most):
    opened = []
    while total or opened:
        if total and (len(opened) < most // 2 or rng.random() < 0.4) and len(opened) + 4 <= most:
            n = min(total, 4); total -= n
            opened += run(several, n)
        else:
            run(leave, opened.pop(rng.randrange(len(opened))))
            if opened:
                assert run(say, rng.choice(opened)) == "hi"
round(8, 8)
before = state()
round(TOTAL, 40)
after = state()
assert after == before, (before, after)
from aionest._scopes import asyncgens, kept_generators
assert not asyncgens.abandoned and not list(kept_generators.settled)
print("done")
""".replace("TOTAL", str(total)),
            mode,
        ),
        timeout=1400,
        dev=False,
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "done\n", ""), r


# ---- never left ---------------------------------------------------------------------------------------------------------

ENDS = {
    "interpreter exit": ("", "main()"),
    "loop close": ("", "main(); asyncio.get_event_loop().close()"),
    "own loop, closed": (
        "",
        "loop = asyncio.new_event_loop(); sessions = loop.run_until_complete(enter_all()); loop.close()",
    ),
    "atexit, one": ("", "main(); import atexit; atexit.register(lambda: asyncio.run(leave(sessions[1])))"),
    "atexit, all": (
        "",
        "main(); import atexit; [atexit.register(lambda s=s: asyncio.run(leave(s))) for s in sessions]",
    ),
    "close_loop": ("close_loop=True", "main()"),
    "error": ("", "main(); sys.exit(5)"),
    "thread end": ("", "t = threading.Thread(target=main); t.start(); t.join(); assert not servers()"),
    "shared": ("shared=True", "main()"),
    "shared, atexit": (
        "shared=True",
        "main(); import atexit; [atexit.register(lambda s=s: asyncio.run(leave(s))) for s in sessions[:2]]",
    ),
    "shared, threads": ("shared=True", "t = threading.Thread(target=main); t.start(); t.join()"),
    "shared, portal closed": ("shared=True", "main(); aionest.portal().close(); assert not servers()"),
}
MAIN = """
def main():
    global sessions
    sessions = asyncio.run(enter_all())
"""


@pytest.mark.parametrize(
    ("how", "loop"),
    [
        *((how, "asyncio") for how in ENDS),
        *(
            (how, loop)
            for how in ("interpreter exit", "own loop, closed", "thread end", "shared, atexit")
            for loop in LOOPS[1:]
        ),
    ],
)
def test_never_left_ends_cleanly(child, is_alive, how, loop, tmp_path):
    pids = tmp_path / "pids"
    options, body = ENDS[how]
    connection = {**STDIO, "args": [*STDIO["args"], "--pid-file", str(pids)]}
    really = "exit" in how and loop == "asyncio"
    client = SDK if really and "atexit" in how else ADAPTERS
    r = child(setup(options, connection, loop=loop, client=client) + MAIN + body, really=really)
    assert (r.returncode, r.stdout, r.stderr) == (5 if how == "error" else 0, "", ""), r
    numbers = [int(line) for line in pids.read_text().split()]
    assert len(numbers) == 3
    wait_for_the_end_of(numbers, is_alive)


@pytest.mark.parametrize("how", ["interpreter exit", "own loop, closed", "atexit, one", "shared, atexit"])
def test_http_sessions_that_are_never_left_end_cleanly(child, http_server, how):
    options, body = ENDS[how]
    source = setup(options, http(http_server[0])) + MAIN + body
    r = child(source, dev=False, really=how == "interpreter exit")
    assert (r.returncode, r.stdout, r.stderr) == (0, "", ""), r


def test_an_exit_handler_that_was_registered_before_the_import(child):
    early = """
import atexit, asyncio
def cleanup():
    asyncio.run(leave(sessions[0]))
    print("cleaned up", len(servers()))
atexit.register(cleanup)
"""
    r = child(early + program(MAIN + "main()", client=SDK), really=True)
    assert (r.returncode, r.stdout, r.stderr) == (0, "cleaned up 0\n", ""), r


@pytest.mark.long
@each_mode
@pytest.mark.timeout(4 * GUARD)
def test_exit_waits_for_servers_that_do_not_end_by_themselves(child, is_alive, mode, tmp_path):
    pids = tmp_path / "pids"
    connection = {**STDIO, "args": [*STDIO["args"], "--fault", "stubborn", "--pid-file", str(pids)]}
    r = child(program("run(enter_all)", mode, connection), timeout=3 * GUARD)
    assert r.returncode == 0 and "Traceback" not in r.stderr and "did not end" not in r.stderr, r
    wait_for_the_end_of([int(line) for line in pids.read_text().split()], is_alive)


def wait_for_the_end_of(numbers, is_alive):
    eventually(lambda: not any(map(is_alive, numbers)), "a server is left", timeout=GUARD)


@each_mode
def test_a_forked_child_leaves_the_parent_s_sessions_alone(child, mode):
    r = child(
        program(
            """
session = run(enter, 0)
def in_child(end):
    pid = os.fork()
    if pid == 0:
        gc.collect()
        own = run(enter, 1)
        assert run(say, own) == "hi"
        try:
            run(lambda: asyncio.wait_for(say(session), 1))
        except Exception:
            pass  # it stayed in the parent
        if end is sys.exit:
            del globals()["session"]
            gc.collect()
        else:
            run(leave, own)
        end(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert run(say, session) == "hi"
in_child(sys.exit)
in_child(os._exit)
run(leave, session)
print(len(servers()))
""",
            mode,
        ),
        dev=False,  # newer Pythons warn of a fork while there are threads
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "0\n", ""), r


# ---- a server that dies ----------------------------------------------------------------------------------------------------

IDLE = """
def idle():
    # a scope that is being cancelled again and again would keep a whole processor busy
    begin, cpu = time.monotonic(), time.process_time()
    asyncio.run(asyncio.sleep(0.5))
    return time.process_time() - cpu < 0.5 * (time.monotonic() - begin)
async def limited(session):
    try:
        return await asyncio.wait_for(say(session), 50)
    except asyncio.TimeoutError:
        return "hangs"
"""


@each_mode
def test_a_server_that_is_killed(child, mode):
    r = child(
        program(
            IDLE
            + """
sessions = run(enter_all)
async def call_and_kill():
    calls = [asyncio.ensure_future(sessions[n].call_tool("sleep", {"seconds": 600})) for n in range(2)]
    await asyncio.sleep(0.3)
    for server in servers()[:2]:
        server.kill()
    return [type(e).__name__ for e in await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 50)]
running = servers()
print(*run(call_and_kill))
time.sleep(0.1)
print(idle())
for session in sessions[:2]:
    for _ in range(2):
        try:
            print(run(limited, session))
        except Exception as e:
            print(type(e).__name__)
print(idle())
print(run(say, sessions[2]))
for n in (1, 2, 0):
    run(leave, sessions[n])
print(len(servers()), idle())
""",
            mode,
        )
    )
    errors = {"ClosedResourceError", "McpError", "BrokenResourceError"}
    lines = r.stdout.splitlines()
    assert r.returncode == 0 and r.stderr == "" and len(lines) == 9, r
    assert set(lines[0].split()) <= errors, r  # those under way
    assert lines[1] == lines[6] == "True" and set(lines[2:6]) <= errors, r
    assert lines[7:] == ["hi", "0 True"], r


@each_mode
def test_an_http_server_that_is_killed(child, mode, http_server_of_its_own):
    port, server = http_server_of_its_own
    r = child(
        program(
            IDLE
            + f"""
sessions = run(enter_all)
assert run(say, sessions[1]) == "hi"
os.kill({server.pid}, 9)
time.sleep(0.1)
print(idle())
for session in sessions[:2]:
    try:
        print(run(limited, session))
    except Exception as e:
        print("failed")
print(idle())
for n in (1, 2, 0):
    run(leave, sessions[n])
print("left", idle())
""",
            mode,
            http(port),
        ),
        dev=False,
    )
    assert (r.returncode, r.stdout.splitlines()) == (0, ["True", "failed", "failed", "True", "left True"]), r
    assert "was destroyed" not in r.stderr and "aclose(): asynchronous generator" not in r.stderr, r


# ---- what ends the leaving ---------------------------------------------------------------------------------------------------

LIMITS = ["anyio", "wait_for", *(["timeout"] if sys.version_info >= (3, 11) else [])]


@each_mode
def test_a_timeout_inside_the_leaving_takes_effect(child, mode):
    # This server does not end when its input does. anyio's deadline makes the SDK kill it; a cancellation of asyncio's own
    # comes once, and then the SDK waits for the server's end, which comes from elsewhere here
    r = child(
        program(
            f"""
import anyio
other = run(enter, 1)
S["args"] = [*S["args"], "--fault", "stubborn"]
async def limited(how, leave):
    try:
        if how == "anyio":
            with anyio.fail_after(0.5):
                await leave(None, None, None)
        elif how == "wait_for":
            await asyncio.wait_for(leave(None, None, None), 0.5)
        else:
            async with asyncio.timeout(0.5):
                await leave(None, None, None)
    except (TimeoutError, asyncio.TimeoutError):
        return "timeout"
    return "left"
usual = servers()
for how in {LIMITS}:
    cm = client.session("s0")
    run(cm.__aenter__)
    stubborn, = [p for p in servers() if p not in usual]
    timer = threading.Timer(3, stubborn.kill)
    if how != "anyio":
        timer.start()
    print(how, run(limited, how, cm.__aexit__))
    assert run(say, other) == "hi"
    if how != "anyio":
        timer.join()
run(leave, other)
print(len(servers()))
""",
            mode,
        )
    )
    assert (r.returncode, r.stdout.splitlines()) == (0, [*(f"{how} timeout" for how in LIMITS), "0"]), r
    assert "Traceback" not in r.stderr and "was destroyed" not in r.stderr, r


@each_loop
@pytest.mark.parametrize("options", ["", "shared=True"])
def test_ctrl_c_inside_the_leaving(child, options, loop):
    # the first cancels what the SDK waits for (its server's end, which this one never grants), the second is not to be refused
    r = child(
        setup(options, STDIO, loop=loop)
        + """
import signal
S["args"] += ["--fault", "stubborn"]
cm = client.session("s0")
asyncio.run(cm.__aenter__())
def interrupt():
    for _ in range(2):
        time.sleep(0.6)
        os.kill(os.getpid(), signal.SIGINT)
thread = threading.Thread(target=interrupt)
thread.start()
try:
    asyncio.run(cm.__aexit__(None, None, None))
except KeyboardInterrupt:
    print("interrupted", len(servers()))
try:
    thread.join()
except KeyboardInterrupt:
    thread.join()
for p in servers():
    p.kill()
    time.sleep(0.5)  # it is noticed before the exit cancels who waits for it: anyio's oldest release does not expect both at once
"""
    )
    # without a portal the end of the run waits for the leaving, which by then kills the server
    assert (r.returncode, r.stdout) in [(0, f"interrupted {n}\n") for n in ([1] if options else [0, 1])], r
    assert "Traceback" not in r.stderr and "was destroyed" not in r.stderr, r


def test_a_missing_command_beside_a_good_server(child):
    r = child(
        program(
            """
bad = MultiServerMCPClient({"bad": {"command": "no-such-command", "args": [], "transport": "stdio"}, "good": S})
for _ in range(2):
    try:
        asyncio.run(bad.get_tools())
    except BaseException as e:
        print(type(e).__name__)
""",
        ),
        timeout=60,
    )
    assert r.returncode == 0 and len(r.stdout.split()) == 2, r


def test_no_server_is_left():
    # what programs are forked from may be at work for other workers
    ours = [p for p in psutil.Process(os.getpid()).children() if p.pid not in forked.Server.pids]
    started = [*ours, *(child for p in ours for child in p.children(recursive=True))]
    assert not [p for p in started if "bare.py" in " ".join(p.cmdline())]
