"""A Django view. The same under WSGI and ASGI: synchronous views run in threads in both."""

from app_session import ask
from django.conf import settings
from django.http import HttpResponse
from django.urls import path

settings.configure(DEBUG=False, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"], SECRET_KEY="for this example")


def view(request, word):
    return HttpResponse(ask(word))


urlpatterns = [path("ask/<word>", view)]

if __name__ == "__main__":
    import django
    from django.test import Client

    django.setup()
    print(Client().get("/ask/one").content.decode())
