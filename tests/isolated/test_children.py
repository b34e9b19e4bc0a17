"""What can only be seen from outside: interpreter exit, signals, fork, memory. Each program runs in a process of its own."""

from __future__ import annotations

import pytest

PRELUDE = """
import asyncio, atexit, gc, os, signal, sys, threading, time
import aionest
from aionest import _core
aionest.apply()

async def value(x, delay=0):
    await asyncio.sleep(delay)
    return x

def ready():
    print("ready", flush=True)

"""


@pytest.fixture
def program(child):
    def run(source, expected, *, status=0, stderr="", **kwargs):
        import textwrap

        r = child(PRELUDE + textwrap.dedent(source), **kwargs)
        assert (r.returncode, r.stdout.split()) == (status, expected.split()), r.stderr
        if stderr is not None:
            assert r.stderr == stderr
        return r

    return run


SUSPENDED = """
async def caller():
    try:
        asyncio.run(asyncio.sleep(600))
    finally:
        print("ended")

async def main():
    asyncio.get_running_loop().kept = [asyncio.create_task(caller()) for _ in range(3)]
    await asyncio.sleep(0.01)
"""


KEPT = "aionest.apply(close_loop=False)\n"


def test_the_end_of_a_run_with_others_suspended(program):
    program(SUSPENDED + "asyncio.run(main()); print('bye')", "ended ended ended bye")


def test_exit_with_runs_suspended(program):
    program(KEPT + SUSPENDED + "asyncio.run(main()); print('bye')", "bye ended ended ended")


def test_exit_from_inside_a_nested_run(program):
    program(
        SUSPENDED
        + """
async def leave():
    await main()
    sys.exit(3)

async def outer():
    asyncio.run(leave())

asyncio.run(outer())
""",
        "ended ended ended",
        status=3,
    )


def test_hard_exit(program):
    program(KEPT + SUSPENDED + "asyncio.run(main()); os._exit(0)", "")


def test_exit_with_a_thread_that_sleeps_in_a_run(program):
    program(
        KEPT
        + SUSPENDED
        + """
def work():
    asyncio.run(main())
    print("thread ends")

t = threading.Thread(target=work)
t.start()
t.join()
print("bye")
""",
        "thread ends ended ended ended bye",
    )


def test_the_end_of_a_thread_asks_threading_who_it_is(program):
    """The thread's loop is closed after threading has forgotten the thread: what it invents for it must not stay."""
    program(
        """
import logging
logging.getLogger("asyncio").addHandler(logging.NullHandler())

async def leave_something():
    async def gone():
        try:
            await asyncio.sleep(600)
        finally:
            logging.getLogger("asyncio").warning("a record has the name of its thread")
    asyncio.get_running_loop().task = asyncio.create_task(gone())
    await asyncio.to_thread(int)  # an executor, which a thread of its own shuts down
    await asyncio.sleep(0)

before = dict(threading._active)
for _ in range(3):
    t = threading.Thread(target=lambda: asyncio.run(leave_something()))
    t.start()
    t.join()
print(threading._active == before)
""",
        "True",
    )


def test_exit_with_a_daemon_thread_in_a_nested_run(program):
    program(
        """
started = threading.Event()

async def inner():
    started.set()
    await asyncio.sleep(600)

async def main():
    asyncio.run(inner())

threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
started.wait()
print("bye")
""",
        "bye",
        stderr=None,
    )


def test_atexit_handlers_run_coroutines(program):
    program(
        """
import atexit
atexit.register(lambda: print(asyncio.run(value("registered-after"))))

async def main():
    return asyncio.run(value(1))

asyncio.run(main())
""",
        "registered-after",
    )


def test_atexit_handler_that_was_registered_before(child):
    r = child(
        """
        import asyncio, atexit

        async def value(x):
            await asyncio.sleep(0.001)
            return x

        atexit.register(lambda: print(asyncio.run(value("late"))))
        import aionest
        aionest.apply()
        print(asyncio.run(value("early")))
        """
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "early\nlate\n", "")


