"""Loops whose run_forever is not asyncio's own: uvloop, and one that shares nothing with asyncio.BaseEventLoop."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import importlib.util
import os
import socket
import sys
import textwrap
import threading
import weakref
from pathlib import Path

import foreign_loop
import greenlet
import pytest
import support
from support import eventually_async

import aionest
from aionest import _core
from aionest._engine import checks

uvloop = pytest.importorskip("uvloop") if sys.version_info < (3, 14) else None

FACTORIES = {"foreign": foreign_loop.ForeignLoop, **({"uvloop": uvloop.new_event_loop} if uvloop else {})}

CHOSEN = """
import asyncio, sys
import aionest
aionest.apply()
if sys.argv[1] == "uvloop":
    from uvloop import new_event_loop
elif sys.argv[1] == "foreign":
    sys.path.insert(0, sys.argv[2])
    from foreign_loop import ForeignLoop as new_event_loop
else:
    from asyncio import SelectorEventLoop as new_event_loop
"""


def child_on(child, name, source, *args, **options):
    """Run a program with a new_event_loop() of this name; its own arguments begin at sys.argv[3]."""
    return child(CHOSEN + textwrap.dedent(source), name, str(Path(foreign_loop.__file__).parent), *args, **options)


@pytest.fixture(params=FACTORIES)
def factory(request, applied):
    return FACTORIES[request.param]


@pytest.fixture
def run(factory):
    def run(main):
        return aionest.run(main(), loop_factory=factory)

    return run


async def value(x, delay=0.01):
    await asyncio.sleep(delay)
    return x


def test_the_loops_own_stack_is_not_copied_for_a_callback(factory):
    """libuv has 12 KB on it while it calls back from its poll: hubs begin below that, once it was seen."""
    loop, copied = factory(), []
    ours, other = socket.socketpair()

    def read():
        other.recv(10)
        copied.append(own_stack()._stack_saved)
        _core._check()
        if len(copied) < 5:
            loop.call_soon(write)
        else:
            loop.remove_reader(other)
            loop.stop()

    def write():
        copied.append(own_stack()._stack_saved)
        ours.send(b"x")

    def own_stack():
        stack = greenlet.getcurrent()
        while stack.parent is not None:
            stack = stack.parent
        return stack

    loop.add_reader(other, read)
    loop.call_soon(write)
    loop.run_forever()
    loop.close()
    ours.close()
    other.close()
    assert max(copied[2:]) < 6000, copied


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit, ValueError])
def test_what_a_callback_raises_when_its_loop_has_stopped_is_not_raised_by_the_next_run(
    factory, exception, monkeypatch
):
    loop, log = factory(), []
    monkeypatch.setattr(sys, "unraisablehook", lambda info: log.append(repr(info.exc_value)))

    def sleeps():
        try:
            asyncio.run(asyncio.sleep(60))
        except RuntimeError:
            raise exception("late") from None

    loop.call_later(0, sleeps)
    loop.call_later(0.01, loop.stop)
    try:
        loop.run_forever()
    except (KeyboardInterrupt, SystemExit) as exc:
        log.append(repr(exc))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert log == [repr(exception("late"))]


# ---- where a call may stand -------------------------------------------------------------------------------------------------


def test_a_callback_a_timer_and_a_done_callback_nest(run):
    async def main():
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in range(3)]
        loop.call_soon(lambda: futures[0].set_result(asyncio.run(value("soon"))))
        loop.call_later(0.01, lambda: futures[1].set_result(asyncio.run(value("later"))))
        task = loop.create_task(value("task"))
        task.add_done_callback(lambda t: futures[2].set_result(asyncio.run(value("done"))))
        return await asyncio.gather(*futures)

    assert run(main) == ["soon", "later", "done"]


def test_a_reader_nests(run):
    async def main():
        loop = asyncio.get_running_loop()
        a, b = socket.socketpair()
        with a, b:
            got = loop.create_future()

            def read():
                loop.remove_reader(a)
                got.set_result((a.recv(10), asyncio.run(value("read"))))

            loop.add_reader(a, read)
            b.send(b"x")
            return await got

    assert run(main) == (b"x", "read")


def test_a_finalizer_of_an_asynchronous_generator_nests(run):
    async def main():
        ended = asyncio.get_running_loop().create_future()

        async def numbers():
            try:
                yield 1
            finally:
                ended.set_result(asyncio.run(value("closed")))

        async for _ in numbers():
            break
        gc.collect()
        return await asyncio.wait_for(ended, 10)

    assert run(main) == "closed"


def test_an_eager_task_nests(run):
    if sys.version_info < (3, 12):
        pytest.skip("eager tasks came with Python 3.12")

    async def main():
        loop = asyncio.get_running_loop()
        if uvloop and type(loop) is uvloop.Loop:  # its own create_task passes a factory what this one does not take

            def eager(loop, coro, **kwargs):
                return asyncio.Task(coro, loop=loop, eager_start=True)

            loop.set_task_factory(eager)
        else:
            loop.set_task_factory(asyncio.eager_task_factory)
        outer = asyncio.current_task()

        async def nests():
            assert asyncio.current_task() is not outer
            return asyncio.run(value(1))

        results = await asyncio.gather(nests(), nests())
        assert asyncio.current_task() is outer
        return results

    assert run(main) == [1, 1]


def test_a_protocol_nests_and_is_freed_with_its_connection(factory):
    if factory is foreign_loop.ForeignLoop:
        pytest.skip("it has no servers")
    freed = []

    async def main():
        loop = asyncio.get_running_loop()

        class Echo(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport

            def data_received(self, data):
                self.transport.write(asyncio.run(value(data.upper())))

        def make():
            protocol = Echo()
            weakref.finalize(protocol, freed.append, True)
            return protocol

        server = await loop.create_server(make, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello")
            got = await asyncio.wait_for(reader.read(5), 10)
            writer.close()
            await writer.wait_closed()
        gc.disable()
        try:
            await eventually_async(lambda: freed)
        finally:
            gc.enable()
        return got

    assert aionest.run(main(), loop_factory=factory) == b"HELLO"


def test_a_protocol_of_datagrams_nests_in_each_of_its_methods(factory):
    if factory is foreign_loop.ForeignLoop:
        pytest.skip("it has no datagrams")

    async def main():
        loop = asyncio.get_running_loop()
        calls, got, lost = [], loop.create_future(), loop.create_future()

        class Protocol(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                calls.append(asyncio.run(value("made")))

            def datagram_received(self, data, address):
                got.set_result(asyncio.run(value(data.upper())))

            def connection_lost(self, exc):
                lost.set_result(asyncio.run(value("lost")))

        transport, _ = await loop.create_datagram_endpoint(Protocol, local_addr=("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"hello", transport.get_extra_info("sockname"))
            calls.append(await asyncio.wait_for(got, support.GUARD))
        transport.close()
        calls.append(await asyncio.wait_for(lost, support.GUARD))
        return calls

    assert aionest.run(main(), loop_factory=factory) == ["made", b"HELLO", "lost"]


def test_a_protocol_of_a_process_nests_in_each_of_its_methods(factory):
    if factory is foreign_loop.ForeignLoop:
        pytest.skip("it has no processes")

    async def main():
        loop = asyncio.get_running_loop()
        calls, output, lost = [], [], loop.create_future()

        class Protocol(asyncio.SubprocessProtocol):
            def connection_made(self, transport):
                calls.append(asyncio.run(value("made")))

            def pipe_data_received(self, fd, data):
                output.append(asyncio.run(value(data)))

            def pipe_connection_lost(self, fd, exc):
                calls.append(asyncio.run(value("pipe lost")))

            def process_exited(self):
                calls.append(asyncio.run(value("exited")))

            def connection_lost(self, exc):
                lost.set_result(asyncio.run(value("lost")))

        program = sys.executable, "-c", "print('hello', flush=True)"
        transport, _ = await loop.subprocess_exec(Protocol, *program, stdin=None, stderr=None)
        calls.append(await asyncio.wait_for(lost, support.GUARD))
        transport.close()
        return b"".join(output).strip(), sorted(calls)

    assert aionest.run(main(), loop_factory=factory) == (b"hello", ["exited", "lost", "made", "pipe lost"])


@pytest.mark.parametrize("wrapped", ["before it is handed over", "while it is connected", False])
def test_methods_that_stand_on_a_protocol_itself_nest_and_stand_there_afterwards(factory, wrapped):
    if factory is foreign_loop.ForeignLoop:
        pytest.skip("it has no servers")
    calls = []

    class Stock(asyncio.Protocol):
        def connection_lost(self, exc):
            calls.append("stock")
            self.over.set_result(None)

    def put(protocol, over):
        method = protocol.connection_lost

        def connection_lost(exc):
            # one that is put there later is called on the loop's own stack
            calls.append(over if wrapped == "while it is connected" and over == "outer" else asyncio.run(value(over)))
            method(exc)

        protocol.connection_lost = connection_lost
        return connection_lost

    async def main():
        loop = asyncio.get_running_loop()
        got = loop.create_future()
        protocol = Stock()
        protocol.data_received = received = lambda data: got.set_result(asyncio.run(value(data)))
        inner = put(protocol, "inner")
        for _ in range(2):  # one after the other, on the same protocol
            a, b = socket.socketpair()
            outer = put(protocol, "outer") if wrapped == "before it is handed over" else None
            transport, _ = await loop.create_connection(lambda: protocol, sock=a)
            if wrapped == "while it is connected":
                outer = put(protocol, "outer")
            with b:
                b.send(b"x")
                assert await asyncio.wait_for(got, 10) == b"x"
                got = loop.create_future()
                protocol.over = loop.create_future()
                transport.close()
                await asyncio.wait_for(protocol.over, 10)
            assert calls == [*(["outer"] if wrapped else []), "inner", "stock"]
            assert protocol.data_received is received
            assert protocol.connection_lost is (outer or inner)
            protocol.connection_lost = inner
            calls.clear()
        return vars(protocol)

    assert set(aionest.run(main(), loop_factory=factory)) == {"data_received", "connection_lost", "over"}


def test_a_protocol_with_slots_is_told_where_to_make_the_call(factory):
    if factory is foreign_loop.ForeignLoop:
        pytest.skip("it has no servers")

    async def main():
        loop = asyncio.get_running_loop()
        told = loop.create_future()

        class Bare(asyncio.Protocol):
            __slots__ = ()

            def data_received(self, data):
                coro = value(1)
                try:
                    asyncio.run(coro)
                except aionest.NestedRunError as exc:
                    told.set_result(str(exc))

        a, b = socket.socketpair()
        transport, _ = await loop.create_connection(Bare, sock=a)
        with b:
            b.send(b"x")
            message = await asyncio.wait_for(told, 10)
            transport.close()
            await asyncio.sleep(0.01)
        return message

    message = aionest.run(main(), loop_factory=factory)
    assert "own stack of <class 'uvloop.Loop'>" in message
    assert "call_soon" in message


# ---- order, contexts, tasks -------------------------------------------------------------------------------------------------


def trace_of(factory):
    """What runs when, of callbacks, timers, tasks and futures that nest nothing."""

    async def main():
        loop = asyncio.get_running_loop()
        seen = []

        async def steps(name):
            for i in range(3):
                seen.append((name, i))
                await asyncio.sleep(0)

        future = loop.create_future()
        future.add_done_callback(lambda f: seen.append("done"))
        loop.call_soon(seen.append, "first")
        tasks = [loop.create_task(steps(name)) for name in "ab"]
        loop.call_soon(future.set_result, None)
        loop.call_soon_threadsafe(seen.append, "threadsafe")
        loop.call_soon(lambda: loop.call_soon(seen.append, "inner"))
        loop.call_later(0, seen.append, "timer")
        await asyncio.gather(*tasks)
        return seen

    loop = factory()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


@pytest.mark.parametrize("name", FACTORIES)
def test_the_order_of_callbacks_is_the_loops_own(name):
    before = trace_of(FACTORIES[name])
    aionest.apply()
    try:
        assert trace_of(FACTORIES[name]) == before
    finally:
        aionest.unapply()


def test_context_variables_and_the_current_task_are_the_callers(run):
    var = contextvars.ContextVar("var", default=0)

    async def main():
        task = asyncio.current_task()
        var.set(1)

        async def inner():
            assert var.get() == 1
            var.set(2)
            assert asyncio.current_task() is not task
            await asyncio.sleep(0.01)

        asyncio.run(inner())
        assert asyncio.current_task() is task
        assert var.get() == 1
        seen = []
        context = contextvars.copy_context()
        asyncio.get_running_loop().call_soon(lambda: seen.append(var.get()), context=context)
        await asyncio.sleep(0.01)
        assert task in asyncio.all_tasks()
        return seen

    assert run(main) == [1]


def test_two_runs_that_need_each_other_and_five_thousand_at_once(run):
    async def main():
        a, b = asyncio.Event(), asyncio.Event()

        async def give(mine, other):
            mine.set()
            await other.wait()

        async def nest(coro):
            await asyncio.sleep(0)
            return asyncio.run(coro)

        await asyncio.gather(nest(give(a, b)), nest(give(b, a)))
        gate = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, gate.set)
        return len(await asyncio.gather(*(nest(gate.wait()) for _ in range(5000))))

    assert run(main) == 5000


MANY = """
    from aionest import _core

    def pages():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1])

    async def main(n):
        gate = asyncio.Event()

        async def nests():
            return asyncio.run(gate.wait())

        before = pages()
        tasks = [asyncio.create_task(nests()) for _ in range(n)]
        while _core._counters()["suspended"] < n:
            await asyncio.sleep(0)
        taken = pages() - before
        gate.set()
        assert await asyncio.gather(*tasks) == [True] * n
        assert _core._counters()["suspended"] == 0
        return taken

    print(aionest.run(main(20_000), loop_factory=new_event_loop))
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
@pytest.mark.skipif("AIONEST_SANITIZED" in os.environ, reason="memory is not what it is otherwise")
def test_twenty_thousand_that_sleep_take_no_more_memory_than_on_asyncio(child):
    names = ("asyncio", *FACTORIES)
    taken = {name: int(support.lines_of(child_on(child, name, MANY, dev=False))[0]) for name in names}
    assert max(taken.values()) <= 1.2 * taken["asyncio"], taken


