"""1.x: streams that end without an answer, for which the SDK waits for ever.

Contract: used by the tasks of one session, in its loop's thread. The waiting request gets an error; nothing else is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import anyio

from .line import HTTP, V2, types
from .surface import absent, step_aside


class DroppedStreamWatch:
    """1.x only: notices that the stream which was to bring an answer has ended without it, where the SDK waits for ever.

    2.x sees to it itself.
    """

    PATIENCE = 8.0  # seconds for the SDK's own attempts to take up a stream that can be taken up

    def __init__(self) -> None:
        self.session: Any = None
        self._watched: dict[Any, Any] = {}  # by request: the timer, or None

    def look(self, response: Any) -> None:
        """Called with each response of the HTTP client, before its body is read."""
        if V2 or not response.headers.get("content-type", "").startswith("text/event-stream"):
            return
        request = response.request
        if request.method == "POST":
            try:
                number = json.loads(request.content).get("id")
            except (ValueError, AttributeError):
                return
            if number is not None:
                response.stream = self._watch(response.stream, number)
        elif request.method == "GET" and "last-event-id" in request.headers and self._watched:
            # which of them it continues is not said: the first one that waits
            number = next(iter(self._watched))
            timer = self._watched.pop(number)
            timer.cancel()
            response.stream = self._watch(response.stream, number)

    def _watch(self, stream: Any, number: Any) -> Any:
        owner = self

        class Watched(HTTP.AsyncByteStream):  # type: ignore[misc]
            async def __aiter__(self) -> Any:
                resumable = False
                try:
                    async for chunk in stream:
                        resumable = resumable or chunk.startswith(b"id:") or b"\nid:" in chunk
                        yield chunk
                finally:
                    owner._ended(number, resumable)

            async def aclose(self) -> None:
                await stream.aclose()

        return Watched()

    def _ended(self, number: Any, resumable: bool) -> None:
        loop = asyncio.get_running_loop()
        self._watched[number] = loop.call_later(self.PATIENCE if resumable else 0.5, self._give_up, number)

    def _give_up(self, number: Any) -> None:
        self._watched.pop(number, None)
        waiting = getattr(self.session, "_response_streams", {}).get(number)
        if waiting is not None:
            error = types.ErrorData(code=-32000, message="the connection ended without an answer")
            with contextlib.suppress(anyio.WouldBlock, anyio.ClosedResourceError, anyio.BrokenResourceError):
                waiting.send_nowait(types.JSONRPCError(jsonrpc="2.0", id=number, error=error))

    def watch(self, session: Any) -> None:
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
