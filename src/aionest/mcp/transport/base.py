"""What a transport is to a session, and what it tells of on the way.

Contract: a transport is an async context manager that gives the session's two streams. It is entered and left by the task that
owns the session. What ends it by itself is raised out of the context manager.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from ..sdk.line import Incoming, Outgoing
from .process import ServerProcess

Streams = tuple[Incoming, Outgoing]  # what is read from and what is written to
Transport = AbstractAsyncContextManager[Streams]


class Watcher(Protocol):
    """Who wants to know what goes on below a session. Called in the loop's thread."""

    def has_process(self, process: ServerProcess) -> None:
        """The process of the server has started."""

    def is_failing(self, failure: Exception) -> None:
        """This will be raised once all is ended, which may take its time."""

    def was_refused(self, status: int) -> None:
        """The server has answered some request with an HTTP status that says no."""

    def open_calls(self) -> int:
        """How many calls are in flight."""
        ...