def test_a_cancellation_reaches_the_inner_run_and_a_timeout_ends_it(run):
    async def main():
        seen, begun = [], asyncio.Event()

        async def inner():
            try:
                begun.set()
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append("cancelled")
                await asyncio.sleep(0)
                raise

        async def outer():
            asyncio.run(inner())

        task = asyncio.ensure_future(outer())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        begun.clear()
        task = asyncio.ensure_future(outer())
        await begun.wait()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(task, 0.01)
        return seen

    assert run(main) == ["cancelled"] * 2


def test_an_exception_in_a_callback_that_has_slept_goes_to_the_exception_handler(run):
    async def main():
        loop = asyncio.get_running_loop()
        told = loop.create_future()
        loop.set_exception_handler(lambda loop, context: told.set_result(context["exception"]))

        def fails():
            asyncio.run(value(1))
            raise LookupError("after")

        loop.call_soon(fails)
        return repr(await asyncio.wait_for(told, 10))

    assert run(main) == "LookupError('after')"


# ---- stopping and closing ---------------------------------------------------------------------------------------------------


def test_stop_ends_what_sleeps_and_the_loop_can_be_run_again(factory):
    loop = factory()
    seen = []

    async def stops():
        loop.call_soon(loop.stop)
        await asyncio.sleep(60)

    async def sleeps():
        try:
            asyncio.run(stops())
        except RuntimeError as exc:
            seen.append(str(exc))

    loop.create_task(sleeps())
    loop.run_forever()
    assert seen == ["Event loop stopped before Future completed."]
    assert loop.run_until_complete(value(2)) == 2
    loop.close()


