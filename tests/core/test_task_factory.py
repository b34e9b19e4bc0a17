"""create_task() of a loop with a task factory: what the factory gets, and what becomes of the task, as on stock asyncio."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import warnings
import weakref

import pytest

import aionest

VAR = contextvars.ContextVar("VAR", default="unset")
EAGER = sys.version_info >= (3, 12)


class Sub(asyncio.Task):
    """A task class of the program's own."""

    names = ()  # what set_name() got

    def set_name(self, value):
        self.names = (*self.names, value)
        super().set_name(value)


class Nameless(asyncio.Future):
    """What a factory may give that is no task, and has no name."""


class Recorder:
    """A factory that notes how it is called."""

    def __init__(self, make):
        self.make, self.calls = make, []

    def __call__(self, loop, coro, **kwargs):
        self.calls.append(sorted(kwargs))
        return self.make(loop, coro, **kwargs)


def plain(loop, coro, **kwargs):
    return asyncio.Task(coro, loop=loop, **kwargs)


def sub(loop, coro, **kwargs):
    return Sub(coro, loop=loop, **kwargs)


def two_arguments(loop, coro):
    return asyncio.Task(coro, loop=loop)


def no_task(loop, coro, **kwargs):
    coro.close()
    future = Nameless(loop=loop)
    future.set_result("no task")
    return future


def refuses(loop, coro, **kwargs):
    coro.close()
    raise LookupError("no task for you")


class Odd:
    """No function: an instance, a bound method."""

    def __call__(self, loop, coro, **kwargs):
        return plain(loop, coro, **kwargs)


FACTORIES = {
    "plain": lambda: plain,
    "subclass": lambda: sub,
    "two arguments": lambda: two_arguments,
    "no task": lambda: no_task,
    "refuses": lambda: refuses,
    "object": Odd,
    "method": lambda: Odd().__call__,
}
if EAGER:
    FACTORIES |= {
        "eager": lambda: asyncio.eager_task_factory,
        "made eager": lambda: asyncio.create_eager_task_factory(asyncio.Task),
        "eager subclass": lambda: asyncio.create_eager_task_factory(Sub),
        "eager by hand": lambda: lambda loop, coro, **kw: asyncio.Task(coro, loop=loop, **{"eager_start": True, **kw}),
    }

GIVEN = object()  # stands for a context of its own

ARGUMENTS = {
    "none": {},
    "name": {"name": "a name"},
    "number": {"name": 7},
    "no name": {"name": None},
    "context": {"context": GIVEN},
    "no context": {"context": None},
    "both": {"name": "n", "context": GIVEN},
    "eager": {"eager_start": True},
    "not eager": {"eager_start": False},
    "all": {"context": GIVEN, "eager_start": False, "name": "x"},
    "unknown": {"nothing": 1},
}


def without_number(name):
    return "Task-" if name.startswith("Task-") else name


def trace(make, kwargs, debug=False):
    """All that can be seen of one call."""
    seen = []

    async def child():
        task = asyncio.current_task()
        seen.append(
            ("first", VAR.get(), type(task).__name__, without_number(task.get_name()), task in asyncio.all_tasks())
        )
        VAR.set("child")
        await asyncio.sleep(0)
        seen.append(("second", VAR.get(), without_number(asyncio.current_task().get_name())))
        return "done"

    async def main():
        loop = asyncio.get_running_loop()
        recorder = Recorder(make())
        for factory in (make(), recorder):
            loop.set_task_factory(factory)
            coro = child()
            VAR.set("given")
            context = contextvars.copy_context()
            keywords = {key: context if value is GIVEN else value for key, value in kwargs.items()}
            VAR.set("caller")
            parent = asyncio.current_task()
            try:
                task = loop.create_task(coro, **keywords)
            except Exception as exc:
                # (the message of a TypeError says which function refused, and that may be another one)
                seen.append((type(exc).__name__, str(exc) if not isinstance(exc, TypeError) else ""))
                coro.close()
                continue
            finally:
                loop.set_task_factory(None)
            assert asyncio.current_task() is parent
            seen.append(("made", type(task).__name__, VAR.get()))
            if isinstance(task, asyncio.Task):
                seen.append((without_number(task.get_name()), getattr(task, "names", None), task.get_coro() is coro))
            seen.append(await task)
        return seen + recorder.calls

    loop = asyncio.new_event_loop()
    try:
        loop.set_debug(debug)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            result = contextvars.copy_context().run(loop.run_until_complete, main())
        return result, [(w.category.__name__, str(w.message), w.filename, w.lineno) for w in warned]
    finally:
        loop.close()


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("factory", FACTORIES)
def test_as_on_stock(factory, arguments, debug):
    aionest.unapply()
    stock = trace(FACTORIES[factory], ARGUMENTS[arguments], debug)
    aionest.apply()
    ours = trace(FACTORIES[factory], ARGUMENTS[arguments], debug)
    aionest.unapply()
    assert ours == stock


