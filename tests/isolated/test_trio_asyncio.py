"""trio-asyncio: loops derived from asyncio's that run inside trio work as without aionest, and say so where one nests there."""

from __future__ import annotations

import importlib.util

import pytest

# not imported here: it patches asyncio
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("trio_asyncio"), reason="no trio-asyncio here"),
]

APPLY = "import aionest; aionest.apply()\n"
IMPORT = "import asyncio, trio, trio_asyncio\n"
ORDERS = {"before": APPLY + IMPORT, "after": IMPORT + APPLY}


@pytest.fixture(params=ORDERS)
def program(request, child):
    """aionest is applied before trio-asyncio is imported (which patches asyncio, too), or after."""

    if child(IMPORT, dev=False).returncode != 0:
        pytest.skip("trio-asyncio does not know this Python yet")

    def run(source, expected):
        import textwrap

        r = child(ORDERS[request.param] + textwrap.dedent(source), dev=False)
        assert (r.returncode, r.stdout.splitlines(), r.stderr) == (0, expected, "")

    return run


def test_a_loop_inside_trio(program):
    program(
        """
        async def echo(reader, writer):
            writer.write(await reader.readexactly(4))
            await writer.drain()
            writer.close()

        async def client(address):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"echo")
            data = await reader.readexactly(4)
            writer.close()
            slept = await asyncio.gather(*[asyncio.sleep(0.01 * n, n) for n in range(3)])
            task = asyncio.create_task(asyncio.sleep(60))
            await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                print("cancelled")
            loop = asyncio.get_running_loop()
            return data, slept, await loop.run_in_executor(None, lambda: "thread")

        async def main():
            async with trio_asyncio.open_loop():
                server = await trio_asyncio.aio_as_trio(asyncio.start_server)(echo, "127.0.0.1", 0)
                print(await trio_asyncio.aio_as_trio(client)(server.sockets[0].getsockname()))
                server.close()
            return "closed"

        print(trio.run(main))
        """,
        ["cancelled", "(b'echo', [0, 1, 2], 'thread')", "closed"],
    )


def test_a_loop_that_trio_runs_in_a_greenlet(program):
    program(
        """
        async def plain():
            return await asyncio.sleep(0.01, "plain")

        loop = asyncio.new_event_loop()
        print(type(loop).__name__, loop.run_until_complete(plain()), loop.run_until_complete(plain()))
        loop.close()
        """,
        ["SyncTrioEventLoop plain plain"],
    )


def test_nesting_inside_trio_is_refused_and_all_goes_on(program):
    program(
        """
        async def nests():
            for way in (asyncio.run, aionest.run, aionest.await_):
                try:
                    way(asyncio.sleep(0.01))
                except RuntimeError as exc:
                    print(type(exc).__name__, "aionest.portal()" in str(exc))
            return await asyncio.sleep(0.01, "goes on")

        async def main():
            async with trio_asyncio.open_loop():
                return await trio_asyncio.aio_as_trio(nests)()

        print(trio.run(main))
        """,
        ["ForeignLoopError True", "ForeignLoopError True", "ForeignLoopError True", "goes on"],
    )


def test_a_plain_loop_beside_it_nests(program):
    program(
        """
        async def nests():
            return asyncio.run(asyncio.sleep(0.01, "nested"))

        async def main():
            async with trio_asyncio.open_loop():
                return await trio_asyncio.aio_as_trio(asyncio.sleep)(0.01, "inside")

        print(trio.run(main))
        loop = asyncio.SelectorEventLoop()
        print(loop.run_until_complete(nests()))
        loop.close()
        """,
        ["inside", "nested"],
    )
