"""Tool calls over HTTP by a POST in the caller's own task, past the SDK's streams and tasks (``sdk.shortcut``), and the way back to it.

Contract
  * The wire has what the SDK would send: the headers of its own latest POST and those that it gives to the call, through the
    session's one client.
  * Only a plain result is taken: JSON, or the first event of a stream. Everything else, be it an error, a status, events that come
    before the result, a body that is cut or what sending has raised, is left to the SDK: it is given the message, and when it sends
    it, gets what has come already (``early``). Nothing is sent twice but what was redirected.
  * A connection whose stream ends with the result is kept for others; one that stays open is closed, as the SDK does at once.

Used by the tasks of one session, in its loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

import anyio

from .._json import JsonObject, RequestId
from ..sdk.line import HTTP, Outgoing, SessionMessage
from ..sdk.mend import answered
from ..sdk.shortcut import result_of
from .bodies import Events, content_of, kind_of, like, usable
from .posts import Posts, Stream

if TYPE_CHECKING:
    from .client import Client

DRAIN = 1.0  # seconds for the end of a stream that has brought the result
DIRECT = "aionest.direct"  # in a request's extensions: it is not the SDK's own
# of one request only
_OWN = {b"content-length", b"transfer-encoding", b"cookie", b"mcp-method", b"mcp-name", b"last-event-id"}


class Asking:
    """The direct calls of one session.

    :param client: the session's (``client.Client``).
    :param limit: bytes of one message.
    """

    def __init__(self, client: Client, posts: Posts, url: str, limit: int) -> None:
        self._client, self._posts, self._limit = client, posts, limit
        self._url = HTTP.URL(url)
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._moved = False
        self._early: dict[int, HTTP.Response | Exception] = {}
        self._draining: set[asyncio.Task[None]] = set()

    def noted(self, request: HTTP.Request) -> None:
        """The SDK sends a request of its own."""
        if request.method == "POST" and request.url == self._url:
            self._headers = [
                (name, value)
                for name, value in ((name.lower(), value) for name, value in request.headers.raw)
                if name not in _OWN and not name.startswith(b"mcp-param-")
            ]

    def early(self, number: RequestId | None, request: HTTP.Request) -> HTTP.Response | None:
        """What has come already for a request of the SDK's, or None. Raises what sending it has raised."""
        found = self._early.pop(number, None) if isinstance(number, int) else None
        if isinstance(found, Exception):
            raise found
        if found is not None:
            found.request = request
        return found

    async def ask(self, number: int, line: bytes, headers: Mapping[str, str]) -> JsonObject | None:
        """The result of a call; None: the SDK has to be given the message (``Posting.hand_over``).

        :param headers: of this request, from the SDK.
        """
        # a login must not be cut short with the call that it is for
        if self._headers is None or self._moved or self._client.auth is not None:
            return None
        response: HTTP.Response | None = None
        found: HTTP.Response | Exception | None
        try:
            response = await self._client.answer_to(self._request(line, headers), number)
            result, found = await self._looked_at(response, number)
        except Exception as exc:
            result, found = None, exc
        except BaseException:
            if response is not None:
                await response.aclose()
            raise
        if found is not None:
            self._early[number] = found
        return result

    def _request(self, line: bytes, headers: Mapping[str, str]) -> HTTP.Request:
        own = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        names = {name for name, _ in own}
        both = [one for one in self._headers or () if one[0] not in names] + own
        timeout = {**self._client.timeout.as_dict(), "read": None}
        cookies = self._client.cookies
        return HTTP.Request(
            "POST",
            self._url,
            headers=both,
            content=line,
            cookies=cookies if cookies.jar else None,
            extensions={"timeout": timeout, DIRECT: True},
        )

    async def _looked_at(self, response: HTTP.Response, number: int) -> tuple[JsonObject | None, HTTP.Response | None]:
        """The result; or what the SDK gets, if it is not to send the message itself."""
        kind = kind_of(response)
        if response.status_code == 200 and kind == "application/json":
            try:
                data, line = await content_of(response, number, self._limit)
            finally:
                await response.aclose()
            if not line:
                found = result_of(data)
                if found is not None and found[0] == number:
                    return found[1], None
                line = answered(data, number)
            return None, like(response, content=line, kind=kind)
        if response.status_code == 200 and kind == "text/event-stream":
            return await self._first_event(response, number)
        if 300 <= response.status_code < 400:
            self._moved = True  # the SDK knows which redirects are followed
            await response.aclose()
            return None, None
        said = await usable(response, number, self._limit)
        self._posts.read(number, response.status_code, said.status_code)
        return None, said

    async def _first_event(
        self, response: HTTP.Response, number: int
    ) -> tuple[JsonObject | None, HTTP.Response | None]:
        events = Events(response, number, self._limit)
        pieces = events.pieces()
        piece, cut = b"", None
        try:
            async for piece in pieces:
                found = result_of(events.only_data(piece))
                if found is not None and found[0] == number:
                    self._drain(response, pieces)
                    return found[1], None
                break
        except (HTTP.TransportError, HTTP.DecodingError) as exc:
            cut = exc  # it ends this call; what sending raises would end the session
        return None, like(response, stream=_Rest(response, events, piece, pieces, cut))

    def _drain(self, response: HTTP.Response, pieces: AsyncIterator[bytes]) -> None:
        task = asyncio.ensure_future(_drained(response, pieces))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    async def aclose(self) -> None:
        """Let go of what is left."""
        left = [one for one in self._early.values() if not isinstance(one, Exception)]
        self._early.clear()
        for task in self._draining:
            task.cancel()
        for response in left:
            with contextlib.suppress(Exception):
                await response.aclose()
        if self._draining:
            await asyncio.wait(set(self._draining))


async def _drained(response: HTTP.Response, pieces: AsyncIterator[bytes]) -> None:
    task = asyncio.current_task()
    assert task is not None
    timer = asyncio.get_running_loop().call_later(DRAIN, task.cancel)
    try:
        async for _ in pieces:  # nothing may follow
            break
    except (HTTP.TransportError, HTTP.StreamError):
        pass
    finally:
        timer.cancel()
        await response.aclose()


class _Rest(HTTP.AsyncByteStream):
    """A stream of events of which one was looked at, or which was cut before that."""

    def __init__(
        self, response: HTTP.Response, events: Events, piece: bytes, pieces: AsyncIterator[bytes], cut: Exception | None
    ) -> None:
        self._response, self._events, self._piece, self._pieces, self._cut = response, events, piece, pieces, cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._piece:
            yield self._events.checked(self._piece)
        if self._cut is not None:
            raise self._cut
        async for piece in self._pieces:
            yield self._events.checked(piece)

    async def aclose(self) -> None:
        await self._response.aclose()


class Posting(Stream):
    """The session's messages to a server that is reached by HTTP; calls may go beside them."""

    def __init__(self, posts: Posts, inner: Outgoing, asking: Asking) -> None:
        super().__init__(posts, inner)
        self._asking = asking

    async def ask(self, number: int, line: bytes, headers: Mapping[str, str]) -> JsonObject | None:
        """The result of a call, or None: it is to be handed over."""
        self._posts.expect(number)
        return await self._asking.ask(number, line, headers)

    async def hand_over(self, item: SessionMessage) -> None:
        """The message of a call which was asked for in vain."""
        try:
            await self._inner.send(item)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as exc:
            raise ConnectionError("the session has ended before the answer was read") from exc


__all__ = ["DIRECT", "Asking", "Posting"]
