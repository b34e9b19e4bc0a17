"""The end of a top-level run: as stock asyncio's, but for a loop that holds something which is meant to outlive the run."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import traceback

import pytest
from support import SLOW, loops_made_by

import aionest

try:
    from uvloop import new_event_loop as uvloops
except ImportError:  # on Windows, and for the newest Pythons
    uvloops = None


@pytest.fixture(params=["asyncio", *(["uvloop"] if uvloops else [])])
def on_each(request, applied, drop_loop):
    """On asyncio's loops, and on uvloop's, as where a policy makes them."""
    with loops_made_by(uvloops if request.param == "uvloop" else None):
        yield
        drop_loop()


PLAIN = """
import asyncio, sys, threading, time
if sys.argv[1:]:
    import aionest
    aionest.apply()

said = []

async def background(name):
    try:
        await asyncio.sleep(100)
    except asyncio.CancelledError:
        await asyncio.sleep(0)
        said.append(name)
        raise

async def fails_when_cancelled():
    try:
        await asyncio.sleep(100)
    finally:
        raise LookupError("in the clean-up")

async def numbers(name):
    try:
        yield 1
        yield 2
    finally:
        await asyncio.sleep(0)
        said.append(name)

async def main(how):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: said.append((context["message"], repr(context.get("exception")))))
    kept = [loop, asyncio.create_task(background("task")), numbers("generator"), asyncio.create_task(fails_when_cancelled())]
    await asyncio.sleep(0)
    await kept[2].__anext__()
    async for _ in numbers("dropped"):
        break
    while "dropped" not in said:
        await asyncio.sleep(0)
    await asyncio.to_thread(time.sleep, 0)
    asyncio.create_task(background("never begun"))
    loop.call_later(0.5, said.append, "timer of the first run")
    if how == "fail":
        raise ValueError("main")
    if how == "stop":
        loop.stop()
        await asyncio.sleep(1)
    if how == "exit":
        raise SystemExit(3)
    if how == "cancel":
        asyncio.current_task().cancel()
        await asyncio.sleep(0)
    return kept

def current():
    try:
        return type(asyncio.get_event_loop()).__name__
    except RuntimeError as exc:
        return str(exc)

for how in ("return", "fail", "stop", "exit", "cancel"):
    try:
        kept = asyncio.run(main(how), debug=how == "fail")
        print(kept[0].is_closed(), kept[1].cancelled(), kept[2].ag_frame)
        try:
            kept[0].call_soon_threadsafe(print)
        except RuntimeError as exc:
            print(exc)
    except BaseException as exc:
        print(type(exc), exc)
    print(how, sorted(map(str, said)), threading.active_count(), current())
    asyncio.run(asyncio.sleep(0.6))
    print(sorted(map(str, said)), current())
    said.clear()
lock, queue = asyncio.Lock(), asyncio.Queue()
async def use():
    async def hold():
        async with lock:
            await asyncio.sleep(0.001)
    await asyncio.gather(hold(), hold())
for _ in range(2):
    try:
        print(asyncio.run(use()))
    except RuntimeError as exc:
        print(str(exc)[-30:])
