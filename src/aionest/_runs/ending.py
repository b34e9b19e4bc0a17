"""How a top-level run ends: what is left is cancelled and awaited, and the loop closed, as asyncio.Runner does it.

Contract
  * ``end`` closes the loop whatever happens. Steps and their order are asyncio's; what other threads post meanwhile is seen
    to (``_engine.sealing``).
  * ``end_some`` ends tasks and generators of a loop that stays open.
Thread: the loop's own, while it does not run.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import constants, events, tasks
from typing import Any

from .._engine import closing
from .._engine.loop_methods import stock_executor
from .._engine.sealing import UnixLoop, cancel_all_tasks, cancel_some, report, seal
from .._scopes import asyncgens

_TIMEOUT: tuple[Any, ...] = (constants.THREAD_JOIN_TIMEOUT,) if hasattr(constants, "THREAD_JOIN_TIMEOUT") else ()

_STEPS = frozenset(
    ("shutdown_asyncgens", "shutdown_default_executor", "run_until_complete", "run_forever", "_run_once")
)


def end(loop: Any) -> None:
    """End what is left on the loop and close it."""
    try:
        idle = _is_idle(loop)
        if not idle:
            cancel_all_tasks(loop)
            idle = _is_idle(loop)
        if idle:
            loop._asyncgens_shutdown_called = loop._executor_shutdown_called = True
            _count_names()
        else:
            loop.run_until_complete(loop.shutdown_asyncgens())
            end_executor(loop)
        seal(loop, idle)
    finally:
        events.set_event_loop(None)
        loop.close()


def _is_idle(loop: Any) -> bool:
    """Is there nothing to end, and nothing that could happen meanwhile? Then asyncio's steps do not need the loop to run."""
    return (
        type(loop) is UnixLoop
        and loop._task_factory is None
        and not loop._ready
        and all(timer._cancelled for timer in loop._scheduled)
        and not loop._asyncgens
        and loop._default_executor is None
        and _STEPS.isdisjoint(loop.__dict__)
        and UnixLoop.shutdown_asyncgens in (asyncgens.stock_shutdown, asyncgens.shutdown)
        and UnixLoop.shutdown_default_executor is stock_executor
        and not asyncgens.abandoned
        and len(getattr(loop._selector, "_fd_to_key", ())) == 1
        and _has_no_task(loop)
    )


# where all tasks are noted, up to 3.13; asking all_tasks() is dear beside what a short run takes
_NAMES = ("_all_tasks", "_scheduled_tasks", "_eager_tasks") if sys.version_info < (3, 14) else ()
_sets: list[object] = [vars(tasks)[name] for name in _NAMES if name in vars(tasks)]


def _has_no_task(loop: asyncio.AbstractEventLoop) -> bool:
    if _sets and not any(getattr(one, "data", one) for one in _sets):
        return True
    return not asyncio.all_tasks(loop)


class _NoLoop:
    """What a task is made on that never begins."""

    def get_debug(self) -> bool:
        return False

    def call_soon(self, callback: object, *args: object, context: object = None) -> None:
        pass


_no_loop = _NoLoop()


def _count_names() -> None:
    """asyncio's two steps are tasks: they take a name each, and those of the next run follow."""
    step = _step()
    for _ in range(2):
        task = tasks.Task(step, loop=_no_loop)  # type: ignore[arg-type]
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    step.close()


async def _step() -> None:
    pass


def end_executor(loop: Any) -> None:
    """Shut the default executor down; its threads are waited for."""
    try:
        loop.run_until_complete(loop.shutdown_default_executor(*_TIMEOUT))
    except RuntimeError:
        executor = getattr(loop, "_default_executor", None)
        # since 3.12 no thread can be started at interpreter exit, not even asyncio's own that waits for the others
        if executor is None or not (sys.is_finalizing() or closing.exiting):
            raise
        executor.shutdown()


def end_some(loop: Any, some: list[Any], generators: Any = ()) -> None:
    """Cancel these tasks, close these generators, and wait for their end."""
    for task in some:
        task._log_destroy_pending = False  # a further Ctrl-C ends the waiting
    cancel_some(loop, some)
    if generators:
        results = loop.run_until_complete(_close(generators))
        for agen, result in zip(generators, results):
            if isinstance(result, Exception):
                report(
                    loop, f"an error occurred during closing of asynchronous generator {agen!r}", result, asyncgen=agen
                )


async def _close(generators: Any) -> list[Any]:
    return await tasks.gather(*[agen.aclose() for agen in generators], return_exceptions=True)
