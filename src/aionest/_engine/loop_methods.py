"""Loop methods while the engine is installed: run_forever, run_until_complete and close of every BaseEventLoop.

Contract
  * Where no loop runs in this thread, run_forever carries the loop on hubs; in a greenlet of somebody else's on that.
  * Nested on the running loop: a new task, and the caller's stack is suspended until it is done.
  * Nested on another loop: that one runs as a guest (``guest``).
  * Before a loop closes, whoever keeps something on it closes that (``closing``); runs suspended on it end with RuntimeError.
Thread: the loop's own.
"""

from __future__ import annotations

import functools
import operator
import sys
from asyncio import base_events, events, futures, selector_events, tasks
from typing import TYPE_CHECKING, Any

from .. import _core
from . import closing, imports
from .checks import can_run_here, refuse
from .closing import check_not_running, cleanup, end_suspended, setup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

# The task of a stack that a run has to return through, once it is cancelled: seconds in which it makes no progress, looked at so
# often, and how many times as long it may go on in all. Looks are counted, not time: a process that is not let run looks less often.
GRACE = 10.0
LOOKS = 20
PATIENCE = 6
STOPPED = "Event loop stopped before Future completed."

_stock_close: Any = base_events.BaseEventLoop.close
_stock_proactor_close: Any = None
_stock_selector_close: Any = selector_events.BaseSelectorEventLoop.close
stock_executor: Any = base_events.BaseEventLoop.shutdown_default_executor
_cb: Any = base_events._run_until_complete_cb  # type: ignore[attr-defined]


def run_forever(self: Any) -> None:
    """Run until stop() is called; inside a running loop, suspend the caller until then."""
    running: Any = events._get_running_loop()
    if running is None:
        setup(self)
        try:
            if sys.is_finalizing() or _core.is_on_greenlet():
                # finalizers at interpreter exit: stacks cannot be switched any more, a plain run still works. And in somebody
                # else's greenlet, which may ask in its steps and callbacks whether they run on itself.
                while True:
                    self._run_once()
                    if self._stopping:
                        break
            else:
                _core.carry(self)
        finally:
            cleanup(self)
    elif running is self:
        self._check_closed()
        _nested()[0].wait_for_stop(self)
    else:
        _nested()[1].run(self, running)


_loaded: tuple[ModuleType, ModuleType] | None = None


def _nested() -> tuple[ModuleType, ModuleType]:
    """``owners`` and ``guest``, imported at the first nested run_forever."""
    global _loaded
    if _loaded is None:
        with imports.uninterrupted():
            from . import guest, owners
        _loaded = owners, guest
    return _loaded


def run_until_complete(self: Any, future: Any) -> Any:
    """Run until the future is done and return its result; may be called while a loop runs in this thread.

    A coroutine or other awaitable is wrapped in a task.
    """
    new_task = not futures.isfuture(future)
    mains: Any = None
    try:
        self._check_closed()
        running: Any = events._get_running_loop()
        nested = running is self
        if nested:
            _core.check_driver(self)
        else:
            check_not_running(self)
            if running is not None:
                guest = _nested()[1]
                guest.check(self, running)
                mains = guest.mains
        future = tasks.ensure_future(future, loop=self)
    except BaseException:
        refuse(future)
        raise
    if new_task:
        # an exception is raised if it does not complete: no need to log that it was pending
        future._log_destroy_pending = False
    if nested:
        return _core.wait_nested(future) if new_task else _core.block_on(future)
    stop = _StopWhenDone()
    future.add_done_callback(stop)
    if mains is not None:
        mains[self] = future
    try:
        self.run_forever()
    except BaseException:
        if new_task and future.done() and not future.cancelled():
            # the caller has no access to the task: its exception is this one
            future.exception()
        raise
    finally:
        stop.over = True
        if stop.grace is not None:
            stop.grace.cancel()
        if mains is not None:
            mains.pop(self, None)
        future.remove_done_callback(stop)
    if not future.done():
        raise RuntimeError(STOPPED)
    return future.result()


def _waits_for(task: object) -> list[object]:
    """The task, what it waits for, what that waits for, and so on: others, once the task has gone on."""
    chain: list[object] = []
    while task is not None and len(chain) < 1000:
        chain.append(task)
        task = getattr(task, "_fut_waiter", None)
    return chain


