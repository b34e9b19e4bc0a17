"""Put the scopes' functions into anyio when its asyncio backend is there, and take them out again.

Contract: nothing is imported that is not imported anyway. ``watch`` and ``unwatch`` are called under apply()'s lock; the
import hook runs in whatever thread imports anyio's backend, under that module's import lock.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

from . import probe

BACKEND = "anyio._backends._asyncio"

_MISSING: Any = object()
_saved: list[tuple[Any, str, Any]] = []
_watching = False


class _Finder:
    """Tells when the backend has been imported; finds nothing itself."""

    busy = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != BACKEND or self.busy or not _watching:
            return None
        from importlib import util  # apply() does not wait for it

        self.busy = True
        try:
            spec = util.find_spec(name)
        finally:
            self.busy = False
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            return None
        run: Any = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            run(module)
            if _watching:
                install(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


_finder = _Finder()


def watch() -> None:
    """Install now if anyio's asyncio backend is there, else as soon as it is imported."""
    global _watching
    if _watching:
        return
    _watching = True
    backend = sys.modules.get(BACKEND)
    if backend is not None:
        install(backend)
    else:
        sys.meta_path.insert(0, _finder)  # type: ignore[arg-type]


def unwatch() -> None:
    """Give anyio and asyncio their own functions back."""
    global _watching
    _watching = False
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)  # type: ignore[arg-type]
    while _saved:
        owner, name, before = _saved.pop()
        if before is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def is_installed() -> bool:
    """Are anyio's scopes handled across runs at present?"""
    return bool(_saved)


def _patch(owner: Any, name: str, value: Any) -> None:
    _saved.append((owner, name, vars(owner).get(name, _MISSING)))
    setattr(owner, name, value)


def install(backend: Any) -> None:
    """Patch this backend, if it is one that we know."""
    if _saved:
        return
    wrong = probe.unexpected(backend)
    if wrong:
        warnings.warn(
            "this version of anyio is not known to aionest ("
            + ", ".join(wrong)
            + "): its cancel scopes must be left by the "
            "task that entered them, as without aionest. Upgrade aionest, or use anyio 4.4 to 4.16",
            RuntimeWarning,
            stacklevel=2,
        )
        return
    from . import scopes

    for (owner, name), value in scopes.bind(backend).items():
        _patch(owner, name, value)
