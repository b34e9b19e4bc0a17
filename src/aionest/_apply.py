"""apply() and unapply(): which of asyncio's classes and functions are ours, and how they get back.

Contract
  * Classes and modules are patched, never loops or tasks; calling twice changes nothing; any thread, any time, with or without
    a loop, before or while loops run.
  * Two parts: the engine (methods of BaseEventLoop) and the entry points (asyncio.run, asyncio.Runner). ``engine()`` alone
    is enough for aionest.run() and await_().
  * unapply() puts back exactly what it found.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import types
from asyncio import base_events, events, runners, selector_events
from typing import Any

from . import _core, _errors, _factories, _foreign, _frames, _groups, _owners, _probe, _run, _signals, _support
from ._anyio import asyncgens as _asyncgens
from ._anyio import install as _anyio

_lock = threading.RLock()
_MISSING: Any = object()

_saved: list[tuple[Any, str, Any]] = []
_engine_on = False
_entry_points: list[tuple[Any, str, Any]] = []

_run.engine.install = lambda: engine()
_core._configure(
    _support.callback_error,
    _support.slow_callback,
    _errors,
    _support.runs_in_asyncio,
    _owners.stop_owner,
    _frames._run_once,
)
_core._task_factories(_factories.style(), _factories.eager_code())


def _patch(record: list[tuple[Any, str, Any]], owner: Any, name: str, value: Any) -> None:
    record.append((owner, name, vars(owner).get(name, _MISSING)))
    setattr(owner, name, value)


def _restore(record: list[tuple[Any, str, Any]]) -> None:
    while record:
        owner, name, before = record.pop()
        if before is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def _undo_nest_asyncio() -> None:
    """Take back what nest_asyncio's own apply() did: it shadows our methods on the loop's class."""
    if not hasattr(asyncio, "_nest_patched"):
        return
    for cls in _subclasses(base_events.BaseEventLoop):
        for name, value in list(vars(cls).items()):
            if getattr(value, "__module__", "").startswith("nest_asyncio") and name != "__init__":
                delattr(cls, name)
        if "_nest_patched" in vars(cls):
            del cls._nest_patched
    try:
        from _asyncio import Future, Task
    except ImportError:
        return
    if getattr(asyncio.Task, "__module__", "") != "_asyncio":
        asyncio.Task = asyncio.tasks.Task = asyncio.tasks._CTask = Task  # type: ignore[misc,attr-defined]
        asyncio.Future = asyncio.futures.Future = asyncio.futures._CFuture = Future  # type: ignore[misc,attr-defined]


def _subclasses(cls: type[Any]) -> list[type[Any]]:
    found = [cls]
    for sub in cls.__subclasses__():
        found += _subclasses(sub)
    return found


# Tracers (ddtrace and New Relic, for two) wrap some of these to follow the program from task to task. They work above our
# queue as well as above asyncio's: what was wrapped before we came stays wrapped, and is as fast as before.
_WRAPPED_BY_OTHERS = {"create_task", "create_future", "call_soon", "call_soon_threadsafe", "call_at", "call_later"}


def _is_asyncios(base: Any, name: str) -> bool:
    """Is it the function that asyncio's source has under that name?"""
    function = vars(base).get(name)
    code = getattr(function, "__code__", None) if type(function) is types.FunctionType else None
    return code is not None and (code.co_name, code.co_filename) == (name, base.__init__.__code__.co_filename)


def engine() -> None:
    """Make every loop derived from BaseEventLoop one that can be suspended into. Idempotent."""
    global _engine_on
    with _lock:
        if _engine_on:
            return
        base: Any = base_events.BaseEventLoop
        for name, descriptor in _core.loop_descriptors().items():
            if name not in _WRAPPED_BY_OTHERS or _is_asyncios(base, name):
                _patch(_saved, base, name, descriptor)
        for cls, attributes in _core.other_descriptors():
            for name, descriptor in attributes.items():
                _patch(_saved, cls, name, descriptor)
        for name in ("_scheduled_tasks", "_all_tasks") if sys.version_info < (3, 14) else ():
            tasks: Any = vars(asyncio.tasks).get(name)
            add = _core.task_set_add(tasks) if tasks is not None else None
            if add is not None:
                _patch(_saved, tasks, "add", add)
        for name in ("run_forever", "run_until_complete", "close"):
            _patch(_saved, base, name, _run.loop_methods[name])
        _patch(_saved, selector_events.BaseSelectorEventLoop, "close", _run.selector_loop_close)
        for name, value in _signals.replacements().items():
            _patch(_saved, _signals.loop_class(), name, value)
        _foreign.patch()
        _engine_on = _run.engine.on = True
        # A loop that runs already gets its record now, while its frames can be told apart from ours.
        running = events._get_running_loop()
        if isinstance(running, base):
            _core.refresh(running)