def test_what_sleeps_when_the_main_task_ends_goes_on_in_the_next_run(factory):
    loop = factory()

    async def nests():
        return asyncio.run(value("kept", 0.02))

    async def main():
        return asyncio.ensure_future(nests())

    task = loop.run_until_complete(main())
    assert loop.run_until_complete(task) == "kept"
    loop.close()


def test_close_ends_what_sleeps(factory):
    loop = factory()
    seen, begun = [], asyncio.Event()

    async def sleeps():
        begun.set()
        await asyncio.sleep(60)

    async def nests():
        try:
            asyncio.run(sleeps())
        except RuntimeError as exc:
            seen.append(str(exc))

    async def main():
        asyncio.ensure_future(nests())
        await begun.wait()

    loop.run_until_complete(main())
    loop.close()
    assert seen == ["Event loop was closed before Future completed."]
    del loop
    gc.collect()


@pytest.mark.parametrize("how", ["at its end", "by sys.exit"])
@pytest.mark.parametrize("name", FACTORIES)
def test_an_interpreter_that_exits_ends_what_sleeps(child, name, how):
    r = child_on(
        child,
        name,
        """
        async def sleeps():
            begun.set()
            await asyncio.sleep(60)

        async def nests():
            try:
                asyncio.run(sleeps())
            except aionest.NestedRunError as exc:
                print(exc, flush=True)

        async def main():
            global task
            task = asyncio.ensure_future(nests())
            await begun.wait()
            if sys.argv[3] == "by sys.exit":
                sys.exit(3)

        begun = asyncio.Event()
        loop = new_event_loop()
        loop.run_until_complete(main())
        print("over", flush=True)
        """,
        how,
        dev=False,
    )
    told = "the interpreter is exiting: this nested run cannot be completed\n"
    expected = (0, "over\n" + told) if how == "at its end" else (3, told)
    assert (r.returncode, r.stdout) == expected, r.stderr


