"""Cancel scopes and task groups whose host task is done.

A task that ends inside a scope leaves it open: what lives in it (a session's reader, a server's pipes) goes on. Whoever
leaves it later *adopts* it: the scope is entered anew, as the innermost one of the leaving task, and then left by anyio's
own code. So a deadline or a cancellation around the leaving takes effect as around any other await.

Contract
  * Only scopes whose host task is done are touched. One of a task that still runs is left to anyio, and its errors.
  * Scopes of a host that is done stand on their own: ``settle`` takes them out of each other's chain, once for each host,
    so that leaving or cancelling one never reaches another. Outer scopes of tasks that still run stay parents.
  * The host that is done is taken out of the scope's tasks: anyio cancels again and again until all of them have left.
  * A kept scope is left and cancelled on its own loop, or once that is closed; elsewhere that is an error.
"""

from __future__ import annotations

import asyncio
import weakref
from asyncio import events
from typing import TYPE_CHECKING, Any

from . import asyncgens, kept_generators

if TYPE_CHECKING:
    from types import TracebackType

_backend: Any = None
_scope_exit: Any = None
_scope_cancel: Any = None
_group_aexit: Any = None


def bind(backend: Any) -> dict[tuple[Any, str], Any]:
    """Remember anyio's own functions and return what takes their place."""
    global _backend, _scope_exit, _scope_cancel, _group_aexit
    _backend = backend
    _scope_exit = backend.CancelScope.__exit__
    _scope_cancel = backend.CancelScope.cancel
    _group_aexit = backend.TaskGroup.__aexit__
    kept_generators.bind(backend)
    return {
        (backend.CancelScope, "__exit__"): scope_exit,
        (backend.CancelScope, "cancel"): scope_cancel,
        (backend.TaskGroup, "__aexit__"): group_aexit,
    }


def is_kept(scope: Any) -> bool:
    """Is it open, and is the task that entered it done?"""
    host = scope._host_task
    return host is not None and scope._active and host.done()


def check_loop(scope: Any) -> None:
    """Refuse a kept scope of another loop, which does not run while this one waits for it."""
    running, loop = events._get_running_loop(), scope._host_task.get_loop()
    if running is not None and running is not loop and not loop.is_closed():
        raise RuntimeError(
            f"this scope was entered on another event loop ({loop!r}), and its tasks run there: leave or cancel it there. "
            "With aionest.apply(shared=True), runs in different threads share one loop"
        )


def settle(scope: Any) -> None:
    """Take the scopes of a host that is done out of each other's chain."""
    host = scope._host_task
    if host in kept_generators.settled:
        return
    inner, todo, family = scope, [scope], {scope}
    while todo:
        for child in todo.pop()._child_scopes:
            if child._host_task is host and child not in family:
                inner = child
                family.add(child)
                todo.append(child)
    chain, outer = [], inner
    while outer is not None and outer._host_task is host:
        chain.append(outer)
        outer = outer._parent_scope  # in the end a task group's, whose child this host was
    for one in chain:
        one._child_scopes.difference_update(chain)
        one._tasks.discard(host)
        one._parent_scope = outer
        if outer is not None:
            outer._child_scopes.add(one)
    state = _backend._task_states.get(host)
    if state is not None:
        # if the host was a group's child, the group has not heard of its end yet and will look for it here
        state.cancel_scope = outer
        if outer is not None:
            outer._tasks.add(host)
    kept_generators.settled[host] = [weakref.ref(one) for one in chain]


def adopt(scope: Any) -> bool:
    """Make the current task the scope's host, and the scope its innermost one. False where that cannot be."""
    task = asyncio.current_task()
    if task is None:
        return False
    settle(scope)
    if scope._parent_scope is not None:
        scope._parent_scope._child_scopes.discard(scope)
    states = _backend._task_states
    state = states.get(task)
    if state is None:
        state = states[task] = _backend.TaskState(None, None)
    parent = state.cancel_scope
    scope._host_task = task
    scope._parent_scope = parent
    scope._tasks.add(task)
    if parent is not None:
        parent._child_scopes.add(scope)
        parent._tasks.discard(task)
    state.cancel_scope = scope
    _rebase(scope, task)
    if scope._cancel_called:
        if scope._cancel_handle is None:
            scope._deliver_cancellation(scope)
    elif parent is not None and not scope._shield:
        scope._restart_cancellation_in_parent()
    return True


def _rebase(scope: Any, task: Any) -> None:
    """The scope's account of the host's cancellation requests begins anew; its fields differ between versions."""
    cancelling = getattr(task, "cancelling", None)
    if cancelling is None:
        return
    if hasattr(scope, "_cancelling_at_enter"):
        scope._cancelling_at_enter = cancelling()
    if hasattr(scope, "_cancelling"):
        scope._cancelling = cancelling()
    if getattr(scope, "_pending_uncancellations", None) is not None:
        scope._pending_uncancellations = 0
    if hasattr(scope, "_cancel_calls"):
        scope._cancel_calls = 0


def scope_exit(
    self: Any, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
) -> Any:
    """Leave the scope; one whose host task is done is adopted by the task that leaves it."""
    if is_kept(self):
        check_loop(self)
        adopt(self)
    return _scope_exit(self, exc_type, exc_val, exc_tb)


def scope_cancel(self: Any, *args: Any, **kwargs: Any) -> None:
    """Cancel what runs in the scope; where the host task is done, that is its own tasks and no other scope's."""
    if is_kept(self):
        check_loop(self)
        settle(self)
    _scope_cancel(self, *args, **kwargs)


def group_aexit(
    self: Any, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
) -> Any:
    """Wait for the group's tasks and leave its scope; one whose host task is done is adopted first."""
    scope = self.cancel_scope
    if is_kept(scope):
        check_loop(scope)
        return _leave_kept(self, exc_type, exc_val, exc_tb)
    if asyncgens.abandoned or hasattr(self, "_aionest_left"):
        return _leave_held(self, exc_type, exc_val, exc_tb)
    return _group_aexit(self, exc_type, exc_val, exc_tb)


async def _leave_kept(self: Any, exc_type: Any, exc_val: Any, exc_tb: Any) -> Any:
    scope = self.cancel_scope
    if is_kept(scope) and adopt(scope):
        self._aionest_left = True
    try:
        return await _group_aexit(self, exc_type, exc_val, exc_tb)
    finally:
        await kept_generators.close_holders(scope)


async def _leave_held(self: Any, exc_type: Any, exc_val: Any, exc_tb: Any) -> Any:
    scope = self.cancel_scope
    if not scope._active and hasattr(self, "_aionest_left"):
        return False  # left from outside before; now the generator that holds it comes by
    holders = kept_generators.holders(scope)
    if holders:
        self._aionest_left = True
    try:
        return await _group_aexit(self, exc_type, exc_val, exc_tb)
    finally:
        if holders:
            await kept_generators.close_holders(scope)
