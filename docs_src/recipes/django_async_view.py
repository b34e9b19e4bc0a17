"""Async views that call synchronous code that runs coroutines; asgiref's adapters beside."""

import asyncio

import aionest

aionest.apply()  # in the settings module, say: before the first request

from asgiref.sync import async_to_sync, sync_to_async  # noqa: E402
from django.conf import settings  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

settings.configure(DEBUG=False, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"], SECRET_KEY="for this example")


async def look_up(item):
    await asyncio.sleep(0.01)
    return f"{item}: {len(item)}"


def price(item):  # synchronous, and deep in a library
    return asyncio.run(look_up(item))


def price_by_asgiref(item):  # as Django's own synchronous code does it
    return async_to_sync(look_up)(item)


async def direct(request, item):
    return HttpResponse(price(item))  # on the server's loop; other requests go on meanwhile


async def in_a_thread(request, item):
    # async_to_sync refuses a loop's own thread; from sync_to_async's it comes back to the loop
    return HttpResponse(await sync_to_async(price_by_asgiref)(item))


def synchronous(request, item):
    return HttpResponse(f"{price(item)}, {price_by_asgiref(item)}")


urlpatterns = [
    path("direct/<item>", direct),
    path("thread/<item>", in_a_thread),
    path("synchronous/<item>", synchronous),
]


async def main():  # as under ASGI
    pages = ["/direct/apple", "/thread/fig", "/synchronous/plum"]
    for answer in await asyncio.gather(*(AsyncClient().get(page) for page in pages)):
        print(answer.content.decode())


if __name__ == "__main__":
    import django
    from django.test import AsyncClient, Client

    django.setup()
    asyncio.run(main())
    # as under WSGI, where Django runs an async view by async_to_sync
    print(Client().get("/direct/pear").content.decode())
