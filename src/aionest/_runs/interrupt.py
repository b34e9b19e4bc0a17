"""Ctrl-C during a top-level run: asyncio.Runner's treatment, and what becomes of a run that is interrupted while it is set up.

Thread: the one that runs the loop; signals are the main thread's.
"""

from __future__ import annotations

import signal
import sys
import threading
from asyncio import exceptions
from typing import Any

from .. import _core
from .._engine import wakeups


class Interrupt:
    """SIGINT handler of one run, as asyncio.Runner's: the first Ctrl-C cancels the task, another one raises KeyboardInterrupt
    wherever the program is. While the loop is not being carried, that is while a run is set up or cleaned up, nothing is
    raised but remembered: what was half done would poison the next run.
    """

    _aionest_run = True

    def __init__(self, loop: Any) -> None:
        self.loop, self.task, self.count, self.late = loop, None, 0, False

    def __call__(self, signum: int, frame: Any) -> None:
        self.count += 1
        task: Any = self.task
        if self.count == 1 and task is not None and not task.done():
            _core.set_interrupted(True)
            task.cancel()
            self.loop.call_soon_threadsafe(_nothing)
        elif self.loop is not None and _core.is_carried(self.loop):
            raise KeyboardInterrupt
        else:
            self.late = True

    def __enter__(self) -> Interrupt | None:
        if (
            threading.current_thread() is not threading.main_thread()
            or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        ):
            return None
        try:
            signal.signal(signal.SIGINT, self)
        except ValueError:  # no signals in this interpreter
            return None
        return self

    def __exit__(self, kind: Any, exc: BaseException | None, tb: Any) -> None:
        if self.count:
            _core.set_interrupted(False)
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is self:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.late and not isinstance(exc, KeyboardInterrupt):
            raise KeyboardInterrupt from None


def _nothing() -> None:
    """Wakes a loop up."""


def _no_count() -> int:
    """Before 3.11 tasks do not count cancellation requests."""
    return 0


def run_task(loop: Any, task: Any) -> Any:
    """Run a task of a loop to its end with asyncio.Runner's treatment of Ctrl-C."""
    interrupt = Interrupt(loop)
    with interrupt:
        return run_interruptible(loop, task, interrupt)


def run_interruptible(loop: Any, task: Any, interrupt: Interrupt) -> Any:
    interrupt.task = task
    wakeups.give(loop)
    if interrupt.late:  # it came before there was a task
        interrupt.late = False
        _core.set_interrupted(True)
        task.cancel()
    try:
        return loop.run_until_complete(task)
    except exceptions.CancelledError:
        if interrupt.count > 0:
            uncancel = getattr(task, "uncancel", _no_count if sys.version_info < (3, 11) else None)
            if uncancel is not None and uncancel() == 0:
                raise KeyboardInterrupt  # noqa: B904 - as on stock: the context tells where the program was
        raise
    except BaseException:
        if not task.done():
            # the loop was stopped, or interrupted a second time: nobody will wait for it any more
            task._log_destroy_pending = False
        raise
    finally:
        interrupt.task = None
