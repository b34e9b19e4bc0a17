"""Find out, once at import, what this Python's asyncio looks like: where ``_asyncio.Task`` keeps the two fields that the engine has
to write, and how ``loop.create_task()`` calls a task factory.

Contract
  * No loop is made and nothing is left behind, and the tasks have names of their own, so that the program's first one
    is still Task-1.
  * Fields: puts three tasks of a fake loop into known states for ``_core._probe``, which raises ImportError with advice
    if this build's layout is unknown. Without ``_asyncio`` (pure Python tasks) nothing needs to be found.
  * Factories: how they are called was changed in nearly every version, in bug fix releases too (3.13 has had three ways), so it is
    not looked up by version but tried: asyncio's own function is called with a stand-in for a loop, whose factory notes what it
    gets. No task and no coroutine is made. What is unknown stays with asyncio's own code.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import base_events, events, tasks
from typing import Any

from .. import _core


class _Loop:
    """As much of a loop as a task needs to take one step."""

    def __init__(self) -> None:
        self.steps: list[Any] = []

    def get_debug(self) -> bool:
        return False

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> None:
        self.steps.append((callback, args))

    def call_exception_handler(self, context: Any) -> None:
        pass

    def run(self) -> None:
        before: Any = events._get_running_loop()
        # since 3.14 a thread has one current task, whatever the loop: the caller's steps aside
        task = asyncio.current_task(before) if before is not None else None
        if task is not None:
            tasks._leave_task(before, task)
        events._set_running_loop(self)  # type: ignore[arg-type]
        try:
            while self.steps:
                callback, args = self.steps.pop(0)
                callback(*args)
        finally:
            events._set_running_loop(before)
            if task is not None:
                tasks._enter_task(before, task)


def probe() -> tuple[int, int, int] | None:
    """Return (offset of the awaited future, offset and mask of the cancellation flag), or None without C tasks."""
    try:
        from _asyncio import Future, Task
    except ImportError:
        return None
    loop: Any = _Loop()
    future: Any = Future(loop=loop)

    async def wait() -> None:
        await future

    waiting = Task(wait(), loop=loop, name="aionest")
    loop.run()
    cancelled = Task(wait(), loop=loop, name="aionest")
    fresh = Task(wait(), loop=loop, name="aionest")
    cancelled.cancel()
    cancelled.cancel()  # a second one makes the count of requests differ from the flag
    try:
        return _core._probe(waiting, future, cancelled, fresh)
    finally:
        future.cancel()
        fresh.cancel()
        loop.run()


try:
    LAYOUT = probe()
except asyncio.CancelledError as exc:  # pragma: no cover - would be a fault of the probe itself
    raise ImportError("aionest could not examine asyncio.Task") from exc


# ---- task factories -------------------------------------------------------------------------------------------------------

UNKNOWN, NAMED, ALWAYS_NAMED, HANDED_ON = range(4)  # an_factory_style in state.h

_CONTEXT: Any = object()
_CALLS: list[dict[str, Any]] = [{}, {"name": "a"}, {"name": None}]
if sys.version_info >= (3, 11):
    _CALLS += [{"context": _CONTEXT}, {"context": None}, {"name": "a", "context": _CONTEXT}]


class _Factory:
    """As much of a loop as create_task() needs. It is its own factory, and the task that comes out of that."""

    _source_traceback = None

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def _check_closed(self) -> None:
        pass

    def _task_factory(self, loop: Any, coro: Any, **kwargs: Any) -> Any:
        self.seen.append(kwargs)
        return self

    def set_name(self, name: Any) -> None:
        self.seen.append(name)


def _expected(style: int, given: dict[str, Any]) -> list[Any]:
    if style == HANDED_ON:
        return [given]
    context, name = given.get("context"), given.get("name")
    seen: list[Any] = [{} if context is None else {"context": context}]
    return [*seen, name] if name is not None or style == ALWAYS_NAMED else seen


def factory_style() -> int:
    """The way that explains what the factory saw in all calls."""
    create_task: Any = base_events.BaseEventLoop.create_task
    possible = [NAMED, ALWAYS_NAMED, HANDED_ON]
    for given in _CALLS:
        loop: Any = _Factory()
        try:
            made: Any = create_task(loop, None, **given)
        except Exception:  # somebody's own create_task
            return UNKNOWN
        possible = [one for one in possible if made is loop and loop.seen == _expected(one, given)]
    return possible[0] if possible else UNKNOWN


def eager_code() -> Any:
    """The code of the factories that ``asyncio.create_eager_task_factory`` makes, if a task gets what we would give it."""
    make = getattr(tasks, "create_eager_task_factory", None)
    if make is None:
        return None
    seen: list[Any] = []
    factory = make(lambda coro, **kwargs: seen.append((coro, kwargs)))
    coro, loop = object(), object()
    for given in ({}, {"name": "a"}, {"context": _CONTEXT}):
        seen.clear()
        factory(loop, coro, **given)
        [(got, kwargs)] = seen
        kwargs = {key: value for key, value in kwargs.items() if value is not None}  # None is as good as none
        if got is not coro or kwargs != {"loop": loop, "eager_start": True, **given}:
            return None
    return factory.__code__
