"""The births of asynchronous generators, and the hooks that note them: for ``kept_generators``, which is there once anyio's backend is.

Contract
  * The births of a loop's generators: id of a generator -> when, where and by whom its first step was taken. By id, for weak
    references to a generator are cleared before its finalizer hook runs. Those of generators that have ended stay for a
    while; nobody asks for them, since a finalizer hook belongs to the generator whose first step was noted last under
    that id. Noted also before anyio's backend is there: its first use, often inside a generator, imports it.
  * ``abandoned`` holds the kept generators strongly; each entry belongs to one loop. Without anyio's backend none is kept.
  * Hooks run in the loop's thread, or, for the finalizer, in any thread (the garbage collector's).
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import weakref
from asyncio import base_events, events
from typing import TYPE_CHECKING, Any

from .._engine import closing, imports

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from types import SimpleNamespace
    from typing import TypeAlias

_ref = weakref.ref
_current_task = asyncio.current_task
# what kept_generators does, by name, once anyio's backend is there
keeper: SimpleNamespace | None = None
_stock_firstiter: Any = base_events.BaseEventLoop._asyncgen_firstiter_hook  # type: ignore[attr-defined]
_stock_finalizer: Any = base_events.BaseEventLoop._asyncgen_finalizer_hook  # type: ignore[attr-defined]
stock_shutdown: Any = base_events.BaseEventLoop.shutdown_asyncgens

# when a generator took its first step, in which task, and inside which scope
Birth: TypeAlias = "tuple[int, weakref.ref[Any], weakref.ref[Any] | None]"


class Births:
    """Those of one loop's generators."""

    __slots__ = ("alive", "limit", "new", "old")
    LIMIT = 1000

    def __init__(self) -> None:
        self.alive: weakref.WeakSet[Any] = weakref.WeakSet()  # of a loop that does not tell which it has
        self.new: dict[int, Birth] = {}
        self.old: dict[int, Birth] = {}
        self.limit = self.LIMIT

    def get(self, agen: Any) -> Birth | None:
        return self.new.get(id(agen)) or self.old.get(id(agen))

    def forget(self, agen: Any) -> None:
        self.new.pop(id(agen), None)
        self.old.pop(id(agen), None)

    def sweep(self, alive: set[int]) -> None:
        """Forget those of generators that have ended, one sweep later: some may be about to be finalized."""
        self.old = self.new
        self.new = {key: birth for key, birth in self.old.copy().items() if key in alive}
        self.limit = max(self.LIMIT, 2 * len(self.new))


class Abandoned:
    """A generator that nobody holds any more, and the scopes opened inside it."""

    __slots__ = ("agen", "loop", "number", "scopes")

    def __init__(self, agen: Any, loop: Any, number: int, scopes: set[Any]) -> None:
        self.agen = agen
        self.loop = loop
        self.number = number
        self.scopes = scopes


abandoned: dict[int, Abandoned] = {}
_numbers = itertools.count()


def births_of(loop: Any) -> Births:
    """The births of a loop's generators."""
    try:
        return loop._aionest_births  # type: ignore[no-any-return]
    except AttributeError:
        births = loop._aionest_births = Births()
        return births


def generators_of(loop: Any) -> list[Any]:
    """The loop's generators that have begun and not ended."""
    known = getattr(loop, "_asyncgens", None)  # uvloop shows its own to nobody
    return list(births_of(loop).alive if known is None else known)


def firstiter(self: Any, agen: Any) -> None:
    """The loop's hook for a generator's first step: note its birth."""
    _stock_firstiter(self, agen)
    _note_birth(self, agen, births_of(self))


def _note_birth(self: Any, agen: Any, births: Births) -> None:
    task = _current_task(self)
    if task is None:
        births.forget(agen)
        return
    scope = None if keeper is None else keeper.scope_of(task)
    births.new[id(agen)] = (next(_numbers), _ref(task), None if scope is None else _ref(scope))
    if len(births.new) > births.limit:
        births.sweep({id(one) for one in generators_of(self)})


