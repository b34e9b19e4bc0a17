"""What HTTP servers answer requests with, as messages that the SDK takes: else it waits for what never comes.

Contract
  * An answer to a request is JSON with its id, or a stream of events; anything else (202, nothing, a page, a body that is cut or
    that nobody can read) becomes an error for that request, at once. A status that says no is left to the SDK.
  * No message is longer than the limit; nothing longer is kept. Of what comes with a status that says no the SDK gets a beginning.
  * However many events come at once, others have their turns between them.
  * A stream that ends without the answer is left to who watches for that (``DroppedStreamWatch``, or the SDK).

Used by the tasks of one session, in its loop's thread.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import time
from collections.abc import AsyncIterable, AsyncIterator

from pydantic_core import from_json, to_json

from .._json import JsonObject, RequestId
from ..sdk.line import HTTP
from ..sdk.mend import LOST, MOVED, answered, error_in, error_line, event, is_answer

# the end of an event: two ends of lines, of any kind
_END = re.compile(rb"(?:\r\n|\r(?!\n)|\n)(?:\r\n|\r(?!\n)|\n)")
# a message in one line, with nothing that SDKs don't write around it
_MESSAGE = re.compile(rb"(?:event: ?message\r?\n|id:[^\r\n\0]*\r?\n)*data: ?([^\r\n]+)\r?\n\r?\n")
_MARK = b"\xef\xbb\xbf"  # that a text may begin with
MIB = 1 << 20
MOST_SAID = MIB // 4  # bytes of a body that comes with a status that says no
TURN = 0.001  # seconds of the processor for events that have come at once, before others have a turn
MOST_REDIRECTS = 10  # one after the other, within an origin
_SEEN = "aionest.redirects"  # in a request's extensions, which those have that follow
_SESSION = "mcp-session-id"
_PROTOCOL = "mcp-protocol-version"
_NO_SESSIONS = "2026-07-28"  # from this revision on
# errors: the headers, which name the revision, are not as the server wants them; it knows no such revision
_OTHER_PROTOCOL = {-32020, -32022}
_FIRST = {"initialize", "server/discover"}  # with which a session begins
_NO_SESSION_MATTER = {-32601, -32602}  # errors that come with a 404 which does not mean that the session is gone


def _message_of(request: HTTP.Request) -> JsonObject:
    """The JSON-RPC message that a POST carries; an empty one for what is none."""
    if request.method != "POST":
        return {}
    try:
        # a request that follows a redirect has the first one's body, and does not know that it is one
        plain = isinstance(request.stream, HTTP.ByteStream)
        message = from_json(b"".join(request.stream) if plain else request.content)  # type: ignore[arg-type]
    except Exception:  # not JSON, or a body that cannot be looked at
        return {}
    return message if type(message) is dict else {}


def asked_by(request: HTTP.Request) -> RequestId | None:
    """The id of the JSON-RPC request that a POST carries, or None."""
    message = _message_of(request)
    number = message.get("id") if "method" in message else None
    return number if isinstance(number, (int, str)) and not isinstance(number, bool) else None


def too_long(limit: int) -> str:
    """What is said of a message that is longer."""
    return f"it sent a message of more than {limit / MIB:g} MiB (max_message_mb in its configuration raises the limit)"


async def usable(response: HTTP.Response, number: RequestId | None, limit: int) -> HTTP.Response:
    """A response that the SDK can use, in place of this one.

    :param number: of the request that it answers, or None.
    :param limit: bytes of one message.
    """
    status = response.status_code
    if number is not None and status >= 300:
        return await _refusal(response, number, limit)
    if status < 200 or status >= 300:
        return response
    kind = kind_of(response)
    if kind == "text/event-stream":
        return like(response, stream=Events(response, number, limit))
    if number is None:
        return response
    try:
        if kind != "application/json" or status in (202, 204):
            said = f"with {kind}" if kind and status == 200 else f"with HTTP {status} and no message"
            line = error_line(number, f"it answered {said} instead of JSON: is the url right?")
        else:
            data, line = await content_of(response, number, limit)
            line = line or answered(data, number)
    finally:
        await response.aclose()
    return like(response, content=line, kind="application/json")


async def _refusal(response: HTTP.Response, number: RequestId, limit: int) -> HTTP.Response:
    """The response itself, or the error in it."""
    status = response.status_code
    if status < 400:
        where = _leads_away(response)
        if where:
            await response.aclose()
            return like(response, content=error_line(number, where, MOVED), kind="application/json")
        return response
    if status in (401, 403, 429) or kind_of(response) != "application/json":
        return response if response.is_stream_consumed else like(response, stream=Beginning(response))
    try:
        data, line = await content_of(response, number, limit)
    finally:
        await response.aclose()
    found = error_in(data) if not line else None
    if found is None:
        return like(response, content=data)
    if _ends_the_session(response, number, *found):
        return like(response, content=data, status=404)
    line = answered(to_json({"jsonrpc": "2.0", "id": number, "error": found[0]}), number)
    return like(response, content=line, kind="application/json")


def _ends_the_session(response: HTTP.Response, number: RequestId, error: JsonObject, whose: object) -> bool:
    """Does the server say that it does not know the session, as after a restart? By 404; many say 400, with an error that is for
    no request of ours. One that speaks another revision of the protocol by now says 400 as well.
    """
    if response.status_code == 404:
        return error["code"] not in _NO_SESSION_MATTER
    if response.status_code != 400 or _message_of(response.request).get("method") in _FIRST:
        return False
    headers = response.request.headers
    foreign = str(whose) != str(number) and (_SESSION in headers or headers.get(_PROTOCOL, "") >= _NO_SESSIONS)
    return foreign or error["code"] in _OTHER_PROTOCOL


def _leads_away(response: HTTP.Response) -> str:
    """Why a redirect is not followed; nothing if the SDK, or the library, follows it."""
    try:
        follows = importlib.import_module("mcp.shared._httpx_utils").next_request_within_origin
    except (ImportError, AttributeError):  # an SDK that leaves it to the library
        return ""
    request, after = response.request, response.next_request
    seen = request.extensions.get(_SEEN, 0)
    if after is not None:
        after.extensions[_SEEN] = seen + 1
    if follows(response) is not None:
        return "it redirects in a loop" if seen >= MOST_REDIRECTS else ""
    if after is None:
        return f"it answered HTTP {response.status_code}, without a usable Location: is the url right?"
    to = after.url.copy_with(userinfo=b"", query=None, fragment=None)
    if after.method != request.method and (to.scheme, to.host, to.port) == (
        request.url.scheme,
        request.url.host,
        request.url.port,
    ):
        why = f"by HTTP {response.status_code}, which drops the request body"
    else:
        why = "a different origin, to which credentials are not sent"
    return f"it redirects to {to}, {why}: if that is the right server, use its url in the configuration"


def kind_of(response: HTTP.Response) -> str:
    """Its media type."""
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _source(response: HTTP.Response) -> AsyncIterable[bytes]:
    """The body's pieces. Those of a plain one without the library's own layers, which take longer than most calls' answers."""
    plain = "content-encoding" not in response.headers and isinstance(response.stream, HTTP.AsyncByteStream)
    return response.stream if plain else response.aiter_bytes()  # type: ignore[return-value]


