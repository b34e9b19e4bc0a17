"""Messages that the SDK does not take: mended where that can be done without guessing, else an error with the id of the request.

Contract
  * What comes out is a message that the SDK takes, as one line of JSON. Text that is no Unicode (lone surrogates, which
    JavaScript sends where it has cut a string; bytes that are no UTF-8) becomes U+FFFD. UTF-16 and UTF-32 are read (``wide``).
  * An answer that cannot be read becomes an error for the request that it belongs to, so that nobody waits for it until the
    deadline. To which one it belongs is told by its id, or by there being only one that waits; never guessed. Where neither
    tells, all that wait get the error: one of them would wait for ever. What may be the answer to something that is no request is
    nobody's (``asked``).
  * A good message is taken out of what stands around it on its line.
  * What tells of itself that it is not a response, and what tells nothing, comes to nothing: the server's logs, say.

Pure functions of what the server sent, but for ``Mender``, which remembers the beginning of a message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator

from pydantic import ValidationError
from pydantic_core import from_json

from .._json import JsonObject, RequestId
from .asked import Asked, known
from .failures import MOVED, OWN_CODES, SAID, briefly
from .line import V2, SessionMessage
from .wide import in_utf8, narrow

if V2:
    from .v2 import parse
else:
    from .v1 import parse  # type: ignore[assignment]

PARSE_ERROR = -32700
LOST = -32000
LOOKED_AT = 1 << 16  # bytes at the beginning of a broken message in which its id is looked for
HELD = 1 << 18  # bytes of a message over several lines that are kept
SAYS = 1000  # characters of an error that is none, which are told
_LONE = re.compile("[\ud800-\udfff]")
_ENDS_LINES = re.compile("[\x85\u2028\u2029]")  # for some, which read events line by line
# also as Python writes text
_TOKEN = re.compile(
    r"""\s*(?:("[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*')|([{}\[\]:,])|([^\s"{}\[\]:,]+))""", re.DOTALL
)
_BEGIN = re.compile(r'\{\s*"(?:jsonrpc|id|result|error|method|params)"\s*:')  # of a message
# how language servers say how long the next message is; that stands in no line of its own
_HEADER = re.compile(rb"\s*Content-Length:\s*\d+\s*", re.IGNORECASE)
_ANSWER = {"result", "error"}
_OURS = {"jsonrpc", *_ANSWER}
_NEITHER = {"method", "params"}  # which no answer has
_BARE = {"id", *_ANSWER}
_CONTROLS = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")  # that no text has, nor what colours one
# how several SDKs end a message, whatever is wrong with its beginning
_AT_END = re.compile(r'"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(-?\d+|"[^"\\]*")\s*\}\s*$')
_DEEPER = {"{": 1, "[": 1, "}": -1, "]": -1}
_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder(strict=False)
_NOT_JSON = object()
_REPLACED = "\ufffd".encode()


def error_line(number: RequestId | None, why: str, code: int = PARSE_ERROR) -> bytes:
    """An error for a request."""
    error = {"code": code, "message": why}
    return json.dumps({"jsonrpc": "2.0", "id": number, "error": error}).encode()


def error_in(data: bytes) -> tuple[JsonObject, object] | None:
    """The error of a message that is one, its code and what it says; and the id of the request that it is for."""
    value, _ = loaded(narrow(data))
    error = value.get("error") if isinstance(value, dict) and "jsonrpc" in value else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return None
    code = error.get("code")
    if not isinstance(code, int) or isinstance(code, bool):
        return None
    return {**error, "code": code}, value.get("id") if isinstance(value, dict) else None


def loaded(data: bytes) -> tuple[object, str]:
    """What is in it, and what is wrong with it as JSON."""
    try:
        found = json.loads(data.decode("utf-8-sig", "replace"), strict=False)
        if isinstance(found, str) and found.lstrip()[:1] == "{":  # written as JSON twice
            found = json.loads(found, strict=False)
        return found, ""
    except RecursionError:
        return _NOT_JSON, "nested too deeply"
    except ValueError as exc:
        return _NOT_JSON, str(exc)[:200]


def _as_line(value: object) -> bytes:
    text = _LONE.sub("\ufffd", json.dumps(value, ensure_ascii=False))
    return _ENDS_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def _refused(line: bytes, kind: str = "") -> str:
    """Why the SDK does not take it, or nothing.

    :param kind: the SDK's name of the kind of message that it is meant as.
    """
    try:
        parse(line)
    except ValidationError as exc:
        return briefly(exc, kind)
    except (ValueError, RecursionError) as exc:
        return str(exc)[:200]
    return ""


def is_answer(value: JsonObject) -> bool:
    """Is it meant as one? Some repeat the request's method in it. What a program logs may have an id, or an error, too."""
    if "jsonrpc" not in value:
        return not _ANSWER.isdisjoint(value) and value.keys() <= _BARE
    return not _ANSWER.isdisjoint(value) or ("id" in value and "method" not in value)


