"""What must not be shown: the values of a server's headers, environment, credentials, and what is secret in its URL and arguments.

Contract: a ``Secrets`` is given a server's resolved configuration before that is used, and ``hide`` takes these values out
of any text (what the server writes to stderr, what libraries say in their errors). The log records of the HTTP libraries
and the SDK's transports go through all that are alive. Nothing here keeps a value longer than its ``Secrets`` lives.

Thread-safety: any thread. ``learn`` replaces the table as a whole.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import re
import weakref
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit

from ..config.masks import HIDDEN, is_given, is_number, secret_args, token_like
from ..errors import clean, flatten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..config import ServerConfig

SHORTEST = 6  # characters; anything shorter would blot out half of a text
SHORTEST_NAMED = 3  # of values whose name says that they are secret
LOGGERS = (
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "mcp.client.sse",
    "mcp.client.streamable_http",
    "mcp.client.auth",
    "mcp.client.auth.oauth2",
    "client",
)
_OPTION = re.compile(r"--?[A-Za-z][A-Za-z-]*\Z")
# of an auth setting, whose names look like those of secrets
_NO_SECRETS = {"token_endpoint_auth_method", "private_key_file", "assertion_file", "idp_token_endpoint"}
_BELOW = tuple(f"{name}." for name in LOGGERS)
# what HTTP libraries leave in a query as it is
_QUERY_SAFE = "!$%&'()*+,/:;=?@[\\]^`{|}~"
_known: weakref.WeakSet[Secrets] = weakref.WeakSet()


class Secrets:
    """The secret values of one server."""

    __slots__ = ("__weakref__", "_pattern", "_values")

    def __init__(self) -> None:
        self._values: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        _known.add(self)

    def learn(self, config: ServerConfig) -> None:
        """Take note of a resolved configuration's values."""
        self.add(*_values(config))

    def add(self, *values: str) -> None:
        """Take note of more values, such as tokens that were granted."""
        fresh = self._values.union(values, *map(_encoded, values)) - {""}
        if fresh == self._values:
            return
        # the longest first, as one may be a part of another
        ordered = sorted(fresh, key=lambda value: (-len(value), value))
        self._pattern = re.compile("|".join(map(re.escape, ordered)))
        self._values = fresh

    def hide(self, text: str) -> str:
        """The text without them."""
        pattern = self._pattern
        return text if pattern is None else pattern.sub(HIDDEN, text)

    def scrub(self, exc: BaseException) -> None:
        """Take them out of an exception and of all that it came from: tracebacks show these too."""
        for one in flatten(exc):
            if any(isinstance(arg, str) and self._shown(arg) != arg for arg in one.args):
                one.args = tuple(self._shown(arg) if isinstance(arg, str) else arg for arg in one.args)

    def _shown(self, text: str) -> str:
        return clean(self.hide(text))

    def __repr__(self) -> str:
        return f"<Secrets {len(self._values)}>"


def _encoded(value: str) -> Iterator[str]:
    """The ways that a secret looks in base64, wherever it stands in what was encoded."""
    data = value.encode("utf-8", "surrogatepass")
    if len(data) < SHORTEST:
        return
    for before in range(3):
        text = base64.b64encode(bytes(before) + data)
        # characters at the ends that hold bits of something else are not its own
        own = text[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6].decode()
        yield from {own, own.replace("+", "-").replace("/", "_")}


def _values(config: ServerConfig) -> Iterator[str]:
    for name, value in config.env.items():
        if _is_long_enough(name, value):
            yield value
    for name, value in config.headers.items():
        if len(value) >= (SHORTEST_NAMED if token_like(name) else SHORTEST):
            yield from _worth_hiding(value)
    yield from _parts(config.auth)
    for name, value in config.variables.items():
        if _is_long_enough(name, value) and not os.path.exists(value):
            yield value  # not a path, which is no secret and says where an error is
    for value in secret_args(config.args):
        if not _OPTION.match(value) and not os.path.exists(value):
            yield from _worth_hiding(value)
    if config.url:
        parts = urlsplit(config.url)
        for part in parts.query.split("&"):
            name, _, value = part.partition("=")
            if is_given(unquote_plus(name)):
                # as it is written, as it is meant, and as libraries write it again
                plain = unquote_plus(value)
                ways = {value, plain, quote_plus(plain, errors="replace")}
                ways |= {quote(plain, "", errors="replace"), quote(value, _QUERY_SAFE, errors="replace")}
                yield from (way for way in ways if len(way) >= SHORTEST_NAMED)
        if parts.password:
            yield from {parts.password, unquote(parts.password)}


def _is_long_enough(name: str, value: str) -> bool:
    return len(value) >= (SHORTEST_NAMED if token_like(name) else SHORTEST) and not is_number(name, value)


def _worth_hiding(value: str) -> Iterator[str]:
    """The value of a header or an argument, and in ``Bearer abc`` the token by itself; in ``Basic abc`` also the password."""
    value = value.strip()
    scheme, _, rest = value.partition(" ")
    yield from (one for one in (value, rest) if len(one) >= SHORTEST_NAMED)
    if scheme.lower() == "basic":
        with contextlib.suppress(ValueError):
            pair = base64.b64decode(rest, validate=True).decode()
            yield from (one for one in (pair, pair.partition(":")[2]) if len(one) >= SHORTEST_NAMED)


def _parts(auth: object) -> Iterator[str]:
    if isinstance(auth, dict):
        for name, value in auth.items():
            secret = name not in _NO_SECRETS and (token_like(name) or name == "assertion")
            if isinstance(value, str) and secret and len(value) >= SHORTEST_NAMED:
                yield value


def _filtered(record: logging.LogRecord) -> None:
    """Take the secrets of all servers out of a log record."""
    try:
        said = record.getMessage()
    except Exception:  # the record's own mistake, which its handler reports
        return
    shown = clean(said)
    for one in list(_known):
        shown = one.hide(shown)
    if shown != said:
        record.msg, record.args = shown, ()
    if record.exc_info and isinstance(record.exc_info[1], BaseException):
        for one in list(_known):
            one.scrub(record.exc_info[1])


class _Factory:
    """Makes log records as another factory does.

    A logger's filters do not see what the loggers below it log, and libraries make such loggers when they please.
    """

    def __init__(self, inner: Callable[..., logging.LogRecord]) -> None:
        self.inner = inner

    def __call__(self, name: object, *args: object, **more: object) -> logging.LogRecord:
        record = self.inner(name, *args, **more)
        if isinstance(name, str) and (name in LOGGERS or name.startswith(_BELOW)):
            _filtered(record)
        return record


def watch_logs() -> None:
    """Have the log records of the libraries above filtered. Again and again does no harm."""
    current = logging.getLogRecordFactory()
    if not isinstance(current, _Factory):
        logging.setLogRecordFactory(_Factory(current))