async def content_of(response: HTTP.Response, number: RequestId, limit: int) -> tuple[bytes, bytes]:
    """A body; or, if it cannot be read, nothing and the error for the request in its place, as a line."""
    found = bytearray()
    try:
        async for chunk in _source(response):
            found += chunk
            if len(found) > limit:
                return b"", error_line(number, too_long(limit))
    except HTTP.DecodingError as exc:
        return b"", error_line(number, f"the server's answer cannot be read: {exc}")
    except HTTP.TransportError as exc:
        return b"", error_line(number, f"the connection ended before the answer was complete ({exc})", LOST)
    return bytes(found), b""


def like(
    response: HTTP.Response,
    *,
    kind: str = "",
    content: bytes | None = None,
    stream: HTTP.AsyncByteStream | None = None,
    status: int = 0,
) -> HTTP.Response:
    """A response with another body; with a kind it is a good one."""
    dropped = ("content-encoding", "content-length", "transfer-encoding", *(("content-type",) if kind else ()))
    headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in dropped]
    if kind:
        headers.append(("content-type", kind))
    status = status or (200 if kind else response.status_code)
    return HTTP.Response(status, headers=headers, request=response.request, content=content, stream=stream)


def _parts(one: bytes) -> tuple[bytes, bytes]:
    """The name and the data of an event."""
    fields = [line.partition(b":") for line in one.splitlines() if line]
    names = [value.strip() for name, _, value in fields if name == b"event"]
    return (names or [b""])[-1], b"\n".join(value.removeprefix(b" ") for name, _, value in fields if name == b"data")