def _flat(value: object, depth: int = 3) -> list[JsonObject]:
    """The messages in a list, also in lists of it."""
    if isinstance(value, list) and depth:
        return [one for inner in value for one in _flat(inner, depth - 1)]
    return [_in_small(value)] if isinstance(value, dict) else []


def _in_small(value: JsonObject) -> JsonObject:
    """A message, whose fields some write in capital letters."""
    if "jsonrpc" in value:
        return value
    small = {key.lower(): one for key, one in value.items()}
    return small if "jsonrpc" in small else value


def answered(data: bytes, number: RequestId | None) -> bytes:
    """The answer to a request, when it is known to be one: ``data`` itself where that is fine."""
    try:
        found = from_json(data)
    except ValueError:
        found = None
    if type(found) is dict and found.get("id") == number and type(found.get("id")) is type(number):
        if found.keys() == {"jsonrpc", "id", "result"} and type(found["result"]) is dict and found["jsonrpc"] == "2.0":
            return data
    data = narrow(data)
    value, why = loaded(data)
    if value is _NOT_JSON:
        value = [one for one in _taken_apart(data) if not isinstance(one, str)]
    found = _flat(value)
    if found:
        fits = [one for one in found if one.get("id") == number]
        value = fits[0] if fits else found[0] if isinstance(value, dict) else value
    if not isinstance(value, dict) or not is_answer(value):
        why = why or "it is not a response"
        return error_line(number, f"the server's answer violates the protocol: {why}")
    return _taken({**value, "id": number}, number)


def _taken(value: JsonObject, number: RequestId | None) -> bytes:
    """An answer as a line, or the error in its place."""
    error = value.get("error")
    value = {key: one for key, one in value.items() if key not in _NEITHER}
    if isinstance(error, dict) and isinstance(error.get("code"), int) and error["code"] in OWN_CODES:
        value = {**value, "error": {**error, "data": {SAID: error.get("data")}}}
    try:
        line = _as_line(value)
    except (ValueError, RecursionError) as exc:
        return error_line(number, f"the server's answer cannot be read: {exc}")
    why = _refused(line, "JSONRPCResponse" if error is None else "JSONRPCError")
    if why and error:
        said = json.dumps(error, ensure_ascii=False)[:SAYS]
        return error_line(number, f"the server's error violates the protocol ({why}), and says: {said}")
    return error_line(number, f"the server's answer violates the protocol: {why}") if why else line


