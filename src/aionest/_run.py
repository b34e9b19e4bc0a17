"""Runs: what stands behind run_forever, run_until_complete, close, asyncio.run and asyncio.Runner while applied.

Contract
  * Top level (no loop runs in this thread): run_forever carries the loop on hubs; asyncio.run makes a loop and closes it as
    asyncio does (``_ending``), but for one that holds something which is meant to outlive the run (``_kept``): it stays, as the
    thread's persistent loop, and the next runs use it. ``close_loop`` says always or never.
  * Nested on the running loop: a new task, and the caller's stack is suspended until it is done.
  * Nested on another loop: that one runs as a guest (``_guest``).
  * Each thread owns its persistent loop; it is closed at the thread's end, the main thread's at interpreter exit.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import functools
import os
import signal
import sys
import threading
from asyncio import base_events, coroutines, events, exceptions, futures, runners, selector_events, tasks
from typing import TYPE_CHECKING, Any, TypeVar

from . import _core, _ending, _foreign, _kept, _owners, _streamlit
from ._anyio import asyncgens

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

STOPPED = "Event loop stopped before Future completed."


class options:
    """What the last apply() asked for."""

    close_loop: bool | None = None
    shared: bool | None = None
    exiting = False


class engine:
    """Whether loops can be suspended into, and how to make it so (set by ``_apply``)."""

    on = False
    install: Any = None


_stock_close: Any = base_events.BaseEventLoop.close
_stock_selector_close: Any = selector_events.BaseSelectorEventLoop.close
_stock_asyncio_run: Any = runners.run
_stock_runner_run: Any = getattr(getattr(runners, "Runner", None), "run", None)
_stock_on_sigint: Any = getattr(getattr(runners, "Runner", None), "_on_sigint", None)
_stock_runner_close: Any = getattr(getattr(runners, "Runner", None), "close", None)
_cb: Any = base_events._run_until_complete_cb  # type: ignore[attr-defined]
_HAS_SETUP = hasattr(base_events.BaseEventLoop, "_run_forever_setup")


# ---- loop methods -----------------------------------------------------------------------------------------------------


def setup(loop: Any) -> None:
    """What asyncio does before a loop runs, on every version."""
    if _HAS_SETUP:
        loop._run_forever_setup()
        return
    loop._check_closed()
    loop._check_running()
    loop._set_coroutine_origin_tracking(loop._debug)
    loop._aionest_agen_hooks = sys.get_asyncgen_hooks()
    loop._thread_id = threading.get_ident()
    sys.set_asyncgen_hooks(firstiter=loop._asyncgen_firstiter_hook, finalizer=loop._asyncgen_finalizer_hook)
    events._set_running_loop(loop)


def check_not_running(loop: Any) -> None:
    """asyncio's check, less the part that refuses nesting."""
    if loop.is_running():
        raise RuntimeError("This event loop is already running")


def setup_nested(loop: Any) -> None:
    """setup() inside a running loop; the caller puts the running loop back."""
    events._set_running_loop(None)
    setup(loop)


def cleanup(loop: Any) -> None:
    """What asyncio does after a loop ran."""
    if _HAS_SETUP:
        loop._run_forever_cleanup()
        return
    loop._stopping = False
    loop._thread_id = None
    events._set_running_loop(None)
    loop._set_coroutine_origin_tracking(False)
    hooks = loop.__dict__.pop("_aionest_agen_hooks", None)
    if hooks is not None:
        sys.set_asyncgen_hooks(*hooks)


def run_forever(self: Any) -> None:
    """Run until stop() is called; inside a running loop, suspend the caller until then."""
    running: Any = events._get_running_loop()
    if running is None:
        setup(self)
        try:
            if sys.is_finalizing():
                # finalizers at interpreter exit: stacks cannot be switched any more, a plain run still works
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
        stopped = self.create_future()
        waiters = _core.stop_waiters(self)
        call = _owners.own(self, stopped)
        waiters.append(stopped)
        try:
            _core.block_on(stopped)
        finally:
            _owners.release(call)
            if stopped in waiters:
                waiters.remove(stopped)
    else:
        from . import _guest

        _guest.run(self, running)


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
                from . import _guest

                _guest.check(self, running)
                mains = _guest.mains
        future = tasks.ensure_future(future, loop=self)
    except BaseException:
        _refuse(future)
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
        if mains is not None:
            mains.pop(self, None)
        future.remove_done_callback(stop)
    if not future.done():
        raise RuntimeError(STOPPED)
    return future.result()


