"""What aionest knows about Streamlit: is its runtime here, and whose script run does a coroutine work for.

Contract: Streamlit is never imported and nothing of it is patched. ``st.*`` finds its script run in an attribute of
the current thread object. The thread object of a portal answers that attribute from a context variable, and
``context()`` puts the caller's value into the copy of the caller's context in which the coroutine runs. So each
coroutine, and every task that it starts, writes to the browser session that it was called from, though all of them
share one thread.

Thread: ``context()`` and ``shared_default()`` any; the property is for code that runs on the portal's own thread.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from typing import Any

ATTRIBUTE = "streamlit_script_run_ctx"  # streamlit.runtime.scriptrunner_utils: SCRIPT_RUN_CONTEXT_ATTR_NAME

_script_run: contextvars.ContextVar[Any] = contextvars.ContextVar("aionest_streamlit_script_run", default=None)


class PortalThread(threading.Thread):
    """A thread whose ``streamlit_script_run_ctx`` depends on the running task."""

    @property
    def streamlit_script_run_ctx(self) -> Any:
        return _script_run.get()

    @streamlit_script_run_ctx.setter
    def streamlit_script_run_ctx(self, value: Any) -> None:
        # add_script_run_ctx() called inside a coroutine: for that task and those that it starts
        _script_run.set(value)

    @streamlit_script_run_ctx.deleter
    def streamlit_script_run_ctx(self) -> None:
        _script_run.set(None)


def context() -> contextvars.Context | None:
    """Return a copy of the current context that knows this thread's script run, or None if there is none to know."""
    script_run = getattr(threading.current_thread(), ATTRIBUTE, None)
    if script_run is None or script_run is _script_run.get():
        return None
    copy = contextvars.copy_context()
    copy.run(_script_run.set, script_run)
    return copy


def shared_default() -> bool:
    """Return True when Streamlit's runtime runs in this process.

    Thread-safety: any thread. Cancellation: does not wait.
    """
    runtime = sys.modules.get("streamlit.runtime")
    exists = getattr(runtime, "exists", None)
    if exists is None:
        return False
    try:
        return bool(exists())
    except Exception:  # half imported, or a version that keeps it elsewhere
        return False