def event(data: bytes, number: RequestId | None) -> bytes | None:
    """A message of a stream; ``data`` itself where that is fine, None where nothing is to be made of it.

    :param number: of the request that the stream belongs to, or None.
    """
    try:
        found = from_json(data)
    except ValueError:
        found = None
    if type(found) is dict and type(found.get("method")) is str and _ANSWER.isdisjoint(found):
        return data  # what is wrong with it is the SDK's to say
    if number is None:
        mended = mend(data, known(None))
        return mended[0] if len(mended) == 1 else None
    value, _ = loaded(data) if found is None else (found, "")
    value = _in_small(value) if isinstance(value, dict) else value
    if isinstance(value, dict) and "method" in value and not is_answer(value):
        mended = mend(data, known(()))
        return mended[0] if mended else None
    begins = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[") or b"jsonrpc" in data
    if not begins or (isinstance(value, dict) and not is_answer(value)):
        return None  # what keeps the connection alive, say
    return answered(data, number)


def mend(data: bytes, asked: Asked) -> list[bytes]:
    """Messages in place of one that the SDK has refused, or would take for something else."""
    value, why = loaded(data)
    if isinstance(value, (list, dict)):
        return [line for one in _flat(value) for line in _of_dict(one, asked)]
    if value is not _NOT_JSON:
        return []
    found = []
    for part in _taken_apart(data):
        found += (
            _unread(part.encode("utf-8", "replace"), why, asked) if isinstance(part, str) else _of_dict(part, asked)
        )
    return found


def _taken_apart(data: bytes) -> list[JsonObject | str]:
    """The messages on a line that is no JSON as a whole, and the texts around them."""
    text, begin, at = data.decode("utf-8-sig", "replace").strip(), 0, 0
    found: list[JsonObject | str] = []
    effort = 2 * len(text) + LOOKED_AT  # characters that are read in vain at most
    while effort > 0 and (start := _BEGIN.search(text, at)) is not None:
        at = start.end()
        try:
            value, end = _DECODER.raw_decode(text, start.start())
        except json.JSONDecodeError as exc:
            effort -= exc.pos - start.start() + 1
            continue
        except (ValueError, RecursionError):
            effort -= len(text)
            continue
        if not isinstance(value, dict) or "jsonrpc" not in value:
            effort -= end - start.start()
            continue
        found += [text[begin : start.start()].strip(), value]
        begin = at = end
    return [one for one in (*found, text[begin:].strip()) if one]


def is_whole(data: bytes) -> bool:
    """Is it all of a message, or of several?"""
    data = narrow(data)
    parts = [loaded(data)[0]]
    return all(isinstance(one, (dict, list)) for one in (_taken_apart(data) if parts[0] is _NOT_JSON else parts))


def _unread(data: bytes, why: str, asked: Asked) -> list[bytes]:
    """Errors in place of what may have been an answer."""
    if _HEADER.fullmatch(data):
        why = "it writes headers (Content-Length) before its messages, as language servers do; MCP sends one JSON message per line"
        return [error_line(one, why) for one in asked.requests() or ()]
    keys, number = looked_at(data)
    if not keys and number is None:
        return [error_line(one, "the server sent data that is not text") for one in _whose_binary(data, asked)]
    own = b"jsonrpc" not in data and (keys.isdisjoint(_ANSWER) or not keys <= _BARE)  # what a program prints of its own
    if "method" in keys or own:
        return []
    meant = _all_meant(number, asked, keys)
    goes_on = data.endswith((b",", b"{", b"[", b":"))  # in the next line
    if not meant and number is None and "jsonrpc" in keys and keys.isdisjoint(_ANSWER) and not goes_on:
        meant = _nobodys(asked)  # cut before it says what it is
    return [error_line(one, f"the server's answer is not valid JSON: {why}") for one in meant]


def _whose_binary(data: bytes, asked: Asked) -> Collection[RequestId]:
    """Whom what is no text may have been for."""
    return (asked.requests() or ()) if _is_binary(data) else ()


def _is_binary(data: bytes) -> bool:
    """Is it no text in whatever encoding, or a message in another one than JSON?"""
    data = data[:LOOKED_AT]
    if b"jsonrpc" in data and b"method" not in data and data.count(_REPLACED) > 1:
        return b"result" in data or b"error" in data
    found = len(_CONTROLS.findall(data))
    return found > 1 and found * 25 > len(data)


def _of_dict(value: JsonObject, asked: Asked) -> list[bytes]:
    if is_answer(value):
        meant = _all_meant(value.get("id"), asked, value.keys())
        if len(meant) == 1:
            return [_taken({**value, "id": meant[0]}, meant[0])]
        why = "the server sent a response without a valid request id"
        error = value.get("error")
        if isinstance(error, dict) and isinstance(error.get("message"), str):
            why = f"{why}: {error['message'][:SAYS]}"
        return [error_line(one, why) for one in meant]
    try:
        line = _as_line(value)
    except (ValueError, RecursionError):
        return []
    return [] if _refused(line) else [line]


def _all_meant(number: object, asked: Asked, keys: Collection[str]) -> list[RequestId]:
    """The request that an answer is meant for, none, or those of which one must be meant."""
    if isinstance(number, float) and number.is_integer():
        number = int(number)  # as languages write it that have no other numbers
    requests = asked.requests()
    if isinstance(number, (int, str)) and not isinstance(number, bool):
        if requests is None or number in requests:
            return [number]
        # some give the number back as text
        alike = [one for one in requests if str(one) == str(number)][:1]
        if alike or asked.is_given(number):
            return alike
    return [] if "jsonrpc" not in keys or _ANSWER.isdisjoint(keys) else _nobodys(asked)


def _nobodys(asked: Asked) -> list[RequestId]:
    """Those of which one must be meant by an answer that does not say which."""
    requests = asked.requests()
    return list(requests) if requests and not asked.takes() else []


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
        before = string[1:-1] if string else other or ""


def looked_at(data: bytes) -> tuple[set[str], RequestId | None]:
    """What can be told of a message that is no JSON: names of its fields, as far as it can be read, and its id."""
    found = list(_fields(data[:LOOKED_AT].decode("utf-8", "replace")))
    keys = {key for key, _ in found if key}
    number = next((_id_of(value) for key, value in found if key == "id" and value), None)
    if "id" not in keys and (at_end := _AT_END.search(data[-200:].decode("utf-8", "replace"))) is not None:
        number = _id_of(at_end[1])
    return keys, number


def _id_of(text: str) -> RequestId | None:
    if text.startswith("'"):
        return text[1:-1]
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, (int, str)) and not isinstance(found, bool) else None


