"""What a loop of uvloop's holds, which has no attributes for it: found as the garbage collector finds it.

Contract
  * ``seen`` is None for any other loop, and for one that is not built as those that are known here: such a loop cannot be looked into.
  * Looks, and changes nothing. The answer is of the moment: it holds what it names.
Thread: the loop's own, while it does not run.
"""

from __future__ import annotations

import gc
import weakref
from collections import deque
from typing import TYPE_CHECKING

from .._engine import checks

if TYPE_CHECKING:
    import asyncio
    import types
    from collections.abc import Iterable


class Seen:
    """The parts of one loop, as they are now."""

    __slots__ = ("containers", "generators", "handles", "polls", "things")

    def __init__(self) -> None:
        self.containers: list[object] = []  # the loop's own, which hold the rest
        self.handles: list[object] = []  # callbacks that wait, timers too
        self.generators: Iterable[types.AsyncGeneratorType[object, object]] = ()
        self.things: list[object] = []  # transports, servers, child processes
        self.polls: list[tuple[object, list[object]]] = []  # descriptors that are watched, and the handles


def seen(loop: asyncio.AbstractEventLoop) -> Seen | None:
    """Look into the loop, if it is one of uvloop's and its parts are where they are known to be."""
    if not any(cls.__module__ == "uvloop.loop" for cls in type(loop).__mro__) or not checks.is_patched(type(loop)):
        return None
    found, transports, queues = Seen(), None, 0
    generators: weakref.WeakSet[types.AsyncGeneratorType[object, object]] | None = None
    for part in gc.get_referents(loop):
        kind = type(part)
        if kind is weakref.WeakValueDictionary:
            transports = part
        elif kind is weakref.WeakSet:
            generators = part
        elif kind is deque:
            queues += 1
            found.handles += part
        elif kind is set:
            _sort(found, part)
        elif kind is dict and part is not getattr(loop, "__dict__", None):
            found.polls += [
                (fd, [one for one in gc.get_referents(poll) if type(one).__name__ == "Handle"])
                for fd, poll in part.items()
                if type(poll).__name__ == "UVPoll"
            ]
        else:
            continue
        found.containers.append(part)
    if transports is None or generators is None or queues != 1:
        return None
    found.generators = generators
    found.things += [one for one in list(transports.values()) if not one.is_closing()]
    found.containers.append(transports.data)
    return found


def _sort(found: Seen, part: set[object]) -> None:
    for one in part:
        name = type(one).__name__
        if name == "TimerHandle":
            found.handles.append(one)
        elif name == "Server" or (name == "UVProcessTransport" and one.get_returncode() is None):  # type: ignore[attr-defined]
            found.things.append(one)


def hidden(thing: object) -> int:
    """How many references the library has to one of these that the garbage collector is not told of: while it reads."""
    if type(thing).__name__ == "UDPTransport":
        return 1
    is_reading = getattr(thing, "is_reading", None)
    return 1 if is_reading is not None and is_reading() else 0