def test_a_nested_run_forever_ends_by_stop(run):
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, loop.stop)
        loop.run_forever()
        return await value("goes on")

    assert run(main) == "goes on"


def test_a_thread_that_ends_leaves_nothing_suspended(factory):
    def work():
        loop = factory()

        async def nests():
            asyncio.run(value(1, 60))

        async def main():
            asyncio.ensure_future(nests())
            await asyncio.sleep(0.01)

        loop.run_until_complete(main())
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


# ---- guests -----------------------------------------------------------------------------------------------------------------

OUTER_AND_INNER = [
    (outer, inner)
    for outer in ("asyncio", *FACTORIES)
    for inner in ("asyncio", *FACTORIES)
    if (outer, inner) != ("asyncio",) * 2
]


@pytest.mark.parametrize(("outer", "inner"), OUTER_AND_INNER)
def test_a_loop_inside_another_starves_neither(applied, outer, inner):
    factories = {"asyncio": asyncio.SelectorEventLoop, **FACTORIES}

    async def inside():
        await asyncio.gather(*(value(i) for i in range(3)))
        assert asyncio.run(value("nested in the guest")) == "nested in the guest"
        return type(asyncio.get_running_loop())

    async def main():
        ticks = []

        async def tick():
            while True:
                ticks.append(1)
                await asyncio.sleep(0.002)

        ticking = asyncio.ensure_future(tick())
        await asyncio.sleep(0)
        begun = len(ticks)
        loop = asyncio.get_running_loop()
        found = aionest.run(inside(), loop_factory=factories[inner])
        assert asyncio.get_running_loop() is loop
        assert len(ticks) > begun
        ticking.cancel()
        return found

    loop = factories[inner]()
    loop.close()
    assert aionest.run(main(), loop_factory=factories[outer]) is type(loop)


