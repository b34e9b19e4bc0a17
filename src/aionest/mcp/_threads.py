"""Blocking functions beside the loop, also while the interpreter ends.

Contract: at that time no thread can be started any more, and the function is called where it is: what it blocks has little left to do.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_TOO_LATE = ("cannot schedule new futures", "can't start new thread")


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Call it in a thread, in a copy of this context, and wait for what it gives."""
    try:
        return await asyncio.to_thread(function, *args)
    except RuntimeError as exc:
        if not str(exc).startswith(_TOO_LATE):
            raise
    return function(*args)