"""


def test_a_plain_program_sees_no_difference():
    """Tasks, generators, executor, loop, timers, the current loop, locks; however the main coroutine ends."""

    def output(*args):
        command = [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(PLAIN), *args]
        r = subprocess.run(command, capture_output=True, text=True, timeout=100)
        return r.returncode, r.stdout, SLOW.sub("", r.stderr)

    stock = output()
    assert stock[0] == 0 and "'task'" in stock[1], stock
    assert output("aionest") == stock


def test_ctrl_c_tells_where_the_program_was(applied):
    async def waits():
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt) as caught:
        asyncio.run(waits())
    assert not caught.value.__suppress_context__
    names, exc = [], caught.value.__context__
    while exc is not None:  # before 3.11 each await adds one
        assert isinstance(exc, asyncio.CancelledError)
        names += [frame.name for frame in traceback.extract_tb(exc.__traceback__)]
        exc = exc.__context__
    assert "waits" in names


# ---- what a loop stays open for -----------------------------------------------------------------------------------------


class Peer:
    """A server in a thread that answers each line with the same line."""

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        return self

    def serve(self):
        threads = []
        while True:
            conn, _ = self.listener.accept()
            if conn.recv(1) == b"!":
                conn.close()
                break
            threads.append(threading.Thread(target=self.echo, args=(conn,)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def echo(self, conn):
        with conn, conn.makefile("rwb", buffering=0) as lines:
            for line in lines:
                lines.write(line)

    def __exit__(self, *args):
        with socket.create_connection(("127.0.0.1", self.port)) as conn:
            conn.sendall(b"!")
        self.thread.join()
        self.listener.close()


@pytest.fixture
def peer():
    with Peer() as peer:
        yield peer


async def connect(peer):
    reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
    writer.write(b"?first\n")
    assert await reader.readline() == b"first\n"
    return reader, writer


async def ask(reader, writer, text):
    writer.write(text + b"\n")
    return (await reader.readline()).rstrip()


async def hang_up(writer):
    writer.close()
    await writer.wait_closed()


async def for_ever():
    await asyncio.get_running_loop().create_future()


class Bystander:
    """A background task and a generator that have nothing to do with what is kept: they end with their run."""

    async def begin(self):
        self.loop = asyncio.get_running_loop()
        self.task = asyncio.create_task(for_ever())
        self.generator = self.numbers()
        self.closed = False
        await self.generator.__anext__()
        await asyncio.sleep(0)

    async def numbers(self):
        try:
            yield
        finally:
            await asyncio.sleep(0)
            self.closed = True

    def check(self, open):
        assert self.task.cancelled() and self.closed
        assert self.loop.is_closed() is not open


@contextlib.asynccontextmanager
async def own_resource():
    task = asyncio.ensure_future(for_ever())
    try:
        yield task
    finally:
        task.cancel()


def anyio_group():
    anyio = pytest.importorskip("anyio")

    async def enter():
        group = anyio.create_task_group()
        await group.__aenter__()
        group.start_soon(for_ever)
        return group

    async def use(group):
        group.start_soon(asyncio.sleep, 0)

    async def leave(group):
        group.cancel_scope.cancel()
        await group.__aexit__(None, None, None)

    return enter, use, leave


def anyio_scope():
    anyio = pytest.importorskip("anyio")

    async def enter():
        return anyio.CancelScope().__enter__()

    async def use(scope):
        assert not scope.cancel_called

    async def leave(scope):
        scope.__exit__(None, None, None)

    return enter, use, leave


def exit_stack():
    anyio = pytest.importorskip("anyio")

    async def enter():
        stack = contextlib.AsyncExitStack()
        await stack.enter_async_context(anyio.create_task_group())
        return stack

    async def use(stack):
        pass

    async def leave(stack):
        await stack.aclose()

    return enter, use, leave


def generator_inside_a_scope():
    anyio = pytest.importorskip("anyio")

    @contextlib.asynccontextmanager
    async def resource():
        async with anyio.create_task_group() as group:
            group.start_soon(for_ever)
            yield group
            group.cancel_scope.cancel()

    async def enter():
        manager = resource()
        return manager, await manager.__aenter__()

    async def use(entered):
        entered[1].start_soon(asyncio.sleep, 0)

    async def leave(entered):
        await entered[0].__aexit__(None, None, None)

    return enter, use, leave


def asyncio_group():
    if sys.version_info < (3, 11):
        pytest.skip("asyncio.TaskGroup came with 3.11")

    async def enter():
        group = asyncio.TaskGroup()
        await group.__aenter__()
        group.tasks = [group.create_task(for_ever())]
        return group

    async def use(group):
        assert not group.tasks[0].done()
        group.tasks.append(group.create_task(for_ever()))

    async def leave(group):
        for task in group.tasks:
            task.cancel()
        await group.__aexit__(None, None, None)

    return enter, use, leave


def asyncio_group_without_tasks():
    if sys.version_info < (3, 11):
        pytest.skip("asyncio.TaskGroup came with 3.11")

    async def enter():
        group = asyncio.TaskGroup()
        return await group.__aenter__()

    async def use(group):
        assert await group.create_task(asyncio.sleep(0, 1)) == 1

    async def leave(group):
        await group.__aexit__(None, None, None)

    return enter, use, leave


def hosted():
    async def enter():
        handle = aionest.hosted(own_resource())
        return handle, await handle.enter()

    async def use(opened):
        assert not opened[1].done()

    async def leave(opened):
        await opened[0].leave()

    return enter, use, leave


ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"


def child_process():
    async def enter():
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(sys.executable, "-c", ECHO, stdin=pipe, stdout=pipe)

    async def use(process):
        process.stdin.write(b"line\n")
        assert (await process.stdout.readline()).rstrip() == b"line"

    async def leave(process):
        process.stdin.close()
        assert await process.wait() == 0

    return enter, use, leave


def child_process_without_pipes():
    async def enter():
        return await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(100)")

    async def use(process):
        assert process.returncode is None

    async def leave(process):
        process.kill()
        assert await process.wait() == (1 if sys.platform == "win32" else -9)

    return enter, use, leave


def descriptor():
    async def enter():
        ends = os.pipe()
        loop, seen = asyncio.get_running_loop(), []
        loop.add_reader(ends[0], lambda: seen.append(os.read(ends[0], 10)))
        return ends, seen

    async def use(opened):
        (_, write), seen = opened
        seen.clear()
        os.write(write, b"x")
        while not seen:
            await asyncio.sleep(0)

    async def leave(opened):
        asyncio.get_running_loop().remove_reader(opened[0][0])
        for fd in opened[0]:
            os.close(fd)

    return enter, use, leave


THINGS = [
    anyio_group,
    anyio_scope,
    exit_stack,
    generator_inside_a_scope,
    asyncio_group,
    asyncio_group_without_tasks,
    hosted,
    child_process,
    child_process_without_pipes,
    descriptor,
]


@pytest.mark.parametrize("kind", THINGS, ids=lambda kind: kind.__name__)
def test_a_loop_stays_open_while_it_holds(on_each, kind):
    enter, use, leave = kind()
    first, second, third = Bystander(), Bystander(), Bystander()

    async def beginning():
        await first.begin()
        return await enter()

    async def between():
        await second.begin()
        await use(thing)
        await use(thing)

    async def end():
        await third.begin()
        await leave(thing)

    thing = asyncio.run(beginning())
    first.check(open=True)
    asyncio.run(between())
    second.check(open=True)
    assert second.loop is first.loop
    asyncio.run(use(thing))
    asyncio.run(end())
    assert third.loop is first.loop
    third.check(open=False)
    after = Bystander()
    asyncio.run(after.begin())
    after.check(open=False)


def test_a_connection_is_used_in_the_next_run(on_each, peer):
    first = Bystander()

    async def beginning():
        await first.begin()
        return await connect(peer)

    reader, writer = asyncio.run(beginning())
    first.check(open=True)
    for _ in range(3):
        assert asyncio.run(ask(reader, writer, b"again")) == b"again"
    asyncio.run(hang_up(writer))
    assert first.loop.is_closed()


class Client:
    """As they are written: a task of its own reads, those who ask wait for futures; another task looks after it."""

    async def connect(self, peer):
        self.reader, self.writer = await connect(peer)
        self.waiting, self.looks = [], 0
        self.tasks = [asyncio.ensure_future(self.read()), asyncio.ensure_future(self.look_after())]

    async def read(self):
        while line := await self.reader.readline():
            self.waiting.pop(0).set_result(line.rstrip())

    async def look_after(self):
        while True:
            await asyncio.sleep(0.001)
            self.looks += 1

    async def ask(self, text):
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append(answer)
        self.writer.write(text + b"\n")
        return await asyncio.wait_for(answer, 60)

    async def close(self):
        await hang_up(self.writer)
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)


def test_a_connection_s_own_tasks_go_on(on_each, peer):
    client, first = Client(), Bystander()

    async def beginning():
        await first.begin()
        await client.connect(peer)

    asyncio.run(beginning())
    first.check(open=True)
    assert asyncio.run(client.ask(b"one")) == b"one"
    looks = client.looks
    while client.looks < looks + 3:
        assert asyncio.run(client.ask(b"two")) == b"two"
    asyncio.run(client.close())
    assert first.loop.is_closed()


def test_a_task_that_is_woken_through_a_connection_goes_on(on_each):
    """It holds a queue only, which the connection's protocol fills."""

    class Protocol(asyncio.Protocol):
        def __init__(self):
            self.queue = asyncio.Queue()

        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.queue.put_nowait(data)

    async def work(queue, results):
        while True:
            results.append(await queue.get())

    here, there = socket.socketpair()
    results = []

    async def beginning():
        bystander = Bystander()
        await bystander.begin()
        _, protocol = await asyncio.get_running_loop().create_connection(Protocol, sock=here)
        task = asyncio.ensure_future(work(protocol.queue, results))
        await asyncio.sleep(0)
        return protocol, task, bystander

    protocol, task, bystander = asyncio.run(beginning())
    bystander.check(open=True)
    assert not task.done()

    async def go_on():
        there.sendall(b"x")
        while not results:
            await asyncio.sleep(0)
        protocol.transport.close()
        await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(go_on())
    assert bystander.loop.is_closed() and results == [b"x"]
    there.close()


