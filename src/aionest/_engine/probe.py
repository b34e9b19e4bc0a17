"""Find, once at import, where ``_asyncio.Task`` keeps the two fields that the engine has to write.

Contract: no loop is made and nothing is left behind, and the tasks have names of their own, so that the program's first one
is still Task-1. Puts three tasks of a fake loop into known states for ``_core._probe``, which raises ImportError with advice
if this build's layout is unknown. Without ``_asyncio`` (pure Python tasks) nothing needs to be found.
"""

from __future__ import annotations

import asyncio
from asyncio import events, tasks
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
