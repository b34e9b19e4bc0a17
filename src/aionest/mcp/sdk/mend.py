"""Messages that the SDK does not take: mended where that can be done without guessing, else an error with the id of the request.

Contract
  * What comes out is a message that the SDK takes, as one line of JSON. Text that is no Unicode (lone surrogates, which
    JavaScript sends where it has cut a string; bytes that are no UTF-8) becomes U+FFFD.
  * An answer that cannot be read becomes an error for the request that it belongs to, so that nobody waits for it until the
    deadline. To which one it belongs is told by its id, or by there being only one that waits; never guessed.
  * What tells of itself that it is no answer, and what tells nothing, comes to nothing: the server's logs, say.

Pure functions of what the server sent, but for ``Mender``, which remembers the beginning of a message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator

from pydantic import ValidationError
from pydantic_core import from_json

from .._json import JsonObject, RequestId
from .failures import briefly
from .line import V2

if V2:
    from .v2 import parse
else:
    from .v1 import parse  # type: ignore[assignment]

PARSE_ERROR = -32700
LOST = -32000
LOOKED_AT = 1 << 16  # bytes at the beginning of a broken message in which its id is looked for
HELD = 1 << 18  # bytes of a message over several lines that are kept
_LONE = re.compile("[\ud800-\udfff]")
_ENDS_LINES = re.compile("[\x85\u2028\u2029]")  # for some, which read events line by line
_TOKEN = re.compile(r'\s*(?:("[^"\\]*(?:\\.[^"\\]*)*")|([{}\[\]:,])|([^\s"{}\[\]:,]+))', re.DOTALL)
# how several SDKs end a message, whatever is wrong with its beginning
_AT_END = re.compile(r'"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(-?\d+|"[^"\\]*")\s*\}\s*$')
_DEEPER = {"{": 1, "[": 1, "}": -1, "]": -1}
_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder(strict=False)
_NOT_JSON = object()


def error_line(number: RequestId | None, why: str, code: int = PARSE_ERROR) -> bytes:
    """An error for a request."""
    error = {"code": code, "message": why}
    return json.dumps({"jsonrpc": "2.0", "id": number, "error": error}).encode()


def loaded(data: bytes) -> tuple[object, str]:
    """What is in it, and what is wrong with it as JSON."""
    try:
        return json.loads(data.decode("utf-8-sig", "replace"), strict=False), ""
    except RecursionError:
        return _NOT_JSON, "nested too deeply"
    except ValueError as exc:
        return _NOT_JSON, str(exc)[:200]


def _as_line(value: object) -> bytes:
    text = _LONE.sub("\ufffd", json.dumps(value, ensure_ascii=False))
    return _ENDS_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def _refused(line: bytes) -> str:
    """Why the SDK does not take it, or nothing."""
    try:
        parse(line)
    except ValidationError as exc:
        return briefly(exc)
    except (ValueError, RecursionError) as exc:
        return str(exc)[:200]
    return ""


def is_answer(value: JsonObject) -> bool:
    """Is it meant as one?"""
    return "method" not in value and not value.keys().isdisjoint(("id", "result", "error"))


def answered(data: bytes, number: RequestId | None) -> bytes:
    """The answer to a request, when it is known to be one: ``data`` itself where that is fine."""
    try:
        found = from_json(data)
    except ValueError:
        found = None
    if type(found) is dict and found.get("id") == number and type(found.get("id")) is type(number):
        if found.keys() == {"jsonrpc", "id", "result"} and type(found["result"]) is dict and found["jsonrpc"] == "2.0":
            return data
    value, why = loaded(data)
    if value is _NOT_JSON:
        value = _several(data)
    if isinstance(value, list):
        fits = [one for one in value if isinstance(one, dict) and one.get("id") == number]
        value = fits[0] if fits else value
    if not isinstance(value, dict) or not is_answer(value):
        why = why or "it is no answer"
        return error_line(number, f"the server's answer violates the protocol: {why}")
    return _taken({**value, "id": number}, number)


def _taken(value: JsonObject, number: RequestId | None) -> bytes:
    """An answer as a line, or the error in its place."""
    try:
        line = _as_line(value)
    except (ValueError, RecursionError) as exc:
        return error_line(number, f"the server's answer cannot be read: {exc}")
    why = _refused(line)
    return error_line(number, f"the server's answer violates the protocol: {why}") if why else line


def event(data: bytes, number: RequestId | None) -> bytes | None:
    """A message of a stream; ``data`` itself where that is fine, None where nothing is to be made of it.

    :param number: of the request that the stream belongs to, or None.
    """
    try:
        found = from_json(data)
    except ValueError:
        found = None
    if type(found) is dict and type(found.get("method")) is str:
        return data  # what is wrong with it is the SDK's to say
    if number is None:
        mended = mend(data, None)
        return mended[0] if len(mended) == 1 else None
    value, _ = loaded(data) if found is None else (found, "")
    if isinstance(value, dict) and "method" in value:
        mended = mend(data, ())
        return mended[0] if mended else None
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"[") or (
        isinstance(value, dict) and not is_answer(value)
    ):
        return None  # what keeps the connection alive, say
    return answered(data, number)


def mend(data: bytes, waiting: Collection[RequestId] | None) -> list[bytes]:
    """Messages in place of one that the SDK has refused.

    :param waiting: ids of the requests in flight; None is not known.
    """
    value, why = loaded(data)
    if isinstance(value, list):
        return [line for one in value if isinstance(one, dict) for line in _of_dict(one, waiting)]
    if isinstance(value, dict):
        return _of_dict(value, waiting)
    if value is not _NOT_JSON:
        return []
    several = _several(data)
    if several:
        return [line for one in several for line in _of_dict(one, waiting)]
    keys, number = looked_at(data)
    if "method" in keys or not (keys or number is not None):
        return []
    found = _meant(number, waiting, keys)
    return [] if found is None else [error_line(found, f"the server's answer is not valid JSON: {why}")]


def _several(data: bytes) -> list[JsonObject]:
    """The messages, where a line has more than one and nothing else."""
    text, at = data.decode("utf-8-sig", "replace").strip(), 0
    found: list[JsonObject] = []
    try:
        while at < len(text):
            value, at = _DECODER.raw_decode(text, at)
            if not isinstance(value, dict):
                return []
            found.append(value)
            at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it may be empty
    except (ValueError, RecursionError):
        return []
    return found


def _of_dict(value: JsonObject, waiting: Collection[RequestId] | None) -> list[bytes]:
    if is_answer(value):
        number = _meant(value.get("id"), waiting, value.keys())
        return [] if number is None else [_taken({**value, "id": number}, number)]
    try:
        line = _as_line(value)
    except (ValueError, RecursionError):
        return []
    return [] if _refused(line) else [line]


def _meant(number: object, waiting: Collection[RequestId] | None, keys: Collection[str]) -> RequestId | None:
    """The request that an answer is meant for, or None."""
    if isinstance(number, (int, str)) and not isinstance(number, bool):
        if waiting is None or number in waiting:
            return number
        # some give the number back as text
        return next((one for one in waiting if str(one) == str(number)), None)
    only = waiting is not None and len(waiting) == 1 and not {"result", "error"}.isdisjoint(keys)
    return next(iter(waiting)) if only and waiting is not None else None


def _fields(text: str) -> Iterator[tuple[str, str]]:
    """Names of the fields of the outermost object, as far as it can be read; each that has a plain value once more, with that."""
    depth, before, key, at = 0, "", "", 0
    while (token := _TOKEN.match(text, at)) is not None and token.end() < len(text):  # the last one may go on
        at = token.end()
        string, mark, other = token.groups()
        if mark:
            depth += _DEEPER.get(mark, 0)
            if depth == 1 and mark in ":,":
                key = before if mark == ":" else ""
                yield key, ""
        elif depth == 1 and key:
            yield key, string or other
        before = string[1:-1] if string else ""


def looked_at(data: bytes) -> tuple[set[str], RequestId | None]:
    """What can be told of a message that is no JSON: names of its fields, as far as it can be read, and its id."""
    found = list(_fields(data[:LOOKED_AT].decode("utf-8", "replace")))
    keys = {key for key, _ in found if key}
    number = next((_id_of(value) for key, value in found if key == "id" and value), None)
    if "id" not in keys and (at_end := _AT_END.search(data[-200:].decode("utf-8", "replace"))) is not None:
        number = _id_of(at_end[1])
    return keys, number


def _id_of(text: str) -> RequestId | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, (int, str)) and not isinstance(found, bool) else None


class Mender:
    """For lines: also of a message that was written over several of them.

    :param waiting: gives the ids of the requests in flight; None is not known.
    """

    def __init__(self, waiting: Callable[[], Collection[RequestId] | None]) -> None:
        self._waiting = waiting
        self._held = b""

    def mend(self, line: bytes) -> list[bytes]:
        """Messages in place of a line that the SDK has refused."""
        waiting = self._waiting()
        found = mend(line, waiting)
        if found:
            self._held = b""
            return found
        held, self._held = self._held, b""
        joined = held + b"\n" + line if held else line
        if not joined.lstrip().startswith(b"{") or len(joined) > HELD:
            return []
        if held and line.rstrip().endswith(b"}") and line[:1] not in (b" ", b"\t"):  # the last brace is not indented
            value, _ = loaded(joined)
            if isinstance(value, dict):
                return _of_dict(value, waiting)
        self._held = joined
        return []


__all__ = ["LOST", "Mender", "answered", "error_line", "event", "mend"]