def test_a_generator_that_holds_a_connection_stays_open(on_each, peer):
    @contextlib.asynccontextmanager
    async def opened():
        reader, writer = await connect(peer)
        try:
            yield reader, writer
        finally:
            await hang_up(writer)

    manager = opened()
    reader, writer = asyncio.run(manager.__aenter__())
    assert asyncio.run(ask(reader, writer, b"x")) == b"x"
    loop = aionest._runs.thread_loop.kept_loop()
    assert not asyncio.run(manager.__aexit__(None, None, None))
    assert loop.is_closed()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    "who",
    [
        "nobody",
        "a background task",
        "garbage",
        "a task that somebody holds",
        "a coroutine of a task that somebody holds",
    ],
)
def test_a_connection_that_nobody_can_use_any_more_keeps_no_loop(on_each, peer, who):
    loops, tasks = [], []

    async def main():
        loops.append(asyncio.get_running_loop())
        # no stream: its writer closes the connection when it is dropped, on newer Pythons
        transport, protocol = await loops[0].create_connection(asyncio.Protocol, "127.0.0.1", peer.port)

        async def hold():
            await for_ever()
            return transport, protocol

        if who == "a background task":
            asyncio.ensure_future(hold())
        elif who == "garbage":
            cycle = [transport, protocol]
            cycle.append(cycle)
        elif who != "nobody":
            task = asyncio.ensure_future(hold())
            # anyio's TaskInfo, which each stream has of who waits for it, holds the coroutine
            tasks.append(task.get_coro() if "coroutine" in who else task)
        await asyncio.sleep(0)

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()
    assert loops[0].is_closed()
    tasks.clear()
    gc.collect()  # so that the peer hears of the end