def test_finalizer_at_shutdown(program):
    program(
        """
class Resource:
    def __del__(self):
        try:
            print(asyncio.run(value("closed")))
        except BaseException as e:
            print(type(e).__name__)

resource = Resource()
asyncio.run(value(1))
print("bye")
""",
        "bye closed",
        stderr=None,
    )


def test_loop_that_was_never_closed(child):
    """asyncio's own warning, nothing else."""
    r = child(
        PRELUDE
        + """
loop = asyncio.new_event_loop()

async def caller():
    loop.run_until_complete(asyncio.sleep(600))

task = loop.create_task(caller())
loop.run_until_complete(value(1, 0.01))
task = None
print("bye")
"""
    )
    assert r.returncode == 0 and r.stdout == "bye\n", r.stderr
    assert "Fatal" not in r.stderr and "Segmentation" not in r.stderr


# ---- Ctrl-C -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call", ["asyncio.run({})", "asyncio.get_running_loop().run_until_complete({})", "aionest.await_({})"]
)
def test_ctrl_c_interrupts_the_nested_run(child, call):
    r = child(
        PRELUDE
        + f"""
log = []

async def inner():
    try:
        asyncio.get_running_loop().call_later(0.05, ready)
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        log.append("cancelled")
        raise

async def main():
    try:
        {call.format("inner()")}
    except KeyboardInterrupt as exc:
        log.append("caller")
        assert isinstance(exc, asyncio.CancelledError)  # to the task that it came through
    await asyncio.sleep(0)
    return "goes on"

print(asyncio.run(main()), log, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
""",
        signal_after="ready",
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "goes on ['cancelled', 'caller'] True\n", "")


def test_ctrl_c_not_caught_ends_the_program(child):
    r = child(
        PRELUDE
        + """
async def inner():
    asyncio.get_running_loop().call_later(0.05, ready)
    await asyncio.sleep(600)

async def main():
    asyncio.run(inner())

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("top")
print(asyncio.run(value("next")))
""",
        signal_after="ready",
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "top\nnext\n", "")


def test_ctrl_c_in_a_busy_nested_run(child):
    """Code that does not wait: the first Ctrl-C asks the task to cancel, the second interrupts the code itself."""
    r = child(
        PRELUDE
        + """
async def inner():
    await asyncio.sleep(0)
    print("ready", flush=True)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        pass

def again(*args):
    os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGALRM, again)

async def main():
    try:
        asyncio.run(inner())
    except KeyboardInterrupt:
        print("interrupted")

asyncio.run(main())
""",
        signal_after="ready",
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "interrupted\n", "")


def test_handler_of_the_users_own_is_left_alone(child):
    r = child(
        PRELUDE
        + """
hits = []
signal.signal(signal.SIGINT, lambda *args: hits.append(1))

async def inner():
    print("ready", flush=True)
    while not hits:
        await asyncio.sleep(0.01)
    return "done"

async def main():
    return asyncio.run(inner())

print(asyncio.run(main()), len(hits))
""",
        signal_after="ready",
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "done 1\n", "")


def test_ctrl_c_after_somebody_put_the_engines_handler_back(child):
    r = child(
        PRELUDE
        + """
async def inner():
    return signal.getsignal(signal.SIGINT)

async def long():
    asyncio.get_running_loop().call_later(0.05, ready)
    try:
        await asyncio.sleep(600)
    finally:
        print("cancelled")

async def see():
    await asyncio.sleep(0.001)
    return asyncio.run(inner())

async def main():
    seen = asyncio.run(see())
    await asyncio.sleep(0)
    signal.signal(signal.SIGINT, seen)
    try:
        asyncio.run(long())
    except KeyboardInterrupt:
        print("caller")
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler

loop = asyncio.new_event_loop()
print(loop.run_until_complete(main()))
loop.close()
""",
        signal_after="ready",
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "cancelled\ncaller\nTrue\n", "")


