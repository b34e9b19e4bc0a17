"""What became of each request to an HTTP server: the SDK's errors do not say whose request has failed, and how far it came.

Contract: a channel of ``_sent``. Requests of calls are noted when they go into the session's stream (``stream()``), and
followed through the HTTP client (``watch()``). Forgotten with their call.

Used by the tasks of one session, in its loop's thread.
"""

from __future__ import annotations

import json
from typing import Any

import anyio

from ._sent import note
from .errors import kind

_WAITING, _POSTED = "waiting", "posted"


class Posts:
    """The requests of calls under way by their JSON-RPC ids."""

    def __init__(self) -> None:
        self._fates: dict[Any, Any] = {}  # _WAITING, _POSTED, what sending it has raised, or the status that said no

    def unreached(self, number: Any) -> bool:
        """Was it never posted, or did the server not take it (no connection; no such session)?"""
        fate = self._fates.get(number, _POSTED)
        if isinstance(fate, BaseException):
            return kind(fate)[0] in ("refused", "dns")
        return fate in (_WAITING, 404)

    def status(self, number: Any) -> int:
        """The HTTP status that said no to it, or 0."""
        fate = self._fates.get(number)
        return fate if isinstance(fate, int) else 0

    def forget(self, number: Any) -> None:
        """Its call is over."""
        self._fates.pop(number, None)

    def stream(self, inner: Any, request_id: Any) -> Any:
        """The session's stream, with a note of each request.

        :param request_id: gives the id of a message that is a request, or None.
        """
        return _Stream(self, inner, request_id)

    def watch(self, client: Any) -> None:
        """Follow what this HTTP client posts."""
        send = client.send

        async def watched(request: Any, **options: Any) -> Any:
            number = self._number(request) if self._fates else None
            if number is None:
                return await send(request, **options)
            self._fates[number] = _POSTED
            try:
                response = await send(request, **options)
            except Exception as exc:
                if number in self._fates:
                    self._fates[number] = exc
                raise
            if response.status_code >= 400 and number in self._fates:
                self._fates[number] = response.status_code
            return response

        client.send = watched

    def _number(self, request: Any) -> Any:
        if request.method != "POST":
            return None
        try:
            number = json.loads(request.content).get("id")
        except Exception:  # no JSON, or a body that cannot be looked at
            return None
        return number if isinstance(number, (int, str)) and number in self._fates else None


class _Stream(anyio.abc.ObjectSendStream[Any]):
    def __init__(self, posts: Posts, inner: Any, request_id: Any) -> None:
        self._posts, self._inner, self._request_id = posts, inner, request_id

    async def send(self, item: Any) -> None:
        number = self._request_id(item)
        if number is not None and note(self._posts, number):
            self._posts._fates[number] = _WAITING
        await self._inner.send(item)

    async def aclose(self) -> None:
        await self._inner.aclose()