@pytest.fixture
def eager_loop(applied):
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    yield loop
    loop.close()


needs_eager = pytest.mark.skipif(not EAGER, reason="eager tasks came with 3.12")


@needs_eager
def test_eager_tasks_inside_eager_tasks(eager_loop):
    """Deeper than what is kept for being used again, each with a name and a context of its own."""

    async def deep(n):
        assert VAR.get() == n
        if n == 0:
            return [asyncio.current_task().get_coro().__name__]
        context = contextvars.copy_context()
        context.run(VAR.set, n - 1)
        task = eager_loop.create_task(deep(n - 1), name=f"level {n - 1}", context=context)
        assert task.get_name() == f"level {n - 1}"
        return [VAR.get(), *await task]

    async def main():
        VAR.set(40)
        return await deep(40)

    for _ in range(3):
        assert eager_loop.run_until_complete(main()) == [*range(40, 0, -1), "deep"]


@needs_eager
def test_eager_tasks_that_nest(eager_loop):
    async def child(n):
        return asyncio.run(asyncio.sleep(0.001 * (5 - n), n))

    async def main():
        return await asyncio.gather(*[child(n) for n in range(5)])

    assert eager_loop.run_until_complete(main()) == [0, 1, 2, 3, 4]


@needs_eager
@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit, ValueError, asyncio.CancelledError])
def test_a_first_step_that_raises(eager_loop, exception):
    """As on stock: the first two come out of create_task(), the others are the task's."""

    async def child():
        raise exception("first step")

    async def main():
        task = eager_loop.create_task(child(), name="raises")
        assert task.done()
        try:
            await task
        except exception:
            return "raised"

    if exception in (KeyboardInterrupt, SystemExit):
        with pytest.raises(exception):
            eager_loop.run_until_complete(main())
    else:
        assert eager_loop.run_until_complete(main()) == "raised"


@needs_eager
def test_nothing_is_kept_of_what_was_made(eager_loop):
    class Token:
        pass

    async def child(token):
        return None

    async def main():
        token = Token()
        context = contextvars.copy_context()
        context.run(VAR.set, token)
        await eager_loop.create_task(child(token), name="kept", context=context)
        return weakref.ref(token)

    gone = eager_loop.run_until_complete(main())
    gc.collect()
    assert gone() is None
    ref = weakref.ref(loop := asyncio.new_event_loop())
    loop.set_task_factory(asyncio.eager_task_factory)
    loop.run_until_complete(child(None))
    loop.close()
    del loop
    gc.collect()
    assert ref() is None


@needs_eager
def test_a_patched_factory_is_called(eager_loop):
    """One that has the same code but another task class is no fast way to a plain task."""
    eager_loop.set_task_factory(asyncio.create_eager_task_factory(Sub))

    async def main():
        return type(eager_loop.create_task(asyncio.sleep(0)))

    assert eager_loop.run_until_complete(main()) is Sub


def test_a_closed_loop_says_so(applied):
    loop = asyncio.new_event_loop()
    loop.set_task_factory(plain)
    loop.close()
    coro = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.create_task(coro)
    coro.close()


def test_a_nested_run_is_made_by_the_factory(applied):
    async def main():
        loop = asyncio.get_running_loop()
        recorder = Recorder(plain)
        loop.set_task_factory(recorder)
        result = asyncio.run(asyncio.sleep(0, "nested"))
        loop.set_task_factory(None)
        return result, len(recorder.calls)

    assert asyncio.run(main()) == ("nested", 1)
