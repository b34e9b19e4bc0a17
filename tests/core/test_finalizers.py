"""A cancellation, or Ctrl-C, that comes while a finalizer nests is not lost in there."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import weakref

import greenlet
import pytest

import aionest
from aionest import _core


class Nests:
    """What a finalizer calls: it tells that it has ``started``, and then waits, for ever or for so long."""

    def __init__(self, how, ended, started=lambda: None, delay=60.0):
        self.how, self.ended, self.started, self.delay = how, ended, started, delay

    async def work(self):
        self.started()
        await asyncio.sleep(self.delay)

    def close(self):
        try:
            self.how(self.work())
        except BaseException as exc:
            self.ended.append(type(exc).__name__)
        else:
            self.ended.append("done")


class Does(Nests):
    """One that waits for something else."""

    def __init__(self, how, ended, work):
        super().__init__(how, ended)
        self.work = work


class Owner:
    def __init__(self, nests):
        self.nests = nests

    def __del__(self):
        self.nests.close()


def drops(nests):
    Owner(nests)


def collects(nests):
    owner = Owner(nests)
    owner.itself = owner
    del owner
    gc.collect()


class Referent:
    pass


def finalizes(nests):
    referent = Referent()
    weakref.finalize(referent, nests.close)
    del referent


def hooked(nests):
    async def generator():
        yield 1

    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(finalizer=lambda agen: nests.close())
    try:
        agen = generator()
        with pytest.raises(StopIteration):
            agen.__anext__().send(None)
        del agen
    finally:
        sys.set_asyncgen_hooks(*before)


async def cancelled(task, started, *message):
    """A task of it, cancelled when what nests in it has started."""
    t = asyncio.ensure_future(task())
    await started.wait()
    t.cancel(*message)
    return t


def nested_run(coro):
    return asyncio.run(coro)


HOW = [nested_run, aionest.await_, lambda coro: asyncio.get_running_loop().run_until_complete(coro)]
WHERE = [drops, collects, finalizes, hooked]


@pytest.mark.parametrize("how", HOW, ids=["run", "await_", "run_until_complete"])
@pytest.mark.parametrize("where", WHERE)
def test_a_cancellation_that_interrupts_it_reaches_the_task(run, how, where):
    if where is collects and run.mode == "debug" and sys.version_info < (3, 11):
        pytest.skip("the collector's finalizers cannot nest there (docs/limits.md)")

    async def task():
        await asyncio.sleep(0)  # (an eager one would begin before main() has it)
        where(Nests(how, ended, started.set))
        went_on.append(1)
        await asyncio.sleep(60)

    async def main():
        t = await cancelled(task, started, "why")
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(t, 20)
        assert t.cancelled()
        if hasattr(t, "cancelling"):
            assert t.cancelling() == 1
        return "done"

    started = asyncio.Event()
    ended, went_on = [], []
    assert run(main) == "done"
    assert (ended, went_on) == (["CancelledError"], [1])
    _core._check()


def test_one_that_is_due_already_waits_for_the_next_await(run):
    async def task():
        await asyncio.sleep(0)  # (an eager one would begin before main() has it)
        asyncio.current_task().cancel()
        drops(Nests(nested_run, ended, delay=0.001))
        drops(Nests(aionest.await_, ended, delay=0))
        went_on.append(1)
        await asyncio.sleep(60)

    async def main():
        t = asyncio.ensure_future(task())
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(t, 20)
        return "done"

    ended, went_on = [], []
    assert run(main) == "done"
    assert (ended, went_on) == (["done", "done"], [1])


def test_the_task_may_be_over_before_it_awaits_again(run):
    async def task():
        await asyncio.sleep(0)  # (an eager one would begin before main() has it)
        drops(Nests(nested_run, ended, started.set))
        return 1

    async def main():
        t = await cancelled(task, started)
        with pytest.raises(asyncio.CancelledError):
            await t
        return "done"

    started = asyncio.Event()
    ended = []
    assert run(main) == "done"


def test_a_timeout_of_the_task_is_one_of_the_task(run):
    async def task():
        await asyncio.sleep(0)  # (an eager one would begin before main() has it)
        drops(Nests(nested_run, ended))
        await asyncio.sleep(60)

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(task(), 0.01)
        return "done"

    ended = []
    assert run(main) == "done"
    assert ended == ["CancelledError"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tasks do not count their cancellations")
def test_a_run_that_cancels_itself_is_nothing_to_the_task(run):
    async def cancels_itself():
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async def main():
        drops(Does(nested_run, ended, cancels_itself))
        await asyncio.sleep(0.001)
        return "done"

    ended = []
    assert run(main) == "done"
    assert ended == ["CancelledError"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout() came with 3.11")
def test_a_timeout_of_a_finalizer_s_own_is_nothing_to_the_task(run):
    async def in_time():
        async with asyncio.timeout(0.01):
            asyncio.run(asyncio.sleep(60))

    async def main():
        drops(Does(aionest.await_, ended, in_time))
        await asyncio.sleep(0)
        return "done"

    ended = []
    assert run(main) == "done"
    assert ended == ["TimeoutError"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout() came with 3.11")
def test_a_timeout_that_a_finalizer_just_meets_is_nothing_to_the_task(run):
    async def meets_it():
        loop = asyncio.get_running_loop()
        future, at = loop.create_future(), loop.time() + 0.01
        loop.call_at(at, future.set_result, None)
        async with asyncio.timeout_at(at):
            await future

    async def main():
        drops(Does(aionest.await_, ended, meets_it))
        await asyncio.sleep(0)
        return "done"

    ended = []
    assert run(main) == "done"
    assert ended == ["done"]


def test_a_cancellation_just_as_a_finalizer_goes_on_reaches_the_task(run):
    async def waits_for(future):
        started.set()
        await future

    async def task(future):
        await asyncio.sleep(0)  # (an eager one would begin before main() has it)
        drops(Does(aionest.await_, ended, lambda: waits_for(future)))
        await asyncio.sleep(60)

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        t = loop.create_task(task(future))
        await started.wait()
        future.set_result(None)
        t.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(t, 20)
        return "done"

    started = asyncio.Event()
    ended = []
    assert run(main) == "done"
    assert ended == ["done"]


def test_a_call_of_the_same_function_by_hand_is_no_finalizer(run):
    async def task():
        await asyncio.sleep(0)  # (an eager one would begin before main() has it)
        nests = Nests(nested_run, ended, started.set)
        nests.close()
        await asyncio.sleep(0)
        return 1

    async def main():
        t = await cancelled(task, started)
        assert await asyncio.wait_for(t, 20) == 1
        return "done"

    started = asyncio.Event()
    ended = []
    assert run(main) == "done"
    assert ended == ["CancelledError"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
@pytest.mark.parametrize("how", HOW, ids=["run", "await_", "run_until_complete"])
def test_ctrl_c_is_not_lost_in_it(applied, how):
    """Where no Runner takes it, and where asyncio.run() does."""

    def interrupt():
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)

    async def main():
        drops(Nests(how, ended, interrupt))
        await asyncio.sleep(60)

    ended = []
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(main())
    finally:
        loop.close()
    assert asyncio.run(asyncio.sleep(0, "done")) == "done"
    _core._check()


class NestsOnce:
    """Garbage that nests where it is found, and tells in which thread and on which thread's first stack that was."""

    def __init__(self, begun, found):
        self.begun, self.found, self.itself = begun, found, self

    def __del__(self):
        self.begun.append(True)
        self.found.append((threading.get_ident(), asyncio.run(self.root())))

    async def root(self):
        await asyncio.sleep(0)
        parent, at = greenlet.greenlet.parent.__get__, greenlet.getcurrent()
        while parent(at) is not None:
            at = parent(at)
        return at


