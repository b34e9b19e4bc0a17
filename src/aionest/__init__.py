"""Nested asyncio without nesting: synchronous code waits for asynchronous code by suspending its own C stack.

One line makes existing code work::

    import aionest

    aionest.apply()

See ``apply`` for what changes; ``run``, ``await_`` and ``block_on`` for direct use; ``portal`` and ``hosted`` for loops in a
thread and resources that outlive a call.
"""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

from ._apply import apply, is_applied, unapply
from ._errors import AionestError, ForeignLoopError, NestedRunError, PortalClosed, ResourceLost
from ._run import await_, block_on, run

if TYPE_CHECKING:
    __version__: str

    from ._shim import install_shim
    from .hosted import Hosted, hosted
    from .portal import Held, Portal, portal

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
    "install_shim": "_shim",
    "Hosted": "hosted",
    "hosted": "hosted",
    "Held": "portal",
    "Portal": "portal",
    "portal": "portal",
}


class _Package(types.ModuleType):
    """``aionest.portal`` and ``aionest.hosted`` are the functions, also once the submodules of these names are imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("hosted", "portal") and isinstance(value, types.ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


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


sys.modules[__name__].__class__ = _Package