class _StopWhenDone:
    """Done callback that stops the loop for one run_until_complete. Once that is over it does nothing: it may be queued still,
    when the run was interrupted or stopped just then, and must not stop the next one.
    """

    over = False

    def __call__(self, future: Any) -> None:
        leaves = not future.cancelled() and isinstance(future.exception(), (KeyboardInterrupt, SystemExit))
        if self.over:
            return
        if leaves:
            # asyncio's own leaves this to the exception, which comes out of the loop by itself; not one that came out before
            _core.stop_done(futures._get_loop(future))  # type: ignore[attr-defined]
        else:
            _cb(future)


def close(self: Any) -> None:
    """Close the loop; runs that are still suspended on it end with RuntimeError.

    Resources that were left open by tasks that are done (an MCP session nobody left) are closed first.
    """
    try:
        _close_kept(self)
    finally:
        sealed = self in _ending.sealed
        if not self.is_running() and (sealed or not self.is_closed()):
            _end_suspended(self, "Event loop was closed before Future completed.")
        if sealed:
            _ending.close_base_loop(self)
        else:
            _stock_close(self)


def _end_suspended(loop: Any, message: str) -> None:
    hooks = sys.get_asyncgen_hooks()
    try:
        _core.end_suspended(loop, message)
    finally:
        # a loop that ends inside puts back those of the loop around it, whose run is over
        sys.set_asyncgen_hooks(*hooks)


def selector_close(self: Any) -> None:
    """Close the resources before the self-pipe: by it other threads, such as those that wait for child processes, are heard."""
    try:
        _close_kept(self)
    finally:
        if self in _ending.sealed:
            _ending.close_selector_loop(self)
        else:
            _stock_selector_close(self)


def _close_kept(loop: Any) -> None:
    running = events._get_running_loop()
    if loop.is_running() or loop.is_closed() or not (running is None or _foreign.supported(running)):
        return
    if asyncgens.has_kept(loop):
        _finish(loop, asyncgens.close_all(loop))  # a guest of the loop that runs here, if one does


_foreign.before_close = _close_kept
loop_methods: dict[str, Callable[..., Any]] = {
    "run_forever": functools.wraps(base_events.BaseEventLoop.run_forever)(run_forever),
    "run_until_complete": functools.wraps(base_events.BaseEventLoop.run_until_complete)(run_until_complete),
    "close": functools.wraps(base_events.BaseEventLoop.close)(close),
}
selector_loop_close = functools.wraps(selector_events.BaseSelectorEventLoop.close)(selector_close)


# ---- the persistent loop of a thread ------------------------------------------------------------------------------------


class _Persistent(threading.local):
    """The loop that a top-level run of this thread has left open for the next ones, and its end."""

    loop: Any = None
    policy: Any = None  # the event loop policy that it was made under
    closers: tuple[Any, ...] = ()


_persistent = _Persistent()
_all_loops: set[Any] = set()  # strong: a loop lives as long as its thread


