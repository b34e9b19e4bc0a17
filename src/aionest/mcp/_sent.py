"""Did a call's request reach its server? What a failed call must know before it is made again.

Contract
  * A call is made inside ``with Sent()``; the channel to the server notes the first request that the task sends there.
  * A channel has ``unreached(mark)`` (True: the server certainly has not taken the request), ``status(mark)`` (the HTTP status
    that the server refused it with, or 0) and ``forget(mark)``.

On the loop's thread.
"""

from __future__ import annotations

import contextvars
from typing import Any


class Sent:
    """A context manager that notes where the first request which the task sends inside went.

    Tasks that are started inside are noted too.
    """

    __slots__ = ("_token", "channel", "mark")

    def __init__(self) -> None:
        self.channel: Any = None
        self.mark: Any = None

    def __enter__(self) -> Sent:
        self._token = _sent.set(self)
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            _sent.reset(self._token)
        except (
            ValueError
        ):  # in another context (a coroutine that is closed, not run to its end) there is nothing to undo
            pass

    def unreached(self) -> bool:
        """Has the server certainly not taken the request? False where it isn't known."""
        return self.channel is not None and bool(self.channel.unreached(self.mark))

    def status(self) -> int:
        """The HTTP status that said no to this very request, or 0."""
        return self.channel.status(self.mark) if self.channel is not None else 0

    def forget(self) -> None:
        """The call is over."""
        if self.channel is not None:
            self.channel.forget(self.mark)


_sent: contextvars.ContextVar[Sent | None] = contextvars.ContextVar("aionest_mcp_sent", default=None)


def note(channel: Any, mark: Any) -> bool:
    """For channels: a request with that mark is about to be sent. True if a call wants to know of it."""
    sent = _sent.get()
    if sent is None or sent.channel is not None:
        return False
    sent.channel, sent.mark = channel, mark
    return True
