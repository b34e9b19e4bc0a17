"""What may be run, and where: asyncio's own errors for everything else.

Contract: checks change nothing. A call that is refused leaves no "never awaited" behind: who raises calls ``refuse`` first.
"""

from __future__ import annotations

import inspect
import sys
import types
from asyncio import coroutines, events
from typing import TYPE_CHECKING, Any

from .._errors import ForeignLoopError

if TYPE_CHECKING:
    from collections.abc import Callable

_COROUTINE = types.CoroutineType


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