class _Closer:
    """Lives in a thread's local storage: its finalizer runs in that thread, at its end."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop

    def __del__(self) -> None:
        if self.loop is not None and not options.exiting and not sys.is_finalizing():
            close_in_order(self.loop)
            _forget_dummy_thread()


def _forget_dummy_thread() -> None:
    """A finalizer that runs this late makes threading invent an entry for the ending thread: take it out."""
    # since 3.13: what would take it out at the thread's end; made now, it would stay until the interpreter's, and fail there
    local = getattr(threading, "_thread_local_info", None)
    if local is not None:
        local.__dict__.pop("_track_dummy_thread_ref", None)
    active = getattr(threading, "_active", {})
    ident = threading.get_ident()
    if isinstance(active.get(ident), threading._DummyThread):  # type: ignore[attr-defined]
        del active[ident]


def _policy_loop() -> Any:
    """The current event loop that was set for this thread, without making one."""
    policy = getattr(events, "_event_loop_policy", None)
    return getattr(getattr(policy, "_local", None), "_loop", None)


def kept_loop() -> Any:
    """The loop that stayed open after a run of this thread, None if there is none."""
    loop = _persistent.loop
    policy = getattr(events, "_event_loop_policy", None)
    if loop is None or loop.is_closed() or _persistent.policy not in (None, policy):
        return None
    return loop


def persistent_loop() -> Any:
    """The loop that all top-level runs of this thread use (``close_loop=False``); made when there is none."""
    loop = kept_loop()
    if loop is not None:
        return loop
    loop = _policy_loop()
    if loop is not None and _foreign.supported(loop) and not loop.is_closed() and not loop.is_running():
        # somebody else's: used, not owned
        return loop
    loop = events.new_event_loop()
    events.set_event_loop(loop)
    _keep(loop)
    return loop


def _keep(loop: Any) -> None:
    """Have this loop used by the next runs of this thread, and closed at its end."""
    if _persistent.loop is loop:
        return
    # one that was made under another policy stays open until the thread's end: it may hold things of the caller's
    _persistent.loop, _persistent.policy = loop, getattr(events, "_event_loop_policy", None)
    others = (c for c in _persistent.closers if c.loop is not None and not c.loop.is_closed())
    _persistent.closers = (*others, _Closer(loop))
    _all_loops.add(loop)


def _let_go(loop: Any) -> None:
    """This loop is closed by its last run."""
    _all_loops.discard(loop)
    if _persistent.loop is loop:
        _persistent.loop = _persistent.policy = None
    for closer in _persistent.closers:
        if closer.loop is loop:
            closer.loop = None
    _persistent.closers = tuple(c for c in _persistent.closers if c.loop is not None)


def _finish(loop: Any, closing: Any) -> None:
    """Run a closing coroutine; its error is reported, since the loop is closed in any case."""
    try:
        loop.run_until_complete(closing)
    except Exception as exc:
        loop.call_exception_handler({"message": "Exception while a loop's resources were closed", "exception": exc})


def close_in_order(loop: Any) -> None:
    """Cancel what is left, close asynchronous generators and the executor, then the loop."""
    _all_loops.discard(loop)
    if loop.is_closed() or loop.is_running():
        return
    try:
        hosted: Any = sys.modules.get("aionest.hosted")
        if hosted is not None:
            loop.run_until_complete(hosted.leave_all(loop))
        if asyncgens.has_kept(loop):
            loop.run_until_complete(asyncgens.close_all(loop))
        cancel_all_tasks(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
        _ending.end_executor(loop)
        _ending.seal(loop)
    except BaseException as exc:
        loop.call_exception_handler({"message": "Exception while a thread's event loop was closed", "exception": exc})
    finally:
        if _policy_loop() is loop:
            events.set_event_loop(None)
        loop.close()


cancel_all_tasks = _ending.cancel_all_tasks


def close_persistent_loops() -> None:
    """Close the loops that top-level runs of this thread have used, the newest first."""
    closers, _persistent.closers = _persistent.closers, ()
    _persistent.loop = _persistent.policy = None
    for closer in reversed(closers):
        loop, closer.loop = closer.loop, None
        close_in_order(loop)


exit_hooks: list[Callable[[], None]] = []  # what else is closed at interpreter exit, by modules that are loaded on use


def _at_exit() -> None:
    options.exiting = True
    close_persistent_loops()
    for hook in exit_hooks:
        hook()
    _end_suspended(None, "the interpreter exits: this nested run cannot be completed")


atexit.register(_at_exit)


def _after_fork() -> None:
    """The child must not touch the parent's epoll object: drop the loops without unregistering anything."""
    for loop in list(_all_loops):
        _abandon(loop)
    _all_loops.clear()
    loop = _persistent.loop
    for closer in _persistent.closers:
        closer.loop = None
    _persistent.closers = ()
    _persistent.loop = _persistent.policy = None
    if loop is not None and _policy_loop() is loop:
        events.set_event_loop(None)


