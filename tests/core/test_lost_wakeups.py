"""What waits to be told that something is done goes on, too, where the loop cannot queue that message."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import logging
import selectors
import signal
import sys

import pytest
from foreign_loop import ForeignLoop

import aionest
from aionest import _core
from aionest._engine import guest, loop_methods


class Full(Exception):
    pass


def adopted_loop():
    """One whose run_forever is asyncio's own, as of a loop that ran before apply()."""

    class Adopted(asyncio.SelectorEventLoop):
        run_forever = asyncio.BaseEventLoop.run_forever.__wrapped__

    return Adopted()


async def nests(inner, ended):
    try:
        asyncio.run(inner())
    except RuntimeError as exc:
        ended.append(str(exc))


async def ends_above(sleeper, kept):
    """The main task of a run: it ends while the loop's own stack sleeps in another one, which the run has to return through."""
    kept.append(asyncio.ensure_future(sleeper))
    await asyncio.sleep(0)
    return "done"


def refuse(loop, callback):
    """``loop.full``: the next message to a suspended run cannot be queued."""
    if loop.full and type(callback).__name__ in ("SuspendedRun", "ForeignCallback"):
        loop.full = False
        raise Full


class Refusing(asyncio.SelectorEventLoop):
    full = False

    def call_soon(self, callback, *args, context=None):
        refuse(self, callback)
        return super().call_soon(callback, *args, context=context)


class ForeignRefusing(ForeignLoop):
    full = False

    def call_soon(self, callback, *args, context=None):
        refuse(self, callback)
        return super().call_soon(callback, *args, context=context)


class Selecting(asyncio.SelectorEventLoop):
    """Its selector is asked in Python."""

    def __init__(self):
        super().__init__(selectors.SelectSelector())


async def value():
    await asyncio.sleep(0)
    return 1


def reports():
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(type(context["exception"])))
    return told


def test_a_nested_run_whose_loop_cannot_queue_its_end_goes_on(applied):
    async def fills(loop):
        await asyncio.sleep(0)

        def check_closed():
            del loop._check_closed
            raise Full

        loop._check_closed = check_closed
        return 1

    async def main():
        told = reports()
        assert asyncio.run(fills(asyncio.get_running_loop())) == 1
        assert told == [Full]
        assert asyncio.run(value()) == 1
        return "done"

    assert asyncio.run(main()) == "done"
    _core._check()


def test_the_same_on_a_foreign_loop(applied):
    async def fills(loop):
        await asyncio.sleep(0)
        loop.full = True
        return 1

    async def main():
        told = reports()
        loop = asyncio.get_running_loop()
        assert asyncio.run(fills(loop)) == 1
        await asyncio.sleep(0)
        assert told == [Full]
        assert not loop.full and asyncio.run(value()) == 1
        return "done"

    assert aionest.run(main(), loop_factory=ForeignRefusing) == "done"


@pytest.mark.parametrize("inner", [asyncio.SelectorEventLoop, ForeignLoop])
@pytest.mark.parametrize("ends", ["returns", "raises"])
def test_a_guest_whose_end_cannot_be_queued_lets_its_caller_go_on(applied, inner, ends):
    """The caller slept for ever, and where the guest had failed, nobody was told of that either."""

    async def guest(outer):
        await asyncio.sleep(0)
        outer.full = True
        if ends == "raises":
            raise KeyboardInterrupt
        return 1

    async def main():
        told = reports()
        outer, loop = asyncio.get_running_loop(), inner()
        try:
            if ends == "raises":
                with pytest.raises(KeyboardInterrupt):
                    loop.run_until_complete(guest(outer))
            else:
                assert loop.run_until_complete(guest(outer)) == 1
            assert not outer.full
            assert loop.run_until_complete(value()) == 1
        finally:
            loop.close()
        await asyncio.sleep(0)
        assert told == [Full]
        return "done"

    assert aionest.run(main(), loop_factory=Refusing) == "done"
    _core._check()


def test_an_interrupted_run_and_the_end_of_its_loop_leave_no_word_in_the_log(applied, caplog):
    """asyncio.run() is quiet about what Ctrl-C has ended; so is a loop that is closed by hand."""
    ended = []

    async def sleeps():
        try:
            asyncio.run(asyncio.sleep(60))
        finally:
            ended.append(1)

    async def fails():
        try:
            asyncio.run(asyncio.sleep(60))
        except RuntimeError:
            raise ValueError from None

    def stop():
        raise KeyboardInterrupt

    async def main(others):
        left.extend(asyncio.create_task(one()) for one in (sleeps, sleeps, *others))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(stop)
        await asyncio.sleep(60)

    for others, said in ((), []), ((fails,), [ValueError]):
        left: list[asyncio.Task[None]] = []
        caplog.clear()
        loop = asyncio.new_event_loop()
        with caplog.at_level(logging.ERROR, "asyncio"):
            with pytest.raises(KeyboardInterrupt):
                loop.run_until_complete(main(others))
            loop.close()
            left.clear()
        assert [type(record.exc_info[1]) for record in caplog.records] == said
    assert ended == [1] * 4


