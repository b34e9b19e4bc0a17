"""The process's portal, and top-level runs that it carries out for all threads.

Contract: one portal, made when it is needed or was closed; none any more once the interpreter exits.
Thread: any.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from .._engine.checks import check_coroutine
from .._errors import PortalClosed
from .._runs.top import run_closing
from . import process
from .portal import Portal

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

_default: Portal | None = None
_default_lock = threading.Lock()


def portal() -> Portal:
    """Return the portal of this process, which everybody shares. It is made when it is needed, or was closed.

    It is closed when the interpreter exits, after the exit handlers that were registered after aionest was imported:
    they may still use it.

    Thread-safety: any thread. Cancellation: does not wait.
    """
    global _default
    current = _default
    if current is not None and not current.closed:
        return current
    with _default_lock:
        if _default is None or (_default.closed and not process.exiting):
            _default = Portal("aionest-portal")
        return _default


def shared_run(
    main: Coroutine[Any, Any, T],
    *,
    debug: bool | None = None,
) -> T:
    """``asyncio.run(main)``, carried out on the process's portal, in a copy of the caller's context.

    :param debug: debug mode of the portal's loop during the run; ``None`` leaves it.
    Once the portal was closed because the interpreter exits, the calling thread runs it, on a loop of its own.

    Thread-safety: any thread; on the portal's own this is a nested run. Cancellation: Ctrl-C in the waiting thread
    cancels the coroutine, waits for its end and raises ``KeyboardInterrupt``; a second one raises at once.
    """
    coro = check_coroutine(main)
    try:
        current = portal()
        runner = current._runner or current._start()
    except PortalClosed:
        # the interpreter exits, and an exit handler that comes after the portal's own still wants to run something
        return run_closing(coro, debug, None)  # type: ignore[no-any-return]
    except BaseException:
        coro.close()
        raise
    if runner.closing and process.exiting:
        return run_closing(coro, debug, None)  # type: ignore[no-any-return]
    return runner.carry_out(coro if debug is None else _debugging(coro, debug), None, None)  # type: ignore[no-any-return]


async def _debugging(coro: Coroutine[Any, Any, T], debug: bool) -> T:
    loop = asyncio.get_running_loop()
    before = loop.get_debug()
    loop.set_debug(debug)
    try:
        return await coro
    finally:
        loop.set_debug(before)


def _after_fork() -> None:
    global _default_lock
    _default_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