def _abandon(loop: Any) -> None:
    if loop.is_running():
        return  # the forking thread may go on with it
    if not isinstance(loop, base_events.BaseEventLoop):
        _core.keep_for_ever(
            loop
        )  # what it would do at its end, or at that of its transports, is done to the parent's descriptors
        return
    selector = getattr(getattr(loop, "_selector", None), "_selector", None)
    for part in (selector, getattr(loop, "_ssock", None), getattr(loop, "_csock", None)):
        if part is not None:
            part.close()
    loop._closed = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# ---- asyncio.run ------------------------------------------------------------------------------------------------------------


def check_coroutine(main: Any) -> Any:
    """What asyncio.run accepts, with asyncio's own errors."""
    if coroutines.iscoroutine(main):
        return main
    if sys.version_info >= (3, 14):
        import inspect

        if inspect.isawaitable(main):

            async def wrap(awaitable: Any) -> Any:
                return await awaitable

            return wrap(main)
        raise TypeError("An asyncio.Future, a coroutine or an awaitable is required")
    raise ValueError(f"a coroutine was expected, got {main!r}")


def _refuse(main: Any) -> None:
    """A refused call leaves no 'never awaited' behind. A coroutine that was started is left alone."""
    if isinstance(main, _COROUTINE):
        import inspect

        if inspect.getcoroutinestate(main) == inspect.CORO_CREATED:
            main.close()


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None, loop_factory: Callable[[], Any] | None = None) -> T:
    """Run a coroutine to its end and return its result, whether or not a loop runs in this thread.

    Where a loop runs, the coroutine becomes a new task of it and the caller's stack is suspended meanwhile, so everything
    else goes on, other nested runs included, and each returns when its own coroutine is done. Where none runs, a loop is made
    and closed at the end, or kept for the next run of the thread, as ``apply()`` describes it.

    :param main: the coroutine.
    :param debug: debug mode of the loop during the run; ``None`` leaves it.
    :param loop_factory: makes a loop for this run alone, which is closed afterwards; inside a running loop it runs as a
        guest of that one.
    :return: what the coroutine returns.
    :raises RuntimeError: the loop was stopped or closed before the coroutine was done.
    :raises TypeError: the running loop is none that aionest can suspend into.
    :raises KeyboardInterrupt: Ctrl-C came in the main thread; the coroutine was cancelled first.

    Thread-safety: any thread. Cancellation: cancelling the calling task cancels the coroutine.
    """
    if not engine.on:
        engine.install()
    if debug is None and loop_factory is None:
        result = _core.run_nested(main)
        if result is not NotImplemented:
            return result  # type: ignore[no-any-return]
    return _run_slow(main, debug, loop_factory, options.close_loop)  # type: ignore[no-any-return]


def asyncio_run(main: Any, *, debug: bool | None = None, loop_factory: Callable[[], Any] | None = None) -> Any:
    """Run a coroutine to its end and return its result; may be called while a loop runs (see ``aionest.run``)."""
    if debug is None and loop_factory is None:
        result = _core.run_nested(main)
        if result is not NotImplemented:
            return result
    return _run_slow(main, debug, loop_factory, options.exiting or options.close_loop)


def _run_slow(main: Any, debug: bool | None, loop_factory: Any, close_loop: bool | None) -> Any:
    running = events._get_running_loop()
    if running is None:
        if loop_factory is not None or options.exiting:
            return _run_closing(main, debug, loop_factory)
        main = check_coroutine(main)
        if close_loop:
            return _run_top(main, debug, True)
        if options.shared if options.shared is not None else _streamlit.shared_default():
            from .portal import shared_run

            return shared_run(main, debug=debug)
        if close_loop is None:
            return _run_top(main, debug, False)
        return _run_on(persistent_loop(), main, debug)
    if not _foreign.supported(running):
        _refuse(main)
        from ._apply import check_loop

        check_loop(running)
    if loop_factory is not None:
        return _run_closing(main, debug, loop_factory)
    main = check_coroutine(main)
    if debug is None or debug == running.get_debug():
        return _nest(main, running)
    before = running.get_debug()
    running.set_debug(debug)
    try:
        return _nest(main, running)
    finally:
        running.set_debug(before)


