"""Calls of tools that their server runs as tasks only (protocol 2025-11-25): begun, asked after, and the result fetched.

Contract: who calls waits as for any other call. What a server says of a task is checked: times that are none, states that nobody knows.
A call that is given up is cancelled at the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping

from .._json import JsonObject
from ..errors import Unanswerable

Ask = Callable[[str, JsonObject], Awaitable[JsonObject]]
PAUSE = (0.05, 5.0)  # seconds between two questions, at least and at most
_WORKING = {"working", "submitted"}
_telling: set[asyncio.Future[None]] = set()


def takes_tasks(capabilities: Mapping[str, object]) -> bool:
    """Does a server say that it runs tools as tasks? What its tools say counts only then."""
    found: object = capabilities
    for name in ("tasks", "requests", "tools", "call"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found is not None and found is not False


async def call_as_task(ask: Ask, name: str, arguments: JsonObject) -> JsonObject:
    """The result of a tool, as a mapping.

    :param ask: sends a request, with its method and its parameters, and gives what is answered.
    """
    found = await ask("tools/call", {"name": name, "arguments": arguments, "task": {}})
    task = found.get("task")
    if not isinstance(task, dict):
        return found  # it was done at once
    number = task.get("taskId")
    if not isinstance(number, str) or not number:
        raise Unanswerable("it began a task without an id")
    try:
        while task.get("status") in _WORKING:
            await asyncio.sleep(_pause(task.get("pollInterval")))
            task = await ask("tasks/get", {"taskId": number})
        if task.get("status") == "cancelled":
            raise Unanswerable("it has cancelled the task" + _why(task))
        return await ask("tasks/result", {"taskId": number})
    except asyncio.CancelledError:
        # in a task of its own: the caller does not wait for a server that may not be reading
        telling = asyncio.ensure_future(_tell_cancelled(ask, number))
        _telling.add(telling)
        telling.add_done_callback(_telling.discard)
        raise


def _why(task: JsonObject) -> str:
    said = task.get("statusMessage")
    return f": {said}" if isinstance(said, str) and said else ""


def _pause(given: object) -> float:
    """Seconds; a server gives milliseconds."""
    plain = isinstance(given, (int, float)) and not isinstance(given, bool) and math.isfinite(given)
    return min(max(float(given) / 1000 if plain else 1.0, PAUSE[0]), PAUSE[1])  # type: ignore[arg-type]


async def _tell_cancelled(ask: Ask, number: str) -> None:
    with contextlib.suppress(Exception):  # the session may be gone: then there is nobody to tell
        await asyncio.wait_for(ask("tasks/cancel", {"taskId": number}), 1.0)


__all__ = ["call_as_task", "takes_tasks"]
