"""asyncio.TaskGroup left by another task than the one that entered it.

Contract: groups that were entered and not left are known, weakly. Only one whose parent task is done is touched; the leaving task becomes its parent, so that a child's error
or a cancellation reaches the one who waits. A child that fails before anybody waits is reported as asyncio does, ends its
siblings, and its error is raised to the one who leaves.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

_group: Any = getattr(asyncio, "TaskGroup", None)
_aenter: Any = getattr(_group, "__aenter__", None)
_aexit: Any = getattr(_group, "__aexit__", None)
_on_task_done: Any = getattr(_group, "_on_task_done", None)


_ref = weakref.ref
_entered: dict[int, Any] = {}  # id of a group -> weak reference; of one that was dropped it stays until somebody looks


def aenter(self: Any) -> Any:
    """Enter the group, and note it."""
    _entered[id(self)] = _ref(self)
    return _aenter(self)


def open_groups(loop: Any) -> list[Any]:
    """The groups of this loop that tasks which are done have entered, and that nobody has left. Any thread."""
    found = []
    for key, ref in list(_entered.items()):
        group = ref()
        if group is None:
            if _entered.get(key) is ref:
                _entered.pop(key, None)
        elif group._loop is loop and group._entered and not group._exiting and group._parent_task.done():
            found.append(group)
    return found


def is_group(one: Any) -> bool:
    """Is it one of asyncio's task groups?"""
    return _group is not None and isinstance(one, _group)


def aexit(self: Any, et: Any, exc: Any, tb: Any) -> Any:
    """Wait for the group's tasks, as asyncio does."""
    _entered.pop(id(self), None)
    parent = getattr(self, "_parent_task", None)
    if parent is not None and parent.done():
        return _leave(self, et, exc, tb)
    return _aexit(self, et, exc, tb)


async def _leave(self: Any, et: Any, exc: Any, tb: Any) -> Any:
    self._parent_task = asyncio.current_task()
    self._parent_cancel_requested = False
    return await _aexit(self, et, exc, tb)


def on_task_done(self: Any, task: Any) -> None:
    """A child is done; asyncio leaves the siblings of one that failed alone where the parent task is done."""
    _on_task_done(self, task)
    if self._errors and not self._aborting:
        self._abort()


def replacements() -> dict[tuple[Any, str], Any]:
    """What takes the place of asyncio's own functions (nothing before 3.11)."""
    if _aexit is None or _on_task_done is None:
        return {}
    return {(_group, "__aenter__"): aenter, (_group, "__aexit__"): aexit, (_group, "_on_task_done"): on_task_done}
