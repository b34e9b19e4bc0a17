"""asyncio's own task groups and subprocesses where a run ends: a ``TaskGroup`` that is left by another task than the one that
entered it, a subprocess whose start is cancelled half-way, and one on asyncio's loop where the policy makes other loops.

Contract
  * Groups that were entered and not left are known, weakly. Only one whose parent task is done is touched; the leaving task becomes
    its parent, so that a child's error or a cancellation reaches the one who waits. A child that fails before anybody waits is
    reported as asyncio does, ends its siblings, and its error is raised to the one who leaves.
  * asyncio connects the pipes of a new process in a task of its own. When that task is cancelled (the loop is shut down while
    processes start), pipes that were not connected yet count as open for ever, and who waits for the process waits for ever. So
    when the connecting is over without success, pipes that are not connected are closed and forgotten, so that the end of the
    process is the end of the transport. asyncio's own functions run first.
  * Before Python 3.14 a policy has to provide a watcher of child processes, and uvloop's does not, whose loops need none. But a loop
    of asyncio's own may run under such a policy, the portal's for one: it gets a watcher here.
Thread: the loop's, where nothing else is said.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import warnings
import weakref
from asyncio import base_subprocess, events
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


# ---- subprocesses -----------------------------------------------------------------------------------------------------------

_transport: Any = base_subprocess.BaseSubprocessTransport
_close: Any = _transport.close
_connect_pipes: Any = _transport._connect_pipes


class _NotConnected:
    """Stands where calls to the protocol wait for its connection, which will not come: only the end goes through."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport

    def append(self, call: tuple[Any, Any]) -> None:
        callback, data = call
        if callback == self.transport._call_connection_lost:
            self.transport._loop.call_soon(callback, *data)

    def __iter__(self) -> Any:
        return iter(())


def connect_pipes(self: Any, waiter: Any) -> Any:
    """The coroutine that connects the pipes, kept to tell how far it came."""
    self._connecting = _connected(self, waiter)
    return self._connecting


async def _connected(transport: Any, waiter: Any) -> None:
    try:
        await _connect_pipes(transport, waiter)
    finally:
        if transport._closed:
            _forget(transport)


def close(self: Any) -> None:
    """Close the pipes and kill the process, as asyncio does."""
    _close(self)
    coro = getattr(self, "_connecting", None)
    # while the pipes are being connected they are not to be closed: the connecting sees to the rest when it ends
    if coro is not None and inspect.getcoroutinestate(coro) == inspect.CORO_CLOSED:
        _forget(self)


def _forget(transport: Any) -> None:
    if transport._pending_calls is None or isinstance(transport._pending_calls, _NotConnected):
        return  # connected, or seen to
    transport._pending_calls = _NotConnected(transport)
    missing = [fd for fd, pipe in transport._pipes.items() if pipe is None]
    process = transport._proc
    for fd in missing:
        del transport._pipes[fd]
        stream = None if process is None else (process.stdin, process.stdout, process.stderr)[fd]
        if stream is not None:
            stream.close()
    if missing and transport._returncode is not None and not transport._finished:
        transport._try_finish()


_get_child_watcher: Any = getattr(events, "get_child_watcher", None)
_watcher: Any = None


def get_child_watcher() -> Any:
    """The policy's watcher of child processes, or where it has none, one that needs no loop."""
    global _watcher
    try:
        return _get_child_watcher()
    except NotImplementedError:
        if _watcher is None:
            from asyncio import unix_events

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                _watcher = unix_events.ThreadedChildWatcher()  # type: ignore[attr-defined]
        return _watcher


def watch_children() -> None:
    """Loops of asyncio's own can start child processes under any policy from now on, whether or not ``apply()`` was called."""
    if _get_child_watcher is not None and sys.platform != "win32":
        events.get_child_watcher = get_child_watcher  # type: ignore[attr-defined]


def replacements() -> dict[tuple[Any, str], Any]:
    """What takes the place of asyncio's own functions (those of groups: nothing before 3.11)."""
    found = {(_transport, "close"): close, (_transport, "_connect_pipes"): connect_pipes}
    if _get_child_watcher is not None and sys.platform != "win32":
        found[events, "get_child_watcher"] = get_child_watcher
    if _aexit is not None and _on_task_done is not None:
        found |= {(_group, "__aenter__"): aenter, (_group, "__aexit__"): aexit, (_group, "_on_task_done"): on_task_done}
    return found
