"""Chat completions of an OpenAI-compatible endpoint, streamed.

Contract: no widgets here. ``Events`` and ``Reply`` are pure: bytes in, values out, whatever the pieces. ``stream`` raises only
``ChatError`` for what an endpoint does; leaving it, or cancelling its task, closes the connection. No message ever has the key.
"""

from __future__ import annotations

import codecs
import json
import re
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from aionest.mcp.errors import clean

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx
    from typing_extensions import Required

LONGEST = 8 << 20  # characters of one event; an endpoint that sends no line ends must not fill the memory
SHOWN = 300  # characters of an endpoint's own words that an error quotes
SILENCE = 300.0  # seconds between two pieces: models that reason first are quiet for long


class ChatError(Exception):
    """The endpoint could not be asked, or did not answer as it should; the text is for the person."""


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and for what."""

    base: str
    model: str
    key: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """Where chat completions are."""
        return f"{self.base.strip().rstrip('/')}/chat/completions"


class Events:
    """The data of server-sent events, from bytes that are cut anywhere."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._rest = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, piece: bytes, final: bool = False) -> list[str]:
        """The events that are complete now; with ``final`` also the last one, which may lack its empty line."""
        text = self._rest + self._decode(piece, final)
        # a carriage return at the very end may be half of a line end
        held = "\r" if text.endswith("\r") and not final else ""
        lines = re.split(r"\r\n|\n|\r", text[: len(text) - len(held)])
        self._rest = lines.pop() + held
        if final:
            lines += [self._rest, ""]
            self._rest = ""
        found = []
        for line in lines:
            if not line:
                if self._data:
                    found.append("\n".join(self._data))
                self._data, self._size = [], 0
            elif line.startswith("data:"):
                self._data.append(line[5:].removeprefix(" "))
                self._size += len(line)
        if len(self._rest) + self._size > LONGEST:
            raise ChatError("The endpoint sent an event that does not end.")
        return found


class Called(TypedDict):
    """What a model wants to be called."""

    name: str
    arguments: str  # JSON, as the model wrote it


class Call(TypedDict):
    """A call that a model proposes."""

    id: str
    type: str
    function: Called


class Message(TypedDict, total=False):
    """An entry of a conversation."""

    role: Required[str]
    content: str
    tool_calls: list[Call]
    tool_call_id: str


@dataclass
class Reply:
    """An answer as it comes together."""

    text: str = ""
    calls: list[Call] = field(default_factory=list)
    finish: str | None = None
    done: bool = False
    _at: dict[int, int] = field(default_factory=dict, repr=False)

    def add(self, data: str) -> str:
        """Take in the data of an event; the text that it brought.

        :raises ChatError: it is no JSON, not a part of an answer, or tells of an error.
        """
        if data.strip() == "[DONE]":
            self.done = True
            return ""
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            raise ChatError(f"The endpoint sent invalid JSON: {_short(data)}") from None
        if not isinstance(chunk, dict):
            raise ChatError(f"The endpoint sent something that is not part of an answer: {_short(data)}")
        if chunk.get("error"):
            raise ChatError(f"The endpoint reports an error: {_said(data)}")
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return ""  # usage and the like
        if isinstance(choice.get("finish_reason"), str):
            self.finish = choice["finish_reason"]
        # "message": an endpoint that does not stream, although asked to
        delta = choice.get("delta") or choice.get("message")
        if not isinstance(delta, dict):
            return ""
        fragments = delta.get("tool_calls")
        for fragment in fragments if isinstance(fragments, list) else ():
            if isinstance(fragment, dict):
                self._add_call(fragment)
        text = delta.get("content")
        if not isinstance(text, str):
            return ""
        self.text += text
        return text

    def _add_call(self, fragment: dict[str, object]) -> None:
        index, name = fragment.get("index"), fragment.get("id")
        if isinstance(index, int):
            position = self._at.get(index)
        else:  # some endpoints leave it out and send each call whole
            position = len(self.calls) - 1 if self.calls and not name else None
        if position is not None and name and self.calls[position]["id"] not in ("", name):
            position = None  # some number all their calls 0
        if position is None:
            position = len(self.calls)
            self.calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        if isinstance(index, int):
            self._at[index] = position
        call = self.calls[position]
        if isinstance(name, str) and name:
            call["id"] = name
        function = fragment.get("function")
        if not isinstance(function, dict):
            return
        if isinstance(function.get("name"), str) and function["name"]:
            call["function"]["name"] = function["name"]
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            arguments = json.dumps(arguments, ensure_ascii=False)
        if isinstance(arguments, str):
            call["function"]["arguments"] += arguments

    def message(self, taken: int = 0) -> Message:
        """The answer as an entry of the conversation. ``taken`` makes ids for calls of endpoints that give none."""
        message: Message = {"role": "assistant", "content": self.text}
        if self.calls:
            for number, call in enumerate(self.calls):
                call["id"] = call["id"] or f"call_{taken}_{number}"
            message["tool_calls"] = self.calls
        return message