def _nest(main: Any, running: Any) -> Any:
    try:
        _core.check_driver(running)
    except BaseException:
        _refuse(main)
        raise
    result = _core.run_nested(_plain(main))
    if result is NotImplemented:
        # which loop runs is told by other code than asyncio's (trio-asyncio), to which the engine does not listen
        _refuse(main)
        from ._apply import refuse_loop

        refuse_loop(running, "what says that it runs here is not asyncio itself")
    return result


def _plain(main: Any) -> Any:
    """The engine starts plain coroutines: wrap generator-based and compiled ones."""
    if type(main) is _COROUTINE:
        return main

    async def wrap() -> Any:
        return await main

    return wrap()


async def _example() -> None: ...


_example_coro = _example()
_COROUTINE = type(_example_coro)
_example_coro.close()
del _example_coro


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


def _run_closing(main: Any, debug: bool | None, loop_factory: Any) -> Any:
    """asyncio's own way: a new loop, closed at the end. Works nested too, since Runner's methods do."""
    try:
        if sys.version_info >= (3, 12) and events._get_running_loop() is None:
            with runners.Runner(debug=debug, loop_factory=loop_factory and checked(loop_factory)) as runner:
                return runner.run(main)
        main = check_coroutine(main)
        outer = _policy_loop()
        loop = events.new_event_loop() if loop_factory is None else checked(loop_factory)()
    except BaseException:
        _refuse(main)
        raise
    try:
        if loop_factory is None:
            events.set_event_loop(loop)
        if debug is not None:
            loop.set_debug(debug)
        return _run_on(loop, main, None)
    finally:
        try:
            cancel_all_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            if loop_factory is None:
                events.set_event_loop(outer if events._get_running_loop() is not None else None)
            loop.close()


def _run_top(main: Any, debug: bool | None, always: bool) -> Any:
    """A run on the loop that an earlier run of this thread has left open, or on a new one; whichever ends here if it can.

    ``always``: a new one, which ends.
    """
    interrupt = _Interrupt(None)
    with interrupt:  # around all of it: what is half set up or half closed would poison the next run
        return _run_top_interruptible(main, debug, always, interrupt)


def _run_top_interruptible(main: Any, debug: bool | None, always: bool, interrupt: _Interrupt) -> Any:
    loop: Any = None if always else kept_loop()
    fresh = loop is None
    try:
        if fresh:
            loop = events.new_event_loop()
    except BaseException:
        _refuse(main)
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
            _refuse(main)
            raise
        try:
            return _run_interruptible(loop, task, interrupt)
        except (KeyboardInterrupt, SystemExit):
            _ending.end_some(loop, [one for one in tasks.all_tasks(loop) if one not in older])
            raise
    finally:
        closing = False
        try:
            closing = always or _ends(loop, task, fresh)
        finally:
            task = None  # an exception's traceback holds this frame
            if closing:
                _let_go(loop)
                _ending.end(loop)
            else:
                _keep(loop)
                loop.set_debug(before)


def _ends(loop: Any, task: Any, fresh: bool) -> bool:
    """Can the loop be closed? Else what does not belong to what it stays open for has ended."""
    if task is None:
        return fresh
    if loop.is_closed() or sys.is_finalizing():
        return True
    if not isinstance(loop, base_events.BaseEventLoop):
        # what is registered with a foreign loop cannot be seen; what has been opened on it can
        return not (_foreign.supported(loop) and _kept.opened(loop))
    for _ in range(_ending.ROUNDS):
        try:
            remains = _kept.look(loop, task, fresh)
        except Exception as exc:
            loop.call_exception_handler({"message": "aionest cannot tell what a run has left open", "exception": exc})
            return fresh
        if remains is None:
            return True
        if not remains.tasks and not remains.generators:
            return False
        _ending.end_some(loop, remains.tasks, remains.generators)
        del remains
    return False


