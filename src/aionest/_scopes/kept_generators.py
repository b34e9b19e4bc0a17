"""Asynchronous generators that hold scopes: kept when they are dropped, closed in order.

``session = await client.session().__aenter__()`` drops the generator behind the context manager while the scopes opened
inside it are open. Closing it from the finalizer's task would tear the session down: it is kept instead, until one of
its scopes is left from outside (then it is of no more use and is closed there) or the loop is closed.

Contract: imported when anyio's backend is there, and used after ``bind``, through ``asyncgens``, which knows when each generator was born, and
holds those that are kept.
Thread: the loop's; ``keep`` any (the garbage collector's).
"""

from __future__ import annotations

import asyncio
import collections
import gc
import threading
import types
import weakref
from typing import TYPE_CHECKING, Any

from . import asyncgens
from .asyncgens import Abandoned, abandoned, births_of, generators_of, kept_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .asyncgens import Birth

_backend: Any = None
SEARCH_LIMIT = 20000  # objects looked at for a scope that a generator holds

# host task that is done -> weak references to its scopes, innermost first, once they were taken out of each other's chain
settled: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()


def bind(backend: Any) -> None:
    """Use this backend's task states."""
    global _backend
    _backend = backend
    # not this module: at interpreter exit its names are gone before the last generators are
    asyncgens.keeper = types.SimpleNamespace(
        **{
            each.__name__: each
            for each in (scope_of, keep, open_scopes, scopes_around, close_kept, close_all, has_kept)
        }
    )


def scope_of(task: object) -> Any:
    """The scope that a task is in, or None."""
    state = None if _backend is None else _backend._task_states.get(task)
    return None if state is None else state.cancel_scope


def keep(self: Any, agen: Any) -> bool:
    """A generator of this loop was dropped: keep it, if it holds open scopes."""
    if _backend is None or self.is_closed():
        return False
    birth = births_of(self).get(agen)
    scopes = None if birth is None else _held_scopes(agen, birth)
    if birth is None or not scopes:
        return False
    getattr(self, "_asyncgens", births_of(self).alive).discard(agen)
    abandoned[id(agen)] = Abandoned(agen, self, birth[0], scopes)
    return True


def _held_scopes(agen: Any, birth: Birth) -> set[Any]:
    """The scopes that its task opened since its birth, are open, and are reachable from the generator."""
    _, get_task, get_scope = birth
    task = get_task()
    if task is None:
        return set()
    before = None if get_scope is None else get_scope()
    candidates = set()
    for scope in chain_of(task):
        if scope is before:
            break
        if scope._active and scope._host_task is task:
            candidates.add(scope)
    return _reachable(agen, candidates) if candidates else candidates


def chain_of(task: Any) -> list[Any]:
    """The scopes that a task has entered and not left, innermost first."""
    if task in settled:
        return [scope for scope in (ref() for ref in settled[task]) if scope is not None]
    found = []
    scope = scope_of(task)
    while scope is not None and scope._host_task is task:
        found.append(scope)
        scope = scope._parent_scope
    return found


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
_CONTAINERS = (dict, list, tuple, collections.deque)


def _is_link(one: Any, of_link: bool) -> bool:
    """May it be part of the way from a generator to a scope that it is in? What is needed to leave a scope."""
    if issubclass(type(one), (*_SUSPENDABLE, types.FrameType, types.MethodType)):
        return True
    if issubclass(type(one), _CONTAINERS):
        return of_link
    return hasattr(type(one), "__aexit__") or hasattr(type(one), "__exit__")


def _reachable(agen: Any, wanted: set[Any] | None = None) -> set[Any]:
    """Which of the wanted scopes, or which open ones, the generator holds, directly or through what it waits in.

    It is in a scope through what will leave it, so links of that kind are followed first: other things that it holds may be
    many.
    """
    found: set[Any] = set()
    seen: set[int] = {id(agen)}
    # before 3.11 a generator refers to a frame object, since then to what its frame holds
    links: collections.deque[Any] = collections.deque([agen])
    others: collections.deque[Any] = collections.deque()
    _skip_globals(agen, seen)
    while (links or others) and len(seen) < SEARCH_LIMIT and (wanted is None or len(found) < len(wanted)):
        is_link = bool(links)
        one = links.popleft() if is_link else others.popleft()
        is_part = is_link and not issubclass(type(one), (*_SUSPENDABLE, types.FrameType))  # whose locals are anything
        for each in gc.get_referents(one):
            if id(each) in seen or issubclass(type(each), _SKIPPED):  # a proxy is not asked what it stands for
                continue
            seen.add(id(each))
            if issubclass(type(each), _backend.CancelScope):
                if each._active if wanted is None else each in wanted:
                    found.add(each)
                continue
            _skip_globals(each, seen)
            (links if _is_link(each, is_part) else others).append(each)
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
    return [entry for entry in list(abandoned.values()) if scope in entry.scopes]


