"""What asyncio does before and after a loop runs, on every version; and for a loop inside a running one.

Contract: ``setup`` and ``cleanup`` come in pairs, around everything that carries a loop. Both leave asyncio's own account of the
loop (its thread, the running loop, the hooks for asynchronous generators) as asyncio's would.
Thread: the one that runs the loop.
"""

from __future__ import annotations

import sys
import threading
from asyncio import base_events, events
from typing import Any

from .. import _core

_HAS_SETUP = hasattr(base_events.BaseEventLoop, "_run_forever_setup")


def agen_hooks() -> tuple[Any, Any]:
    """The thread's hooks for asynchronous generators, which refer to a loop, in a form that the garbage collector follows:
    what sys.get_asyncgen_hooks() gives is not.
    """
    firstiter, finalizer = sys.get_asyncgen_hooks()
    return firstiter, finalizer


def setup(loop: Any) -> None:
    """What asyncio does before a loop runs, on every version."""
    if _HAS_SETUP:
        loop._run_forever_setup()
        return
    loop._check_closed()
    loop._check_running()
    loop._set_coroutine_origin_tracking(loop._debug)
    loop._aionest_agen_hooks = agen_hooks()
    loop._thread_id = threading.get_ident()
    sys.set_asyncgen_hooks(firstiter=loop._asyncgen_firstiter_hook, finalizer=loop._asyncgen_finalizer_hook)
    events._set_running_loop(loop)


def check_not_running(loop: Any) -> None:
    """asyncio's check, less the part that refuses nesting."""
    if loop.is_running():
        raise RuntimeError("This event loop is already running")


def setup_nested(loop: Any) -> None:
    """setup() inside a running loop; the caller puts the running loop back."""
    events._set_running_loop(None)
    setup(loop)


def cleanup(loop: Any) -> None:
    """What asyncio does after a loop ran."""
    if _HAS_SETUP:
        loop._run_forever_cleanup()
        return
    loop._stopping = False
    loop._thread_id = None
    events._set_running_loop(None)
    loop._set_coroutine_origin_tracking(False)
    hooks = loop.__dict__.pop("_aionest_agen_hooks", None)
    if hooks is not None:
        sys.set_asyncgen_hooks(*hooks)


def end_suspended(loop: Any, message: str) -> None:
    """Runs that are suspended on this loop, or on any, end with RuntimeError."""
    hooks = agen_hooks()
    try:
        _core.end_suspended(loop, message)
    finally:
        # a loop that ends inside puts back those of the loop around it, whose run is over
        sys.set_asyncgen_hooks(*hooks)