class Mender:
    """For lines: also of a message that was written over several of them."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._held = b""
        self._order = ""  # of the bytes of a server that writes UTF-16

    def doubts(self, item: SessionMessage, line: bytes) -> bool:
        """Would the SDK take an answer for a request, or for one to what was never asked?"""
        message = getattr(item.message, "root", item.message)
        number = getattr(message, "id", None)
        if number is None:
            return False
        if hasattr(message, "method"):
            value = loaded(line)[0] if b'"result"' in line or b'"error"' in line else None
            return isinstance(value, dict) and is_answer(value)
        if not self._asked.is_given(number):
            return True
        self._asked.answered(number)
        return False

    def mend(self, line: bytes) -> list[bytes]:
        """Messages in place of a line that the SDK has refused, or is not to see."""
        asked = self._asked
        line, self._order = in_utf8(line, self._order)
        if not line.strip():
            return []
        found = mend(line, asked)
        if found:
            self._held = b""
            return found
        held, self._held = self._held, b""
        value = loaded(line)[0]
        if isinstance(value, dict) and (not held or "jsonrpc" in value):
            return []  # it is whole
        joined = held + b"\n" + line if held else line
        if not joined.lstrip().startswith(b"{") or len(joined) > HELD:
            return []
        if held and line.rstrip().endswith(b"}") and line[:1] not in (b" ", b"\t"):  # the last brace is not indented
            value, why = loaded(joined)
            if isinstance(value, dict):
                return _of_dict(value, asked)
            return _unread(joined, why, asked) if "jsonrpc" in looked_at(joined)[0] else []
        self._held = joined
        return []


__all__ = ["LOST", "MOVED", "Mender", "answered", "error_in", "error_line", "event", "is_answer", "is_whole", "mend"]