def finalizer(self: Any, agen: Any, *, _stock_finalizer: Any = _stock_finalizer, _look: Any = imports.look) -> None:
    """The loop's hook for a generator that was dropped unfinished: keep it if it holds open scopes.

    At interpreter exit the module's names are gone before the last generators are: what it needs then comes as default.
    """
    if keeper is None:
        _look()  # it may have been imported since the last turn of the loop
    if keeper is None or not keeper.keep(self, agen):
        _stock_finalizer(self, agen)


class _Hooks:
    """Those of a foreign loop's run, with ours before them."""

    def __init__(self, loop: Any, stock: tuple[Any, Any]) -> None:
        self.loop = loop
        self.stock_firstiter, self.stock_finalizer = stock
        self.births = births_of(loop)
        self.listed = hasattr(loop, "_asyncgens")

    def firstiter(self, agen: Any) -> None:
        if self.stock_firstiter is not None:
            self.stock_firstiter(agen)
        if not self.listed:
            self.births.alive.add(agen)
        _note_birth(self.loop, agen, self.births)

    def finalizer(self, agen: Any, *, _look: Any = imports.look) -> None:
        if keeper is None:
            _look()
        if keeper is None or not keeper.keep(self.loop, agen):
            self.stock_finalizer(agen)


def adopt_hooks(loop: Any, before: Any) -> None:
    """A foreign loop has begun to run in this thread: put our hooks before those that it has set, if it has."""
    hooks = closing.agen_hooks()
    if hooks != before and hooks[1] is not None:
        ours = _Hooks(loop, hooks)
        sys.set_asyncgen_hooks(firstiter=ours.firstiter, finalizer=ours.finalizer)


def open_generators(loop: object) -> list[Any]:
    """The dropped generators that are kept for scopes which are open still."""
    kept = [entry for entry in list(abandoned.values()) if entry.loop is loop]
    return [entry.agen for entry in kept if any(scope._active for scope in entry.scopes)]


def kept_on(loop: object) -> int:
    """How many dropped generators are kept for this loop. Any thread."""
    return sum(entry.loop is loop for entry in list(abandoned.values()))


def open_scopes(loop: object) -> list[Any]:
    """The scopes that were entered by tasks of this loop that are done, and that nobody has left."""
    return [] if keeper is None else keeper.open_scopes(loop)  # type: ignore[no-any-return]


def scopes_around(task: object) -> Iterator[Any]:
    """The scopes that a task is in, innermost first, its own and those around it."""
    return iter(()) if keeper is None else keeper.scopes_around(task)  # type: ignore[no-any-return]


async def close_kept(loop: object) -> None:
    """Close the generators of tasks that are done, outermost first, one after the other."""
    if keeper is not None:
        await keeper.close_kept(loop)


async def shutdown(self: Any) -> None:
    """Close all asynchronous generators: those of tasks that are done first and in order, then asyncio's own way."""
    await close_kept(self)
    await stock_shutdown(self)


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
    firstiter, finalizer = closing.agen_hooks()
    asyncios = isinstance(running, base_events.BaseEventLoop)
    if not asyncios:
        if finalizer is not None and not isinstance(getattr(firstiter, "__self__", None), _Hooks):
            adopt_hooks(loop, None)
    elif getattr(firstiter, "__self__", None) is running and hasattr(loop, "_asyncgens"):
        sys.set_asyncgen_hooks(firstiter=loop._asyncgen_firstiter_hook, finalizer=loop._asyncgen_finalizer_hook)


def _closing(loop: object) -> Coroutine[object, object, None] | None:
    """What closes that which tasks that are done have left in a loop, if there is anything."""
    return keeper.close_all(loop) if keeper is not None and keeper.has_kept(loop) else None


closing.left_behind.append(_closing)
