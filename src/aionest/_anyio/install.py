"""Put our functions into anyio when its modules are there, and take them out again.

Contract: nothing is imported that is not imported anyway. ``watch`` and ``unwatch`` are called under apply()'s lock; the
others in whatever thread imports anyio or is the first to notice that it was imported (``_imports``).
"""

from __future__ import annotations

import logging
import threading
import warnings
from typing import Any

from .. import _imports
from . import probe

BACKEND = "anyio._backends._asyncio"
EVENT_LOOP = "anyio._core._eventloop"

_MISSING: Any = object()
_saved: list[tuple[Any, str, Any]] = []
_watching = False
_lock = threading.RLock()


def watch() -> None:
    """Install now what concerns the modules that are there, else as soon as they are imported."""
    global _watching
    if _watching:
        return
    _watching = True
    _imports.want({BACKEND: install, EVENT_LOOP: install_run})


def unwatch() -> None:
    """Give anyio and asyncio their own functions back."""
    global _watching
    _watching = False
    _imports.forget()
    with _lock:
        while _saved:
            owner, name, before = _saved.pop()
            if before is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, before)


def is_installed() -> bool:
    """Are anyio's scopes handled across runs at present?"""
    return any(name == "__aexit__" for _, name, _ in _saved)


def _patch(owner: Any, name: str, value: Any) -> None:
    _saved.append((owner, name, vars(owner).get(name, _MISSING)))
    setattr(owner, name, value)


def install(backend: Any) -> None:
    """Patch this backend, if it is one that we know."""
    with _lock:
        if is_installed() or not _watching:
            return
        wrong = probe.unexpected(backend)
        if wrong:
            _warn(
                "this version of anyio is not known to aionest ("
                + ", ".join(wrong)
                + "): its cancel scopes must be left by the "
                "task that entered them, as without aionest. Upgrade aionest, or use anyio 4.4 to 4.16"
            )
            return
        from . import scopes

        for (owner, name), value in scopes.bind(backend).items():
            _patch(owner, name, value)


def install_run(event_loop: Any) -> None:
    """Let ``anyio.run()`` be called while a loop runs."""
    from . import runs

    with _lock:
        if _watching:
            for (owner, name), value in runs.replacements(event_loop).items():
                _patch(owner, name, value)


def _warn(message: str) -> None:
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    except RuntimeWarning:
        # warnings are errors here, and whoever imports anyio for its own ends shall not fail
        logging.getLogger("aionest").warning(message)
