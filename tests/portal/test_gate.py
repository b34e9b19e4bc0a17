"""What a thread waits in for a loop in another one."""

import asyncio
import ctypes  # (keeps a descriptor of its own from its import on)
import sys
import threading
import time

import pytest

from aionest import _core

GUARD = 60


class Work:
    """As the portal's own: where the gate's thread may not make the task, it is made by start()."""

    task = None

    def __init__(self, loop=None, coro=None, gate=None):
        self.loop, self.coro, self.gate = loop, coro, gate

    def start(self):
        self.task = self.loop.create_task(self.coro)
        self.task.add_done_callback(self.gate)


async def value(x):
    await asyncio.sleep(0)
    return x


def test_it_is_opened_once_and_for_all(start):
    gate = _core.Gate()
    assert gate.acquire(False) is False
    assert gate.acquire(True, 0) is False
    assert gate.acquire(True, 0.01) is False
    waiting = start(gate.acquire)
    time.sleep(0.01)
    gate.release()
    assert waiting.result() is True
    gate.release()
    gate()
    assert gate.acquire() is True and gate.acquire(True, 0.01) is True and gate.acquire(False) is True


def test_one_that_nobody_opened_goes_quietly():
    for _ in range(100):
        gate = _core.Gate()
        gate.acquire(False)
        del gate


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: _core.Gate(1),
        lambda: _core.Gate(x=1),
        lambda: _core.Gate().acquire(True, "soon"),
        lambda: _core.Gate().acquire(True, 1, 2),
        lambda: _core.Gate().run(),
        lambda: _core.Gate().run(None, None, Work(), None),
        lambda: _core.Gate().run(None, None, Work(), "soon"),
    ],
)
def test_wrong_arguments(wrong):
    with pytest.raises(TypeError):
        wrong()


def test_a_task_is_made_here_and_runs_there(portal):
    loop = portal._runner.loop if portal._runner else portal.call(asyncio.get_running_loop)
    portal.call(value, 1)
    gate, coro = _core.Gate(), value(2)
    work = Work(loop, coro, gate)
    done = gate.run(loop, coro, work, GUARD)
    if loop.get_debug():
        assert done is None and work.task is None  # asyncio's own checks refuse other threads
        coro.close()
    else:
        assert done is True and work.task.result() == 2


def test_work_that_cannot_be_queued(portal):
    loop = portal.call(asyncio.get_running_loop)
    if loop.get_debug():
        pytest.skip("such a loop refuses other threads")

    class Full:
        __slots__ = ()  # neither a task nor start() fits

    coro = value(4)
    with pytest.raises(AttributeError):
        _core.Gate().run(loop, coro, Full(), GUARD)
    coro.close()
    with pytest.raises(TypeError):
        _core.Gate().run(loop, "no coroutine", Full(), GUARD) if sys.version_info < (3, 14) else Full(1)
    assert _core.loop_info(loop)["waiting"] == 0


def test_a_signal_that_came_just_before_the_wait(portal):
    """Nothing wakes the thread for it: it looks by itself."""
    loop = portal.call(asyncio.get_running_loop)
    if loop.get_debug() or sys.version_info >= (3, 14):
        pytest.skip("no code of the test's runs between the last look and the wait")
    interrupt = ctypes.PyDLL(None).PyErr_SetInterrupt
    interrupt.argtypes = [ctypes.py_object, ctypes.py_object]

    class Interrupted:
        task = property(None, interrupt)  # set by run(); no Python code runs in between

    coro = asyncio.sleep(GUARD)
    with pytest.raises(KeyboardInterrupt):
        _core.Gate().run(loop, coro, Interrupted(), GUARD)
    portal.close()
    assert _core.loop_info(loop) is None or _core.loop_info(loop)["waiting"] == 0


def test_a_loop_that_cannot_is_left_alone(applied):
    stock = asyncio.SelectorEventLoop()  # runs nowhere
    try:
        coro, work = value(1), Work()
        assert _core.Gate().run(stock, coro, work, GUARD) is None and work.task is None
        coro.close()
    finally:
        stock.close()
    coro = value(1)
    assert _core.Gate().run(stock, coro, work, GUARD) is None
    coro.close()


def test_a_task_factory_of_the_loop_is_asked_in_the_loop_s_thread(portal):
    threads = []

    def factory(loop, coro, **kwargs):
        threads.append(threading.current_thread())
        return asyncio.Task(coro, loop=loop, **kwargs)

    portal.call(lambda: asyncio.get_running_loop().set_task_factory(factory))
    assert portal.call(value, 3) == 3
    assert threads == [portal._runner.thread]
    portal.call(lambda: asyncio.get_running_loop().set_task_factory(None))


def test_a_wait_that_is_over_in_time_or_not(portal):
    loop = portal.call(asyncio.get_running_loop)
    if loop.get_debug():
        pytest.skip("such a loop refuses other threads")
    gate, go = _core.Gate(), asyncio.Event()

    async def wait():
        await go.wait()
        return "late"

    coro = wait()
    work = Work(loop, coro, gate)
    assert gate.run(loop, coro, work, 0.001) is False
    loop.call_soon_threadsafe(go.set)
    assert gate.acquire(True, GUARD) is True
    assert work.task.result() == "late"
