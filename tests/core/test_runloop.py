"""The C run loop against asyncio's own: the same program gives the same result, the same errors and the same objects."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import heapq
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import weakref

import pytest
from support import eventually_async

import aionest
from aionest import _core


def both(program, **kwargs):
    """Run program(loop) on stock asyncio and with aionest applied; both results."""
    results = []
    for ours in (False, True):
        if ours:
            aionest.apply()
        loop = asyncio.new_event_loop()
        try:
            results.append(program(loop, **kwargs))
        finally:
            loop.close()
            if ours:
                aionest.unapply()
    return results


def same(program, **kwargs):
    stock, ours = both(program, **kwargs)
    assert ours == stock
    return ours


def outcome(f, *args, **kwargs):
    try:
        f(*args, **kwargs)
    except BaseException as e:
        return type(e).__name__, str(e)
    return "no error"


def spin(loop, n=1):
    for _ in range(n):
        loop.call_soon(loop.stop)
        loop.run_forever()


def test_wrong_arguments():
    def program(loop):
        return [
            outcome(f, *args, **kwargs)
            for f in (loop.call_soon, loop.call_soon_threadsafe, loop.call_later, loop.call_at)
            for args, kwargs in [
                ((), {}),
                ((1,), {}),
                ((None, print), {}),
                (("x", print), {}),
                ((print,), {"context": 5, "foo": 1}),
                ((print,), {"bar": 1}),
            ]
            if not (f in (loop.call_soon, loop.call_soon_threadsafe) and args == (None, print))
        ]

    same(program)


def test_closed_loop():
    def program(loop):
        loop.close()
        return [
            outcome(f)
            for f in (
                lambda: loop.call_soon(print),
                lambda: loop.call_soon_threadsafe(print),
                lambda: loop.call_later(1, print),
                lambda: loop.call_at(1, print),
                loop.run_forever,
                lambda: loop.run_until_complete(loop.create_future()),
            )
        ]

    assert set(same(program)) == {("RuntimeError", "Event loop is closed")}


def test_debug_checks():
    def program(loop):
        loop.set_debug(True)

        async def coroutine():
            pass

        coro = coroutine()
        got = [
            outcome(loop.call_soon, coro),
            outcome(loop.call_soon, coroutine),
            outcome(loop.call_soon, 5),
            outcome(loop.call_later, 1, coroutine),
        ]
        coro.close()
        handle = loop.call_soon(print)
        got.append(handle._source_traceback[-1].name)
        timer = loop.call_later(1, print)
        got.append(timer._source_traceback[-1].name)

        def other_thread():
            got.append(outcome(loop.call_soon, print))

        def inside():
            t = threading.Thread(target=other_thread)
            t.start()
            t.join()

        handle.cancel()
        loop.call_soon(inside)
        spin(loop)
        return got

    same(program)


def test_handles():
    def callback(*args):
        pass

    def program(loop):
        context = contextvars.copy_context()
        soon = loop.call_soon(callback, 1, 2, context=context)
        later = loop.call_at(loop.time() + 60, callback, 3)
        fixed = loop.call_at(12345.5, callback)
        as_int = loop.call_at(12346, callback)
        got = [
            isinstance(soon, asyncio.Handle),
            isinstance(soon, asyncio.TimerHandle),
            isinstance(later, asyncio.TimerHandle),
            repr(soon),
            repr(fixed),
            repr(as_int),
            as_int.when(),
            soon._callback is callback,
            soon._args,
            later._args,
            soon._loop is loop,
            soon._cancelled,
            soon._source_traceback,
            soon._repr,
            soon._context is context,
            soon.cancelled(),
            fixed.when(),
            fixed < as_int,
            fixed <= as_int,
            fixed > as_int,
            fixed == fixed,
            fixed == as_int,
            hash(fixed) == hash(12345.5),
            sorted([later, as_int, fixed]) == [fixed, as_int, later],
            weakref.ref(soon)() is soon,
        ]
        if hasattr(soon, "get_context"):
            got.append(soon.get_context() is context)
        for h in (soon, later, fixed, as_int):
            h.cancel()
            h.cancel()
            got += [h.cancelled(), repr(h) if h is not later else "", h._callback, h._args]
        got.append(loop._timer_cancelled_count)
        spin(loop)
        got.append((loop._timer_cancelled_count, len(loop._scheduled)))
        return got

    same(program)


def test_cancel_releases_what_the_callback_holds():
    class Big:
        pass

    def program(loop):
        big = Big()
        ref = weakref.ref(big)
        handle = loop.call_later(60, lambda b: None, big)
        del big
        assert ref() is not None
        handle.cancel()
        return ref() is None

    assert same(program)


def test_exception_handler():
    def program(loop):
        contexts = []
        loop.set_exception_handler(lambda loop, context: contexts.append(context))

        def fails():
            raise LookupError("x")

        handle = loop.call_soon(fails)
        spin(loop)
        (context,) = contexts
        assert context["handle"] is handle
        return sorted(context), context["message"].split(" at ")[0], repr(context["exception"])

    same(program)


@pytest.mark.parametrize("nests", [False, True])
def test_an_exception_handler_runs_while_the_exception_is_handled(nests):
    """As on stock asyncio: ``logger.exception()`` and ``traceback.print_exc()`` work in it."""
    told = []

    def handler(loop, context):
        first = sys.exc_info()[1]
        if nests:
            aionest.run(asyncio.sleep(0.001))
        told.append((type(context["exception"]), first is sys.exc_info()[1] is context["exception"]))

    class Fails(asyncio.Protocol):
        def data_received(self, data):
            raise LookupError

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(handler)
        loop.call_soon(int, "x")
        loop.call_later(0, [].pop)
        ours, theirs = socket.socketpair()
        with theirs:
            await loop.create_connection(Fails, sock=ours)
            theirs.send(b"x")
            await eventually_async(lambda: len(told) == 3)
        return sys.exc_info()

    assert aionest.run(main()) == (None, None, None)
    assert sorted(told, key=str) == [(IndexError, True), (LookupError, True), (ValueError, True)]


def test_exception_handler_that_fails():
    def program(loop):
        def handler(loop, context):
            raise SystemExit(3)

        loop.set_exception_handler(handler)
        loop.call_soon(lambda: 1 / 0)
        return outcome(spin, loop), outcome(spin, loop)

    same(program)


def test_order_of_everything():
    """Ready handles, timers, handles added by handles, I/O: the order in which they run."""

    def program(loop):
        log = []
        a, b = socket.socketpair()
        a.setblocking(False)
        b.setblocking(False)
        b.send(b"x")
        loop.add_reader(a, log.append, "io")
        loop.call_soon(log.append, 1)
        loop.call_soon(lambda: (log.append(2), loop.call_soon(log.append, "added")))
        loop.call_at(loop.time() - 1, log.append, "due")
        loop.call_soon(log.append, 3)
        spin(loop)
        log.append("--")
        loop.remove_reader(a)
        spin(loop)
        a.close()
        b.close()
        return log

    same(program)


def test_timers_against_a_model():
    def program(loop, seed):
        rnd = random.Random(seed)
        base = loop.time() - 1000
        log, handles = [], []
        for i in range(500):
            when = base + rnd.randrange(200)
            handles.append((when, i, loop.call_at(when, log.append, i)))
        cancelled = set()
        for _, i, h in handles:
            if rnd.random() < 0.6:
                h.cancel()
                cancelled.add(i)
        assert all(
            not loop._scheduled[2 * i + k] < loop._scheduled[i]
            for i in range(len(loop._scheduled))
            for k in (1, 2)
            if 2 * i + k < len(loop._scheduled)
        )
        spin(loop)
        expected = [i for when, i, h in sorted(handles, key=lambda x: x[:2]) if i not in cancelled]
        return sorted(log) == sorted(expected), log == expected

    for seed in range(20):
        (stock, _), ours = both(program, seed=seed)
        # equal times: the order of the calls, which asyncio leaves open
        assert stock and ours == (True, True)


DEQUE_CALLS = [
    ("extendleft", [1, 2, 3]), ("insert", 0, 9), ("insert", 2, 9), ("insert", -1, 9), ("insert", 99, 9), ("insert", -99, 9),
    ("rotate",), ("rotate", 3), ("rotate", -2), ("rotate", 7), ("reverse",), ("count", 9), ("index", 9), ("index", 9, 4),
    ("index", "none"), ("__setitem__", 1, 8), ("__setitem__", -1, 8), ("__setitem__", 99, 8), ("__delitem__", 0),
    ("__delitem__", -1), ("__delitem__", 99), ("remove", 9), ("extend", [4, 5]), ("pop",), ("popleft",), ("append", 6),
]  # fmt: skip


def test_the_queue_is_a_deque_to_others():
    def program(loop, seed):
        rng = random.Random(seed)
        queue = loop._ready
        queue.extend(range(rng.choice([0, 1, 5, 63, 64])))
        log = []
        for _ in range(100):
            name, *args = rng.choice(DEQUE_CALLS)
            try:
                log.append((name, getattr(queue, name)(*args)))
            except Exception as e:
                log.append((name, type(e).__name__))
            log.append((list(queue), list(reversed(queue)), len(queue)))
        queue.clear()
        return log

    for seed in range(20):
        same(program, seed=seed)


def test_outsiders_use_the_queue_and_the_heap():
    def program(loop):
        log = []
        handle = asyncio.Handle(log.append, ("foreign",), loop)
        loop._ready.append(handle)
        got = [handle in loop._ready, len(loop._ready), bool(loop._ready), list(loop._ready) == [handle]]
        timer = asyncio.TimerHandle(loop.time() - 1, log.append, ("timer",), loop)
        heapq.heappush(loop._scheduled, timer)
        mine = loop.call_at(loop.time() - 2, log.append, "mine")
        got += [loop._scheduled == [mine, timer], mine < timer]
        first = asyncio.Handle(log.append, ("first",), loop)
        loop._ready.appendleft(first)
        got += [loop._ready[0] is first, loop._ready.popleft() is first]
        loop._ready.extend([first])
        got += [loop._ready.pop() is first]
        loop._ready.append(first)
        loop._ready.remove(handle)
        got += [handle in loop._ready, outcome(loop._ready.remove, handle)[0]]
        loop._ready.append(handle)
        spin(loop)
        got.append(log)
        got.append(outcome(loop._ready.popleft))
        loop.call_soon(log.append, "dropped")
        loop._ready.clear()
        spin(loop)
        import collections

        loop._ready = collections.deque([first])
        spin(loop)
        return [*got, log, repr(loop._ready)]

    same(program)


def test_run_once_by_hand():
    def program(loop):
        log = []
        loop.call_soon(lambda: (log.append(1), loop.call_soon(log.append, 2)))
        loop._run_once()
        log.append("-")
        loop._run_once()
        return log

    assert same(program) == [1, "-", 2]


def test_call_soon_threadsafe_wakes_a_sleeping_loop():
    def program(loop):
        future = loop.create_future()
        go = threading.Event()
        loop.call_later(0.02, go.set)

        def other():
            go.wait()
            for i in range(100):
                loop.call_soon_threadsafe(lambda i=i: i == 99 and future.set_result(i))

        t = threading.Thread(target=other)
        t.start()
        r = loop.run_until_complete(asyncio.wait_for(future, 30))
        t.join()
        return r

    assert same(program) == 99


def test_threads_pour_into_a_busy_loop():
    def program(loop):
        n, count = 4000, []
        done = loop.create_future()

        def other():
            for _ in range(n):
                loop.call_soon_threadsafe(count.append, 1)
            loop.call_soon_threadsafe(lambda: len(count) >= 4 * n and not done.done() and done.set_result(None))

        threads = [threading.Thread(target=other) for _ in range(4)]
        for t in threads:
            t.start()
        loop.run_until_complete(asyncio.wait_for(done, 60))
        for t in threads:
            t.join()
        return len(count)

    assert same(program) == 16000


def test_signal_handlers():
    def program(loop):
        future = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, lambda: future.set_result("signal"))
        loop.call_later(0.01, os.kill, os.getpid(), signal.SIGUSR1)
        r = loop.run_until_complete(asyncio.wait_for(future, 30))
        busy = loop.create_future()

        async def work():
            while not busy.done():
                await asyncio.sleep(0)

        loop.add_signal_handler(signal.SIGUSR1, lambda: busy.set_result("signal"))
        loop.call_later(0.01, os.kill, os.getpid(), signal.SIGUSR1)
        loop.run_until_complete(asyncio.wait_for(work(), 30))
        loop.remove_signal_handler(signal.SIGUSR1)
        return r

    assert same(program) == "signal"


def test_streams_servers_and_large_data():
    def program(loop):
        data = os.urandom(3_000_000)

        async def main():
            async def serve(reader, writer):
                got = await reader.readexactly(len(data))
                writer.write(got)
                await writer.drain()
                writer.close()

            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(data)
            writer.write(b"")
            await writer.drain()
            got = await reader.read()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
            server.close()
            await server.wait_closed()
            return got == data

        return loop.run_until_complete(asyncio.wait_for(main(), 60))

    assert same(program)


def test_transport_errors_reach_the_protocol():
    def program(loop):
        async def main():
            log = []

            class P(asyncio.Protocol):
                def connection_made(self, transport):
                    self.transport = transport

                def data_received(self, data):
                    log.append(data)
                    if data == b"bad":
                        raise LookupError

                def eof_received(self):
                    log.append("eof")

                def connection_lost(self, exc):
                    log.append(repr(exc))
                    lost.set_result(None)

            loop.set_exception_handler(lambda loop, context: log.append(context["message"]))
            for what in ("bad", "eof", "reset"):
                lost = loop.create_future()
                a, b = socket.socketpair()
                a.setblocking(False)
                transport, protocol = await loop.create_connection(P, sock=a)
                if what == "bad":
                    b.send(b"bad")
                elif what == "eof":
                    b.close()
                else:
                    b.close()
                    transport.write(b"to nobody")
                await asyncio.wait_for(lost, 30)
                b.close()
            return log

        return loop.run_until_complete(main())

    same(program)


def test_subprocess_and_pipes():
    def program(loop):
        async def main():
            p = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "print(input()[::-1])", stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            out, _ = await p.communicate(b"abc\n")
            return out, p.returncode

        asyncio.set_event_loop(loop)
        try:
            return loop.run_until_complete(asyncio.wait_for(main(), 60))
        finally:
            asyncio.set_event_loop(None)

    assert same(program) == (b"cba\n", 0)


def test_executor():
    def program(loop):
        async def main():
            r = await asyncio.gather(*[loop.run_in_executor(None, pow, 2, i) for i in range(20)])
            await loop.shutdown_default_executor()
            return r

        return loop.run_until_complete(asyncio.wait_for(main(), 60))

    assert same(program) == [2**i for i in range(20)]


def test_context_argument_and_duck_typed_context():
    def program(loop):
        var = contextvars.ContextVar("var", default=0)
        context = contextvars.copy_context()
        context.run(var.set, 1)
        log = []
        loop.call_soon(lambda: log.append(var.get()), context=context)
        loop.call_soon(lambda: log.append(var.get()))

        class Duck:
            def run(self, callback, *args):
                log.append("duck")
                return callback(*args)

        loop.call_soon(log.append, "ran", context=Duck())
        spin(loop)
        return log

    assert same(program) == [1, 0, "duck", "ran"]


def test_entered_context_is_an_error_of_the_callback():
    def program(loop):
        messages = []
        loop.set_exception_handler(lambda loop, context: messages.append(type(context["exception"]).__name__))
        context = contextvars.copy_context()

        def inside():
            loop.call_soon(print, context=context)
            spin(loop)

        context.run(inside)
        return messages

    same(program)  # since 3.12 the exception handler, too, would have to run in that context: asyncio logs it


def test_loop_is_collected_with_its_record(applied):
    gc.collect()  # the loops of the last test, which pytest held until its report was made
    before = _core._counters()["records"]
    loop = asyncio.new_event_loop()
    loop.call_later(60, lambda own=loop: own)
    queue = loop._ready
    assert _core._counters()["records"] == before + 1
    loop.close()
    ref = weakref.ref(loop)
    del loop
    gc.collect()
    assert ref() is None
    assert len(queue) == 0
    del queue
    gc.collect()
    assert _core._counters()["records"] == before


def test_handles_are_freed(applied):
    loop = asyncio.new_event_loop()
    before = _core._counters()["handles"]
    for _ in range(1000):
        loop.call_soon(int)
        loop.call_later(60, int)
    assert _core._counters()["handles"] == before + 2000
    loop.close()
    assert _core._counters()["handles"] == before


def test_loop_made_before_apply_keeps_what_it_had():
    loop = asyncio.new_event_loop()
    log = []
    loop.call_soon(log.append, 1)
    loop.call_at(loop.time() - 1, log.append, 2)
    cancelled = loop.call_later(60, log.append, 3)
    cancelled.cancel()
    loop.set_debug(True)
    aionest.apply()
    try:
        assert loop.get_debug() and loop._timer_cancelled_count == 1
        loop.call_soon(log.append, 4)
        spin(loop)
        assert log == [1, 4, 2]
        loop.call_soon(log.append, 5)
    finally:
        aionest.unapply()
    assert loop.get_debug() is True
    loop.call_soon(log.append, 6)
    spin(loop)
    assert log == [1, 4, 2, 5, 6]
    aionest.apply()
    try:
        loop.call_soon(log.append, 7)
        spin(loop)
    finally:
        aionest.unapply()
    assert log[-1] == 7
    loop.close()
