"""Bodies of HTTP answers, decoded piece by piece: a few bytes that become gigabytes take no memory.

The HTTP library decodes all that has come at once, encodings in encodings too.

Contract
  * ``readable`` is a hook of the library's clients for responses, and ``ENCODINGS`` what they say that they take. What is encoded in
    another way raises the library's ``DecodingError`` where it is read.
  * A piece is no longer than ``PIECE``; others have their turn between the pieces.
  * Of what brings no message, such as a redirect or the metadata of an authorization server, no more than ``MOST`` is read.

Used by the tasks of one client, in its loop's thread.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator

from .line import HTTP

ENCODINGS = {"accept-encoding": "gzip, deflate"}
PIECE = 1 << 18  # bytes
MOST = 1 << 20  # bytes of a body that is no message's
LAYERS = 2  # of encodings, one in another
_CUT = {401, 403, 429}  # whose bodies nobody reads to their end
_BITS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


def encodings(wanted: str | None) -> dict[str, str]:
    """What is said to be taken: what a configuration wants, as far as it can be read."""
    if wanted is None:
        return ENCODINGS
    known = (*_BITS, "identity")
    read = [one.strip() for one in wanted.split(",") if one.partition(";")[0].strip().lower() in known]
    return {"accept-encoding": ", ".join(read) or "identity"}


async def readable(response: HTTP.Response) -> None:
    """Have its body decoded here, and bounded where it brings no message."""
    stream = response.stream
    if not isinstance(stream, HTTP.AsyncByteStream) or response.is_stream_consumed:
        return
    named = response.headers.get("content-encoding", "").lower().split(",")
    layers = [name for name in map(str.strip, named) if name not in ("", "identity")]
    if layers:
        for name in ("content-encoding", "content-length"):
            response.headers.pop(name, None)
        wrong = next((name for name in layers if name not in _BITS), None)
        if wrong is not None or len(layers) > LAYERS:
            said = (
                f"it uses content encoding {wrong[:20]!r}, which was not requested"
                if wrong
                else "it applies too many content encodings"
            )
            stream = _Unreadable(stream, said)
        else:
            for name in reversed(layers):
                stream = _Decoded(stream, name)
    status = response.status_code
    if 300 <= status < 400 or status in _CUT:
        stream = _Bounded(stream, MOST, False)
    elif "text/event-stream" not in response.request.headers.get("accept", ""):
        stream = _Bounded(stream, MOST, True)
    response.stream = stream


class _Layer(HTTP.AsyncByteStream):
    def __init__(self, inner: HTTP.AsyncByteStream) -> None:
        self.inner = inner

    async def aclose(self) -> None:
        await self.inner.aclose()


class _Decoded(_Layer):
    def __init__(self, inner: HTTP.AsyncByteStream, encoding: str) -> None:
        super().__init__(inner)
        self.encoding = encoding

    async def __aiter__(self) -> AsyncIterator[bytes]:
        decoder, begun = zlib.decompressobj(_BITS[self.encoding]), False
        async for data in self.inner:
            while not decoder.eof:
                try:
                    piece = decoder.decompress(data, PIECE)
                except zlib.error as exc:
                    if begun or self.encoding != "deflate":
                        raise HTTP.DecodingError(f"its body is not valid {self.encoding}: {exc}") from exc
                    decoder, begun = zlib.decompressobj(-zlib.MAX_WBITS), True  # as some servers mean it
                    continue
                begun = begun or bool(data)
                data = decoder.unconsumed_tail
                if piece:
                    yield piece
                if len(piece) < PIECE and not data:
                    break
                await asyncio.sleep(0)


class _Bounded(_Layer):
    def __init__(self, inner: HTTP.AsyncByteStream, limit: int, tell: bool) -> None:
        super().__init__(inner)
        self.limit, self.tell = limit, tell

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self.limit
        async for chunk in self.inner:
            if len(chunk) > left and self.tell:
                raise HTTP.DecodingError(f"it is longer than {self.limit >> 20} MiB")
            yield chunk[:left]
            left -= len(chunk)
            if left < 0:
                return


class _Unreadable(_Layer):
    def __init__(self, inner: HTTP.AsyncByteStream, why: str) -> None:
        super().__init__(inner)
        self.why = why

    async def __aiter__(self) -> AsyncIterator[bytes]:
        raise HTTP.DecodingError(self.why)
        yield b""


__all__ = ["ENCODINGS", "MOST", "encodings", "readable"]
