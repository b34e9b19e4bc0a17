"""HTTP with server-sent events, the older transport.

Contract: as ``base``. The SDK only logs that a message could not be posted, or that the stream has ended, on both lines: here
that ends the session.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import anyio

from ..errors import Refused
from ..sdk.line import sse_client
from .base import Streams, Watcher
from .client import Client
from .posts import Posts


class _Incoming:
    """The SDK's stream, which tells of its end: the SDK's session tells nobody."""

    def __init__(self, stream: Any, on_end: Callable[[BaseException], None]) -> None:
        self._stream = stream
        self._on_end = on_end
        self._latest: BaseException | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aenter__(self) -> Any:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> Any:
        return await self._stream.__aexit__(*exc)

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        try:
            item = await self._stream.__anext__()
        except StopAsyncIteration:
            ended = ConnectionError("the server has ended its stream of events")
            ended.__cause__ = self._latest
            self._on_end(ended)
            raise
        self._latest = item if isinstance(item, Exception) else None
        return item


@contextlib.asynccontextmanager
async def streams(
    url: str, headers: Mapping[str, str], connect_timeout: float, auth: Any, limit: int, watcher: Watcher
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

    def look(response: Any) -> None:
        if response.status_code >= 400:
            watcher.was_refused(response.status_code)

    def factory(headers: Any = None, timeout: Any = None, auth: Any = None) -> Any:
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
