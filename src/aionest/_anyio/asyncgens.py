"""Asynchronous generators that hold scopes: kept when they are dropped, closed in order.

``session = await client.session().__aenter__()`` drops the generator behind the context manager while the scopes opened
inside it are open. Closing it from the finalizer's task would tear the session down: it is kept instead, until one of
its scopes is left from outside (then it is of no more use and is closed there) or the loop is closed.

Contract
  * ``born``: id of a generator -> its birth, from its first step until it is gone. Weak references to a generator are
    cleared before its finalizer hook runs, hence the ids; ``_dying`` carries the birth from the one to the other.
  * ``abandoned`` holds the kept generators strongly; each entry belongs to one loop.
  * Hooks run in the loop's thread, or, for the finalizer, in any thread (the garbage collector's).
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
import threading
import types
import weakref
from asyncio import base_events, events
from typing import Any

_backend: Any = None
_stock_firstiter: Any = base_events.BaseEventLoop._asyncgen_firstiter_hook  # type: ignore[attr-defined]
_stock_finalizer: Any = base_events.BaseEventLoop._asyncgen_finalizer_hook  # type: ignore[attr-defined]
_stock_shutdown: Any = base_events.BaseEventLoop.shutdown_asyncgens

SEARCH_LIMIT = 2000  # objects looked at for a scope that a generator holds


class Birth:
    """When a generator took its first step, in which task, and inside which scope."""

    __slots__ = ("number", "ref", "scope", "task")

    def __init__(self, number: int, ref: Any, task: Any, scope: Any) -> None:
        self.number = number
        self.ref = ref
        self.task = task
        self.scope = scope


class Abandoned:
    """A generator that nobody holds any more, and the scopes opened inside it."""

    __slots__ = ("agen", "loop", "number", "scopes")

    def __init__(self, agen: Any, loop: Any, number: int, scopes: set[Any]) -> None:
        self.agen = agen
        self.loop = loop
        self.number = number
        self.scopes = scopes


class _Dying(threading.local):
    id: int = 0
    birth: Birth | None = None


born: dict[int, Birth] = {}
abandoned: dict[int, Abandoned] = {}
_dying = _Dying()
_numbers = itertools.count()


def bind(backend: Any) -> None:
    """Use this backend's task states."""
    global _backend
    _backend = backend


def _scope_of(task: Any) -> Any:
    if _backend is None:
        return None
    state = _backend._task_states.get(task)
    return None if state is None else state.cancel_scope


def firstiter(self: Any, agen: Any) -> None:
    """The loop's hook for a generator's first step: note its birth."""
    _stock_firstiter(self, agen)
    try:
        task = asyncio.current_task(self)
    except RuntimeError:
        task = None
    if task is None:
        return
    key = id(agen)

    def gone(ref: Any) -> None:
        birth = born.get(key)
        if birth is not None and birth.ref is ref:
            _dying.id, _dying.birth = key, born.pop(key)

    scope = _scope_of(task)
    born[key] = Birth(
        next(_numbers), weakref.ref(agen, gone), weakref.ref(task), None if scope is None else weakref.ref(scope)
    )


def finalizer(self: Any, agen: Any, *, _dying: Any = _dying, _stock_finalizer: Any = _stock_finalizer) -> None:
    """The loop's hook for a generator that was dropped unfinished: keep it if it holds open scopes.

    At interpreter exit the module's names are gone before the last generators are: what it needs comes as defaults.
    """
    birth, dead = _dying.birth, _dying.id
    _dying.birth = None
    if _backend is not None and birth is not None and dead == id(agen) and not self.is_closed():
        scopes = _held_scopes(agen, birth)
        if scopes:
            self._asyncgens.discard(agen)
            abandoned[id(agen)] = Abandoned(agen, self, birth.number, scopes)
            return
    _stock_finalizer(self, agen)


def _held_scopes(agen: Any, birth: Birth) -> set[Any]:
    """The scopes that its task opened since its birth, are open, and are reachable from the generator."""
    task = birth.task()
    if task is None:
        return set()
    before = birth.scope() if birth.scope is not None else None
    candidates: set[Any] = set()
    scope = _scope_of(task)
    while scope is not None and scope is not before and scope._host_task is task:
        candidates.add(scope)
        scope = scope._parent_scope
    return _reachable(agen, candidates) if candidates else candidates


_SKIPPED = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.CodeType,
    str,
    bytes,
    int,
    float,
    asyncio.AbstractEventLoop,
    asyncio.Task,
    threading.Thread,
)


_SUSPENDABLE = (types.AsyncGeneratorType, types.CoroutineType, types.GeneratorType)


def _reachable(agen: Any, wanted: set[Any] | None = None) -> set[Any]:
    """Which of the wanted scopes, or which open ones, the generator holds, directly or through what it waits in."""
    found: set[Any] = set()
    seen: set[int] = {id(agen)}
    todo: list[Any] = [agen]  # before 3.11 a generator refers to a frame object, since then to what its frame holds
    _skip_globals(agen, seen)
    looked_at = 0
    position = 0
    while position < len(todo) and looked_at < SEARCH_LIMIT:
        for one in gc.get_referents(todo[position]):
            if id(one) in seen or isinstance(one, _SKIPPED):
                continue
            seen.add(id(one))
            looked_at += 1
            if isinstance(one, _backend.CancelScope):
                if one._active if wanted is None else one in wanted:
                    found.add(one)
                continue
            _skip_globals(one, seen)
            todo.append(one)
        position += 1
    return found


