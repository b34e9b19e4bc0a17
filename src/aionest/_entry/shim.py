"""A drop-in for nest_asyncio: ``import nest_asyncio; nest_asyncio.apply()`` of other packages gets aionest.

Contract: nothing happens before install_shim() is called. A nest_asyncio that is imported already keeps its module object;
its ``apply`` becomes ours.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from .._engine.install import check_loop
from . import apply as _apply

_NAMES = ("nest_asyncio", "nest_asyncio2")


def apply(loop: Any = None, **ignored: Any) -> None:
    """nest_asyncio.apply(), carried out by aionest. Loops that aionest cannot run are left as they are, without an error,
    when the call comes from the drop-in with no loop named. The first one also brings nest_asyncio's way of leaving the loop of
    a top-level run open; options of an ``aionest.apply()`` stay as they are."""
    if not _apply.is_applied():
        _apply.apply(loop, close_loop=False)
    elif loop is not None:
        check_loop(loop)


def install_shim() -> None:
    """Let ``import nest_asyncio`` and ``import nest_asyncio2`` anywhere in this process give aionest's drop-in.

    Thread-safety: any thread; calling it again changes nothing.
    """
    for name in _NAMES:
        module = sys.modules.get(name)
        if module is None:
            module = types.ModuleType(name, "Drop-in for nest_asyncio, provided by aionest.")
            module.__dict__["__aionest__"] = True
            sys.modules[name] = module
        module.__dict__["apply"] = apply