def test_a_guests_error_and_its_callers_cancellation_arrive(factory):
    async def fails():
        await asyncio.sleep(0.01)
        raise LookupError("inside")

    async def main():
        with pytest.raises(LookupError, match="inside"):
            aionest.run(fails(), loop_factory=factory)

        async def outer():
            aionest.run(value(1, 60), loop_factory=factory)

        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(outer(), 0.05)

    asyncio.run(main())


@pytest.mark.parametrize("name", ["asyncio", *FACTORIES])
def test_what_a_greenlet_of_somebody_s_own_gives_or_raises_is_nowhere_kept(applied, name):
    """It hangs below a stack that is idle by then: that hands on what comes to it, and sleeps on."""
    refs = []

    class Outcome(Exception):
        def __init__(self):
            refs.append(weakref.ref(self))

    async def spawn(function):
        """As SQLAlchemy's greenlet_spawn."""
        g = greenlet.greenlet(function, greenlet.getcurrent())
        r = g.switch()
        while not g.dead:
            r = g.switch(await r)
        return r

    def body(raises):
        for _ in range(3):
            greenlet.getcurrent().parent.switch(asyncio.sleep(0.001))
        if raises:
            raise Outcome
        return Outcome()

    async def one(raises):
        try:
            await spawn(lambda: body(raises))
        except Outcome:
            pass

    async def nests(i):
        for _ in range(6):
            asyncio.run(asyncio.sleep(0.0005 * (i % 4)))

    async def main():
        gc.disable()
        try:
            await asyncio.gather(*(x for i in range(8) for x in (one(i % 2), nests(i), nests(i + 1))))
            await asyncio.sleep(0.01)
            return [r() for r in refs]
        finally:
            gc.enable()

    factory = {"asyncio": asyncio.SelectorEventLoop, **FACTORIES}[name]
    assert aionest.run(main(), loop_factory=factory) == [None] * 8


class Boom(Exception):
    pass


