"""Find out, once at import, how this version's ``loop.create_task()`` calls a task factory.

It was changed in nearly every version, in bug fix releases too (3.13 has had three ways), so it is not looked up by version
but tried: asyncio's own function is called with a stand-in for a loop, whose factory notes what it gets.

Contract: no task, coroutine or loop is made. What is unknown stays with asyncio's own code.
"""

from __future__ import annotations

import sys
from asyncio import base_events, tasks
from typing import Any

UNKNOWN, NAMED, ALWAYS_NAMED, HANDED_ON = range(4)  # an_factory_style in state.h

_CONTEXT: Any = object()
_CALLS: list[dict[str, Any]] = [{}, {"name": "a"}, {"name": None}]
if sys.version_info >= (3, 11):
    _CALLS += [{"context": _CONTEXT}, {"context": None}, {"name": "a", "context": _CONTEXT}]


class _Loop:
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


def style() -> int:
    """The way that explains what the factory saw in all calls."""
    create_task: Any = base_events.BaseEventLoop.create_task
    possible = [NAMED, ALWAYS_NAMED, HANDED_ON]
    for given in _CALLS:
        loop: Any = _Loop()
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