async def close_holders(scope: Any) -> None:
    """A scope was left from outside: the abandoned generators around it are of no more use."""
    for entry in sorted(holders(scope), key=lambda e: e.number):
        entry.scopes.discard(scope)
        current = asyncio.current_task()
        rest = [one for one in entry.scopes if one._active and not one._host_task.done()]
        if any(one._host_task is not current for one in rest):
            continue  # another task that still runs is inside: at the loop's close
        if rest and scope_of(current) not in rest:
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
                "message": f"an error occurred while closing {entry.agen!r}, which nothing referred to any more",
                "exception": exc,
                "asyncgen": entry.agen,
            }
        )


def _is_kept(agen: Any, birth: Birth) -> bool:
    """Has the task that took its first step ended, and not the generator, with a scope open inside it?"""
    task = birth[1]()
    if agen.ag_frame is None or agen.ag_running or not (task is None or task.done()):
        return False
    return bool(_reachable(agen))


def _kept_generators(loop: Any) -> Iterator[tuple[Any, Birth]]:
    births = births_of(loop)
    for agen in generators_of(loop):
        birth = births.get(agen)
        if birth is not None and _is_kept(agen, birth):
            yield agen, birth


async def close_kept(loop: Any) -> None:
    """Close the generators of tasks that are done, outermost first, one after the other."""
    entries = [entry for entry in list(abandoned.values()) if entry.loop is loop]
    entries += [Abandoned(agen, loop, birth[0], set()) for agen, birth in _kept_generators(loop)]
    for entry in sorted(entries, key=lambda entry: entry.number):
        abandoned[id(entry.agen)] = entry
        await _close(entry)
    if entries:
        del entry
        entries.clear()
        await _dropped_ones(loop)


def kept_tasks(loop: Any) -> list[Any]:
    """The tasks that live in scopes whose host task is done."""
    tasks = []
    for task in asyncio.all_tasks(loop):
        scope = scope_of(task)
        while scope is not None:
            host = scope._host_task
            if host is not None and host is not task and host.done():
                tasks.append(task)
                break
            scope = scope._parent_scope
    return tasks


def scopes_around(task: Any) -> Iterator[Any]:
    """The scopes that a task is in, innermost first, its own and those around it."""
    scope = scope_of(task)
    while scope is not None:
        yield scope
        scope = scope._parent_scope


def open_scopes(loop: Any) -> list[Any]:
    """The scopes that were entered by tasks of this loop that are done, and that nobody has left."""
    hosts = {ref() for ref in list(_backend._task_states.data)} | set(settled)
    return [
        scope
        for host in hosts
        if host is not None and host.done() and host.get_loop() is loop
        for scope in chain_of(host)
        if scope._active and scope._host_task is host
    ]


def has_kept(loop: Any) -> bool:
    """Is there anything left in this loop by tasks that are done?"""
    if kept_on(loop) or kept_tasks(loop):
        return True
    return next(_kept_generators(loop), None) is not None


async def close_all(loop: Any) -> None:
    """Close what tasks that are done have left behind: generators in order, then the tasks in their scopes."""
    await close_kept(loop)
    tasks = kept_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        exc = None if task.cancelled() else task.exception()
        if exc is not None:  # the group that would have raised it is gone
            message = f"an error occurred while ending {task!r}, whose scope was never left"
            loop.call_exception_handler({"message": message, "exception": exc, "task": task})
    if tasks:
        await _dropped_ones(loop)


_ACLOSE = "async_generator_athrow"  # type of what generator.aclose() gives


async def _dropped_ones(loop: Any) -> None:
    """Wait for the generators that were dropped meanwhile: asyncio closes each in a task of its own.

    What the closed ones held is often in cycles (of exceptions and their frames), and later it could not be closed any more.
    """
    quiet = 0
    gc.collect()
    while quiet < 2:
        await asyncio.sleep(0)  # such a task is made by a callback
        closing = [task for task in asyncio.all_tasks(loop) if type(task.get_coro()).__name__ == _ACLOSE]
        quiet += 1
        if closing:
            quiet = 0
            await asyncio.wait(closing)