@pytest.mark.parametrize("sleeps_on", ["outer", "inner"])
@pytest.mark.parametrize(("outer", "inner"), [*OUTER_AND_INNER, ("asyncio", "asyncio")])
def test_what_is_thrown_into_a_greenlet_of_another_loop_is_raised_on_its_own(applied, outer, inner, sleeps_on):
    """It sleeps in a nested run, and the code that throws runs inside the guest, or between two iterations of that."""
    factories = {"asyncio": asyncio.SelectorEventLoop, **FACTORIES}
    seen = {}

    async def sleeps(begun):
        def body():
            begun()
            try:
                asyncio.run(value(1, 60))
            except Boom:
                seen["raised"] = asyncio.get_running_loop(), asyncio.current_task()

        seen["greenlet"] = greenlet.greenlet(body)
        seen["greenlet"].switch()
        assert seen["raised"] == (asyncio.get_running_loop(), asyncio.current_task())
        _core._check()
        return asyncio.get_running_loop()

    async def throws():
        here = asyncio.get_running_loop(), asyncio.current_task()
        seen["greenlet"].throw(Boom())
        assert here == (asyncio.get_running_loop(), asyncio.current_task())
        assert "raised" not in seen
        _core._check()

    async def main():
        loop, guest = asyncio.get_running_loop(), factories[inner]()
        try:
            if sleeps_on == "outer":
                task = loop.create_task(sleeps(int))
                await asyncio.sleep(0)
                guest.run_until_complete(throws())
                return await task is loop
            begun = asyncio.Event()

            async def throws_then():
                await begun.wait()
                await throws()

            task = loop.create_task(throws_then())
            found = guest.run_until_complete(sleeps(begun.set))
            await task
            return found is guest
        finally:
            guest.close()

    assert aionest.run(main(), loop_factory=factories[outer])


# ---- Ctrl-C -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["in a callback", "while the loop waits"])
@pytest.mark.parametrize("name", FACTORIES)
def test_ctrl_c_wakes_a_run_that_cannot_be_cancelled(child, name, how):
    """block_on() of a future: nobody's task is cancelled, the caller gets KeyboardInterrupt."""
    r = child_on(
        child,
        name,
        """
        import os, signal, threading

        async def main():
            loop = asyncio.get_running_loop()
            if sys.argv[3] == "in a callback":
                loop.call_soon(signal.raise_signal, signal.SIGINT)
            else:
                timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
                timer.start()
            try:
                aionest.block_on(loop.create_future())
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            return asyncio.run(asyncio.sleep(0.01, "goes on"))

        loop = new_event_loop()
        print(loop.run_until_complete(main()))
        loop.close()
        """,
        how,
    )
    assert support.lines_of(r) == ["interrupted", "goes on"]


# ---- classes ----------------------------------------------------------------------------------------------------------------


def test_classes_made_before_and_after_are_patched_and_given_back():
    class Before(foreign_loop.ForeignLoop):
        def call_soon(self, callback, *args, context=None):
            return super().call_soon(callback, *args, context=context)

    own = vars(Before)["call_soon"]
    stock = vars(foreign_loop.ForeignLoop)["call_soon"]
    aionest.apply()
    try:

        class After(foreign_loop.ForeignLoop):
            pass

        async def nests():
            return asyncio.run(value(1))

        for cls in (Before, After):
            assert checks.is_patched(cls)
            assert aionest.run(nests(), loop_factory=cls) == 1
    finally:
        aionest.unapply()
    assert vars(Before)["call_soon"] is own
    assert vars(foreign_loop.ForeignLoop)["call_soon"] is stock
    assert "call_soon" not in vars(After)
    assert "__init_subclass__" not in vars(asyncio.AbstractEventLoop)


@pytest.mark.parametrize("name", FACTORIES)
def test_a_loop_that_runs_when_apply_comes(name):
    async def main():
        aionest.apply()
        with pytest.raises(aionest.NestedRunError, match="was in flight, or queued, when aionest.apply"):
            asyncio.run(value(1))  # this very step was begun before
        await asyncio.sleep(0)
        return asyncio.run(value(2))

    loop = FACTORIES[name]()
    try:
        assert loop.run_until_complete(main()) == 2
    finally:
        loop.close()
        aionest.unapply()


def test_a_class_that_hands_calls_on_to_another_loop_is_left_alone(applied):
    class Proxy(asyncio.AbstractEventLoop):
        def add_reader(self, fd, callback, *args):
            raise NotImplementedError

    assert not checks.is_patched(Proxy)
    assert type(vars(Proxy)["add_reader"]) is type(lambda: None)


