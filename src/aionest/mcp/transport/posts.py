"""What became of each request to an HTTP server: the SDK's errors do not say whose request has failed, and how far it came.

Contract: a channel of ``sent``. Requests of calls are noted when they go into the session's stream (``stream()``), and
followed through the HTTP client, which says what happens. Forgotten with their call.

Used by the tasks of one session, in its loop's thread.
"""

from __future__ import annotations

import anyio

from .._json import RequestId
from ..errors import NotSent
from ..sdk import Failure, classify, request_id
from ..sdk.line import Outgoing, SessionMessage
from .sent import Sent, note

_WAITING, _POSTED = "waiting", "posted"


class Posts:
    """The requests of calls in flight by their JSON-RPC ids."""

    def __init__(self) -> None:
        # _WAITING, _POSTED, what sending it has raised, or the status that said no
        self._fates: dict[RequestId, str | int | BaseException] = {}
        self._calls: dict[RequestId, Sent] = {}

    def unreached(self, number: RequestId) -> bool:
        """Was it never posted, or did the server not take it (no connection; no such session)?"""
        fate = self._fates.get(number, _POSTED)
        if isinstance(fate, BaseException):
            return classify(fate)[0] in (Failure.REFUSED, Failure.DNS)
        return fate in (_WAITING, 404)

    def status(self, number: RequestId) -> int:
        """The HTTP status that said no to it, or 0."""
        fate = self._fates.get(number)
        return fate if isinstance(fate, int) else 0

    def forget(self, number: RequestId) -> None:
        """Its call is over."""
        self._fates.pop(number, None)
        self._calls.pop(number, None)

    def has_time(self, number: RequestId | None, seconds: float) -> bool:
        """Is its call still on, and may it take that much longer? What is no call's has all time."""
        if number is None:
            return True
        call = self._calls.get(number)
        remaining = call.remaining() if call is not None else 0.0
        return remaining is None or remaining > seconds

    def stream(self, inner: Outgoing) -> Outgoing:
        """The session's stream, with a note of each request. A message that it doesn't take raises ``NotSent``."""
        return Stream(self, inner)

    def expect(self, number: RequestId) -> None:
        """It is about to go into the stream."""
        sent = note(self, number)
        if sent is not None:
            self._fates[number], self._calls[number] = _WAITING, sent

    # -- of the HTTP client

    def posting(self, number: RequestId | None) -> RequestId | None:
        """A request of the client's begins: the number of the call's request that it carries, or None.

        :param number: of the JSON-RPC request in it, or None.
        """
        if number is None or number not in self._fates:
            return None
        self._fates[number] = _POSTED
        return number

    def posted(self, number: RequestId | None, fate: int | BaseException) -> None:
        """Its status, or what sending it has raised."""
        if number in self._fates and (isinstance(fate, BaseException) or fate >= 400):
            self._fates[number] = fate

    def read(self, number: RequestId | None, status: int, means: int) -> None:
        """What came with a status is read: it may mean another one, or be an answer for all that the status says no."""
        if number in self._fates and means != status:
            self._fates[number] = _POSTED if means < 300 else means


class Stream(anyio.abc.ObjectSendStream[SessionMessage]):
    def __init__(self, posts: Posts, inner: Outgoing) -> None:
        self._posts, self._inner = posts, inner

    async def send(self, item: SessionMessage) -> None:
        number = request_id(item)
        if number is not None:
            self._posts.expect(number)
        try:
            await self._inner.send(item)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as exc:
            raise NotSent("the connection is closed for sending") from exc

    async def aclose(self) -> None:
        await self._inner.aclose()
