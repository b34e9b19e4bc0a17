"""What a loop holds at the end of a run that is meant to outlive it, and what goes with it.

Something is meant to outlive its run if it was opened in it, is not closed, and can be used later: a scope or task group whose task
is done, a hosted resource, and what is registered with the selector or proactor (a connection, a server, a child process, a
descriptor of the caller's) and held by somebody else than the loop. A task or asynchronous generator *stays* if it runs inside one
of these, holds it, or is held or woken by it. Everything else ends with the run.

Contract
  * Looks, and changes nothing: what ends and how is up to ``top``. No reference is kept but weak ones, to what was found to stay.
  * Where it cannot be told whether somebody holds a thing, somebody does; and what belongs to what stays.
  * A loop of a kind that is not known holds nothing.
Thread: the loop's own, while it does not run.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import threading
import types
import weakref
from asyncio import base_events, selector_events, transports
from contextvars import Context
from typing import TYPE_CHECKING, Any

from .._engine import closing
from .._scopes import asyncgens, asyncios
from . import uvloops

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 20_000  # objects looked at; more cannot be told apart, and what holds a connection is near it

_Server: Any = base_events.Server


class Remains:
    """What a run has left on its loop: what has to end though the loop stays open."""

    __slots__ = ("generators", "tasks")

    def __init__(self, tasks: list[Any], generators: list[Any]) -> None:
        self.tasks = tasks
        self.generators = generators


def look(loop: Any, main: Any, fresh: bool) -> Remains | None:
    """What has to end with this run if the loop stays open; None if nothing is there that it should stay open for.

    ``main`` is the run's own task, done or not. ``fresh``: the loop was made for this run.
    """
    open_ones = opened(loop)
    registered = _registered(loop)
    if not (open_ones or registered):
        return None
    known = _known(loop)
    if open_ones and not fresh and main.done() and all(one in known for one in _left(loop, main)):
        return Remains([], [])  # as after the run before
    graph = _graph(loop, registered, open_ones, fresh)
    if graph is None:
        return None
    _note_staying(loop, main, graph, open_ones)
    rest = [one for one in _left(loop, main) if one not in known]
    tasks = [one for one in rest if asyncio.isfuture(one)]
    return Remains(tasks if main.done() else [*tasks, main], [one for one in rest if not asyncio.isfuture(one)])


def _graph(loop: Any, registered: list[tuple[Any, ...]], open_ones: list[Any], fresh: bool) -> Graph | None:
    """Who holds what around this loop; None if nothing is open, and nobody holds what is registered, which is emptied."""
    if not open_ones and fresh:
        if not Graph(loop, registered).held:
            return None
        gc.collect()  # what is garbage holds nothing, but is not known to be garbage before
        registered = _registered(loop)
    graph = Graph(loop, registered, open_ones)
    return graph if open_ones or graph.held else None


def _note_staying(loop: Any, main: Any, graph: Graph, open_ones: list[Any]) -> None:
    """Add to what is known to stay: what runs inside of what is open, holds it, or is held by it."""
    known = _known(loop)
    staying = _inside([task for task in asyncio.all_tasks(loop) if task is not main], open_ones)
    ids = graph.related([*open_ones, *staying])
    known.update(staying)
    known.update(one for one in _left(loop, main) if graph.cut_short or id(one) in ids)


def _left(loop: Any, main: Any) -> list[Any]:
    """The tasks and generators that could go on."""
    return [
        *(task for task in asyncio.all_tasks(loop) if task is not main),
        # one that is in the middle of a step ends with the task that waits for it
        *(agen for agen in list(_generators(loop)) if agen.ag_frame is not None and not agen.ag_running),
    ]


def can_look(loop: asyncio.AbstractEventLoop) -> bool:
    """Can be seen what this loop holds?"""
    return isinstance(loop, base_events.BaseEventLoop) or uvloops.seen(loop) is not None


def _generators(loop: asyncio.AbstractEventLoop) -> Iterable[types.AsyncGeneratorType[object, object]]:
    """The asynchronous generators that the loop would shut down."""
    if isinstance(loop, base_events.BaseEventLoop):
        return loop._asyncgens  # type: ignore[attr-defined, no-any-return]
    seen = uvloops.seen(loop)
    return () if seen is None else seen.generators


def _known(loop: Any) -> Any:
    """Tasks and generators that were found to stay before."""
    known = loop.__dict__.get("_aionest_staying")
    if known is None:
        known = loop._aionest_staying = weakref.WeakSet()
    return known


def opened(loop: Any) -> list[Any]:
    """Scopes, groups, owner tasks and generators that nobody has left."""
    return [
        *asyncgens.open_scopes(loop),
        *asyncgens.open_generators(loop),
        *asyncios.open_groups(loop),
        *(one for look_for in closing.opened for one in look_for(loop)),
    ]


def _inside(tasks: list[Any], opened: list[Any]) -> set[Any]:
    """Which of these tasks run inside what is open, or inside a scope of such a task."""
    staying = {one for one in opened if asyncio.isfuture(one)}
    open_ones = {id(one) for one in opened}
    for one in opened:
        if asyncios.is_group(one):
            staying.update(task for task in one._tasks if not task.done())
    rest, before = [task for task in tasks if task not in staying], -1
    while len(rest) != before:
        before = len(rest)
        for task in rest:
            if any(id(s) in open_ones or s._host_task in staying for s in asyncgens.scopes_around(task)):
                staying.add(task)
        rest = [task for task in rest if task not in staying]
    return staying


# ---- what is registered -------------------------------------------------------------------------------------------------


def _registered(loop: Any) -> list[tuple[Any, ...]]:
    """What the loop watches, but for its own self-pipe and for sockets on which a task waits in a call of the loop's.

    Each entry begins with what decides whether it is kept: a transport or a server, or None for a descriptor of the caller's.
    """
    if not isinstance(loop, base_events.BaseEventLoop):
        return _of_uvloop(loop)
    table = getattr(getattr(loop, "_selector", None), "_fd_to_key", None)
    if not isinstance(loop, selector_events.BaseSelectorEventLoop) or not isinstance(table, dict):
        return _pending(loop)
    found: list[tuple[Any, ...]] = []
    if len(table) > 1:
        own = getattr(getattr(loop, "_ssock", None), "fileno", int)()
        for fd, key in list(table.items()):
            if fd != own and isinstance(key.data, tuple):
                found += (
                    (thing, handle) for handle in key.data if handle is not None for thing in _things(loop, handle, key)
                )
    # those that do not read at present
    if loop._transports:  # type: ignore[attr-defined]
        found += ((one,) for one in list(loop._transports.values()) if not one.is_closing())  # type: ignore[attr-defined]
    if threading.active_count() > 1:
        found += _watched_by_threads(loop)
    return found


def _of_uvloop(loop: asyncio.AbstractEventLoop) -> list[tuple[object, ...]]:
    seen = uvloops.seen(loop)
    if seen is None:
        return []
    watched = ((handle, fd) for fd, handles in seen.polls for handle in handles)
    return [
        *((thing,) for thing in seen.things),
        *((None, handle) for handle, fd in watched if not (_is_stale(fd) or _wakes_a_task(handle))),
    ]


def _pending(loop: Any) -> list[tuple[Any, ...]]:
    """The same of a proactor: whose operations are under way. It does not know of a connection that neither reads nor writes."""
    cache = getattr(getattr(loop, "_proactor", None), "_cache", None)
    found: list[tuple[Any, ...]] = []
    for operation in list(cache.values()) if isinstance(cache, dict) else ():
        future = operation[0]
        for callback, _ in (not future.done() and future._callbacks) or ():
            near = _near(callback)
            found += ((one, operation, future) for one in near if _is_a(one, (transports.BaseTransport, _Server)))
    return found


def _near(callback: Any) -> list[Any]:
    """Whose method it is, or what it encloses: that which accepts connections is a function inside a method of the loop."""
    if type(callback) in _METHODS:
        return [callback.__self__]
    cells = (type(callback) is types.FunctionType and callback.__closure__) or ()
    return [one for cell in cells for one in gc.get_referents(cell)]


def _things(loop: Any, handle: Any, key: Any) -> list[Any]:
    callback, args = handle._callback, handle._args or ()
    owner = callback.__self__ if type(callback) in _METHODS else None
    if _is_a(owner, transports.BaseTransport):
        return [owner]
    for one in _flat(args):
        if _is_a(one, (transports.BaseTransport, _Server)):
            return [one]
    if owner is loop or _is_stale(key.fileobj) or _wakes_a_task(handle):
        return []
    return [None]


def _flat(args: tuple[Any, ...]) -> Iterable[Any]:
    for one in args:
        yield one
        if type(one) is tuple:
            yield from _flat(one)


def _is_stale(fileobj: Any) -> bool:
    """Was the descriptor closed while it was watched?"""
    try:
        os.fstat(fileobj if isinstance(fileobj, int) else fileobj.fileno())
    except Exception:
        return True
    return False


def _wakes_a_task(handle: Any) -> bool:
    """Does a task wait for this descriptor? Then it is the task's, and that is judged by itself."""
    seen, todo = {id(handle)}, [handle]
    while todo and len(seen) < 200:
        for one in _referents(todo.pop()):
            if id(one) not in seen:
                if _is_a(one, asyncio.Task):
                    return True
                seen.add(id(one))
                todo.append(one)
    return False