def test_a_class_that_cannot_be_patched_is_left_alone_and_what_nests_on_it_is_told_so():
    class Immutable(type):
        """As types of C extensions are."""

        def __setattr__(cls, name, value):
            raise TypeError(f"cannot set {name!r} attribute of immutable type {cls.__name__!r}")

    names = {k: v for k, v in vars(foreign_loop.ForeignLoop).items() if k not in ("__dict__", "__weakref__")}
    Sealed = Immutable("Sealed", (asyncio.AbstractEventLoop,), names)

    async def main():
        coro = value(1)
        with pytest.raises(aionest.ForeignLoopError, match="Sealed"):
            asyncio.run(coro)
        coro.close()
        return await value(2)

    aionest.apply()
    try:
        assert not checks.is_patched(Sealed)
        assert dict(vars(Sealed)).items() >= names.items()
        loop = Sealed()
        assert loop.run_until_complete(main()) == 2
        loop.close()
    finally:
        aionest.unapply()


def test_what_a_loop_refuses_it_refuses_as_before(factory):
    loop = factory()
    with pytest.raises(TypeError):
        loop.call_later("soon", print)
    with pytest.raises(TypeError):
        loop.call_soon()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon(print)
    coro = value(1)
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_until_complete(coro)
    coro.close()


def test_apply_takes_any_loop(factory):
    loop = factory()
    aionest.apply(loop)
    loop.close()


# ---- what stands on it ------------------------------------------------------------------------------------------------------


def test_a_portal_on_such_a_loop(factory):
    if factory is foreign_loop.ForeignLoop:
        pytest.skip("a portal's loop runs in a thread and needs all of a loop's methods")
    with aionest.Portal(loop_factory=factory) as portal:

        async def nests():
            return type(asyncio.get_running_loop()), asyncio.run(value(1))

        assert portal.call(nests) == (uvloop.Loop, 1)
        assert portal.run(value(2)) == 2


def test_a_hosted_resource_on_such_a_loop(run):
    import contextlib

    seen = []

    @contextlib.asynccontextmanager
    async def resource():
        task = asyncio.current_task()
        yield "resource"
        assert asyncio.current_task() is task
        seen.append("left")

    async def main():
        hosted = aionest.hosted(resource())
        assert await hosted.enter() == "resource"
        assert asyncio.run(value(1)) == 1

        async def leave():
            await hosted.leave()

        asyncio.run(leave())
        return seen

    assert run(main) == ["left"]


def test_nothing_is_left_and_the_invariants_hold(run):
    async def main():
        await asyncio.gather(*(asyncio.to_thread(int) for _ in range(0)))

        async def nests(i):
            await asyncio.sleep(0)
            return asyncio.run(value(i, 0))

        for _ in range(50):
            await asyncio.gather(*(nests(i) for i in range(10)))
            _core._check()

    run(main)
    assert _core._counters()["suspended"] == 0


def test_rloop(child):
    if not importlib.util.find_spec("rloop"):
        pytest.skip("rloop is missing")
    r = child(
        """
        import asyncio
        import aionest
        aionest.apply()
        import rloop

        async def value(x, delay=0.01):
            await asyncio.sleep(delay)
            return x

        async def main():
            loop = asyncio.get_running_loop()
            order = []

            async def nests(delay):
                order.append(asyncio.run(value(delay, delay)))

            await asyncio.gather(nests(0.3), nests(0.1), nests(0.2))
            done = loop.create_future()
            loop.call_later(0.01, lambda: done.set_result(asyncio.run(value("timer"))))
            try:
                await asyncio.wait_for(nests(60), 0.05)
            except asyncio.TimeoutError:
                order.append("timeout")
            return order, await done, aionest.run(value("guest"), loop_factory=asyncio.SelectorEventLoop)

        print(aionest.run(main(), loop_factory=rloop.new_event_loop))

        async def outer():
            return aionest.run(main(), loop_factory=rloop.new_event_loop)

        print(asyncio.run(outer()))
        """,
        dev=False,
    )
    assert (r.stdout, r.stderr) == ("([0.1, 0.2, 0.3, 'timeout'], 'timer', 'guest')\n" * 2, "")


