"""Is this anyio's asyncio backend one whose internals we know?

Contract: reads, never writes. An unknown version is left alone: then scopes follow anyio's own rules.
"""

from __future__ import annotations

import weakref
from typing import Any

SCOPE_FIELDS = (
    "_active",
    "_cancel_called",
    "_cancel_handle",
    "_child_scopes",
    "_host_task",
    "_parent_scope",
    "_shield",
    "_tasks",
)
SCOPE_METHODS = ("__enter__", "__exit__", "_deliver_cancellation", "_restart_cancellation_in_parent", "cancel")


def unexpected(backend: Any) -> list[str]:
    """The names that are missing or of another kind than expected; empty when all is well."""
    wrong: list[str] = []
    for name in ("CancelScope", "TaskGroup", "TaskState", "_task_states"):
        if not hasattr(backend, name):
            wrong.append(name)
    if wrong:
        return wrong
    wrong += [f"CancelScope.{name}" for name in SCOPE_METHODS if not callable(getattr(backend.CancelScope, name, None))]
    if not callable(getattr(backend.TaskGroup, "__aexit__", None)):
        wrong.append("TaskGroup.__aexit__")
    try:
        scope = backend.CancelScope()
        wrong += [f"CancelScope.{name}" for name in SCOPE_FIELDS if not hasattr(scope, name)]
        for name in ("_tasks", "_child_scopes"):
            if not isinstance(getattr(scope, name, None), set):
                wrong.append(f"CancelScope.{name}")
        weakref.ref(scope)
        state = backend.TaskState(None, None)
        if not hasattr(state, "cancel_scope"):
            wrong.append("TaskState.cancel_scope")
        if not isinstance(getattr(backend.TaskGroup(), "cancel_scope", None), backend.CancelScope):
            wrong.append("TaskGroup.cancel_scope")
    except Exception as exc:
        wrong.append(repr(exc))
    return wrong
