"""apply() and unapply(): which of asyncio's classes and functions are ours, and how they get back.

Contract
  * Classes and modules are patched, never loops or tasks; calling twice changes nothing; any thread, any time, with or without
    a loop, before or while loops run.
  * Two parts: the engine (methods of BaseEventLoop, ``_engine.install``) and the entry points (asyncio.run, asyncio.Runner, what
    leaves scopes), which are put here.
  * unapply() puts back exactly what it found.
"""

from __future__ import annotations

import asyncio
from asyncio import base_events, runners
from typing import Any

from .. import _core
from .._engine import closing, install
from .._engine.install import check_loop
from .._engine.patches import Patches
from .._errors import NestedRunError
from .._scopes import anyio_hook, asyncgens, asyncios
from . import run

_entry_points = Patches()


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
    with install.lock:
        _undo_nest_asyncio()
        install.install()
        if loop is not None:
            check_loop(loop)
        run.options.close_loop = None if close_loop is None else bool(close_loop)
        run.options.shared = shared
        if _entry_points:
            return
        _entry_points.put(runners, "run", run.asyncio_run)
        _entry_points.put(asyncio, "run", run.asyncio_run)
        runner = getattr(runners, "Runner", None)
        if runner is not None:
            _entry_points.put(runner, "run", run.runner_run)
            _entry_points.put(runner, "close", run.runner_close)
            _entry_points.put(runner, "_on_sigint", run.runner_on_sigint)
        for (owner, name), value in asyncios.replacements().items():
            _entry_points.put(owner, name, value)
        for name, value in asyncgens.methods.items():
            _entry_points.put(base_events.BaseEventLoop, name, value)
        for name, value in (("adopt_hooks", asyncgens.adopt_hooks), ("close_kept", asyncgens.close_kept)):
            _entry_points.put(closing, name, value)
        asyncgens.rehook()
        anyio_hook.watch({"anyio._core._eventloop": _anyio_run})


def _anyio_run(event_loop: Any) -> dict[tuple[Any, str], Any]:
    """What lets ``anyio.run()`` be called while a loop runs."""
    from . import anyio_run

    return anyio_run.replacements(event_loop)


def unapply() -> None:
    """Give asyncio its own functions back.

    :raises RuntimeError: a loop is being run by aionest, or a nested run is suspended: let them end first.

    Thread-safety: any thread, while no other thread runs a loop.
    """
    with install.lock:
        if not install.on:
            _entry_points.restore()
            anyio_hook.unwatch()
            return
        for loop in _core._records():
            info = _core.loop_info(loop)
            if info is not None and (info["carried"] or info["suspended"]):
                raise NestedRunError(
                    f"unapply() is not possible while {loop!r} is run by aionest or nested runs are suspended on it"
                )
        _entry_points.restore()
        anyio_hook.unwatch()
        install.uninstall()


def is_applied() -> bool:
    """True between apply() and unapply()."""
    return bool(_entry_points)
