"""What the C engine asks of Python: reports that need formatting or logging.

Contract: called by ``_core`` only, in the thread that runs the loop. Messages and context keys are those of
``asyncio.events.Handle._run`` and ``asyncio.base_events.BaseEventLoop._run_once`` of the running Python version.
"""

from __future__ import annotations

import sys
from asyncio import base_events, format_helpers
from typing import Any

_RUN_CODES = {
    getattr(base_events.BaseEventLoop, name).__code__
    for name in ("run_forever", "_run_once")
    if hasattr(getattr(base_events.BaseEventLoop, name), "__code__")
}


def _source(handle: Any) -> str:
    try:
        return format_helpers._format_callback_source(  # type: ignore[attr-defined,no-any-return,call-arg]
            handle._callback, handle._args, debug=handle._loop.get_debug()
        )
    except TypeError:  # before the keyword came
        return format_helpers._format_callback_source(handle._callback, handle._args)  # type: ignore[attr-defined,no-any-return]


def callback_error(handle: Any, exc: BaseException) -> None:
    """An exception came out of a callback: tell the loop's exception handler."""
    # uvloop's own words for its loops
    source = _source(handle) if isinstance(handle._loop, base_events.BaseEventLoop) else handle._callback
    context: dict[str, Any] = {
        "message": f"Exception in callback {source}",
        "exception": exc,
        "handle": handle,
    }
    if handle._source_traceback:
        context["source_traceback"] = handle._source_traceback
    handle._loop.call_exception_handler(context)


def slow_callback(handle: Any, duration: float) -> None:
    """Debug mode: a callback took longer than ``slow_callback_duration`` seconds, suspension not counted."""
    base_events.logger.warning("Executing %s took %.3f seconds", base_events._format_handle(handle), duration)  # type: ignore[attr-defined]


def runs_in_asyncio(loop: Any) -> bool:
    """Is one of asyncio's own functions that run a loop under way for this one, in a frame of the caller's stack?"""
    frame: Any = sys._getframe(0)
    while frame is not None:
        if frame.f_code in _RUN_CODES and frame.f_locals.get("self") is loop:
            return True
        frame = frame.f_back
    return False
