"""Ctrl-C, and exceptions that end a program, while nested runs sleep. Each program runs in a process of its own and gets real
signals; each must leave a quiet log and a thread whose next run is a fresh one."""

from __future__ import annotations

import sys
import textwrap

import pytest

PRELUDE = """
import asyncio, os, signal, sys, threading, time
import aionest
from aionest import _core
aionest.apply()
cleaned, begun = [], []

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

async def work(delay=600):
    begun.append(1)
    try:
        await asyncio.sleep(delay)
    finally:
        await asyncio.sleep(0)
        cleaned.append(1)

async def nests():
    asyncio.run(work())

def sleepers(number, works=None):
    \"\"\"Interrupt once so many nested runs sleep, and so many calls of work() have begun.\"\"\"
    works = len(begun) + (number if works is None else works)
    def look():
        if _core._counters()["suspended"] >= number and len(begun) >= works:
            interrupt()
        else:
            loop.call_later(0.005, look)
    loop = asyncio.get_running_loop()
    loop.call_later(0.005, look)

async def direct():
    sleepers(1)
    asyncio.run(work())

async def awaited():
    sleepers(1)
    await asyncio.create_task(nests())

async def background():
    sleepers(1, 2)
    task = asyncio.create_task(nests())
    await work()

async def gathered():
    sleepers(3)
    await asyncio.gather(nests(), nests(), nests())

async def grouped():
    sleepers(2)
    async with asyncio.TaskGroup() as group:
        group.create_task(nests())
        group.create_task(nests())

async def deeper():
    sleepers(1)  # the step of nests() is made in place
    def again():
        asyncio.run(nests())
    again()

async def called_back():
    sleepers(1, 2)
    asyncio.get_running_loop().call_soon(lambda: asyncio.run(work()))
    await work()

async def awaits():
    sleepers(1)
    aionest.await_(work())

async def on_the_loop():
    sleepers(1)
    asyncio.get_running_loop().run_until_complete(work())

async def another_loop():
    async def inner():
        sleepers(1)
        await work()
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(inner())
    finally:
        loop.close()

async def in_a_guest():
    async def inner():
        sleepers(2, 1)
        await asyncio.create_task(nests())
    aionest.run(inner(), loop_factory=asyncio.new_event_loop)

wanted = dict(direct=1, awaited=1, background=2, gathered=3, grouped=2, deeper=1, called_back=2, awaits=1, on_the_loop=1,
              another_loop=1, in_a_guest=1)

def tops():
    yield "run", asyncio.run
    yield "own", aionest.run
    if sys.version_info >= (3, 11):
        def runner(coro):
            with asyncio.Runner() as runner:
                return runner.run(coro)
        yield "runner", runner

def check(name, top):
    del cleaned[:]
    try:
        top(globals()[name]())
    except KeyboardInterrupt as exc:
        print(name, type(exc).__name__, len(cleaned) == wanted[name], end=" ")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert _core._counters()["suspended"] == 0
    _core._check()
    print(asyncio.run(asyncio.sleep(0.01, "next")), flush=True)
"""

FORMS = [
    "direct",
    "awaited",
    "background",
    "gathered",
    "grouped",
    "deeper",
    "called_back",
    "awaits",
    "on_the_loop",
    "another_loop",
    "in_a_guest",
]
FORMS = [f for f in FORMS if f != "grouped" or sys.version_info >= (3, 11)]


@pytest.fixture
def program(child):
    def run(source, expected, *, status=0, **kwargs):
        r = child(PRELUDE + textwrap.dedent(source), timeout=40, **kwargs)
        assert (r.returncode, r.stdout, r.stderr) == (status, expected, ""), r.stderr
        return r

    return run


@pytest.mark.parametrize("dev", [True, False], ids=["debug", "plain"])
@pytest.mark.parametrize("top", ["run", "own", *(["runner"] if sys.version_info >= (3, 11) else [])])
def test_the_first_cancels_the_outermost_run_and_reaches_all_that_is_nested(program, top, dev):
    program(
        f"""
        for name in {FORMS!r}:
            check(name, dict(tops())[{top!r}])
        """,
        "".join(f"{name} KeyboardInterrupt True next\n" for name in FORMS),
        dev=dev,
    )


def test_closing_runs_are_no_different(program):
    program(
        f"""
        aionest.apply(close_loop=True)
        for name in {FORMS!r}:
            check(name, asyncio.run)
        """,
        "".join(f"{name} KeyboardInterrupt True next\n" for name in FORMS),
    )


