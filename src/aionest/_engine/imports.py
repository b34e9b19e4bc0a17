"""Tell when modules of other packages have been imported, whoever imports them and whichever finder finds them; and how our own are that
are not needed by every program.

Contract
  * Imports nothing. ``uninterrupted()`` is for the imports of ours that come late. ``want()`` calls back once for each module, at once if it is there already.
  * Two ways, since neither sees all. A finder at the front of ``sys.meta_path`` is told before anybody can use the module. Where
    another finder came to stand before it (pytest, typeguard and beartype put one there), or the module was in the making
    when ``want()`` came, ``look()`` finds the module later, and puts the finder back to the front: the engine calls it at each
    turn of a loop and each nested run, if the number of loaded modules or the front of ``sys.meta_path`` has changed.
  * The finder stays until ``forget()``: taking an entry out makes imports of other threads skip the next one.
  * Nobody's loader is changed: some are shared by many modules. One that is to load a wanted module is wrapped, and the
    module gets the loader itself.
Thread: any. Called back in the thread that imports the module, or in the one that looked.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from .. import _core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.machinery import ModuleSpec

_wanted: dict[str, Callable[[Any], None]] = {}


class _Loader:
    """The loader of one wanted module, until it has loaded it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: Any) -> Any:
        create = getattr(self._loader, "create_module", None)
        return None if create is None else create(spec)

    def exec_module(self, module: Any) -> None:
        loader = self._loader
        if getattr(module.__spec__, "loader", None) is self:
            module.__spec__.loader = loader
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = loader
        loader.exec_module(module)
        _found(module.__name__, module)


class _Finder:
    """Finds what the others find."""

    _asking: ClassVar[set[tuple[str, int]]] = set()  # the others, for this module, in this thread

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        asked = (name, threading.get_ident())
        # one of the others may ask all but itself in turn, and so us
        if name not in _wanted or asked in self._asking:
            return None
        self._asking.add(asked)
        try:
            spec: Any = self._ask(name, path, target)
        finally:
            self._asking.discard(asked)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader)
        return spec

    def _ask(self, name: str, path: object, target: object) -> ModuleSpec | None:
        for finder in list(sys.meta_path):
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find is None else find(name, path, target)
            if spec is not None:
                return spec
        return None


_finder: Any = _Finder()


def _is_lazy(module: Any) -> bool:
    """Would any access load it (``importlib.util.LazyLoader``)?"""
    return type(module).__name__ == "_LazyModule"


def _found(name: str, module: Any) -> None:
    if _is_lazy(module):
        return
    callback = _wanted.pop(name, None)
    if not _wanted:
        _core._watch_modules()
    if callback is not None:
        callback(module)


def want(modules: dict[str, Callable[[Any], None]]) -> None:
    """Call ``modules[name](module)`` once the module of that name has been imported."""
    _wanted.update(modules)
    look()
    if _wanted:
        _to_the_front()


def forget() -> None:
    """Nothing is wanted any more."""
    _wanted.clear()
    _core._watch_modules()
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)


def look() -> bool:
    """Is something there that is wanted? False if it is in the making, and so to be looked for again."""
    complete = True
    for name in list(_wanted):
        module = sys.modules.get(name)
        if module is None:
            continue
        if _is_lazy(module) or getattr(getattr(module, "__spec__", None), "_initializing", False):
            complete = False
        else:
            _found(name, module)
    if _wanted and (not sys.meta_path or sys.meta_path[0] is not _finder):
        _to_the_front()
    return complete


def _to_the_front() -> None:
    finders = sys.meta_path
    if not isinstance(finders, list):
        return
    if _finder in finders:
        finders.remove(_finder)
    finders.insert(0, _finder)
    _core._watch_modules(look, _finder, finders)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Amid an import in here no garbage is collected: a finalizer that came to the same place would find half a module."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()