class _StopWhenDone:
    """Done callback that stops the loop for one run_until_complete. Once that is over it does nothing: it may be queued still,
    when the run was interrupted or stopped just then, and must not stop the next one.
    """

    over = False
    grace: Any = None
    idle = looks = 0
    waits: Sequence[object] = ()
    __name__ = _cb.__name__  # what debug mode's reports call it
    __wrapped__ = staticmethod(_cb)

    def __call__(self, future: Any) -> None:
        leaves = not future.cancelled() and isinstance(future.exception(), (KeyboardInterrupt, SystemExit))
        if self.over:
            return
        if leaves:
            # asyncio's own leaves this to the exception, which comes out of the loop by itself; not one that came out before
            _core.stop_done(futures._get_loop(future))  # type: ignore[attr-defined]
            return
        loop = futures._get_loop(future)  # type: ignore[attr-defined]
        task = _core.sleeper_below(loop)
        if task is None or task.get_loop().is_closed():
            _cb(future)
        else:
            # run_until_complete cannot return through it: it is cancelled here, not at the end of the run. One that will not be
            # cancelled has its nested run ended after a while (NestedRunError), as loop.stop() does.
            if self.grace is None:
                self.grace = loop.call_later(GRACE / LOOKS, self._look, future)
            task.add_done_callback(functools.partial(self._again, future))
            task.cancel()

    def _again(self, future: futures.Future[object], task: object) -> None:
        if not self.over:
            self(future)

    def _look(self, future: futures.Future[object]) -> None:
        if self.over:
            return
        loop = futures._get_loop(future)  # type: ignore[attr-defined]
        waits = _waits_for(_core.sleeper_below(loop))
        self.idle = self.idle + 1 if len(waits) == len(self.waits) and all(map(operator.is_, waits, self.waits)) else 0
        self.waits = waits
        self.looks += 1
        if self.idle >= LOOKS or self.looks >= LOOKS * PATIENCE:
            self.waits = []
            _cb(future)
        else:
            self.grace = loop.call_later(GRACE / LOOKS, self._look, future)


def close(self: Any) -> None:
    """Close the loop; runs that are still suspended on it end with RuntimeError.

    Resources that were left open by tasks that are done (an MCP session nobody left) are closed first.
    """
    try:
        if can_run_here():
            closing.close_left_behind(self)
    finally:
        sealed = closing.sealed.get(self)
        if not self.is_running() and (sealed is not None or not self.is_closed()):
            end_suspended(self, "Event loop was closed before Future completed.")
        if sealed is not None:
            sealed[1](self)
        else:
            _stock_close(self)


def selector_close(self: Any) -> None:
    """Close the resources before the self-pipe: by it other threads, such as those that wait for child processes, are heard."""
    try:
        if can_run_here():
            closing.close_left_behind(self)
    finally:
        sealed = closing.sealed.get(self)
        if sealed is not None:
            sealed[0](self)
        else:
            _stock_selector_close(self)


def proactor_close(self: Any) -> None:
    """End what is left before the completion port goes: a turn of the loop after that finds none."""
    try:
        if can_run_here():
            closing.close_left_behind(self)
    finally:
        if not self.is_running() and not self.is_closed():
            end_suspended(self, "Event loop was closed before Future completed.")
        _stock_proactor_close(self)
        from . import wakeups

        wakeups.give(events._get_running_loop())


loop_methods: dict[str, Callable[..., Any]] = {
    "run_forever": functools.wraps(base_events.BaseEventLoop.run_forever)(run_forever),
    "run_until_complete": functools.wraps(base_events.BaseEventLoop.run_until_complete)(run_until_complete),
    "close": functools.wraps(base_events.BaseEventLoop.close)(close),
}
if sys.platform == "win32":
    from asyncio import proactor_events

    _stock_proactor_close = proactor_events.BaseProactorEventLoop.close
    proactor_loop_close = functools.wraps(_stock_proactor_close)(proactor_close)
selector_loop_close = functools.wraps(selector_events.BaseSelectorEventLoop.close)(selector_close)
