"""Connections of an HTTP client in several small pools of its library.

The library looks at every connection of a pool, with a system call for each idle one, when a request begins and when it ends: of 64
calls at once, each took three times the processor time of a call alone.

Contract: a request goes to the first pool that carries less than ``SIZE`` of them, so few calls share few connections, and there are as
many connections as requests in flight. A pool that carried nothing for ``idle`` seconds is closed with the next request. What is in
flight counts until its answer is closed.

Used by the tasks of one session, in its loop's thread.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import urllib.request
from collections.abc import AsyncIterator

from ..sdk.line import HTTP

SIZE = 4  # requests in flight that one pool carries
_contexts: dict[tuple[str | None, ...], ssl.SSLContext] = {}


class Pool:
    """A transport of the library, and how much it carries."""

    def __init__(self, transport: HTTP.AsyncHTTPTransport) -> None:
        self.transport, self.carried, self.idle_since = transport, 0, 0.0


class Pools(HTTP.AsyncBaseTransport):
    """
    :param idle: seconds for which a connection waits for a next request.
    """

    def __init__(self, idle: float) -> None:
        self._idle = idle
        self._limits = HTTP.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=idle)
        self._pools: list[Pool] = []

    async def handle_async_request(self, request: HTTP.Request) -> HTTP.Response:
        pool = next((pool for pool in self._pools if pool.carried < SIZE), None)
        if pool is None:
            pool = Pool(HTTP.AsyncHTTPTransport(verify=_context(), limits=self._limits))
            self._pools.append(pool)
        pool.carried += 1
        try:
            if len(self._pools) > 1:
                await self._close_idle()
            response = await pool.transport.handle_async_request(request)
        except BaseException:
            self._released(pool)
            raise
        assert isinstance(response.stream, HTTP.AsyncByteStream)
        response.stream = _Body(response.stream, self, pool)
        return response

    def _released(self, pool: Pool) -> None:
        pool.carried -= 1
        if not pool.carried:
            pool.idle_since = asyncio.get_running_loop().time()

    async def _close_idle(self) -> None:
        before = asyncio.get_running_loop().time() - self._idle
        while over := next((pool for pool in self._pools if not pool.carried and pool.idle_since < before), None):
            self._pools.remove(over)
            await over.transport.aclose()

    async def aclose(self) -> None:
        pools, self._pools = self._pools, []
        for pool in pools:
            await pool.transport.aclose()


class _Body(HTTP.AsyncByteStream):
    def __init__(self, inner: HTTP.AsyncByteStream, pools: Pools, pool: Pool) -> None:
        self._inner, self._pools, self._pool = inner, pools, pool
        self._open = True

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._inner.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._inner.aclose()
        finally:
            if self._open:
                self._open = False
                self._pools._released(self._pool)


def pools(idle: float) -> Pools | None:
    """Pools, or None where the environment names a proxy: the library finds it for transports of its own only."""
    return None if urllib.request.getproxies() else Pools(idle)


def _context() -> ssl.SSLContext:
    """The library's own, made once for what names the certificates: it takes 20 ms."""
    key = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    found = _contexts.get(key)
    if found is None:
        found = _contexts[key] = HTTP.create_ssl_context()
    return found