def _skip_globals(one: Any, seen: set[int]) -> None:
    for name in ("ag_frame", "cr_frame", "gi_frame"):
        frame = getattr(one, name, None) if isinstance(one, _SUSPENDABLE) else None
        if frame is not None:
            seen.update((id(frame.f_globals), id(frame.f_builtins)))
            if frame.f_back is not None:
                seen.add(id(frame.f_back))
    if isinstance(one, types.FrameType):
        seen.update((id(one.f_globals), id(one.f_builtins)))


def holders(scope: Any) -> list[Abandoned]:
    """The abandoned generators inside which the scope was opened."""
    return [entry for entry in abandoned.values() if scope in entry.scopes]


async def close_holders(scope: Any) -> None:
    """A scope was left from outside: the abandoned generators around it are of no more use."""
    for entry in sorted(holders(scope), key=lambda e: e.number):
        entry.scopes.discard(scope)
        current = asyncio.current_task()
        rest = [one for one in entry.scopes if one._active and not one._host_task.done()]
        if any(one._host_task is not current for one in rest):
            continue  # another task that still runs is inside: at the loop's close
        if rest and _scope_of(current) not in rest:
            continue  # not the innermost: anyio would refuse
        await _close(entry)


def _only_generator_exit(exc: BaseException) -> bool:
    parts = getattr(exc, "exceptions", None)
    if parts is None:
        return isinstance(exc, GeneratorExit)
    return all(_only_generator_exit(part) for part in parts)


async def _close(entry: Abandoned) -> None:
    if abandoned.pop(id(entry.agen), None) is None:
        return
    try:
        await entry.agen.aclose()
    except BaseException as exc:
        if isinstance(exc, (asyncio.CancelledError, KeyboardInterrupt, SystemExit)):
            raise
        if _only_generator_exit(exc):
            return  # what a task group makes of the end of the generator that it is in
        entry.loop.call_exception_handler(
            {
                "message": f"an error occurred while closing {entry.agen!r}, which nobody held any more",
                "exception": exc,
                "asyncgen": entry.agen,
            }
        )


def _is_kept(agen: Any, birth: Birth) -> bool:
    """Has the task that took its first step ended, and not the generator, with a scope open inside it?"""
    task = birth.task()
    if agen.ag_frame is None or agen.ag_running or not (task is None or task.done()):
        return False
    return bool(_reachable(agen))


async def close_kept(loop: Any) -> None:
    """Close the generators of tasks that are done, outermost first, one after the other."""
    if _backend is None:
        return
    entries: list[tuple[int, Any]] = [(e.number, e) for e in list(abandoned.values()) if e.loop is loop]
    for agen in list(loop._asyncgens):
        birth = born.get(id(agen))
        if birth is not None and birth.ref() is agen and _is_kept(agen, birth):
            entries.append((birth.number, Abandoned(agen, loop, birth.number, set())))
    entries.sort(key=lambda pair: pair[0])
    for _, entry in entries:
        abandoned[id(entry.agen)] = entry
        await _close(entry)


def kept_tasks(loop: Any) -> list[Any]:
    """The tasks that live in scopes whose host task is done."""
    tasks = []
    for task in asyncio.all_tasks(loop):
        scope = _scope_of(task)
        while scope is not None:
            host = scope._host_task
            if host is not None and host is not task and host.done():
                tasks.append(task)
                break
            scope = scope._parent_scope
    return tasks


def has_kept(loop: Any) -> bool:
    """Is there anything left in this loop by tasks that are done?"""
    if _backend is None:
        return False
    if any(entry.loop is loop for entry in list(abandoned.values())) or kept_tasks(loop):
        return True
    for agen in list(loop._asyncgens):
        birth = born.get(id(agen))
        if birth is not None and birth.ref() is agen and _is_kept(agen, birth):
            return True
    return False


async def close_all(loop: Any) -> None:
    """Close what tasks that are done have left behind: generators in order, then the tasks in their scopes."""
    await close_kept(loop)
    tasks = kept_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # the group that would have raised it is gone


async def shutdown(self: Any) -> None:
    """Close all asynchronous generators: those of tasks that are done first and in order, then asyncio's own way."""
    await close_kept(self)
    await _stock_shutdown(self)


methods: dict[str, Any] = {
    "_asyncgen_firstiter_hook": firstiter,
    "_asyncgen_finalizer_hook": finalizer,
    "shutdown_asyncgens": shutdown,
}


def rehook() -> None:
    """A loop that runs in this thread already has asyncio's own hooks set: give it ours."""
    running = events._get_running_loop()
    if running is None:
        return
    loop: Any = running
    hooks = sys.get_asyncgen_hooks()
    if getattr(hooks.firstiter, "__self__", None) is running and hasattr(loop, "_asyncgens"):
        sys.set_asyncgen_hooks(firstiter=loop._asyncgen_firstiter_hook, finalizer=loop._asyncgen_finalizer_hook)
