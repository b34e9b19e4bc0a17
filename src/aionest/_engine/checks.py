"""What may be run, and where: asyncio's own errors for everything else. And which loops have a run_forever that is not asyncio's own:
uvloop's, rloop's, Qt's, anybody's; can code on them be suspended?

Contract: looks, and changes nothing. A call that is refused leaves no "never awaited" behind: who raises calls ``refuse`` first. How
the classes of foreign loops are patched is in ``foreign_classes``, which is imported with the first of them.
Thread: any.
"""

from __future__ import annotations

import inspect
import sys
import types
from asyncio import base_events, coroutines, events
from typing import TYPE_CHECKING, Any

from .._errors import ForeignLoopError

if TYPE_CHECKING:
    from collections.abc import Callable

_COROUTINE = types.CoroutineType

# Packages with loops derived from asyncio's that run in a main loop of Qt. Others that are derived from asyncio's and have a
# run_forever of their own mostly end in asyncio's _run_once, where the engine carries them on without any of this.
_DERIVED = ("qasync", "asyncqt", "quamash", "PySide6")


def check_coroutine(main: Any) -> Any:
    """What asyncio.run accepts, with asyncio's own errors."""
    if coroutines.iscoroutine(main):
        return main
    if sys.version_info >= (3, 14):
        if inspect.isawaitable(main):

            async def wrap(awaitable: Any) -> Any:
                return await awaitable

            return wrap(main)
        raise TypeError("An asyncio.Future, a coroutine or an awaitable is required")
    raise ValueError(f"a coroutine was expected, got {main!r}")


def refuse(main: Any) -> None:
    """A refused call leaves no 'never awaited' behind. A coroutine that was started is left alone."""
    if isinstance(main, _COROUTINE) and inspect.getcoroutinestate(main) == inspect.CORO_CREATED:
        main.close()


def plain(main: Any) -> Any:
    """The engine starts plain coroutines: wrap generator-based and compiled ones."""
    if type(main) is _COROUTINE:
        return main

    async def wrap() -> Any:
        return await main

    return wrap()


def checked(loop_factory: Callable[[], Any]) -> Callable[[], Any]:
    """The factory, but what it makes must be an open loop: all that is done with it afterwards relies on that."""

    def make() -> Any:
        loop = loop_factory()
        if not isinstance(loop, events.AbstractEventLoop):
            raise TypeError(f"loop_factory must return an event loop, not {type(loop).__name__}")
        if loop.is_closed():
            raise RuntimeError("loop_factory returned a closed event loop: it must make a new one each time")
        return loop

    return make


def refuse_loop(loop: Any, why: str) -> None:
    """Raise ForeignLoopError, as the engine does, and say what to do."""
    raise ForeignLoopError(
        f"aionest cannot suspend code on {type(loop).__module__}.{type(loop).__qualname__}: {why}. Await there instead of nesting, "
        "or run this part on another thread (aionest.portal().call) or on a loop of asyncio's own, such as "
        "asyncio.SelectorEventLoop"
    )


# ---- foreign loops ----------------------------------------------------------------------------------------------------------


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
