"""1.x: streams that end without an answer, for which the SDK waits for ever.

Contract: used by the tasks of one session, in its loop's thread. The waiting request gets an error; nothing else is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import anyio

from .._json import RequestId
from .line import HTTP, V2, ClientSession, types
from .surface import absent, step_aside


class DroppedStreamWatch:
    """1.x only: notices that the stream which was to bring an answer has ended without it, where the SDK waits for ever.

    2.x sees to it itself.
    """

    PATIENCE = 8.0  # seconds for the SDK's own attempts to take up a stream that can be taken up

    def __init__(self) -> None:
        self.session: ClientSession | None = None
        self._watched: dict[RequestId, asyncio.TimerHandle] = {}  # by request

    def look(self, response: HTTP.Response) -> None:
        """Called with each response of the HTTP client, before its body is read."""
        if V2 or not response.headers.get("content-type", "").startswith("text/event-stream"):
            return
        request = response.request
        if request.method == "POST":
            try:
                number = json.loads(request.content).get("id")
            except (ValueError, AttributeError):
                return
            if isinstance(number, (int, str)):
                self._watch(response, number)
        elif request.method == "GET" and "last-event-id" in request.headers and self._watched:
            # which of them it continues is not said: the first one that waits
            number = next(iter(self._watched))
            timer = self._watched.pop(number)
            timer.cancel()
            self._watch(response, number)

    def _watch(self, response: HTTP.Response, number: RequestId) -> None:
        owner, given = self, response.stream
        assert isinstance(given, HTTP.AsyncByteStream)  # as all of an asynchronous client's are
        stream = given

        class Watched(HTTP.AsyncByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                resumable = False
                try:
                    async for chunk in stream:
                        resumable = resumable or chunk.startswith(b"id:") or b"\nid:" in chunk
                        yield chunk
                finally:
                    owner._ended(number, resumable)

            async def aclose(self) -> None:
                await stream.aclose()

        response.stream = Watched()

    def _ended(self, number: RequestId, resumable: bool) -> None:
        loop = asyncio.get_running_loop()
        self._watched[number] = loop.call_later(self.PATIENCE if resumable else 0.5, self._give_up, number)

    def _give_up(self, number: RequestId) -> None:
        self._watched.pop(number, None)
        waiting = getattr(self.session, "_response_streams", {}).get(number)
        if waiting is not None:
            error = types.ErrorData(code=-32000, message="the connection ended without an answer")
            with contextlib.suppress(anyio.WouldBlock, anyio.ClosedResourceError, anyio.BrokenResourceError):
                waiting.send_nowait(types.JSONRPCError(jsonrpc="2.0", id=number, error=error))

    def watch(self, session: ClientSession) -> None:
        """Its requests are meant."""
        self.session = session
        if not V2 and absent("dropped streams", session):
            step_aside("dropped streams", "no _response_streams")

    def close(self) -> None:
        """Forget all."""
        for timer in self._watched.values():
            timer.cancel()
        self._watched.clear()
        self.session = None
