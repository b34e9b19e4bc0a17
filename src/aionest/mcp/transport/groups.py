"""A server and all that it has started, on POSIX: a process group that the server leads. ``jobs`` is the same for Windows.

Contract: a group that is gone is no error. What this process leaves when it dies, the guardian ends. Used in the loop's thread.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

if sys.platform != "win32":

    class Family:
        """The group of a process that was started in a session of its own."""

        def __init__(self, transport: asyncio.SubprocessTransport) -> None:
            pid = transport.get_pid()
            assert pid is not None  # (it has just been started)
            self._pid = pid

        def has_ended(self) -> bool:
            """(A pipe whose reader is gone says so by itself.)"""
            return False

        def ask(self) -> bool:
            """Ask them to end. False if there is none any more."""
            return self._signal(signal.SIGTERM)

        def kill(self) -> None:
            """End all of them."""
            self._signal(signal.SIGKILL)

        def alive(self) -> bool:
            """Is any of them left?"""
            try:
                os.killpg(self._pid, 0)
            except ProcessLookupError:
                return False
            except PermissionError:
                return True
            return True

        def close(self) -> None:
            """(Nothing is held.)"""

        def _signal(self, number: int) -> bool:
            try:
                os.killpg(self._pid, number)
            except (ProcessLookupError, PermissionError):
                return False
            return True
