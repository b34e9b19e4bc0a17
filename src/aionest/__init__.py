"""Nested asyncio without nesting: synchronous code waits for asynchronous code by suspending its own C stack.

One line makes existing code work::

    import aionest

    aionest.apply()

See ``apply`` for what changes; ``run``, ``await_`` and ``block_on`` for direct use; ``portal`` and ``hosted`` for loops in a
thread and resources that outlive a call.
"""

from __future__ import annotations

from ._apply import apply, is_applied, unapply
from ._errors import AionestError, ForeignLoopError, NestedRunError, PortalClosed, ResourceLost
from ._run import await_, block_on, run
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

__version__ = "0.1.0"