# ---- fork -------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_fork_inside_a_nested_run(program):
    program(
        """
import warnings
warnings.simplefilter("ignore")

async def main():
    ticks = []

    async def ticker():
        for _ in range(20):
            await asyncio.sleep(0.002)
            ticks.append(1)

    task = asyncio.create_task(ticker())

    async def inner():
        await asyncio.sleep(0.005)
        pid = os.fork()
        if pid == 0:
            try:
                async def nested():
                    return asyncio.run(value("child", 0.001))
                os.write(1, (asyncio.run(nested()) + "\\n").encode())
            finally:
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        return asyncio.run(value("parent", 0.001))

    r = asyncio.run(inner())
    await task
    print(r, len(ticks))

asyncio.run(main())
""",
        "child parent 20",
    )


@pytest.mark.filterwarnings("ignore")
def test_fork_between_runs_leaves_the_parents_loop_alone(program):
    program(
        """
import warnings
warnings.simplefilter("ignore")
aionest.apply(close_loop=False)

async def main():
    return asyncio.get_running_loop()

loop = asyncio.run(main())
pid = os.fork()
if pid == 0:
    assert asyncio.run(main()) is not loop
    sys.exit(0)   # the whole way out, finalizers included
assert os.waitpid(pid, 0)[1] == 0

async def wakes():
    future = asyncio.get_running_loop().create_future()
    threading.Timer(0.01, loop.call_soon_threadsafe, (future.set_result, "woken")).start()
    return await asyncio.wait_for(future, 10)

print(asyncio.run(wakes()))
assert asyncio.run(main()) is loop
""",
        "woken",
    )


@pytest.mark.filterwarnings("ignore")
def test_fork_while_another_thread_sleeps_in_a_run(program):
    """The child has that thread's records, but not the thread: they go without a look at its stacks."""
    program(
        """
import warnings
warnings.simplefilter("ignore")
asleep, go = threading.Event(), threading.Event()

async def inner(future):
    asleep.set()
    return await future

def work():
    loop = asyncio.new_event_loop()
    future = loop.create_future()

    async def main():
        task = asyncio.ensure_future(caller())
        await asyncio.sleep(0.001)
        while not go.is_set():
            await asyncio.sleep(0.001)
        future.set_result("woken")
        return await task

    async def caller():
        return asyncio.run(inner(future))

    print(loop.run_until_complete(main()))
    loop.close()

t = threading.Thread(target=work)
t.start()
asleep.wait()
pid = os.fork()
if pid == 0:
    async def nested():
        return asyncio.run(value("child", 0.001))
    os.write(1, (asyncio.run(nested()) + "\\n").encode())
    gc.collect()
    sys.exit(0)   # the whole way out
assert os.waitpid(pid, 0)[1] == 0
go.set()
t.join()
print(asyncio.run(value("parent")))
""",
        "child woken parent",
    )


# ---- memory -----------------------------------------------------------------------------------------------------------

MEMORY = """
def rss():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def stack():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmStk"))
"""

HOT_PATHS = """
async def noop():
    return 1

async def once():
    await asyncio.sleep(0)

async def fails():
    await asyncio.sleep(0)
    raise LookupError

async def rounds(n):
    loop = asyncio.get_running_loop()
    for _ in range(n):
        asyncio.run(noop())
        asyncio.run(once())
        loop.run_until_complete(once())
        aionest.await_(noop())
        aionest.await_(once())
        try:
            asyncio.run(fails())
        except LookupError:
            pass
        task = asyncio.create_task(once())
        task.cancel()
        try:
            aionest.await_(task)
        except asyncio.CancelledError:
            pass
        loop.call_later(60, int).cancel()
        loop.call_soon(int)
        future = loop.create_future()
        loop.call_soon(future.set_result, 1)
        aionest.block_on(future)
"""


def leak_program(rounds, times):
    return (
        MEMORY
        + HOT_PATHS
        + f"""
def measure():
    gc.collect()
    refs = sys.gettotalrefcount() if hasattr(sys, "gettotalrefcount") else 0
    return len(gc.get_objects()), refs, rss()

async def main():
    await rounds({rounds})
    points = []
    for _ in range({times}):
        await rounds({rounds})
        points.append(measure())
    objects, refs, memory = zip(*points)
    grown = [b - a for a, b in zip(objects, objects[1:])]
    assert min(grown) <= 2, ("objects", objects)
    if refs[0]:
        assert min(b - a for a, b in zip(refs, refs[1:])) <= 10, ("references", refs)
    assert memory[-1] - memory[0] < 2_000_000, ("memory", memory)
    print("flat")

asyncio.run(main())
c = _core._counters()
assert c["blocks"] == c["fibers"] == c["suspended"] == c["pending"] == 0, c
"""
    )


