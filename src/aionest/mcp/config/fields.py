"""The fields of a server under the names that hosts give them, and their values as people write them.

Contract: pure functions; what is wrong or suspicious comes back as problems, which hold no values.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from .errors import Problem
from .text import SourceFloat, SourceInt

ALIASES = {
    **dict.fromkeys(("type", "transportType"), "transport"),
    "envFile": "env_file",
    "workingDirectory": "cwd",  # JetBrains
    **dict.fromkeys(("serverUrl", "httpUrl"), "url"),  # Windsurf; Gemini
    **dict.fromkeys(("allow", "allowedTools", "includeTools", "enabledTools"), "include"),
    **dict.fromkeys(("deny", "excludeTools", "deniedTools", "disabledTools"), "exclude"),
    **dict.fromkeys(("connectTimeout", "connectionTimeout", "startup_timeout", "startupTimeout"), "connect_timeout"),
    "requestTimeout": "timeout",
    "cacheTtl": "cache_ttl",
    "maxMessageMb": "max_message_mb",
    "maxListed": "max_listed",
    "oauth": "auth",
    "protocolEra": "protocol",
}
TRANSPORTS = {
    "stdio": "stdio",
    "sse": "sse",
    **dict.fromkeys(("http", "streamable-http", "streamable_http", "streamableHttp"), "streamable_http"),
}
# what other hosts write there and what means nothing here
IGNORED = set(
    "description version metadata gallery dev sandbox icon autoApprove alwaysAllow watchPaths roots trust authProviderType $schema".split()
)
AUTH_TYPES = ("oauth", "client_credentials", "identity_assertion", "bearer")
_AUTH_ALIASES = {
    "clientId": "client_id",
    "clientSecret": "client_secret",
    "clientName": "client_name",
    "redirectPort": "redirect_port",
    "callbackPort": "redirect_port",
    "clientMetadataUrl": "client_metadata_url",
    "tokenEndpointAuthMethod": "token_endpoint_auth_method",
    "privateKey": "private_key",
    "privateKeyFile": "private_key_file",
    "signingAlgorithm": "signing_algorithm",
    "CLIENT_ID": "client_id",  # Cursor
    "CLIENT_SECRET": "client_secret",
}
_AUTH_FIELDS = set(
    "type token client_id client_secret client_name scopes issuer redirect_port timeout token_endpoint_auth_method "
    "client_metadata_url private_key private_key_file signing_algorithm audience "
    "assertion assertion_file id_token idp_token_endpoint idp_client_id".split()
)
AUTH_METHODS = ("none", "client_secret_basic", "client_secret_post", "private_key_jwt")
MAX_SECONDS = 7 * 86400
_BOOL = TypeAdapter(bool)


def _text(value: object) -> object:
    """Numbers as they were written, as people write ports without quotes."""
    if isinstance(value, (SourceInt, SourceFloat)):
        return value.text
    return str(value) if type(value) is int else value


def no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("Input should be a number of seconds")
    return value


def _name_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_text)]
Seconds = Annotated[float, BeforeValidator(no_bool), Field(gt=0, le=MAX_SECONDS, allow_inf_nan=False)]
Globs = Annotated[list[str], BeforeValidator(_name_list)]


def suggestion(word: object, known: Iterable[str]) -> str:
    """A hint at the name that may have been meant, or nothing."""
    close = difflib.get_close_matches(str(word), list(known), 1, 0.6)
    return f"did you mean {close[0]!r}?" if close else ""


class _Reading:
    """Fields under their own names; problems; and warnings for what is not known."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = names
        self.known = {*names, *ALIASES, "enabled"}
        self.fields: dict[str, object] = {}
        self.given: dict[str, str] = {}  # as it was written
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def take(self, key: str, value: object) -> None:
        """Read one field."""
        name = "disabled" if key == "enabled" else ALIASES.get(key, key)
        if name not in self.names:
            if key not in IGNORED and not str(key).startswith(("x-", "_", "//", "$")):
                self.warnings.append(Problem(str(key), "unknown field, ignored", suggestion(key, self.known)))
            return
        if value is None or (name == "auth" and value is False):
            return  # written but left empty is the same as not written
        if name == "disabled":
            value = self._flag(key, value)
        elif name == "transport":
            value = self._transport(key, value)
        elif name == "auth":
            value = self._auth(key, value)
        if value is _NOTHING:
            return
        if name in self.given and self.fields[name] != value:
            self.problems.append(Problem(key, f"contradicts {self.given[name]!r}", "write only one of them"))
            return
        self.given[name] = key
        self.fields[name] = value

    def _flag(self, key: str, value: object) -> object:
        try:
            return _BOOL.validate_python(value) is (key == "disabled")
        except ValidationError:
            if key == "disabled":
                return value  # the model says what is wrong
            self.problems.append(Problem(key, "Input should be true or false"))
            return _NOTHING

    def _transport(self, key: str, value: object) -> object:
        if isinstance(value, str) and value in TRANSPORTS:
            return TRANSPORTS[value]
        allowed = "'stdio', 'http' (the same as 'streamable_http') or 'sse'"
        self.problems.append(Problem(key, f"Input should be {allowed}", suggestion(value, TRANSPORTS)))
        return _NOTHING

    def _auth(self, key: str, value: object) -> object:
        if not isinstance(value, dict):
            return value
        if key == "oauth" or "CLIENT_ID" in value:
            value = {"type": "oauth", **value}
        value = {_AUTH_ALIASES.get(str(k), str(k)): part for k, part in value.items()}
        scope = value.get("scope")  # as the protocol has them
        if isinstance(scope, str) and "scopes" not in value:
            value["scopes"] = scope.split()
            del value["scope"]
        for part in value.keys() - _AUTH_FIELDS:
            self.warnings.append(Problem(f"auth.{part}", "unknown field, ignored", suggestion(part, _AUTH_FIELDS)))
        return value

    def suspect_milliseconds(self) -> None:
        """Warn of times that are far too long."""
        for name in ("timeout", "connect_timeout"):
            seconds = self.fields.get(name)
            if isinstance(seconds, (int, float)) and seconds >= 5000:
                said = "is in seconds, but looks like milliseconds"
                self.warnings.append(Problem(self.given[name], said, "divide it by 1000"))


