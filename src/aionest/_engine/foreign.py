"""Which loops have a run_forever that is not asyncio's own: uvloop's, rloop's, Qt's, anybody's; can code on them be suspended?

Contract: looks, and changes nothing. How their classes are patched is in ``foreign_classes``, which is imported with the first of
them.
Thread: any.
"""

from __future__ import annotations

from asyncio import base_events, events
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

# Packages with loops derived from asyncio's that run in a main loop of Qt. Others that are derived from asyncio's and have a
# run_forever of their own mostly end in asyncio's _run_once, where the engine carries them on without any of this.
_DERIVED = ("qasync", "asyncqt", "quamash", "PySide6")

# What is told of a loop that begins to run, when it has set its hooks for asynchronous generators, with those that were set before;
# and the coroutine function that closes generators which were left on a loop, before it shuts down those that it knows itself
adopt_hooks: Callable[[Any, Any], object] | None = None
close_kept: Callable[[Any], Coroutine[Any, Any, None]] | None = None


def is_patched(cls: type[object]) -> bool:
    """True if code that runs on loops of this class can be suspended though the class is foreign."""
    return type(getattr(cls, "call_soon", None)).__name__ == "ForeignMethod"


def supported(loop: object) -> bool:
    """True if code that runs on this loop can be suspended."""
    return isinstance(loop, base_events.BaseEventLoop) or is_patched(type(loop))


def can_run_here() -> bool:
    """True if no loop runs in this thread, or one inside which another can be run."""
    running: Any = events._get_running_loop()
    return running is None or supported(running)


def is_foreign(cls: type[object]) -> bool:
    """True if loops of this class do not run by asyncio's own run_forever and queue."""
    definers = [definer(cls, name) for name in ("run_forever", "call_soon")]
    if not issubclass(cls, base_events.BaseEventLoop):
        # one that has none of its own hands calls on to another loop
        return all(d not in (None, events.AbstractEventLoop) for d in definers)
    return all(d is not None and d.__module__.partition(".")[0] in _DERIVED for d in definers)


def definer(cls: type[object], name: str) -> type[object] | None:
    """The class that a class has this attribute from."""
    return next((c for c in cls.__mro__ if name in vars(c)), None)
