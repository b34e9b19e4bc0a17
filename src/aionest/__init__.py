"""Nested asyncio without nesting: synchronous code waits for asynchronous code by suspending its own C stack.

One line makes existing code work::

    import aionest

    aionest.apply()

See ``apply`` for what changes, ``run``, ``await_`` and ``block_on`` for direct use.
"""

from __future__ import annotations

from ._apply import apply, is_applied, unapply
from ._errors import AionestError, ForeignLoopError, NestedRunError
from ._run import await_, block_on, run
from ._shim import install_shim

__all__ = [
    "AionestError",
    "ForeignLoopError",
    "NestedRunError",
    "apply",
    "await_",
    "block_on",
    "install_shim",
    "is_applied",
    "run",
    "unapply",
]

__version__ = "0.1.0"
