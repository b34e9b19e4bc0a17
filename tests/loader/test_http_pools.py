"""The connections of an HTTP session: as many as there are requests in flight, kept for the next, none left."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.request

import pytest

pytest.importorskip("mcp")

from aionest.mcp.sdk.line import HTTP
from aionest.mcp.transport import pools as module
from aionest.mcp.transport.client import Client
from aionest.mcp.transport.pools import SIZE, Pools

CROWD = 5 * SIZE


class Server(asyncio.Protocol):
    """One connection: it answers when told to; ``/cut`` ends it instead."""

    def __init__(self, all_: Connections) -> None:
        self.all = all_

    def connection_made(self, transport):
        self.transport = transport
        self.all.made += 1
        self.all.open.add(self)

    def connection_lost(self, exc):
        self.all.open.discard(self)
        if not self.all.open:
            self.all.none.set()

    def data_received(self, data):
        for request in data.decode().split("\r\n\r\n")[:-1]:
            self.all.asking += 1
            self.all.most = max(self.all.most, self.all.asking)
            if self.all.asking == self.all.answers_at:
                self.all.go.set()
            task = asyncio.ensure_future(self.answer(request.split()[1]))
            self.all.tasks.add(task)
            task.add_done_callback(self.all.tasks.discard)

    async def answer(self, path):
        await self.all.go.wait()
        self.all.asking -= 1
        if path == "/cut":
            self.transport.abort()
        else:
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


class Connections:
    def __init__(self) -> None:
        self.made = self.asking = self.most = 0
        self.open, self.tasks = set(), set()
        self.answers_at = 1
        self.go, self.none = asyncio.Event(), asyncio.Event()

    def crowd(self, size):
        """Nothing is answered until so many ask."""
        self.answers_at = size
        self.go.clear()
        self.none.clear()


@contextlib.asynccontextmanager
async def reached(idle=60.0):
    all_ = Connections()
    server = await asyncio.get_running_loop().create_server(lambda: Server(all_), "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    carried = Pools(idle)
    async with HTTP.AsyncClient(transport=carried, base_url=base, timeout=30) as client:
        yield all_, carried, client
    if all_.open:
        await asyncio.wait_for(all_.none.wait(), 30)  # none is left
    server.close()
    await server.wait_closed()


def carried_by(pools):
    return [pool.carried for pool in pools._pools]


def test_a_crowd_has_a_connection_each_and_the_next_one_finds_them():
    async def main():
        async with reached() as (server, pools, client):
            for _ in range(3):
                server.crowd(CROWD)
                answers = await asyncio.gather(*(client.get("/") for _ in range(CROWD)))
                assert [answer.text for answer in answers] == ["ok"] * CROWD
            assert (server.made, server.most) == (CROWD, CROWD)
            assert carried_by(pools) == [0] * 5

    asyncio.run(main())


def test_one_after_another_shares_one_connection():
    async def main():
        async with reached() as (server, pools, client):
            for _ in range(3 * SIZE):
                await client.get("/")
            assert server.made == 1 and carried_by(pools) == [0]

    asyncio.run(main())


def test_what_failed_or_was_cancelled_is_carried_no_more():
    async def main():
        async with reached() as (server, pools, client):
            with pytest.raises(HTTP.TransportError):
                await client.get("/cut")
            server.crowd(0)  # for ever
            tasks = [asyncio.ensure_future(client.get("/")) for _ in range(CROWD)]
            while server.asking < CROWD:
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert all(task.cancelled() for task in tasks) and set(carried_by(pools)) == {0}
            server.go.set()
            assert (await client.get("/")).text == "ok"

    asyncio.run(main())


def test_an_answer_counts_until_it_is_closed():
    async def main():
        async with reached() as (_, pools, client):
            async with client.stream("GET", "/") as answer:
                assert carried_by(pools) == [1]
                await answer.aread()
                await answer.aclose()
                await answer.aclose()
                assert carried_by(pools) == [0]
            assert carried_by(pools) == [0]

    asyncio.run(main())


def test_connections_that_wait_too_long_are_closed_with_the_next_request():
    async def main():
        async with reached(idle=60.0) as (server, pools, client):
            server.crowd(CROWD)
            await asyncio.gather(*(client.get("/") for _ in range(CROWD)))
            for pool in pools._pools[2:]:
                pool.idle_since -= 61
            await client.get("/")
            while len(server.open) > 2 * SIZE:
                await asyncio.sleep(0)
            assert carried_by(pools) == [0, 0] and len(server.open) == 2 * SIZE

    asyncio.run(main())


def test_a_proxy_of_the_environment_is_the_library_s_affair(monkeypatch):
    for name in urllib.request.getproxies():
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)

    async def proxied():
        async with Client(None, lambda response: None, 1, False) as client:  # type: ignore[arg-type]
            return any(client._mounts.values()), isinstance(client._transport, Pools)

    assert asyncio.run(proxied()) == (False, True)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert asyncio.run(proxied()) == (True, False)


def test_certificates_are_read_once_for_each_place_that_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_contexts", {})
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    usual = module._context()
    assert module._context() is usual
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert module._context() is not usual