def _watched_by_threads(loop: Any) -> list[tuple[Any, ...]]:
    """Child processes that a thread waits for (``ThreadedChildWatcher``)."""
    found = []
    for thread in threading.enumerate():
        if thread.name.startswith(("asyncio-waitpid-", "waitpid-")):
            args = getattr(thread, "_args", ())
            if args and args[0] is loop:
                found += [
                    (one, args)
                    for one in _flat(args)
                    # the thread may go on for a moment when the process has ended
                    if _is_a(one, transports.SubprocessTransport) and one.get_returncode() is None
                ]
    return found


# ---- who holds what -----------------------------------------------------------------------------------------------------

_LEAVES = (
    type,
    types.ModuleType,
    types.CodeType,
    types.TracebackType,
    str,
    bytes,
    int,
    float,
    type(None),
    asyncio.AbstractEventLoop,
    threading.Thread,
    Context,
    logging.Logger,
)
_METHODS = (types.MethodType, types.BuiltinMethodType)
_SUSPENDABLE = (types.AsyncGeneratorType, types.CoroutineType, types.GeneratorType)


def _is_a(one: Any, kinds: Any) -> bool:
    """isinstance() for any object: a proxy is not asked what it stands for, which would run its code."""
    return issubclass(type(one), kinds)


def _referents(one: Any) -> list[Any]:
    """What an object holds, without what everybody holds: types, modules, the loop, the names of a module."""
    kind = type(one)
    found = gc.get_referents(one)
    if kind is types.FunctionType:
        shared = {id(one.__globals__), id(one.__builtins__)}
        return [each for each in found if id(each) not in shared and not _is_a(each, _LEAVES)]
    if kind is types.FrameType:
        shared = {id(one.f_globals), id(one.f_builtins), id(one.f_back)}
        return [each for each in found if id(each) not in shared and not _is_a(each, _LEAVES)]
    suspendable = kind in _SUSPENDABLE
    return [each for each in found if not _is_a(each, _LEAVES) and (suspendable or type(each) is not types.FrameType)]