def test_code_between_may_catch_either_exception(program):
    program(
        """
        async def main():
            sleepers(3)
            async def one(kind):
                try:
                    asyncio.run(work())
                except kind:
                    log.append(kind.__name__)
            await asyncio.gather(one(KeyboardInterrupt), one(asyncio.CancelledError), one(BaseException))

        log = []
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print(*log, len(cleaned))
        """,
        "KeyboardInterrupt CancelledError BaseException 3\n",
    )


def test_the_second_interrupts_at_once_and_leaves_nothing(program):
    program(
        """
        async def stubborn():
            try:
                await asyncio.sleep(600)
            finally:
                asyncio.get_running_loop().call_soon(interrupt)
                await asyncio.sleep(0.05)
                cleaned.append("late")

        async def stubborn_nests():
            asyncio.run(stubborn())

        async def main():
            sleepers(1, 0)
            await asyncio.create_task(stubborn_nests())

        for _ in range(3):
            try:
                asyncio.run(main())
            except KeyboardInterrupt:
                print("interrupted", len(asyncio.all_tasks(aionest._runs.thread_loop.persistent_loop())), end=" ")
            print(asyncio.run(asyncio.sleep(0.1, "next")))
        """,
        "interrupted 0 next\n" * 3,
    )


def test_the_second_in_the_code_of_a_task_that_others_wait_for(program):
    """The task keeps KeyboardInterrupt as its outcome; those that wait for it do not raise it in a later run."""
    program(
        """
        async def busy():
            await asyncio.sleep(0)
            interrupt(), interrupt()
            while True:
                time.sleep(0.001)

        async def nests_busy():
            asyncio.run(work(0.001))
            await asyncio.create_task(busy())

        async def main():
            asyncio.create_task(work())
            await asyncio.create_task(nests_busy())

        for _ in range(2):
            try:
                asyncio.run(main())
            except KeyboardInterrupt:
                print("interrupted", end=" ")
            print(asyncio.run(asyncio.sleep(0.1, "next")))
        """,
        "interrupted next\n" * 2,
    )


@pytest.mark.parametrize("form", ["direct", "awaited", "gathered", "deeper", "awaits", "on_the_loop"])
def test_at_top_level_run_until_complete_raises_and_the_loop_is_fit_for_the_next(program, form):
    program(
        f"""
        loop = asyncio.new_event_loop()
        for _ in range(2):
            try:
                loop.run_until_complete({form}())
            except KeyboardInterrupt as exc:
                print(type(exc).__name__, end=" ")
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            assert not asyncio.all_tasks(loop) and _core._counters()["suspended"] == 0
            print(loop.run_until_complete(asyncio.sleep(0.01, "next")))
        loop.close()
        """,
        "KeyboardInterrupt next\n" * 2,
    )


def test_old_interrupts_do_not_come_out_of_a_loop_that_goes_on(program):
    """Nobody cancels what was left: the tasks that wait for the interrupted one end by and by, without a word."""
    program(
        """
        loop = asyncio.new_event_loop()
        async def hit():
            await asyncio.sleep(0.01)
            interrupt()
            await asyncio.sleep(0)

        async def waits(task):
            await task

        async def main():
            await asyncio.create_task(waits(asyncio.create_task(hit())))

        try:
            loop.run_until_complete(main())
        except KeyboardInterrupt:
            print("interrupted")
        for _ in range(5):
            print(loop.run_until_complete(asyncio.sleep(0.01, "next")))
        print(len(asyncio.all_tasks(loop)))
        loop.close()
        """,
        "interrupted\n" + "next\n" * 5 + "0\n",
        dev=False,
    )


def test_tasks_that_have_nothing_to_do_with_it_are_not_interrupted(program):
    """Where no run takes Ctrl-C itself, nothing is raised in the code that happens to run, at the first and at the second."""
    program(
        """
        loop = asyncio.new_event_loop()

        async def stubborn():
            begun.append(1)
            try:
                await asyncio.sleep(600)
            finally:
                await asyncio.sleep(600)

        async def other():
            while not begun or _core._counters()["suspended"] < 1:
                await asyncio.sleep(0.001)
            interrupt()
            await asyncio.sleep(0.01)
            interrupt()
            log.append("untouched")

        async def main():
            task = asyncio.create_task(other())
            try:
                asyncio.run(stubborn())
            except KeyboardInterrupt as exc:
                log.append(type(exc).__name__)
            await task
            return log

        log = []
        print(loop.run_until_complete(main()))
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        """,
        "['untouched', 'KeyboardInterrupt']\n",
    )


def test_code_that_holds_up_the_run_in_front_is_interrupted_in_the_end(program):
    program(
        """
        loop = asyncio.new_event_loop()

        async def busy():
            for _ in range(3):
                interrupt()
            while True:
                time.sleep(0.001)

        async def main():
            try:
                asyncio.run(busy())
            except KeyboardInterrupt as exc:
                return type(exc).__name__

        print(loop.run_until_complete(main()), loop.run_until_complete(asyncio.sleep(0.01, "next")))
        loop.close()
        """,
        "KeyboardInterrupt next\n",
    )


