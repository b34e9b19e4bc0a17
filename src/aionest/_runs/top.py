"""Top-level runs: a loop is made, or one that an earlier run of the thread has left open is used, and it ends if it can.

Contract: asyncio.run makes a loop and closes it as asyncio does (``ending``), but for one that holds something which is meant
to outlive the run (``kept``): it stays, as the thread's persistent loop (``thread_loop``), and the next runs use it.
Thread: any in which no loop runs; ``run_closing`` also where one does.
"""

from __future__ import annotations

import sys
from asyncio import events, runners, tasks
from typing import TYPE_CHECKING, Any

from .._engine.checks import check_coroutine, checked, refuse, supported
from .._engine.sealing import ROUNDS, cancel_all_tasks
from . import ending, kept
from .interrupt import Interrupt, run_interruptible
from .thread_loop import keep, kept_loop, let_go, policy_loop

if TYPE_CHECKING:
    pass


def run_closing(main: Any, debug: bool | None, loop_factory: Any) -> Any:
    """asyncio's own way: a new loop, closed at the end. Works nested too, since Runner's methods do."""
    try:
        if sys.version_info >= (3, 12) and events._get_running_loop() is None:
            with runners.Runner(debug=debug, loop_factory=loop_factory and checked(loop_factory)) as runner:
                return runner.run(main)
        main = check_coroutine(main)
        outer = policy_loop()
        loop = events.new_event_loop() if loop_factory is None else checked(loop_factory)()
    except BaseException:
        refuse(main)
        raise
    try:
        if loop_factory is None:
            events.set_event_loop(loop)
        if debug is not None:
            loop.set_debug(debug)
        return run_on(loop, main, None)
    finally:
        try:
            cancel_all_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            if loop_factory is None:
                events.set_event_loop(outer if events._get_running_loop() is not None else None)
            loop.close()


def run_top(main: Any, debug: bool | None, always: bool) -> Any:
    """A run on the loop that an earlier run of this thread has left open, or on a new one; whichever ends here if it can.

    ``always``: a new one, which ends.
    """
    interrupt = Interrupt(None)
    with interrupt:  # around all of it: what is half set up or half closed would poison the next run
        return _run_top_interruptible(main, debug, always, interrupt)


def _run_top_interruptible(main: Any, debug: bool | None, always: bool, interrupt: Interrupt) -> Any:
    loop: Any = None if always else kept_loop()
    fresh = loop is None
    try:
        if fresh:
            loop = events.new_event_loop()
    except BaseException:
        refuse(main)
        raise
    task, before = None, loop.get_debug()
    try:
        events.set_event_loop(loop)
        if debug is not None:
            loop.set_debug(debug)
        interrupt.loop = loop
        older = set() if fresh else tasks.all_tasks(loop)
        try:
            task = loop.create_task(main)
        except BaseException:
            refuse(main)
            raise
        try:
            return run_interruptible(loop, task, interrupt)
        except (KeyboardInterrupt, SystemExit):
            ending.end_some(loop, [one for one in tasks.all_tasks(loop) if one not in older])
            raise
    finally:
        closing = False
        try:
            closing = always or _ends(loop, task, fresh)
        finally:
            task = None  # an exception's traceback holds this frame
            if closing:
                let_go(loop)
                ending.end(loop)
            else:
                keep(loop)
                loop.set_debug(before)


def _ends(loop: Any, task: Any, fresh: bool) -> bool:
    """Can the loop be closed? Else what does not belong to what it stays open for has ended."""
    if task is None:
        return fresh
    if loop.is_closed() or sys.is_finalizing():
        return True
    if not kept.can_look(loop):
        # what is registered with it cannot be seen; what has been opened on it can
        return not (supported(loop) and kept.opened(loop))
    for _ in range(ROUNDS):
        try:
            remains = kept.look(loop, task, fresh)
        except Exception as exc:
            loop.call_exception_handler({"message": "aionest cannot tell what a run has left open", "exception": exc})
            return fresh
        if remains is None:
            return True
        if not remains.tasks and not remains.generators:
            return False
        ending.end_some(loop, remains.tasks, remains.generators)
        del remains
    return False


def run_on(loop: Any, main: Any, debug: bool | None) -> Any:
    """A top-level run on a loop that stays open: Ctrl-C cancels the task first, as asyncio.Runner does.

    After KeyboardInterrupt or SystemExit nothing of the run is left on the loop: its other tasks are cancelled and awaited.
    """
    interrupt = Interrupt(loop)
    with interrupt:
        before = loop.get_debug()
        older = tasks.all_tasks(loop)
        if debug is not None:
            loop.set_debug(debug)
        try:
            try:
                task = loop.create_task(main)
            except BaseException:
                refuse(main)
                raise
            return run_interruptible(loop, task, interrupt)
        except (KeyboardInterrupt, SystemExit):
            if not loop.is_running() and not loop.is_closed():
                ending.end_some(loop, list(tasks.all_tasks(loop) - older))
            raise
        finally:
            if debug is not None and not loop.is_closed():
                loop.set_debug(before)
