"""What users and asyncio's callers call to run something: run, await_, block_on, asyncio.run and asyncio.Runner while applied.

Contract: only decides where a call is carried out. Nested on the running loop: by the engine; with a loop of its own: as
asyncio does, or as a guest; at top level: by ``_runs``, or by the process's portal if runs are shared.
Thread: any.
"""

from __future__ import annotations

import sys
from asyncio import events, runners
from typing import TYPE_CHECKING, Any, TypeVar

from .. import _core
from .._engine import closing, imports, install
from .._engine.checks import check_coroutine, plain, refuse, refuse_loop, supported

if TYPE_CHECKING:
    import asyncio
    import contextvars
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")


class options:
    """What the last apply() asked for."""

    close_loop: bool | None = None
    shared: bool | None = None


_stock_runner_run: Any = getattr(getattr(runners, "Runner", None), "run", None)
_stock_on_sigint: Any = getattr(getattr(runners, "Runner", None), "_on_sigint", None)
_stock_runner_close: Any = getattr(getattr(runners, "Runner", None), "close", None)


def run(
    main: Coroutine[Any, Any, T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> T:
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
    if not install.on:
        install.install()
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
    return _run_slow(main, debug, loop_factory, closing.exiting or options.close_loop)


def _run_slow(main: Any, debug: bool | None, loop_factory: Any, close_loop: bool | None) -> Any:
    running = events._get_running_loop()
    if running is None:
        if loop_factory is not None or closing.exiting:
            return _runs().run_closing(main, debug, loop_factory)
        main = check_coroutine(main)
        if close_loop:
            return _runs().run_top(main, debug, True)
        if options.shared if options.shared is not None else _in_streamlit():
            from .._portal.default import shared_run

            return shared_run(main, debug=debug)
        if close_loop is None:
            return _runs().run_top(main, debug, False)
        return _runs().run_on(_runs().persistent_loop(), main, debug)
    if not supported(running):
        refuse(main)
        install.check_loop(running)
    if loop_factory is not None:
        return _runs().run_closing(main, debug, loop_factory)
    main = check_coroutine(main)
    if debug is None or debug == running.get_debug():
        return _nest(main, running)
    before = running.get_debug()
    running.set_debug(debug)
    try:
        return _nest(main, running)
    finally:
        running.set_debug(before)


_loaded: Any = None


def _runs() -> Any:
    """The package of top-level runs, imported at the first of them."""
    global _loaded
    if _loaded is None:
        with imports.uninterrupted():
            from .. import _runs
        _loaded = _runs
    return _loaded


def _in_streamlit() -> bool:
    if "streamlit.runtime" not in sys.modules:
        return False
    from .._portal.script_run import shared_default

    return shared_default()


def _at_exit() -> None:
    """The main thread's loop is the first to be closed: its tasks may use portals."""
    # now if not yet: finalizers that run later may call asyncio.run(), when nothing can be imported any more
    _runs().close_persistent_loops()


closing.at_exit.append(_at_exit)


def _nest(main: Any, running: Any) -> Any:
    try:
        _core.check_driver(running)
    except BaseException:
        refuse(main)
        raise
    result = _core.run_nested(plain(main))
    if result is NotImplemented:
        # which loop runs is told by other code than asyncio's (trio-asyncio), to which the engine does not listen
        refuse(main)
        refuse_loop(running, "it is reported as running here by something other than asyncio")
    return result


def runner_run(self: Any, coro: Any, *, context: contextvars.Context | None = None) -> Any:
    """Run code in the embedded event loop; inside a running loop the embedded one is its guest."""
    running = events._get_running_loop()
    if running is None:
        try:
            return _stock_runner_run(self, coro, context=context)
        except BaseException:
            refuse(coro)
            raise
        finally:
            if self._interrupt_count:
                _core.set_interrupted(False)
    if not supported(running):
        refuse(coro)
        install.check_loop(running)
    coro = check_coroutine(coro)
    policy_loop = _runs().policy_loop
    outer = policy_loop()
    try:
        loop = self.get_loop()
    except BaseException:
        refuse(coro)
        raise
    if policy_loop() is not outer:
        self._aionest_outer = outer
    task = loop.create_task(coro, context=self._context if context is None else context)
    return _runs().run_task(loop, task)


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


def await_(awaitable: Awaitable[T]) -> T:
    """Wait for an awaitable from synchronous code, in the caller's own task.

    If it finishes without waiting for anything, no stack is switched at all.

    :param awaitable: a coroutine, a future, or an object with ``__await__``.
    :return: its result.
    :raises RuntimeError: no loop runs in this thread, or it was stopped or closed meanwhile.
    :raises TypeError: not an awaitable, or the running loop is none that aionest can suspend into.

    Thread-safety: the thread whose loop runs. Cancellation: as a plain ``await``; cancelling the calling task cancels what
    it waits for.
    """
    if not install.on:
        install.install()
    return _core.await_(awaitable)


def block_on(future: asyncio.Future[T]) -> T:
    """Suspend the caller's stack until a future of the running loop is done, and return its result.

    :raises TypeError: not a future.
    :raises RuntimeError: no loop runs in this thread, the future belongs to another loop, or the loop was stopped or closed.

    Thread-safety: the thread whose loop runs. Cancellation: cancelling the calling task cancels the future.
    """
    if not install.on:
        install.install()
    return _core.block_on(future)  # type: ignore[no-any-return]