def test_run_forever_at_top_level(program):
    program(
        """
        loop = asyncio.new_event_loop()
        task = loop.create_task(gathered())
        try:
            loop.run_forever()
        except KeyboardInterrupt:
            print("interrupted")
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        print(loop.run_until_complete(asyncio.sleep(0.01, "next")), len(asyncio.all_tasks(loop)))
        loop.close()
        """,
        "interrupted\nnext 0\n",
    )


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "SystemExit"])
@pytest.mark.parametrize("where", ["nested", "task", "callback", "timer"])
@pytest.mark.parametrize("thread", [False, True], ids=["main", "thread"])
def test_exceptions_that_end_a_program(program, kind, where, thread):
    program(
        f"""
        async def leave():
            await asyncio.sleep(0.01)
            raise {kind}

        def leave_now():
            raise {kind}

        async def nested():
            asyncio.run(leave())

        async def task():
            asyncio.create_task(leave())
            await work()

        async def callback():
            asyncio.get_running_loop().call_soon(leave_now)
            await work()

        async def timer():
            asyncio.get_running_loop().call_later(0.01, leave_now)
            asyncio.run(work())

        async def main():
            asyncio.create_task(nests())
            await asyncio.sleep(0.01)
            await asyncio.create_task({where}())

        def go():
            for _ in range(2):
                try:
                    asyncio.run(main())
                except {kind} as exc:
                    print(type(exc).__name__, len(cleaned) > 0, end=" ")
                del cleaned[:]
                print(asyncio.run(asyncio.sleep(0.01, "next")))

        if {thread}:
            t = threading.Thread(target=go)
            t.start()
            t.join()
        else:
            go()
        """,
        f"{kind} True next\n" * 2,
    )


STORM = """
import random
ident, end = threading.get_ident(), time.monotonic() + float(sys.argv[1])

ready = threading.Event()  # whatever comes is caught

def storm():
    ready.wait()
    pause = random.Random(1)
    while time.monotonic() < end:
        time.sleep(pause.choice([0.0003, 0.002, 0.01, 0.04]))
        signal.pthread_kill(ident, signal.SIGINT)

async def body(kind, delay):
    async def one():
        asyncio.run(work(delay))
    if kind == 0:
        asyncio.run(work(delay))
    elif kind == 1:
        await asyncio.create_task(one())
    elif kind == 2:
        task = asyncio.create_task(one())
        await work(delay)
    elif kind == 3:
        await asyncio.gather(one(), one(), one())
    elif kind == 4:
        asyncio.get_running_loop().call_soon(lambda: asyncio.run(work(delay)))
        await work(delay)
    else:
        aionest.await_(one())

wrong, interrupted, choice = [], 0, random.Random(2)
sender = threading.Thread(target=storm, daemon=True)

def run_on():
    global interrupted
    ready.set()
    while sender.is_alive():
        try:
            asyncio.run(body(choice.randrange(6), choice.choice([0.001, 0.005, 0.05, 0.5])))
        except KeyboardInterrupt:
            interrupted += 1
        except BaseException as exc:
            wrong.append(repr(exc))

def whatever_comes(what):
    while sender.is_alive():
        try:
            what()
        except KeyboardInterrupt:  # between two runs
            pass

sender.start()
whatever_comes(lambda: whatever_comes(lambda: whatever_comes(run_on)))
sender.join()
print(wrong, interrupted > 5)
for _ in range(3):
    print(asyncio.run(asyncio.sleep(0.01, "next")))
_core._check()
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, asyncio._get_running_loop(), _core._counters()["suspended"])
"""


def test_while_the_last_tasks_are_cancelled(program):
    """Nothing of what the end waits with is left: no coroutine that was never awaited."""
    program(
        """
        async def left():
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                raise KeyboardInterrupt from None

        async def main():
            global task
            task = asyncio.create_task(left())
            await asyncio.sleep(0)

        for _ in range(2):
            try:
                asyncio.run(main())
            except KeyboardInterrupt:
                print(isinstance(task.exception(), KeyboardInterrupt), asyncio.run(asyncio.sleep(0, "next")))
        """,
        "True next\n" * 2,
    )


@pytest.mark.parametrize("seconds", ["2", pytest.param("10", marks=pytest.mark.long)])
def test_a_storm_of_interrupts(child, seconds):
    """Never a hang, never another error, and the run after it is right."""
    r = child(PRELUDE + STORM, seconds, dev=False)
    assert (r.returncode, r.stdout) == (0, "[] True\nnext\nnext\nnext\nTrue None 0\n"), r.stderr
