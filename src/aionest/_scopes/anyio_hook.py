"""Put our functions into anyio when its modules are there, and take them out again.

Contract: nothing is imported that is not imported anyway. ``watch`` and ``unwatch`` are called under apply()'s lock; the
others in whatever thread imports anyio or is the first to notice that it was imported (``_engine.imports``).
"""

from __future__ import annotations

import functools
import logging
import threading
import warnings
from typing import TYPE_CHECKING, Any

from .._engine import imports
from .._engine.patches import Patches

if TYPE_CHECKING:
    from collections.abc import Callable

BACKEND = "anyio._backends._asyncio"

_patches = Patches()
_watching = False
_lock = threading.RLock()


def watch(others: dict[str, Callable[[Any], dict[tuple[Any, str], Any]]]) -> None:
    """Install now what concerns the modules that are there, else as soon as they are imported.

    ``others``: for the names of further modules of anyio's, what takes the place of functions in them, given the module.
    """
    global _watching
    if _watching:
        return
    _watching = True
    imports.want({BACKEND: install, **{name: functools.partial(_install, find) for name, find in others.items()}})


def unwatch() -> None:
    """Give anyio and asyncio their own functions back."""
    global _watching
    _watching = False
    imports.forget()
    with _lock:
        _patches.restore()


def is_installed() -> bool:
    """Are anyio's scopes handled across runs at present?"""
    return "__aexit__" in _patches


def is_watching() -> bool:
    """Between ``watch`` and ``unwatch``."""
    return _watching


def install(backend: Any) -> None:
    """Patch this backend, if it is one that we know."""
    with _lock:
        if is_installed() or not _watching:
            return
        from . import anyio_probe

        wrong = anyio_probe.unexpected(backend)
        if wrong:
            _warn(
                "this version of anyio is not known to aionest ("
                + ", ".join(wrong)
                + "): its cancel scopes must be left by the "
                "task that entered them, as without aionest. Upgrade aionest, or use anyio 4.4 to 4.16"
            )
            return
        from . import anyio_scopes

        for (owner, name), value in anyio_scopes.bind(backend).items():
            _patches.put(owner, name, value)


def _install(find: Callable[[Any], dict[tuple[Any, str], Any]], module: Any) -> None:
    with _lock:
        if _watching:
            for (owner, name), value in find(module).items():
                _patches.put(owner, name, value)


def _warn(message: str) -> None:
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    except RuntimeWarning:
        # warnings are errors here, and whoever imports anyio for its own ends shall not fail
        logging.getLogger("aionest").warning(message)
