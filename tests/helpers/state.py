"""What a program that hangs waits for: every suspended run, unfinished future and task, loop and greenlet of the process, as text.

Contract: ``describe()`` may be called in any thread, while the others sleep or run; it changes nothing and waits for nothing.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from typing import TYPE_CHECKING, Any

import greenlet

from aionest import _core

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATES = ("new", "waiting", "ready", "over")


def _line(x: Any) -> str:
    try:
        return f"{x!r} at {id(x):#x}"[:300]
    except Exception as exc:
        return f"{type(x).__name__} at {id(x):#x}, whose repr() fails: {exc!r}"


def _frames(frame: Any, most: int = 25) -> Iterator[str]:
    while frame is not None and most > 0:
        yield f"        {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}"
        frame, most = frame.f_back, most - 1


def _suspended(run: Any) -> Iterator[str]:
    flags = " ".join(name for name in ("told", "early", "handed", "missed") if getattr(run, name))
    yield f"run {run.number}: {_STATES[run.state]} {flags}"
    for name in ("future", "task", "loop", "fiber", "carrier"):
        yield f"    {name}: {_line(getattr(run, name))}"
    if isinstance(run.fiber, greenlet.greenlet):
        yield from _frames(run.fiber.gr_frame)


def _greenlet(g: Any) -> Iterator[str]:
    yield f"greenlet {_line(g)}"
    while g.parent is not None:
        g = g.parent
        yield f"    below {_line(g)}"


def _lines() -> Iterator[str]:
    objects = gc.get_objects()
    yield f"counters: {_core._counters()}"
    for run in objects:
        if type(run).__name__ == "SuspendedRun":
            yield from _suspended(run)
    for loop in _core._records():
        yield f"loop {_line(loop)}"
        yield f"    ready: {_line(getattr(loop, '_ready', None))}"
        yield f"    timers: {_line(sorted(getattr(loop, '_scheduled', ()), key=lambda h: h.when())[:5])}"
    for future in objects:
        if isinstance(future, asyncio.Future) and not future.done():
            yield f"{'task' if isinstance(future, asyncio.Task) else 'future'} {_line(future)}"
    for g in objects:
        if isinstance(g, greenlet.greenlet) and g.gr_frame is not None:
            yield from _greenlet(g)
            yield from _frames(g.gr_frame)
    current = sys._current_frames()
    for thread in threading.enumerate():
        yield f"thread {thread!r}"
        yield from _frames(current.get(thread.ident or 0), 40)


def describe() -> str:
    lines: list[str] = []
    try:
        for line in _lines():
            lines.append(line)  # noqa: PERF402 - what was found before an error is kept
    except Exception as exc:
        lines.append(f"the rest cannot be told: {exc!r}")
    return "\n".join(lines)
