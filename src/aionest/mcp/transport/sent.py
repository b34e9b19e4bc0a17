"""Did a call's request reach its server? What a failed call must know before it is made again.

Contract: a call is made inside ``with Sent()``; the channel to the server notes the requests that the task sends there.

On the loop's thread.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

M = TypeVar("M", contravariant=True)


class Channel(Protocol[M]):
    """Where requests go. A mark names one of them."""

    def unreached(self, mark: M) -> bool:
        """Has the server certainly not taken the request?"""
        ...

    def status(self, mark: M) -> int:
        """The HTTP status that the server refused it with, or 0."""
        ...

    def forget(self, mark: M) -> None:
        """Its call is over."""


class Sent:
    """A context manager that notes where the requests which the task sends inside went.

    Tasks that are started inside are noted too.

    :param remaining: gives the seconds that there still are for the call, or None for no limit.
    """

    __slots__ = ("_marks", "_token", "channel", "remaining")

    def __init__(self, remaining: Callable[[], float | None] = lambda: None) -> None:
        self.channel: Channel[Any] | None = None  # which knows its own marks
        self.remaining = remaining
        self._marks: list[object] = []

    def __enter__(self) -> Sent:
        self._token = _sent.set(self)
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            _sent.reset(self._token)
        except ValueError:
            pass  # in another context (a coroutine that is closed, not run to its end) there is nothing to undo

    def add(self, channel: Channel[M], mark: M) -> bool:
        """Note a request. False if others go elsewhere."""
        if self.channel is None:
            self.channel = channel
        elif self.channel is not channel:
            return False
        self._marks.append(mark)
        return True

    def unreached(self) -> bool:
        """Has the server certainly not taken the first request? False where it isn't known."""
        return self.channel is not None and self.channel.unreached(self._marks[0])

    def status(self) -> int:
        """The HTTP status that said no to the latest request, or 0. One that refuses the credentials says more than what follows it."""
        if self.channel is None:
            return 0
        found = [self.channel.status(mark) for mark in self._marks]
        return next((one for one in found if one in (401, 403)), found[-1] if found else 0)

    def forget(self) -> None:
        """The call is over."""
        if self.channel is not None:
            for mark in self._marks:
                self.channel.forget(mark)


_sent: contextvars.ContextVar[Sent | None] = contextvars.ContextVar("aionest_mcp_sent", default=None)


def note(channel: Channel[M], mark: M) -> Sent | None:
    """For channels: a request with that mark is about to be sent. What was told so, if a call wants to know of it."""
    sent = _sent.get()
    return sent if sent is not None and sent.add(channel, mark) else None