@pytest.mark.noasan
@pytest.mark.timeout(420)
def test_no_references_left(program):
    """Of all objects, and on a debug build of all references."""
    program(leak_program(400, 4), "flat", timeout=400, dev=False)


@pytest.mark.long
def test_flat_over_a_million_nested_runs(program):
    """Ten nested waits and more in each round."""
    program(leak_program(20_000, 5), "flat", timeout=850, dev=False)


@pytest.mark.long
def test_a_hundred_thousand_suspended_at_once(child, capsys):
    r = child(
        PRELUDE
        + MEMORY
        + """
async def plain(gate):
    await gate.wait()

def sync(gate):
    asyncio.run(gate.wait())

async def caller(gate):
    sync(gate)

async def measure(n, f):
    gate = asyncio.Event()
    before, stack_before = rss(), stack()
    tasks = [asyncio.create_task(f(gate)) for _ in range(n)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    suspended = _core._counters()["suspended"]
    size, depth = (rss() - before) / n, stack() - stack_before
    gate.set()
    await asyncio.gather(*tasks)
    return suspended, size, depth

async def main():
    _, plain_size, _ = await measure(100_000, plain)
    _, _, small = await measure(100, caller)
    suspended, size, depth = await measure(100_000, caller)
    assert suspended == 100_000, suspended
    assert depth <= small + 64, (small, depth)
    print(f"suspended {suspended}, {size / 1024:.1f} KiB each (a waiting task: {plain_size / 1024:.1f} KiB), "
          f"C stack grew by {depth} KiB")
    assert size < 32 * 1024

asyncio.run(main())
""",
        timeout=850,
        dev=False,
    )
    assert r.returncode == 0, r.stderr
    with capsys.disabled():
        print(f"\n{r.stdout.strip()}")


@pytest.mark.long
def test_deep_chain(program):
    program(
        """
async def level(n):
    if n == 0:
        await asyncio.sleep(0)
        return 0
    return 1 + asyncio.run(level(n - 1))

print(asyncio.run(level(20_000)))
""",
        "20000",
        timeout=600,
        dev=False,
    )


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_tracer_wraps_stays_wrapped(child, when):
    """ddtrace and New Relic wrap create_task() of BaseEventLoop, in either order."""
    wrap = """
import asyncio, functools
from asyncio import base_events
calls = []

def wrapped(name):
    stock = getattr(base_events.BaseEventLoop, name)

    @functools.wraps(stock)
    def wrapper(self, *args, **kwargs):
        calls.append(name)
        return stock(self, *args, **kwargs)

    setattr(base_events.BaseEventLoop, name, wrapper)

for name in ("create_task", "call_soon", "call_later", "call_at", "call_soon_threadsafe", "create_future"):
    wrapped(name)
"""
    apply = "import aionest\naionest.apply()\n"
    r = child(
        (wrap + apply if when == "before" else apply + wrap)
        + """
async def child():
    await asyncio.sleep(0.001)
    await asyncio.sleep(0)
    return "done"

async def main():
    calls.clear()
    results = [await asyncio.create_task(child()), asyncio.run(child()), aionest.await_(child())]
    loop = asyncio.get_running_loop()
    results.append(await loop.run_in_executor(None, lambda: loop.call_soon_threadsafe(int) and "thread"))
    return results, calls.count("create_task"), sorted(set(calls))

loop = asyncio.new_event_loop()
print(loop.run_until_complete(main()))
loop.run_until_complete(loop.shutdown_default_executor())
loop.close()
""",
        dev=False,
    )
    names = ["call_at", "call_later", "call_soon", "call_soon_threadsafe", "create_future", "create_task"]
    assert (r.stdout, r.stderr) == (f"{(['done'] * 3 + ['thread'], 2, names)}\n", "")
