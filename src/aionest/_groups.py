"""asyncio.TaskGroup left by another task than the one that entered it.

Contract: only a group whose parent task is done is touched; the leaving task becomes its parent, so that a child's error
or a cancellation reaches the one who waits. A child that fails before anybody waits is reported as asyncio does, ends its
siblings, and its error is raised to the one who leaves.
"""

from __future__ import annotations

import asyncio
from typing import Any

_group: Any = getattr(asyncio, "TaskGroup", None)
_aexit: Any = getattr(_group, "__aexit__", None)
_on_task_done: Any = getattr(_group, "_on_task_done", None)


def aexit(self: Any, exc_type: Any, exc_val: Any, exc_tb: Any) -> Any:
    """Wait for the group's tasks, as asyncio does."""
    parent = getattr(self, "_parent_task", None)
    if parent is not None and parent.done():
        return _leave(self, exc_type, exc_val, exc_tb)
    return _aexit(self, exc_type, exc_val, exc_tb)


async def _leave(self: Any, exc_type: Any, exc_val: Any, exc_tb: Any) -> Any:
    self._parent_task = asyncio.current_task()
    self._parent_cancel_requested = False
    return await _aexit(self, exc_type, exc_val, exc_tb)


def on_task_done(self: Any, task: Any) -> None:
    """A child is done; asyncio leaves the siblings of one that failed alone where the parent task is done."""
    _on_task_done(self, task)
    if self._errors and not self._aborting:
        self._abort()


def replacements() -> dict[tuple[Any, str], Any]:
    """What takes the place of asyncio's own functions (nothing before 3.11)."""
    if _aexit is None or _on_task_done is None:
        return {}
    return {(_group, "__aexit__"): aexit, (_group, "_on_task_done"): on_task_done}
