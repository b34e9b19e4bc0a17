"""A subprocess whose start is cancelled half-way.

asyncio connects the pipes of a new process in a task of its own. When that task is cancelled (the loop is shut down while
processes start), pipes that were not connected yet count as open for ever, and who waits for the process waits for ever.

Contract: asyncio's own close() runs first; pipes that are not connected by then are closed and forgotten, so that the end
of the process is the end of the transport. Runs in the loop's thread.
"""

from __future__ import annotations

from asyncio import base_subprocess
from typing import Any

_transport: Any = base_subprocess.BaseSubprocessTransport
_close: Any = _transport.close


class _NotConnected:
    """Stands where calls to the protocol wait for its connection, which will not come: only the end goes through."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport

    def append(self, call: tuple[Any, Any]) -> None:
        callback, data = call
        if callback == self.transport._call_connection_lost:
            self.transport._loop.call_soon(callback, *data)

    def __iter__(self) -> Any:
        return iter(())


def close(self: Any) -> None:
    """Close the pipes and kill the process, as asyncio does."""
    _close(self)
    if self._pending_calls is not None:
        self._pending_calls = _NotConnected(self)
    missing = [fd for fd, pipe in self._pipes.items() if pipe is None]
    process = self._proc
    for fd in missing:
        del self._pipes[fd]
        stream = None if process is None else (process.stdin, process.stdout, process.stderr)[fd]
        if stream is not None:
            stream.close()
    if missing and self._returncode is not None and not self._finished:
        self._try_finish()


def replacements() -> dict[tuple[Any, str], Any]:
    """What takes the place of asyncio's own function."""
    return {(_transport, "close"): close}
