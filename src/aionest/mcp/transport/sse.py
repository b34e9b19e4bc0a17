"""HTTP with server-sent events, the older transport.

Contract: as ``base``. The SDK only logs that a message could not be posted, or that the stream has ended, on both lines: here
that ends the session.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

import anyio

from ..errors import Refused
from ..sdk.line import HTTP, Incoming, SessionMessage, sse_client
from .base import Streams, Watcher
from .client import Client
from .posts import Posts


class _Incoming(anyio.abc.ObjectReceiveStream[SessionMessage | Exception]):
    """The SDK's stream, which tells of its end: the SDK's session tells nobody."""

    def __init__(self, stream: Incoming, on_end: Callable[[BaseException], None]) -> None:
        self._stream = stream
        self._on_end = on_end
        self._latest: BaseException | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    async def receive(self) -> SessionMessage | Exception:
        try:
            item = await self._stream.receive()
        except anyio.EndOfStream:
            ended = ConnectionError("the server has ended its stream of events")
            ended.__cause__ = self._latest
            self._on_end(ended)
            raise
        self._latest = item if isinstance(item, Exception) else None
        return item

    async def aclose(self) -> None:
        await self._stream.aclose()


@contextlib.asynccontextmanager
async def streams(
    url: str, headers: Mapping[str, str], connect_timeout: float, auth: HTTP.Auth | None, limit: int, watcher: Watcher
) -> AsyncIterator[Streams]:
    """Reach a server.

    :param auth: the HTTP library's, or None.
    :param limit: bytes of one message.
    """
    posts = Posts()
    failure: BaseException | None = None
    failed = anyio.Event()

    def end(exc: BaseException) -> None:
        nonlocal failure
        failure = failure or exc
        failed.set()

    def look(response: HTTP.Response) -> None:
        if response.status_code >= 400:
            watcher.was_refused(response.status_code)

    def factory(
        headers: dict[str, str] | None = None, timeout: HTTP.Timeout | None = None, auth: HTTP.Auth | None = None
    ) -> Client:
        def lost(what: int | BaseException) -> None:
            end(Refused(what) if isinstance(what, int) else what)

        return Client(posts, look, limit, False, lost, headers=headers, timeout=timeout, auth=auth)

    async def watch() -> None:
        await failed.wait()
        assert failure is not None
        raise failure

    client = sse_client(url, headers=dict(headers), timeout=connect_timeout, auth=auth, httpx_client_factory=factory)
    async with client as found, anyio.create_task_group() as group:
        group.start_soon(watch)
        try:
            yield _Incoming(found[0], end), posts.stream(found[1])
        finally:
            group.cancel_scope.cancel()