def runs_in_a_new_thread(threshold):
    """The thread and its first stack, as garbage that is found after so many objects sees them, and as the thread itself does."""
    begun, found = [], []

    def run():
        threading.local().__dict__  # before 3.12 CPython loses a dict of the thread's if garbage needs it as it is made
        loop = asyncio.new_event_loop()
        gc.collect()

        def goes_on(turns):
            if found or (turns == 0 and not begun):  # it may be found by the last collection only
                loop.stop()
            else:
                loop.call_soon(goes_on, max(turns - 1, 0))

        loop.call_soon(goes_on, 20)
        NestsOnce(begun, found)
        gc.set_threshold(threshold)
        try:
            loop.run_forever()
        finally:
            gc.set_threshold(*before)
            gc.collect()
            loop.close()
        found.append((threading.get_ident(), greenlet.getcurrent()))

    before = gc.get_threshold()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found


@pytest.mark.usefixtures("applied")
def test_garbage_that_nests_as_a_thread_becomes_known():
    asyncio.run(asyncio.sleep(0))
    before = _core._counters()["threads"]
    for threshold in range(1, 25):
        in_garbage, at_last = runs_in_a_new_thread(threshold)
        same_thread = in_garbage[0] == at_last[0]  # the main thread may have found it
        assert (in_garbage[1] is at_last[1]) == same_thread, threshold
    assert _core._counters()["threads"] == before
    _core._check()
