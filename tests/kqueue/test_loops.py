"""Loops on kqueue do what they do on stock asyncio, turn by turn: with the C path (``AIONEST_KQUEUE=1``), and without it.

Most of it is programs that are run on both, and return what they saw.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import selectors
import signal
import socket
import sys
import threading
import time

import pytest
from support import GUARD, Thread, child, eventually_async

import aionest
from aionest import _core

POLLED = _core.POLLED_SELECTOR == "KqueueSelector"


def polled():
    return bool(_core.loop_info(asyncio.get_running_loop())["polled"])


def same(program, *args, debug=False):
    """What PROGRAM returns on stock asyncio, which is what it has to return on aionest."""
    expected = asyncio.run(program(*args), debug=debug)
    aionest.apply()

    async def main():
        assert polled() == POLLED
        result = await program(*args)
        assert polled() == POLLED
        return result

    assert asyncio.run(main(), debug=debug) == expected
    aionest.unapply()
    return expected


@pytest.fixture(params=[False, True], ids=["readers first", "writers first"])
def either_order(request, monkeypatch):
    """No system says which of two sides is told first. (Of a real one this says nothing: it is the shim's.)"""
    if request.param:
        monkeypatch.setenv("SHIM_WRITERS_FIRST", "1")


@contextlib.contextmanager
def pairs(n):
    made = [socket.socketpair() for _ in range(n)]
    for ends in made:
        for end in ends:
            end.setblocking(False)
    try:
        yield made
    finally:
        for ends in made:
            for end in ends:
                end.close()


async def turns(n, seen):
    """What SEEN has got in each turn of the loop."""
    by_turn = []
    for _ in range(n):
        await asyncio.sleep(0)
        by_turn.append(list(seen))
        seen.clear()
    return by_turn


async def until_reader_and_writer(debug=False):
    """Both sides of one descriptor, then one of them changed, then none."""
    loop, seen = asyncio.get_running_loop(), []
    with pairs(1) as [(here, there)]:
        loop.add_reader(here, lambda: seen.append(here.recv(1)))
        loop.add_writer(here, seen.append, "w")
        found = await turns(4, seen)
        there.send(b"xyz")
        found += await turns(4, seen)
        loop.add_writer(here, seen.append, "another")
        there.send(b"ab")
        found += await turns(3, seen)
        loop.remove_writer(here)
        there.send(b"c")
        found += await turns(3, seen)
        loop.remove_reader(here)
        there.send(b"d")
        found += await turns(3, seen)
        loop.add_writer(here, seen.append, "again")
        found += await turns(3, seen)
        return found, loop.remove_writer(here), loop.remove_writer(here)


@pytest.mark.parametrize("debug", [False, True])
def test_both_sides_of_a_descriptor(either_order, debug):
    found, *_ = same(until_reader_and_writer, debug=debug)
    flat = [x for turn in found for x in turn]
    assert [x for x in flat if isinstance(x, bytes)] == [b"x", b"y", b"z", b"a", b"b", b"c"]
    assert any(len(turn) == 2 for turn in found) and flat[-1] == "again"


async def changed_amid_a_turn():
    """A callback takes another one's registration back that is ready in the same turn, or cancels its handle."""
    loop, seen = asyncio.get_running_loop(), []
    with pairs(2) as [(a, to_a), (b, to_b)]:

        def first(me, other):
            seen.append(me.recv(1))
            seen.append((loop.remove_writer(me), loop.remove_reader(other)))

        loop.add_reader(a, first, a, b)
        loop.add_reader(b, first, b, a)
        loop.add_writer(a, seen.append, "a")
        to_a.send(b"x")
        to_b.send(b"y")
        found = await turns(4, seen)
        loop._add_reader(a, seen.append, "never").cancel()  # asyncio takes those off when they are ready
        to_a.send(b"x")
        found += await turns(4, seen)
        found.append([loop._selector.get_map().get(s.fileno()) is not None for s in (a, b)])
        for s in (a, b):
            loop.remove_reader(s), loop.remove_writer(s)
        return found


def test_what_is_changed_amid_a_turn(either_order):
    found = same(changed_amid_a_turn)
    assert "never" not in [x for turn in found for x in turn]


async def both_handles_cancelled():
    loop = asyncio.get_running_loop()
    with pairs(1) as [(here, there)]:
        there.send(b"x")
        handles = loop._add_reader(here, print), loop._add_writer(here, print)
        for handle in handles:
            handle.cancel()
        await turns(4, [])
        return loop._selector.get_map().get(here.fileno())


def test_both_sides_are_cancelled(either_order):
    assert same(both_handles_cancelled) is None


async def more_than_before(n):
    """Many descriptors of which all sides are ready: how many callbacks there are in each turn."""
    loop, seen = asyncio.get_running_loop(), []
    with pairs(n) as made:
        found = []
        for here, there in made:
            there.send(b"x")
            loop.add_reader(here, seen.append, (here.fileno(), "r"))
            loop.add_writer(here, seen.append, (here.fileno(), "w"))
        for _ in range(6):
            await asyncio.sleep(0)
            found.append((len(seen), len(set(seen))))
            seen.clear()
        for here, _ in made:
            loop.remove_reader(here), loop.remove_writer(here)
        return found


@pytest.mark.parametrize("n", [1, 3, 100])
def test_as_many_events_as_stock_asks_for(n):
    found = same(more_than_before, n)
    assert max(found)[0] == (2 * n if hasattr(selectors.KqueueSelector(), "_max_events") else n + 1)


async def end_with_bytes_left(make):
    loop, found, end = asyncio.get_running_loop(), [], asyncio.Event()
    reading, writing = make()
    os.set_blocking(reading, False)
    os.write(writing, b"xyz")
    os.close(writing)

    def read():
        found.append(os.read(reading, 2))
        if not found[-1]:
            loop.remove_reader(reading)
            end.set()

    loop.add_reader(reading, read)
    await end.wait()
    os.close(reading)
    return found


def two_sockets():
    return [s.detach() for s in socket.socketpair()]


@pytest.mark.parametrize("make", [os.pipe, two_sockets])
def test_the_end_of_a_stream_with_bytes_left(make):
    assert same(end_with_bytes_left, make) == [b"xy", b"z", b""]


async def nobody_reads(make):
    """What is written to has lost its reader; and a transport for writing notices it without writing."""
    loop, found = asyncio.get_running_loop(), []
    reading, writing = make()
    os.set_blocking(writing, False)
    called = loop.create_future()
    loop.add_writer(writing, called.set_result, "full")
    while True:
        try:
            os.write(writing, bytes(65536))
        except BlockingIOError:
            break
        except OSError as exc:
            found.append(type(exc))
            break
    await asyncio.sleep(0)
    os.close(reading)
    found.append(await called)
    loop.remove_writer(writing)
    try:
        os.write(writing, b"x")
    except OSError as exc:
        found.append(type(exc))
    lost = loop.create_future()

    class Protocol(asyncio.BaseProtocol):
        def connection_lost(self, exc):
            lost.set_result(type(exc))

    await loop.connect_write_pipe(Protocol, open(writing, "wb", buffering=0))
    return [*found, await lost]


@pytest.mark.parametrize("make", [os.pipe, two_sockets])
def test_an_error_of_the_other_side(make):
    found = same(nobody_reads, make)
    assert found[:1] == ["full"] and found[1] in (BrokenPipeError, ConnectionResetError)


async def refused():
    loop = asyncio.get_running_loop()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = server.getsockname()
    with socket.socket() as client:
        client.setblocking(False)
        try:
            await loop.sock_connect(client, address)
        except OSError as exc:
            return exc.errno


def test_a_connection_that_is_refused():
    assert same(refused) == errno.ECONNREFUSED


async def closed_while_registered(shared):
    """The descriptor is closed behind the loop's back, also while another one shares its file; then its number is used again."""
    loop, seen = asyncio.get_running_loop(), []
    with pairs(2) as [(here, there), (other, to_other)]:
        fd = os.dup(here.fileno())
        loop.add_reader(fd, seen.append, "first")
        if not shared:
            here.close()
        os.close(fd)
        there_is_one = True
        try:
            there.send(b"x")
        except OSError:
            there_is_one = False
        found = [there_is_one, *await turns(3, seen)]
        os.dup2(other.fileno(), fd)
        to_other.send(b"x")
        found += await turns(3, seen)
        found.append(loop.remove_reader(fd))
        loop.add_reader(fd, lambda: seen.append(("second", other.recv(1))))
        found += await turns(3, seen)
        found.append(loop.remove_reader(fd))
        os.close(fd)
        return found


@pytest.mark.parametrize("shared", [False, True])
def test_a_descriptor_is_closed_while_it_is_registered(shared):
    found = same(closed_while_registered, shared)
    assert [x for x in found if isinstance(x, list) and x] == [[("second", b"x")]]


async def timers():
    loop, seen = asyncio.get_running_loop(), []
    start = loop.time()
    delays = [0.03, 0.0, 1e-9, 0.01, 0.02, 1e-4, 0.015]
    early, last = [], asyncio.Event()

    def fire(delay):
        seen.append(delay)
        early.append(loop.time() + loop._clock_resolution < start + delay)
        if delay == max(delays):
            last.set()

    for delay in delays:
        loop.call_later(delay, fire, delay)
    cancelled = loop.call_later(0.005, fire, "cancelled")
    cancelled.cancel()
    await last.wait()
    try:
        with pairs(1) as [(here, _)]:
            await asyncio.wait_for(loop.sock_recv(here, 1), 0.01)
    except (TimeoutError, asyncio.TimeoutError):
        seen.append("in time")
    return seen, any(early)


def test_timers_and_timeouts():
    assert same(timers) == ([0.0, 1e-9, 1e-4, 0.01, 0.015, 0.02, 0.03, "in time"], False)


async def a_signal(number, by_loop):
    """By the loop's own handlers (its number comes through the wake-up pipe) or by the program's (EINTR)."""
    loop = asyncio.get_running_loop()
    got = loop.create_future()

    def handler(*_):
        if not got.done():
            loop.call_soon_threadsafe(lambda: got.done() or got.set_result("signal"))

    before = signal.signal(number, handler)
    if by_loop:
        loop.add_signal_handler(number, handler)
    # again and again: one that comes right before the system call wakes nobody, on stock, too
    loop.call_soon(signal.setitimer, signal.ITIMER_REAL, 0.01, 0.05)
    try:
        return await asyncio.wait_for(got, GUARD)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if by_loop:
            loop.remove_signal_handler(number)
        signal.signal(number, before)


@pytest.mark.parametrize("by_loop", [True, False])
@pytest.mark.parametrize("debug", [False, True])
def test_a_signal_wakes_a_loop_that_sleeps(by_loop, debug):
    assert same(a_signal, signal.SIGALRM, by_loop, debug=debug) == "signal"


def test_what_a_signal_handler_raises_comes_out_of_the_run():
    class Raised(Exception):
        pass

    def handler(*_):
        raise Raised

    def outcome():
        loop = asyncio.SelectorEventLoop()
        with contextlib.closing(loop):
            loop.call_soon(signal.setitimer, signal.ITIMER_REAL, 0.01, 0.5)
            try:
                loop.run_forever()
            except Raised:
                signal.setitimer(signal.ITIMER_REAL, 0)
                return loop.run_until_complete(asyncio.sleep(0, "it goes on"))

    before = signal.signal(signal.SIGALRM, handler)
    try:
        expected = outcome()
        aionest.apply()
        assert outcome() == expected == "it goes on"
    finally:
        signal.signal(signal.SIGALRM, before)


async def from_threads(n, each):
    """Threads that each wait for their callback before they post the next one: a wake-up that is lost is a hang."""
    loop, total = asyncio.get_running_loop(), []

    def post():
        for _ in range(each):
            done = asyncio.run_coroutine_threadsafe(asyncio.sleep(0, 1), loop)
            total.append(done.result(GUARD))

    threads = [Thread(post) for _ in range(n)]
    await asyncio.gather(*[loop.run_in_executor(None, t.result) for t in threads])
    await asyncio.sleep(0)
    try:
        left = loop._ssock.recv(1)
    except BlockingIOError:
        left = None
    return len(total), left


def test_callbacks_of_other_threads():
    assert same(from_threads, 4, 100) == (400, None)


async def processes():
    program = "import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data[::-1]); sys.stderr.write('e' * 70000); sys.exit(3)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", program, stdin=-1, stdout=-1, stderr=-1)
    out, err = await process.communicate(b"ab" * 100_000)
    return out == b"ba" * 100_000, len(err), process.returncode


