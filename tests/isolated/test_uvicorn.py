"""A real server on uvicorn, with asyncio's own loop and with uvloop: handlers call synchronous code that runs coroutines."""

from __future__ import annotations

import importlib.util

import pytest

for name in ("uvicorn", "starlette", "httpx"):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is missing", allow_module_level=True)

LOOPS = ["asyncio", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]

SERVER = """
import asyncio, sys, threading, time
import aionest
aionest.apply()

import httpx, uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route


def synchronous(delay):  # as deep in a library
    return asyncio.run(asyncio.sleep(delay, delay))


async def nested(request):
    return JSONResponse([synchronous(float(request.query_params["delay"])), type(asyncio.get_running_loop()).__module__])


async def streamed(request):
    async def parts():
        for i in range(3):
            yield f"{synchronous(0.001)} "

    return StreamingResponse(parts())


async def fails(request):
    async def inner():
        await asyncio.sleep(0.001)
        raise LookupError("inside")

    try:
        asyncio.run(inner())
    except LookupError as exc:
        return JSONResponse(repr(exc))


def in_a_thread(request):  # starlette calls it in a worker thread
    return JSONResponse(asyncio.run(asyncio.sleep(0.01, "thread")))


app = Starlette(routes=[Route("/nested", nested), Route("/streamed", streamed), Route("/fails", fails), Route("/thread", in_a_thread)])
server = uvicorn.Server(uvicorn.Config(app, port=0, loop=sys.argv[1], log_level="warning"))
thread = threading.Thread(target=server.run)
thread.start()
while not (server.started and server.servers):
    time.sleep(0.01)
port = server.servers[0].sockets[0].getsockname()[1]


async def visit():
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        begin = time.monotonic()
        answers = await asyncio.gather(*(client.get("/nested", params={"delay": 0.3 - i / 100}) for i in range(20)))
        together = time.monotonic() - begin < 3  # one after the other they would take 4
        print([a.status_code for a in answers] == [200] * 20, together, answers[0].json()[1].partition(".")[0])
        print((await client.get("/streamed")).text, (await client.get("/fails")).json(), (await client.get("/thread")).json())


asyncio.run(visit())
server.should_exit = True
thread.join()
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_handlers_nest_at_once_stream_and_fail(child, loop):
    r = child(SERVER, loop, dev=False)
    assert r.stdout == f"True True {loop}\n0.001 0.001 0.001  LookupError('inside') thread\n", r.stderr
    assert r.stderr == ""