def _loaded(data: bytes) -> JsonObject | None:
    """What is in it, if that is an object."""
    try:
        found = from_json(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


class Beginning(HTTP.AsyncByteStream):
    """A body that is cut where it gets longer than anybody reads."""

    def __init__(self, response: HTTP.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_SAID
        async for chunk in _source(self._response):
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                break

    async def aclose(self) -> None:
        await self._response.aclose()


class Events(HTTP.AsyncByteStream):
    """A stream of events, each of which is looked at when it is there."""

    def __init__(self, response: HTTP.Response, number: RequestId | None, limit: int) -> None:
        self._response, self._number, self._limit = response, number, limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self.pieces():
            yield self.checked(piece)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Each event as it was sent."""
        rest = bytearray()
        looked, begun = 0, False
        async for chunk in _source(self._response):
            rest += chunk
            since = time.thread_time()
            if not begun and len(rest) >= len(_MARK):
                begun = True
                if rest.startswith(_MARK):
                    del rest[: len(_MARK)]
            if self._number is not None and b"\0" in rest[:8]:
                why = "it answered with events that are not in UTF-8"
                yield b"data: " + error_line(self._number, why) + b"\n\n"
                return
            while (end := _END.search(rest, looked)) is not None:
                one = bytes(rest[: end.end()])
                del rest[: end.end()]
                looked = 0
                yield one
                if time.thread_time() - since > TURN:
                    await asyncio.sleep(0)
                    since = time.thread_time()
            looked = max(0, len(rest) - 3)
            if len(rest) > self._limit:
                if self._number is None:
                    raise HTTP.ReadError(too_long(self._limit))
                yield b"data: " + error_line(self._number, too_long(self._limit)) + b"\n\n"
                return
        if rest:
            # some servers do not end their last event; one that has all of its message was not cut
            whole = _loaded(_parts(bytes(rest))[1]) is not None
            yield bytes(rest) + (b"\n\n" if whole else b"")

    @staticmethod
    def only_data(one: bytes) -> bytes:
        """The data of a message of one line; nothing for any other event."""
        found = _MESSAGE.fullmatch(one)
        return found[1] if found is not None else b""

    def checked(self, one: bytes) -> bytes:
        """An event as the SDK can use it."""
        lines = one.splitlines()
        kind, data = _parts(one)
        named = kind not in (b"", b"message")  # otherwise than messages are
        bare = self._number is not None and one.lstrip()[:1] == b"{"  # a message that is no event
        if bare:
            data, lines = b"".join(one.splitlines()), []
        if one.endswith(b"\r"):  # the SDK would wait for what comes after it
            one = b"\n".join([*filter(None, one.splitlines()), b"", b""])
        if not data.strip() or (named and not self._is_answer(data)):
            return one
        found = event(data, self._number)
        if found is data and not bare and not named:
            return one
        dropped = (b"data", b"event") if named else (b"data",)
        others = [line for line in lines if line and line.partition(b":")[0] not in dropped]
        return b"\n".join([*others, *(b"data: " + line for line in (found or b"").split(b"\n"))]) + b"\n\n"

    def _is_answer(self, data: bytes) -> bool:
        """Is it what the stream is for?"""
        found = _loaded(data) if self._number is not None else None
        return found is not None and "jsonrpc" in found and is_answer(found) and found.get("id") == self._number

    async def aclose(self) -> None:
        await self._response.aclose()


__all__ = ["MIB", "Events", "asked_by", "content_of", "kind_of", "like", "too_long", "usable"]
