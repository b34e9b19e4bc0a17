"""Nested asyncio without nesting: synchronous code waits for asynchronous code by suspending its own C stack.

One line makes existing code work::

    import aionest

    aionest.apply()

See ``apply`` for what changes; ``run``, ``await_`` and ``block_on`` for direct use; ``portal`` and ``hosted`` for loops in a
thread and resources that outlive a call.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if sys.implementation.name != "cpython" or sys.platform in ("emscripten", "wasi") or "free-threading" in sys.version:
    from . import _platform

    _platform.check()  # before what follows loads the engine

from ._entry.apply import apply, is_applied, unapply
from ._entry.run import await_, block_on, run
from ._errors import AionestError, ForeignLoopError, NestedRunError, PortalClosed, ResourceLost

if TYPE_CHECKING:
    __version__: str

    from ._entry.shim import install_shim
    from ._hosted.resource import Hosted, hosted
    from ._portal.default import portal
    from ._portal.portal import Held, Portal

__all__ = [
    "AionestError",
    "ForeignLoopError",
    "Held",
    "Hosted",
    "NestedRunError",
    "Portal",
    "PortalClosed",
    "ResourceLost",
    "apply",
    "await_",
    "block_on",
    "hosted",
    "install_shim",
    "is_applied",
    "portal",
    "run",
    "unapply",
]

_LAZY = {
    "install_shim": "_entry.shim",
    "Hosted": "_hosted.resource",
    "hosted": "_hosted.resource",
    "Held": "_portal.portal",
    "Portal": "_portal.portal",
    "portal": "_portal.default",
}


def __getattr__(name: str) -> Any:
    """What is only needed where it is used is imported there."""
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