class Graph:
    """The objects around what a loop holds, and which hold which.

    A registered thing is *held* if a way leads to it from an object that has more references than those found here. What
    the loop holds itself (its handles, its tasks) does not count, and holding a task, or its coroutine, is not holding what the
    task holds.
    """

    def __init__(self, loop: Any, registered: list[tuple[Any, ...]], opened: Iterable[Any] = ()) -> None:
        self.nodes: dict[int, Any] = {}
        self.edges: dict[int, list[int]] = {}
        self.own: set[int] = set()  # ids of what the loop holds
        self.cut_short = False  # there are more objects than were looked at
        tasks = asyncio.all_tasks(loop)
        things = []
        for entry in registered:
            self.own.update(id(one) for one in entry[1:])
            things.append((None if entry[0] is None else id(entry[0]), id(entry[-1])))
        hidden: dict[int, int] = {}
        generators, seen = _generators(loop), uvloops.seen(loop)
        if seen is None:
            handles = [one for one in (*loop._scheduled, *loop._ready) if not one._cancelled]
        else:
            hidden.update((id(one), uvloops.hidden(one)) for one in seen.things)
            handles = [*seen.handles, *seen.containers]
        seen = None
        self.own.update(map(id, (*handles, *tasks)))
        roots = [*(one for entry in registered for one in entry if one is not None), *opened, *generators]
        self.fill([*roots, *tasks, *handles])
        # from here on nothing of them is held by this frame
        del roots, tasks, handles, generators
        entry = one = None  # type: ignore[assignment]  # noqa: F841
        registered.clear()
        reached = self.reached_from_outside(hidden) if things else set()
        self.held = {key if key is not None else raw for key, raw in things if key is None or key in reached}

    def fill(self, todo: list[Any]) -> None:
        nodes, edges = self.nodes, self.edges
        skipped = {id(vars(module)) for module in list(sys.modules.values()) if _is_a(module, types.ModuleType)}
        skipped.update((id(nodes), id(edges), id(todo), id(self.__dict__)))
        for one in todo:
            nodes.setdefault(id(one), one)
        todo[:] = nodes.values()
        position = 0
        while position < len(todo) and len(nodes) < LIMIT:
            one = todo[position]
            position += 1
            found = edges[id(one)] = []
            for each in _referents(one):
                key = id(each)
                if key in skipped or not gc.is_tracked(each):
                    continue
                found.append(key)
                if key not in nodes:
                    nodes[key] = each
                    todo.append(each)
        self.cut_short = position < len(todo)
        todo.clear()

    def reached_from_outside(self, hidden: dict[int, int]) -> set[int]:
        """The objects to which a way leads from one that somebody else holds. ``hidden``: references that are nobody's."""
        nodes, edges = self.nodes, self.edges
        inside = dict.fromkeys(nodes, 0)
        for targets in edges.values():
            for key in targets:
                inside[key] += 1
        probe: list[Any] = []
        nodes[id(probe)] = probe
        key = id(probe)
        del probe
        counts = {key: sys.getrefcount(one) for key, one in nodes.items()}
        base = counts.pop(key)
        del nodes[key]
        passed = set(self.own)
        for key, one in nodes.items():
            if _is_a(one, asyncio.Task):
                passed.update(
                    (key, id(asyncio.Task.get_coro(one)))
                )  # who holds a task's coroutine (anyio's TaskInfo) holds the task
        todo = [
            key
            for key, count in counts.items()
            if count - base > inside[key] + hidden.get(key, 0) and key not in passed
        ]
        return _closure(todo, edges, passed)

    def related(self, opened: list[Any]) -> set[int]:
        """The objects that hold what is open or held, and those that are held by it."""
        begin = [key for key in (*map(id, opened), *self.held) if key in self.nodes]
        backwards: dict[int, list[int]] = {}
        for key, targets in self.edges.items():
            for target in targets:
                backwards.setdefault(target, []).append(key)
        return _closure(begin, self.edges, ()) | _closure(begin, backwards, ())


def _closure(begin: list[int], edges: dict[int, list[int]], passed: Any) -> set[int]:
    """What can be reached from there, the way not leading through ``passed``."""
    found, todo = set(begin), list(begin)
    while todo:
        for key in edges.get(todo.pop(), ()):
            if key not in found and key not in passed:
                found.add(key)
                todo.append(key)
    return found