def _run_on(loop: Any, main: Any, debug: bool | None) -> Any:
    """A top-level run on a loop that stays open: Ctrl-C cancels the task first, as asyncio.Runner does.

    After KeyboardInterrupt or SystemExit nothing of the run is left on the loop: its other tasks are cancelled and awaited.
    """
    interrupt = _Interrupt(loop)
    with interrupt:
        before = loop.get_debug()
        older = tasks.all_tasks(loop)
        if debug is not None:
            loop.set_debug(debug)
        try:
            try:
                task = loop.create_task(main)
            except BaseException:
                _refuse(main)
                raise
            return _run_interruptible(loop, task, interrupt)
        except (KeyboardInterrupt, SystemExit):
            if not loop.is_running() and not loop.is_closed():
                _ending.end_some(loop, list(tasks.all_tasks(loop) - older))
            raise
        finally:
            if debug is not None and not loop.is_closed():
                loop.set_debug(before)


class _Interrupt:
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

    def __enter__(self) -> _Interrupt | None:
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
    interrupt = _Interrupt(loop)
    with interrupt:
        return _run_interruptible(loop, task, interrupt)


def _run_interruptible(loop: Any, task: Any, interrupt: _Interrupt) -> Any:
    interrupt.task = task
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
                raise KeyboardInterrupt from None
        raise
    except BaseException:
        if not task.done():
            # the loop was stopped, or interrupted a second time: nobody will wait for it any more
            task._log_destroy_pending = False
        raise


# ---- asyncio.Runner -----------------------------------------------------------------------------------------------------------


def runner_run(self: Any, coro: Any, *, context: contextvars.Context | None = None) -> Any:
    """Run code in the embedded event loop; inside a running loop the embedded one is its guest."""
    running = events._get_running_loop()
    if running is None:
        try:
            return _stock_runner_run(self, coro, context=context)
        except BaseException:
            _refuse(coro)
            raise
        finally:
            if self._interrupt_count:
                _core.set_interrupted(False)
    if not _foreign.supported(running):
        _refuse(coro)
        from ._apply import check_loop

        check_loop(running)
    coro = check_coroutine(coro)
    outer = _policy_loop()
    try:
        loop = self.get_loop()
    except BaseException:
        _refuse(coro)
        raise
    if _policy_loop() is not outer:
        self._aionest_outer = outer
    task = loop.create_task(coro, context=self._context if context is None else context)
    return run_task(loop, task)


def runner_on_sigint(self: Any, signum: int, frame: Any, main_task: Any) -> None:
    """The handler of a Runner's run; the engine learns what the cancellation is for."""
    if self._interrupt_count == 0 and not main_task.done():
        _core.set_interrupted(True)
    _stock_on_sigint(self, signum, frame, main_task)


def runner_close(self: Any) -> None:
    """Shut down and close the event loop; the outer one's place as current loop is given back."""
    interrupted = self._interrupt_count > 0 and events._get_running_loop() is None
    if interrupted:
        _core.set_interrupted(True)  # what is cancelled now was left by the run that Ctrl-C ended
    try:
        _stock_runner_close(self)
    finally:
        if interrupted:
            _core.set_interrupted(False)
        outer = self.__dict__.pop("_aionest_outer", None)
        if outer is not None:
            events.set_event_loop(outer)


def await_(awaitable: Any) -> Any:
    """Wait for an awaitable from synchronous code, in the caller's own task.

    If it finishes without waiting for anything, no stack is switched at all.

    :param awaitable: a coroutine, a future, or an object with ``__await__``.
    :return: its result.
    :raises RuntimeError: no loop runs in this thread, or it was stopped or closed meanwhile.
    :raises TypeError: not an awaitable, or the running loop is none that aionest can suspend into.

    Thread-safety: the thread whose loop runs. Cancellation: as a plain ``await``; cancelling the calling task cancels what
    it waits for.
    """
    if not engine.on:
        engine.install()
    return _core.await_(awaitable)


def block_on(future: asyncio.Future[T]) -> T:
    """Suspend the caller's stack until a future of the running loop is done, and return its result.

    :raises TypeError: not a future.
    :raises RuntimeError: no loop runs in this thread, the future belongs to another loop, or the loop was stopped or closed.

    Thread-safety: the thread whose loop runs. Cancellation: cancelling the calling task cancels the future.
    """
    if not engine.on:
        engine.install()
    return _core.block_on(future)  # type: ignore[no-any-return]