def test_a_task_that_waits_for_a_socket_by_itself_keeps_no_loop(on_each):
    here, there = socket.socketpair()
    here.setblocking(False)

    async def main():
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(loop.sock_recv(here, 10))
        ready = loop.create_future()
        loop.add_writer(there, lambda: None)
        loop.remove_writer(there)
        loop.add_reader(there, ready.set_result, None)
        other = asyncio.ensure_future(asyncio.wait_for(ready, 100))
        await asyncio.sleep(0.001)
        return loop, task, other

    loop, task, other = asyncio.run(main())
    assert loop.is_closed() and task.cancelled() and other.cancelled()
    here.close(), there.close()


def test_a_server_stays_while_somebody_holds_it(on_each):
    async def echo(reader, writer):
        writer.write(await reader.readline())
        await hang_up(writer)

    async def serve():
        return await asyncio.start_server(echo, "127.0.0.1", 0)

    async def ask_it():
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        answer = await ask(reader, writer, b"x")
        await hang_up(writer)
        return answer

    async def stop():
        server.close()
        await server.wait_closed()

    server = asyncio.run(serve())
    assert asyncio.run(ask_it()) == b"x"
    loop = server.get_loop()
    asyncio.run(stop())
    assert loop.is_closed()


def test_what_is_cancelled_may_close_what_the_loop_stayed_open_for(on_each, peer):
    async def owner(writer):
        try:
            await for_ever()
        finally:
            await hang_up(writer)

    async def main():
        _, writer = await connect(peer)
        box = {"writer": writer}  # for whom the task works does not matter: it is the main task
        task = asyncio.current_task()
        asyncio.get_running_loop().call_soon(task.cancel)
        await owner(box["writer"])

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert aionest._runs.thread_loop.kept_loop() is None