_NOTHING: object = object()


def normalize(
    data: Mapping[str, object], names: Collection[str]
) -> tuple[dict[str, object], list[Problem], list[Problem]]:
    """Fields under their own names (``names``); problems; and warnings for what is not known."""
    asked = data.get("requestInit")  # JetBrains
    if isinstance(asked, Mapping):
        headers = asked.get("headers")
        data = {**({"headers": headers} if isinstance(headers, Mapping) else {}), **data}
        data.pop("requestInit")
    if data.get("httpUrl"):  # for Gemini, the other is an older transport's
        data = {"type": "http", **{key: value for key, value in data.items() if key != "url"}}
    reading = _Reading(names)
    for key, value in data.items():
        reading.take(key, value)
    reading.suspect_milliseconds()
    return reading.fields, reading.problems, reading.warnings


_HINTS = {
    "args": 'write a list of texts, as in args: ["-m", "server"]',
    "env": 'write values as text in quotes, as in env: {DEBUG: "true"}',
    "headers": 'write values as text in quotes, as in headers: {X-Version: "1"}',
    "auth": 'write "oauth", or a mapping with a type; put a plain token in headers',
    "include": 'write a list of patterns, as in include: ["get_*"]',
    "exclude": 'write a list of patterns, as in exclude: ["delete_*"]',
}


def translate(exc: ValidationError) -> list[Problem]:
    """pydantic's errors without the input that they carry."""
    found: dict[str, Problem] = {}
    for one in exc.errors(include_url=False, include_context=False, include_input=False):
        loc = [part for part in one["loc"] if part != "[key]"]
        top = str(loc[0]) if loc else ""
        if top == "auth":
            loc = loc[:1]
        where = top + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc[1:])
        message = "Input should be 'oauth' or a mapping" if top == "auth" else one["msg"].removeprefix("Value error, ")
        found.setdefault(where, Problem(where or None, message, _HINTS.get(top, "")))
    return list(found.values())