def test_qts_main_loop_by_qasync(child):
    if not (importlib.util.find_spec("qasync") and importlib.util.find_spec("PySide6")):
        pytest.skip("qasync or PySide6 is missing")
    r = child(
        """
        import asyncio
        import aionest
        aionest.apply()

        import qasync
        from PySide6.QtCore import QCoreApplication, QTimer

        async def value(x, delay=0.01):
            await asyncio.sleep(delay)
            return x

        async def main():
            loop = asyncio.get_running_loop()
            order = []

            async def nests(delay):
                order.append(asyncio.run(value(delay, delay)))

            await asyncio.gather(nests(0.3), nests(0.1), nests(0.2))
            done = loop.create_future()
            loop.call_later(0.01, lambda: done.set_result(asyncio.run(value("timer"))))
            told = loop.create_future()

            def slot():  # Qt calls it, not the loop
                coro = value(1)
                try:
                    asyncio.run(coro)
                except aionest.NestedRunError as exc:
                    told.set_result("own stack" in str(exc))

            QTimer.singleShot(10, slot)
            return order, await done, await told

        loop = qasync.QEventLoop(QCoreApplication([]))
        print(loop.run_until_complete(main()))
        print(loop.run_until_complete(value("again")))
        loop.close()
        """,
        env={"QT_QPA_PLATFORM": "offscreen"},
        dev=False,
    )
    assert (r.stdout, r.stderr) == ("([0.1, 0.2, 0.3], 'timer', True)\nagain\n", "")


@pytest.mark.parametrize("way", ["direct", "awaited", "background", "gathered"])
def test_ctrl_c_on_uvloop_cancels_all_that_is_nested(child, way):
    if uvloop is None:
        pytest.skip("uvloop is missing")
    r = child(
        """
        import asyncio, sys
        import aionest
        aionest.apply()
        import uvloop

        cleaned = []

        async def inner():
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.01)
                cleaned.append(1)

        async def nests():
            asyncio.run(inner())

        async def main(way):
            asyncio.get_running_loop().call_later(0.2, lambda: print("asleep", flush=True))
            if way == "direct":
                asyncio.run(inner())
            elif way == "awaited":
                await asyncio.create_task(nests())
            elif way == "background":
                task = asyncio.create_task(nests())
                await asyncio.sleep(60)
            else:
                await asyncio.gather(nests(), nests())

        try:
            aionest.run(main(sys.argv[1]), loop_factory=uvloop.new_event_loop)
        except KeyboardInterrupt:
            print("interrupted", len(cleaned))
        print(uvloop.run(asyncio.sleep(0, "next")), asyncio.run(asyncio.sleep(0, "next")))
        """,
        way,
        signal_after="asleep",
        dev=False,
    )
    assert r.stdout.split("\n")[0] == f"interrupted {2 if way == 'gathered' else 1}"
    assert (r.stdout.split("\n")[1], r.stderr) == ("next next", "")


def test_sqlalchemy_on_such_a_loop_with_runs_beside_and_inside_its_greenlets(child):
    if uvloop is None or not (importlib.util.find_spec("sqlalchemy") and importlib.util.find_spec("aiosqlite")):
        pytest.skip("uvloop, SQLAlchemy or aiosqlite is missing")
    r = child(
        """
        import asyncio, threading
        import aionest
        aionest.apply()
        import uvloop
        from sqlalchemy import event, text
        from sqlalchemy.ext.asyncio import create_async_engine

        async def value(x):
            await asyncio.sleep(0.001)
            return x

        async def bystander(i):
            for _ in range(10):
                await asyncio.sleep(0)
                asyncio.run(value(i))

        async def queries(engine):
            seen = []
            async with engine.connect() as connection:
                for i in range(5):
                    seen.append((await connection.execute(text(f"select {i}"))).scalar())
                seen.append(await connection.run_sync(lambda sync: asyncio.run(value("inside"))))
            return seen

        async def main():
            engine = create_async_engine("sqlite+aiosqlite://")
            results = await asyncio.gather(queries(engine), queries(engine), *(bystander(i) for i in range(5)))
            await engine.dispose()
            while threading.active_count() > 1:  # aiosqlite's threads post to the loop until they end
                await asyncio.sleep(0.01)
            return results[:2]

        print(uvloop.run(main()))
        """,
        dev=False,
    )
    assert (r.stdout, r.stderr) == (f"{[[0, 1, 2, 3, 4, 'inside']] * 2}\n", "")


def test_the_loops_own_stack_carries_nothing_between_its_callbacks(applied):
    """What runs there, a finalizer for instance, finds the engine's records in order."""
    turns = []

    class Watched(foreign_loop.ForeignLoop):
        def _turn(self):
            _core._check()
            super()._turn()
            _core._check()
            turns.append(1)

    async def main():
        await asyncio.sleep(0)
        return asyncio.run(value("nested"))

    loop = Watched()
    try:
        assert loop.run_until_complete(main()) == "nested"
    finally:
        loop.close()
    assert turns