def test_pipes_of_a_process():
    assert same(processes) == (True, 70000, 3)


async def streams():
    async def serve(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write(b"end")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()

    async def ask(n):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(bytes([n]) * 200_000)
        writer.write_eof()
        data = await reader.read()
        writer.close()
        await writer.wait_closed()
        return len(data), set(data[:-3]), data[-3:]

    found = await asyncio.gather(*[ask(n) for n in range(5)])
    server.close()
    await server.wait_closed()
    return found


@pytest.mark.parametrize("debug", [False, True])
def test_streams_and_half_closed_connections(debug):
    assert same(streams, debug=debug) == [(200_003, {n}, b"end") for n in range(5)]


async def datagrams():
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        for s in (one, two):
            s.setblocking(False)
            s.bind(("127.0.0.1", 0))
        got = asyncio.gather(*[loop.create_task(loop.sock_recv(two, 10)) for _ in range(1)])
        await asyncio.sleep(0)
        one.sendto(b"hello", two.getsockname())
        return await got


def test_datagrams():
    assert same(datagrams) == [b"hello"]


# ---- what is ours -----------------------------------------------------------------------------------------------------


def test_a_reader_nests_while_others_are_called():
    aionest.apply()

    async def main():
        loop, seen, over = asyncio.get_running_loop(), [], asyncio.Event()
        with pairs(2) as [(a, to_a), (b, to_b)]:

            async def ask():
                to_b.send(b"y")
                return await loop.sock_recv(a, 1)

            def nests():
                loop.remove_reader(a)
                assert a.recv(1) == b"x"
                seen.append(asyncio.run(ask()))
                over.set()

            def other():
                seen.append(b.recv(1))
                to_a.send(b"z")

            loop.add_reader(a, nests)
            loop.add_reader(b, other)
            to_a.send(b"x")
            await over.wait()
            loop.remove_reader(b)
        assert polled() == POLLED
        return seen

    assert asyncio.run(main()) == [b"y", b"z"]


class Derived(selectors.KqueueSelector):
    def select(self, timeout=None):
        return super().select(timeout)


def patched():
    selector = selectors.KqueueSelector()
    selector.select = selector.select
    return selector


def of_something_else():
    class Queue:
        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

    selector = selectors.KqueueSelector()
    selector._selector = Queue(selector._selector)
    return selector


@pytest.mark.parametrize("make", [Derived, patched, of_something_else, selectors.PollSelector])
def test_any_other_selector_is_asked_itself(make):
    aionest.apply()
    loop = asyncio.SelectorEventLoop(make())

    async def main():
        assert not polled()
        return await from_threads(2, 10), await processes()

    with contextlib.closing(loop):
        assert loop.run_until_complete(main()) == ((20, None), (True, 70000, 3))
        loop.run_until_complete(loop.shutdown_default_executor())
    del loop._selector  # the instance's own select() refers to it


def test_a_selector_that_is_exchanged_amid_the_run():
    aionest.apply()
    loop = asyncio.SelectorEventLoop(selectors.PollSelector())

    async def main():
        found = [polled()]
        before, loop._selector = loop._selector, selectors.KqueueSelector()
        for key in before.get_map().values():
            loop._selector.register(key.fileobj, key.events, key.data)
        before.close()
        await turns(2, [])
        return [*found, polled(), await from_threads(2, 10)]

    with contextlib.closing(loop):
        assert loop.run_until_complete(main()) == [False, POLLED, (20, None)]
        loop.run_until_complete(loop.shutdown_default_executor())


@pytest.mark.skipif(not POLLED, reason="stock gives the system what it refuses")
def test_a_wait_that_is_longer_than_the_system_takes(monkeypatch):
    aionest.apply()
    monkeypatch.setattr("asyncio.base_events.MAXIMUM_SELECT_TIMEOUT", 1e300)

    async def main():
        loop = asyncio.get_running_loop()
        timer, done = loop.call_later(1e12, print), loop.create_future()

        def wake():
            threading.Event().wait(0.05)  # until it sleeps
            loop.call_soon_threadsafe(done.set_result, "woken")

        waker = Thread(wake)
        await done
        waker.result()
        timer.cancel()
        return done.result()

    assert asyncio.run(main()) == "woken"


FORKED = """
    import asyncio, os, select, sys
    if "aionest" in sys.argv:
        import aionest
        aionest.apply()
    loop, pid, another = asyncio.SelectorEventLoop(), None, None

    def fork():
        global pid, another
        pid = os.fork()
        if pid == 0:
            another = select.kqueue()  # it may get the number of the one that is not here

    async def main(amid):
        if amid:
            fork()
        await asyncio.sleep(0)

    try:
        loop.run_until_complete(main("amid" in sys.argv))
        if pid is None:
            fork()
            loop.run_until_complete(main(False))
    except Exception as exc:
        outcome = type(exc).__name__
    else:
        outcome = "it runs"
    if pid == 0:
        print("child:", outcome, flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    loop.close()
    print("parent:", outcome)
"""


@pytest.mark.parametrize("when", ["amid", "between"])
def test_a_forked_child_has_no_queue(when):
    stock, ours = child(FORKED, when), child(FORKED, when, "aionest")
    assert ours.stdout == stock.stdout and "parent: it runs" in stock.stdout, (stock, ours)


@pytest.mark.parametrize("choice", [None, "0", "", "1"])
def test_it_is_off_unless_it_is_asked_for(choice, monkeypatch):
    monkeypatch.delenv("AIONEST_KQUEUE", raising=False)
    out = child(
        """
        import asyncio, aionest
        from aionest import _core
        aionest.apply()

        async def main():
            return bool(_core.loop_info(asyncio.get_running_loop())["polled"])

        print(_core.POLLED_SELECTOR or "none", asyncio.run(main()))
        """,
        env={} if choice is None else {"AIONEST_KQUEUE": choice},
    )
    assert out.stdout.split() == (["KqueueSelector", "True"] if choice == "1" else ["none", "False"]), out


async def awake_enough():
    """Nothing spins: a loop of which nothing is ready leaves the processor to others."""
    loop = asyncio.get_running_loop()
    with pairs(3) as made:
        for here, _ in made:
            loop.add_reader(here, print)
        over = loop.create_future()
        loop.call_later(0.3, over.set_result, None)
        start = time.process_time(), time.monotonic()
        await over
        spent, passed = time.process_time() - start[0], time.monotonic() - start[1]
        for here, _ in made:
            loop.remove_reader(here)
    return spent < passed / 2


def test_an_idle_loop_sleeps():
    assert same(awake_enough)


async def eventually_readable():
    loop, got = asyncio.get_running_loop(), []
    with pairs(1) as [(here, there)]:
        loop.add_reader(here, lambda: got.append(here.recv(10)))
        writer = Thread(lambda: there.send(b"x"))
        await eventually_async(lambda: got)
        writer.result()
        loop.remove_reader(here)
    return got


def test_a_loop_that_sleeps_is_woken_by_a_descriptor():
    assert same(eventually_readable) == [b"x"]
