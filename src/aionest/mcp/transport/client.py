"""The HTTP client of a session: the SDK's library, our own class of it.

Contract: tells ``Posts`` what becomes of each request, and gives the SDK answers that it can use (``bodies``). Answers take the time that they take, as calls have deadlines of their own;
redirects are treated as by the SDK's own client. One per session, in its loop's thread.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from .._json import RequestId
from ..sdk.decoding import encodings, readable
from ..sdk.deferred import HAS_TIME, REPEATABLE, pause
from ..sdk.line import HTTP
from .asking import DIRECT, Asking
from .bodies import asked_by, usable
from .pools import pools
from .posts import Posts

TIMEOUT = 30.0  # seconds to connect, to write and for a place in the pool, as in the SDK
READ = 300.0  # seconds between two pieces of what is no stream
KEPT = 100  # connections that wait for a next request; how many calls are in flight is the caller's affair
IDLE = 4.0  # seconds for which they do: many servers close them after five, which must not meet a request
AGAIN = 0.5  # seconds after which a login that lost its connection is taken up again
RETRIES = 5  # of a request that the server has put off


class Client(HTTP.AsyncClient):
    """An HTTP client whose posts are followed.

    :param limit: bytes of one message.
    :param answers: does a POST bring the answer of the request that it carries?
    :param on_post: called with what a POST has failed with: an exception, or the status that says no.
    :param headers, auth, timeout: of the library's client.
    """

    def __init__(
        self,
        posts: Posts,
        on_response: Callable[[HTTP.Response], None],
        limit: int,
        answers: bool,
        on_post: Callable[[int | BaseException], None] = lambda failure: None,
        headers: Mapping[str, str] | None = None,
        auth: HTTP.Auth | None = None,
        timeout: HTTP.Timeout | None = None,
    ) -> None:
        async def look(response: HTTP.Response) -> None:
            if DIRECT not in response.request.extensions:
                on_response(response)

        super().__init__(
            event_hooks={"request": [_no_haste], "response": [readable, look]},
            follow_redirects=_follows_redirects(),
            headers={**HTTP.Headers(headers), **encodings(HTTP.Headers(headers).get("accept-encoding"))},
            auth=auth,
            transport=pools(IDLE),
            limits=HTTP.Limits(max_connections=None, max_keepalive_connections=KEPT, keepalive_expiry=IDLE),
            timeout=HTTP.Timeout(TIMEOUT, read=READ) if timeout is None else timeout,
        )
        self._posts, self._on_post = posts, on_post
        self._limit, self._answers = limit, answers
        self._on_response = on_response
        self.asking: Asking | None = None

    async def answer_to(self, request: HTTP.Request, number: int) -> HTTP.Response:
        """The answer to a call's own request; nothing is made of it but a note."""
        self._posts.posting(number)
        try:
            response = await self._taken(
                number, functools.partial(super().send, request, stream=True, follow_redirects=False)
            )
        except Exception as exc:
            self._posts.posted(number, exc)
            raise
        self._posts.posted(number, response.status_code)
        return response

    async def send(self, request: HTTP.Request, **options: Any) -> HTTP.Response:
        asked = asked_by(request)
        if self.asking is not None:
            early = self.asking.early(asked, request)
            if early is not None:
                self._on_response(early)
                return early
            self.asking.noted(request)
        number = self._posts.posting(asked)
        try:
            response = await self._taken(
                number,
                functools.partial(
                    self._with_login, request, number, functools.partial(super().send, request, **options)
                ),
            )
        except Exception as exc:
            self._posts.posted(number, exc)
            if request.method == "POST":
                self._on_post(exc)
            raise
        self._posts.posted(number, response.status_code)
        if request.method == "POST" and response.status_code >= 400:
            self._on_post(response.status_code)
        if request.method == "GET" or (self._answers and request.method == "POST"):
            found = await usable(response, asked, self._limit)
            self._posts.read(number, response.status_code, found.status_code)
            return found
        return response

    async def _with_login(
        self, request: HTTP.Request, number: RequestId | None, send: Callable[[], Awaitable[HTTP.Response]]
    ) -> HTTP.Response:
        """The answer. Where the login lost a connection, the request itself was not taken: once more."""
        if self.auth is None:
            return await send()
        request.extensions[HAS_TIME] = functools.partial(self._posts.has_time, number)
        try:
            return await send()
        except HTTP.TransportError as exc:
            lost = getattr(exc, "_request", None)
            again = lost is not None and REPEATABLE in lost.extensions and not isinstance(exc, HTTP.TimeoutException)
            if not again or not self._posts.has_time(number, AGAIN):
                raise
        await asyncio.sleep(AGAIN)
        return await send()

    async def _taken(self, number: RequestId | None, send: Callable[[], Awaitable[HTTP.Response]]) -> HTTP.Response:
        """The answer. A server that says when it takes the request is given that time, if the call has it."""
        for _ in range(RETRIES):
            response = await send()
            seconds = pause(response)
            if seconds is None or not self._posts.has_time(number, seconds):
                return response
            await asyncio.sleep(seconds)
            if not self._posts.has_time(number, 0.0):
                return response
            await response.aclose()
        return await send()


@functools.lru_cache(maxsize=1)
def _follows_redirects() -> bool:
    """Does the SDK leave it to the library to follow redirects? Newer releases do it themselves."""
    try:
        make = importlib.import_module("mcp.shared._httpx_utils").create_mcp_http_client
        return bool(make().follow_redirects)
    except (ImportError, AttributeError):
        return False


async def _no_haste(request: HTTP.Request) -> None:
    """A stream, or an answer that may be one, takes the time that it takes."""
    limits = request.extensions.get("timeout")
    if limits and request.method != "DELETE" and "text/event-stream" in request.headers.get("accept", ""):
        limits["read"] = None
