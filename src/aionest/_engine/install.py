"""Make every loop derived from BaseEventLoop one that can be suspended into, and take that back.

Contract
  * Classes are patched, never loops or tasks. Idempotent; any thread, any time, before or while loops run.
  * Classes of foreign loops, too: those derived from ``AbstractEventLoop`` that exist, and those that are made later.
  * Enough for run() and await_(); the entry points of asyncio are ``_entry.apply``'s.
  * ``uninstall`` puts back exactly what was found.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import types
from asyncio import base_events, events, selector_events
from typing import Any

from .. import _core, _errors
from . import checks, for_core, imports, probe, signals
from .loop_methods import loop_methods, selector_loop_close
from .patches import Patches

assert probe.LAYOUT is None or probe.LAYOUT[0] > 0
_core._configure(
    for_core.callback_error,
    for_core.slow_callback,
    _errors,
    for_core.runs_in_asyncio,
    for_core.stop_owner,
    for_core._run_once,
    for_core.amid,
    for_core.cancelled,
)
_core._task_factories(probe.factory_style(), probe.eager_code())

lock = threading.RLock()  # held while patches are put or taken back, the entry points' too
on = False
_patches = Patches()

# Tracers (ddtrace and New Relic, for two) wrap some of these to follow the program from task to task. They work above our
# queue as well as above asyncio's: what was wrapped before we came stays wrapped, and is as fast as before.
_WRAPPED_BY_OTHERS = {"create_task", "create_future", "call_soon", "call_soon_threadsafe", "call_at", "call_later"}


def _is_asyncios(base: Any, name: str) -> bool:
    """Is it the function that asyncio's source has under that name?"""
    function = vars(base).get(name)
    code = getattr(function, "__code__", None) if type(function) is types.FunctionType else None
    return code is not None and (code.co_name, code.co_filename) == (name, base.__init__.__code__.co_filename)


def install() -> None:
    """Make every loop derived from BaseEventLoop one that can be suspended into. Idempotent."""
    global on
    with lock:
        if on:
            return
        base: Any = base_events.BaseEventLoop
        for name, descriptor in _core.loop_descriptors().items():
            if name not in _WRAPPED_BY_OTHERS or _is_asyncios(base, name):
                _patches.put(base, name, descriptor)
        for cls, attributes in _core.other_descriptors():
            for name, descriptor in attributes.items():
                _patches.put(cls, name, descriptor)
        for name in ("_scheduled_tasks", "_all_tasks") if sys.version_info < (3, 14) else ():
            tasks: Any = vars(asyncio.tasks).get(name)
            add = _core.task_set_add(tasks) if tasks is not None else None
            if add is not None:
                _patches.put(tasks, "add", add)
        for name in ("run_forever", "run_until_complete", "close"):
            _patches.put(base, name, loop_methods[name])
        _patches.put(selector_events.BaseSelectorEventLoop, "close", selector_loop_close)
        if sys.platform == "win32":
            from asyncio import proactor_events

            from .loop_methods import proactor_loop_close

            _patches.put(proactor_events.BaseProactorEventLoop, "close", proactor_loop_close)
        _patches.put(for_core.gathering_future, "__init__", for_core.gather)
        for name, value in signals.replacements().items():
            _patches.put(signals.loop_class(), name, value)
        _patches.put(events.AbstractEventLoop, "__init_subclass__", classmethod(_init_subclass))  # type: ignore[arg-type]
        for cls in _subclasses(events.AbstractEventLoop):
            _patch_foreign(cls)
        on = True
        # A loop that runs already gets its record now, while its frames can be told apart from ours.
        running = events._get_running_loop()
        if isinstance(running, base):
            _core.refresh(running)


_foreign_classes: types.ModuleType | None = None


def _patch_foreign(cls: type[object]) -> None:
    global _foreign_classes
    if not checks.is_foreign(cls):
        return
    if _foreign_classes is None:
        if sys.is_finalizing():
            return  # nothing can be imported any more, and no stack be switched
        with imports.uninterrupted():
            from . import foreign_classes
        _foreign_classes = foreign_classes
    _foreign_classes.patch(cls)


def _init_subclass(cls: type[Any], **kwargs: object) -> None:
    super(events.AbstractEventLoop, cls).__init_subclass__(**kwargs)
    _patch_foreign(cls)


def _subclasses(cls: type[object]) -> list[type[object]]:
    found: list[type[object]] = []
    for sub in cls.__subclasses__():
        found += [sub, *(c for c in _subclasses(sub) if c not in found)]
    return found


def check_loop(loop: Any) -> None:
    """Raise for anything that is no loop that aionest can run."""
    if checks.supported(loop):
        return
    if isinstance(loop, asyncio.AbstractEventLoop):
        if not on:
            return  # whether its class can be patched is known afterwards
        checks.refuse_loop(loop, "the methods of its class cannot be replaced. The loop itself works as before")
    raise TypeError(f"apply() takes an asyncio event loop or None, not {type(loop).__name__}")


def uninstall() -> None:
    """Give the loops their own methods back, those that exist included. While no other thread runs a loop."""
    global on
    loops = _core._records()
    if _foreign_classes is not None:
        _foreign_classes.unpatch()
    _patches.restore()
    on = False
    for loop in loops:
        _core._put_back(loop)