def test_a_loop_that_is_closed_without_an_interrupt_tells_of_what_it_ends(applied, caplog):
    async def sleeps():
        asyncio.run(asyncio.sleep(60))

    async def main():
        left.append(asyncio.create_task(sleeps()))
        await asyncio.sleep(0)

    left: list[asyncio.Task[None]] = []
    loop = asyncio.new_event_loop()
    with caplog.at_level(logging.ERROR, "asyncio"):
        loop.run_until_complete(main())
        loop.close()
        left.clear()
    assert [type(record.exc_info[1]) for record in caplog.records] == [aionest.NestedRunError]


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
@pytest.mark.parametrize("does", ["makes a timer", "nests"])
@pytest.mark.parametrize("cls", [asyncio.SelectorEventLoop, Selecting])
def test_what_runs_just_before_the_loop_sleeps_is_not_slept_over(applied, does, cls):
    """A signal's handler, or garbage: the time until the next timer had been computed, and the loop slept for so long."""

    def handler(*args):
        loop = asyncio.get_running_loop()
        if does == "nests":
            asyncio.run(asyncio.sleep(0.001))
        loop.call_later(0.001, future.set_result, "done")

    async def main():
        nonlocal future
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(
            _thread.interrupt_main, signal.SIGUSR1
        )  # C code, so what it does is not looked at before the poll
        return await asyncio.wait_for(future, 20)

    future: asyncio.Future[str] | None = None
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        assert aionest.run(main(), loop_factory=cls) == "done"
    finally:
        signal.signal(signal.SIGUSR1, before)
    _core._check()


@pytest.mark.parametrize("kind", ["own", "adopted"])
def test_a_finalizer_that_nests_while_a_guest_is_set_up_is_refused(applied, monkeypatch, kind):
    """The guest went on, and ended, on other stacks, and its run, in whose beginning the finalizer slept, never came to that."""

    def hooks():
        if asyncio.get_running_loop() in guest.guests and not told:
            told.append("")
            coro = nests()
            try:
                asyncio.run(coro)
            except RuntimeError as exc:
                told[0] = str(exc)
        return agen_hooks()

    async def nests():
        asyncio.run(asyncio.sleep(0))

    async def main():
        inner = asyncio.new_event_loop()
        try:
            return await asyncio.sleep(0, inner.run_until_complete(value()))
        finally:
            inner.close()

    told, agen_hooks = [], guest.agen_hooks
    monkeypatch.setattr(guest, "agen_hooks", hooks)
    loop = adopted_loop() if kind == "adopted" else asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(main()) == 1
    finally:
        loop.close()
    assert "being set up" in told[0]
    _core._check()


def test_a_guest_closes_while_the_loop_s_own_stack_sleeps_in_a_run_on_it(applied):
    """A loop that ran before apply(): its stack had carried the guest, and nobody woke it up any more."""

    async def sleeps():
        try:
            asyncio.run(asyncio.sleep(60))
        except BaseException as exc:
            ended.append((type(exc).__name__, asyncio.get_running_loop() is inner))

    async def in_guest(awake):
        await awake.wait()
        task = asyncio.ensure_future(sleeps())
        await asyncio.sleep(0)
        return task

    async def first(awake):
        asyncio.run(asyncio.sleep(0.01))
        await asyncio.sleep(0)  # from here on the loop's own stack runs it again
        inner.call_soon_threadsafe(awake.set)

    async def main():
        awake = asyncio.Event()
        task = asyncio.ensure_future(first(awake))
        await asyncio.sleep(0)  # on a hub: the loop's own stack sleeps in the task
        kept.append(inner.run_until_complete(in_guest(awake)))
        assert ended == []
        inner.close()
        await task
        while not ended:
            await asyncio.sleep(0)
        assert asyncio.get_running_loop() is loop

    ended, kept = [], []
    loop, inner = adopted_loop(), asyncio.SelectorEventLoop()
    try:
        loop.run_until_complete(asyncio.wait_for(main(), 20))
    finally:
        loop.close()
    assert ended == [("NestedRunError", True)]
    _core._check()


def test_a_run_ends_though_what_it_returns_through_will_not_be_cancelled(applied, monkeypatch):
    class Stubborn(asyncio.Future):
        def cancel(self, *args, **kwargs):
            return False

    async def waits():
        await Stubborn()

    ended, kept = [], []
    monkeypatch.setattr(loop_methods, "GRACE", 0.01)
    loop = adopted_loop()
    try:
        assert loop.run_until_complete(ends_above(nests(waits, ended), kept)) == "done"
    finally:
        loop.close()
    assert ended == ["Event loop stopped before Future completed."]
    _core._check()


def test_a_run_waits_for_what_it_returns_through_while_that_cleans_up(applied, monkeypatch):
    """For longer than it would wait for what does nothing."""

    async def waits():
        try:
            await asyncio.Event().wait()
        finally:
            for i in range(12):
                await asyncio.sleep(3 * loop_methods.GRACE / 12)
                cleaned.append(i)

    async def sleeps():
        try:
            asyncio.run(waits())
        except BaseException as exc:
            ended.append(type(exc))
            raise

    cleaned, ended, kept = [], [], []
    monkeypatch.setattr(loop_methods, "GRACE", 0.02)
    loop = adopted_loop()
    try:
        assert loop.run_until_complete(ends_above(sleeps(), kept)) == "done"
    finally:
        loop.close()
    assert (cleaned, ended) == (list(range(12)), [asyncio.CancelledError])
    _core._check()


def test_a_run_ends_though_what_it_returns_through_goes_on_for_ever(applied, monkeypatch):
    async def goes_on():
        kept.append(asyncio.current_task())
        while not ended:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(loop_methods.GRACE / 20)

    ended, kept = [], []
    monkeypatch.setattr(loop_methods, "GRACE", 0.02)
    loop = adopted_loop()
    try:
        assert loop.run_until_complete(ends_above(nests(goes_on, ended), kept)) == "done"
        loop.run_until_complete(asyncio.wait(kept))
    finally:
        loop.close()
    assert ended == ["Event loop stopped before Future completed."]
    _core._check()