def refuse_loop(loop: Any, why: str) -> None:
    """Raise ForeignLoopError, as the engine does, and say what to do."""
    raise _errors.ForeignLoopError(
        f"aionest cannot suspend code on {type(loop).__module__}.{type(loop).__qualname__}: {why}. Await there instead of nesting, "
        "or run this part on another thread (aionest.portal().call) or on a loop of asyncio's own, such as "
        "asyncio.SelectorEventLoop"
    )


def check_loop(loop: Any) -> None:
    """Raise for anything that is no loop that aionest can run."""
    if _foreign.supported(loop):
        return
    if isinstance(loop, asyncio.AbstractEventLoop):
        if not _engine_on:
            return  # whether its class can be patched is known afterwards
        refuse_loop(loop, "the methods of its class cannot be replaced. The loop itself works as before")
    raise TypeError(f"apply() takes an asyncio event loop or None, not {type(loop).__name__}")


def apply(
    loop: asyncio.AbstractEventLoop | None = None, *, shared: bool | None = None, close_loop: bool | None = None
) -> None:
    """Make nested asyncio work in this process.

    Afterwards ``asyncio.run``, ``loop.run_until_complete``, ``loop.run_forever``, ``asyncio.Runner.run`` and ``anyio.run`` may
    be called while a loop runs in the same thread. A top-level ``asyncio.run`` ends as without aionest, but for one thing:
    where something that was opened in it is meant to be used by later runs, its loop stays open for them.

    :param loop: checked to be a loop that aionest can run, for callers written for nest_asyncio; all loops of the process
        are meant in any case.
    :param shared: carry out top-level runs of all threads on one background loop, the process's default portal, in a copy
        of the caller's context. ``None``: only where Streamlit's runtime runs in this process.
    :param close_loop: what a top-level ``asyncio.run`` does with its loop. ``None``: it closes it, unless the loop holds an open
        scope, task group or hosted resource, or a connection, child process or watched descriptor that somebody has a
        reference to; then the loop stays open for the thread's next runs, with the tasks and asynchronous generators that
        belong to these, and the others end. ``True``: it always closes it. ``False``: it never does, and ends nothing, as
        nest_asyncio; all top-level runs of a thread share one loop.
    :raises TypeError: ``loop`` is no event loop, or one of a class whose methods cannot be replaced (a C type without a
        subclass written in Python).

    Thread-safety: any thread, any time; calling it again only updates the options.
    """
    if loop is not None:
        check_loop(loop)
    with _lock:
        _undo_nest_asyncio()
        engine()
        if loop is not None:
            check_loop(loop)
        _run.options.close_loop = None if close_loop is None else bool(close_loop)
        _run.options.shared = shared
        if _entry_points:
            return
        _patch(_entry_points, runners, "run", _run.asyncio_run)
        _patch(_entry_points, asyncio, "run", _run.asyncio_run)
        runner = getattr(runners, "Runner", None)
        if runner is not None:
            _patch(_entry_points, runner, "run", _run.runner_run)
            _patch(_entry_points, runner, "close", _run.runner_close)
            _patch(_entry_points, runner, "_on_sigint", _run.runner_on_sigint)
        from . import _subprocess

        for (owner, name), value in {**_groups.replacements(), **_subprocess.replacements()}.items():
            _patch(_entry_points, owner, name, value)
        for name, value in _asyncgens.methods.items():
            _patch(_entry_points, base_events.BaseEventLoop, name, value)
        for name, value in (("adopt_hooks", _asyncgens.adopt_hooks), ("close_kept", _asyncgens.close_kept)):
            _patch(_entry_points, _foreign, name, value)
        _asyncgens.rehook()
        _anyio.watch()


def unapply() -> None:
    """Give asyncio its own functions back.

    :raises RuntimeError: a loop is being run by aionest, or a nested run is suspended: let them end first.

    Thread-safety: any thread, while no other thread runs a loop.
    """
    global _engine_on
    with _lock:
        if not _engine_on:
            _restore(_entry_points)
            _anyio.unwatch()
            return
        loops = _core._records()
        for loop in loops:
            info = _core.loop_info(loop)
            if info is not None and (info["carried"] or info["suspended"]):
                raise _errors.NestedRunError(
                    f"unapply() is not possible while {loop!r} is run by aionest or nested runs are suspended on it"
                )
        _restore(_entry_points)
        _anyio.unwatch()
        _foreign.unpatch()
        _restore(_saved)
        _engine_on = _run.engine.on = False
        for loop in loops:
            _core._put_back(loop)


def is_applied() -> bool:
    """True between apply() and unapply()."""
    return bool(_entry_points)


if hasattr(sys, "_is_gil_enabled") and not sys._is_gil_enabled():
    raise ImportError(
        "aionest needs the GIL: this free-threaded Python was told to keep it off (PYTHON_GIL=0 or -X gil=0). "
        "Without that setting Python turns it on by itself when aionest is imported."
    )

assert _probe.LAYOUT is None or _probe.LAYOUT[0] > 0