def test_a_main_task_that_is_not_done_is_ended_whatever_it_holds(on_each, peer):
    held = []

    async def main():
        held.extend([asyncio.current_task(), *await connect(peer)])
        asyncio.get_running_loop().stop()
        await asyncio.sleep(60)

    with pytest.raises(RuntimeError, match="stopped before"):
        asyncio.run(main())
    assert held[0].cancelled()
    asyncio.run(hang_up(held[2]))
    assert held[0].get_loop().is_closed()


def test_debug_of_one_run_is_not_that_of_the_next_on_the_loop_that_stays(on_each):
    enter, _, leave = hosted()

    async def debug():
        return asyncio.get_running_loop().get_debug()

    thing = asyncio.run(enter(), debug=True)
    assert asyncio.run(debug()) is False
    assert asyncio.run(debug(), debug=True) is True
    asyncio.run(leave(thing))


def test_aionest_run_ends_likewise():
    enter, use, leave = hosted()
    bystander = Bystander()
    aionest.run(bystander.begin())
    bystander.check(open=False)
    thing = aionest.run(enter())
    aionest.run(use(thing))
    aionest.run(leave(thing))
    assert aionest._runs.thread_loop.kept_loop() is None
    aionest.unapply()


def test_looking_runs_nobody_s_code(on_each, peer):
    """A proxy that is asked for its class, a callback that is asked for its owner, may do anything."""

    class Touchy:
        @property
        def __class__(self):
            raise LookupError("touched")

        def __getattr__(self, name):
            raise LookupError("touched")

        def __call__(self):
            pass

    told, ends = [], os.pipe()

    async def background():
        own = Touchy()
        await for_ever()
        return own

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: told.append(context))
        loop.add_reader(ends[0], Touchy())
        writer = (await connect(peer))[1]
        writer.touchy = Touchy()
        task = asyncio.ensure_future(background())
        await asyncio.sleep(0)
        return writer, task, loop

    writer, task, loop = asyncio.run(main())
    assert task.cancelled() and not loop.is_closed()
    assert loop.remove_reader(ends[0]) is not False  # uvloop's says nothing
    asyncio.run(hang_up(writer))
    assert loop.is_closed()
    assert not told
    for fd in ends:
        os.close(fd)


# ---- what is posted meanwhile -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("close_loop", [None, True])
@pytest.mark.parametrize("kind", ["a task's coroutine", "a callback", "create_task"])
def test_what_other_threads_post_while_a_loop_closes_runs_or_is_told(applied, kind, close_loop):
    aionest.apply(close_loop=close_loop)
    lost: list = []
    posted = 0

    async def say(done):
        try:
            await asyncio.sleep(60)
        finally:
            done.set()

    def poster(loop):
        nonlocal posted
        while True:
            done = threading.Event()
            coro = say(done)

            def create(done=done, coro=coro):
                try:
                    loop.create_task(coro).add_done_callback(lambda task: done.set())
                except RuntimeError:
                    coro.close()
                    done.set()
                    raise

            try:
                if kind == "a task's coroutine":
                    future = asyncio.run_coroutine_threadsafe(coro, loop)
                elif kind == "a callback":
                    coro.close()
                    loop.call_soon_threadsafe(done.set)
                else:
                    loop.call_soon_threadsafe(create)
            except RuntimeError as exc:
                coro.close()
                assert str(exc) == "Event loop is closed"
                return
            posted += 1
            if kind == "a task's coroutine":
                try:
                    future.result(30)
                except concurrent.futures.CancelledError:
                    pass
                except RuntimeError as exc:  # it slipped in
                    assert str(exc) == "Event loop is closed"
                    return
            elif not done.wait(30):
                lost.append(coro)
                return

    async def main():
        threads = [threading.Thread(target=poster, args=(asyncio.get_running_loop(),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        await asyncio.sleep(0.002)
        return threads

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(30):
            threads = asyncio.run(main())
            for thread in threads:
                thread.join(60)
                assert not thread.is_alive()
            assert not lost
    finally:
        sys.setswitchinterval(before)
    assert posted


def test_a_callback_that_posts_itself_for_ever_does_not_hold_up_the_end(applied, capfd):
    calls = []

    async def main():
        loop = asyncio.get_running_loop()

        def tick():
            calls.append(1)
            loop.call_soon(tick)

        tick()
        await asyncio.sleep(0)
        return loop

    assert asyncio.run(main()).is_closed()
    assert calls and capfd.readouterr().err == ""