async def stream(
    endpoint: Endpoint, messages: list[Message], tools: list[dict[str, object]], reply: Reply
) -> AsyncGenerator[str, None]:
    """Ask, and give the text as it arrives; ``reply`` has all there is at any time.

    :raises ChatError: the endpoint cannot be reached, refuses, fails, or ends in the middle of its answer.
    """
    try:
        import httpx
    except ImportError:  # newer lines of the SDK come with its successor
        import httpx2 as httpx  # type: ignore[no-redef]

    headers = {"Accept": "text/event-stream"}
    key = endpoint.key.strip()
    if key:
        if not re.fullmatch(r"[!-~]+", key):  # checked here: the library's own error would quote it
            raise ChatError("The API key contains characters that are not allowed in a key.")
        headers["Authorization"] = f"Bearer {key}"
    body: dict[str, object] = {"model": endpoint.model, "messages": messages, "stream": True}
    if tools:
        body["tools"] = tools
    timeout = httpx.Timeout(30.0, read=SILENCE)
    try:
        async with (
            httpx.AsyncClient(timeout=timeout) as client,
            client.stream("POST", endpoint.url, json=body, headers=headers) as response,
        ):
            if response.status_code != 200:
                raise ChatError(_refusal(response.status_code, await _start(response)))
            async with aclosing(_answers(response, reply)) as pieces:
                async for piece in pieces:
                    yield piece
    except ChatError as exc:
        raise ChatError(_hidden(str(exc), key)) from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise ChatError("The base URL is not valid: it looks like https://host/v1.") from None
    except httpx.TimeoutException:
        raise ChatError(f"The endpoint at {clean(endpoint.base)} did not answer in time.") from None
    except httpx.ConnectError as exc:
        why = _hidden(_short(str(exc)), key)
        raise ChatError(f"The endpoint at {clean(endpoint.base)} cannot be reached: {why}") from None
    except httpx.HTTPError as exc:
        why = _hidden(_short(str(exc) or type(exc).__name__), key)
        raise ChatError(f"The connection to the endpoint was lost: {why}") from None


async def _answers(response: httpx.Response, reply: Reply) -> AsyncGenerator[str, None]:
    if "json" in response.headers.get("content-type", ""):
        text = reply.add((await _start(response, LONGEST)).decode("utf-8", "replace"))
        if not reply.text and not reply.calls:
            raise ChatError("The endpoint's answer has neither text nor calls.")
        if text:
            yield text
        return
    events = Events()
    seen = 0
    async for piece in response.aiter_bytes():
        for data in events.feed(piece):
            seen += 1
            text = reply.add(data)
            if text:
                yield text
            if reply.done:
                return
    for data in events.feed(b"", final=True):
        seen += 1
        text = reply.add(data)
        if text:
            yield text
    if not seen:
        raise ChatError(
            "The server at this URL is not a chat-completions endpoint: its answer has no events. Check the base URL."
        )
    if not reply.done and reply.finish is None:
        raise ChatError("The answer was cut off.")


async def _start(response: httpx.Response, limit: int = 1 << 16) -> bytes:
    found = bytearray()
    async for piece in response.aiter_bytes():
        found += piece
        if len(found) > limit:
            break
    return bytes(found[:limit])


def _refusal(status: int, body: bytes) -> str:
    said = _said(body.decode("utf-8", "replace"))
    what = {
        401: "The endpoint does not accept the API key (401).",
        403: "The endpoint does not allow this (403).",
        404: "There is no such model, or no chat endpoint at this base URL (404).",
        429: "Too many requests, or the quota is used up (429).",
    }.get(status, f"The endpoint {'failed' if status >= 500 else 'refused'} ({status}).")
    return f"{what} {said}".strip()


def _said(body: str) -> str:
    """What an error's body says: its message, where it has one."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return "" if "<html" in body.lower() else _short(body)
    for _ in range(3):
        if not isinstance(value, dict):
            break
        value = next((value[name] for name in ("error", "message", "detail") if value.get(name)), "")
    return _short(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]} ..."


def _hidden(text: str, key: str) -> str:
    return text.replace(key, "***") if key else text
