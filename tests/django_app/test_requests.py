"""Django under WSGI: each request's asynchronous code runs in a loop of its own, in threads that come and go."""

from __future__ import annotations

import pytest

pytest.importorskip("django")

pytestmark = pytest.mark.slow

SITE = """
import asyncio, faulthandler, sys, threading
faulthandler.dump_traceback_later(90, exit=True)
import aionest
{apply}
from asgiref.sync import async_to_sync, sync_to_async
import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
from django.utils.decorators import sync_and_async_middleware

@sync_and_async_middleware
def both_ways(get_response):
    if asyncio.iscoroutinefunction(get_response):
        async def middleware(request):
            response = await get_response(request)
            response["X-Both"] = "async"
            return response
    else:
        def middleware(request):
            response = get_response(request)
            response["X-Both"] = "sync"
            return response
    return middleware

class SyncOnly:
    sync_capable, async_capable = True, False
    def __init__(self, get_response):
        self.get_response = get_response
    def __call__(self, request):
        return self.get_response(request)

settings.configure(
    DEBUG=True, SECRET_KEY="x", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], USE_TZ=True,
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "file:memory?mode=memory&cache=shared"}}}},
    MIDDLEWARE=[f"{{__name__}}.both_ways", f"{{__name__}}.SyncOnly", f"{{__name__}}.both_ways"],
    LOGGING_CONFIG=None,
)
django.setup()
from django.contrib.sessions.backends.base import SessionBase
from django.db import connection, connections

def query(n):
    with connection.cursor() as cursor:
        cursor.execute("select %s + 1", [n])
        return cursor.fetchone()[0]

left = []

async def background():
    try:
        await asyncio.sleep(100)
    finally:
        left.append("ended")

async def aquery(n):
    return await sync_to_async(query)(n)

async def view(request, n):
    asyncio.create_task(background())
    await asyncio.sleep(0)
    first, second = await asyncio.gather(aquery(n), sync_to_async(query, thread_sensitive=False)(n))
    return HttpResponse(f"{{first}} {{second}}")

def sync_view(request, n):
    return HttpResponse(str(async_to_sync(aquery)(async_to_sync(aquery)(n))))

def deeper(n):
    return async_to_sync(aquery)(n)

async def deep_view(request, n):
    results = [await sync_to_async(deeper)(n) for _ in range(2)]
    results.append(await sync_to_async(lambda: async_to_sync(sync_to_async(deeper))(n))())
    return HttpResponse(" ".join(map(str, results)))

urlpatterns = [path("async/<int:n>", view), path("sync/<int:n>", sync_view), path("deep/<int:n>", deep_view)]
PATHS = [f"/{{kind}}/{{n}}" for kind in ("async", "sync", "deep") for n in range(3)]
"""

CLIENTS = """
from django.test import AsyncClient, Client

client = Client()
for path_ in PATHS * 2:
    response = client.get(path_)
    print(path_, response.status_code, response.content.decode(), response["X-Both"])

async def requests():
    client = AsyncClient()
    return [await client.get(path_) for path_ in PATHS]

for _ in range(2):
    print([(r.status_code, r.content.decode()) for r in asyncio.run(requests())])
print(len(left))
"""

SERVER = """
import http.client
from concurrent.futures import ThreadPoolExecutor
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass

server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
server.set_app(WSGIHandler())
server.daemon_threads = False
thread = threading.Thread(target=server.serve_forever)
thread.start()

def get(path_):
    http_ = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    http_.request("GET", path_)
    response = http_.getresponse()
    try:
        return path_, response.status, response.read().decode()
    finally:
        http_.close()

with ThreadPoolExecutor(8) as pool:
    for result in pool.map(get, PATHS * 6):
        print(*result)
server.shutdown()
thread.join()
server.server_close()
print(len(left))
"""


@pytest.mark.parametrize("body", [CLIENTS, SERVER], ids=["test client", "server"])
def test_requests_are_answered_as_without_aionest(child, body):
    def output(apply):
        r = child(SITE.format(apply=apply) + body, dev=False)
        return r.returncode, r.stdout, r.stderr

    stock = output("")
    assert stock[0] == 0 and "/deep/2 200 3 3 3" in stock[1], stock
    assert output("aionest.apply()") == stock


def test_twice_in_a_row_in_one_thread(child):
    r = child(
        SITE.format(apply="aionest.apply()")
        + """
print(*[async_to_sync(aquery)(1) for _ in range(3)])
thread = threading.Thread(target=lambda: print(*[async_to_sync(aquery)(2) for _ in range(3)]))
thread.start(); thread.join()
async def main():
    return await asyncio.gather(*[sync_to_async(deeper)(n) for n in range(3)])
print(*asyncio.run(main()), *asyncio.run(main()))
""",
        dev=False,
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, "2 2 2\n3 3 3\n1 2 3 1 2 3\n", ""), r
