"""Streamable HTTP: the two streams of a session with a server that is reached by a URL.

Contract: as ``base``. The status of each refused request is told at once; 2.x does not tell it in its errors.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from ..sdk import DroppedStreamWatch
from ..sdk.line import HTTP, Incoming, Outgoing, streamable_http_client
from .asking import Asking, Posting
from .base import Streams, Watcher
from .client import Client
from .posts import Posts


@functools.lru_cache(maxsize=1)
def _has_limit() -> bool:
    return "max_sse_event_size" in inspect.signature(streamable_http_client).parameters


@contextlib.asynccontextmanager
async def streams(
    url: str,
    headers: Mapping[str, str],
    auth: HTTP.Auth | None,
    limit: int,
    watcher: Watcher,
    dropped: DroppedStreamWatch,
) -> AsyncIterator[Streams]:
    """Reach a server.

    :param auth: the HTTP library's, or None.
    :param limit: bytes of one message.
    :param dropped: looks after streams that end without an answer.
    """
    posts = Posts()

    def look(response: HTTP.Response) -> None:
        # 405 to a GET is fine: the server has no stream of its own
        if response.status_code >= 400 and (response.status_code != 405 or response.request.method == "POST"):
            watcher.was_refused(response.status_code)
        dropped.look(response)

    connect: Callable[..., AbstractAsyncContextManager[tuple[Incoming, Outgoing, object]]] = streamable_http_client
    client = Client(posts, look, limit, True, headers=dict(headers), auth=auth)
    # where the SDK has a limit of its own, of one event, ours counts
    own: dict[str, object] = {"max_sse_event_size": None} if _has_limit() else {}
    async with (
        client,
        connect(url, http_client=client, **own) as found,
    ):  # of 1.x three things, of 2.x two
        asking = client.asking = Asking(client, posts, url, limit)
        try:
            yield found[0], Posting(posts, found[1], asking)
        finally:
            await asking.aclose()
