"""Configurations of MCP servers: what one server needs, and the files that hold several.

Contract: the shapes of the common hosts are read (a bare map, ``mcpServers``, ``servers``, ``mcp: {servers}``) in YAML,
JSON with or without comments, and TOML. Reading never raises for what a file contains: every problem becomes a
``ConfigError`` in a list, and one bad server doesn't hide the good ones. What is saved is what was written, without
interpolation. Values of headers, environment variables, auth and secret parts of URLs appear in no message and no repr.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, TypeAdapter, ValidationError

from . import _formats
from ._formats import DELETE, FormatError, SourceFloat, SourceInt
from ._interpolate import (
    HIDDEN,
    Inputs,
    Scope,
    Unresolved,
    has_reference,
    input_ids,
    interpolate,
    mask_args,
    mask_auth,
    mask_url,
    read_env_file,
    token_like,
)
from ._locked import locked
from .errors import UsageError

__all__ = ["ConfigError", "HostFile", "ServerConfig", "ToolsConfig", "ToolsConfigValue"]

# ToolsConfig has methods of these names
_Texts = list[str]
_Dicts = list[dict[str, Any]]


class ConfigError(UsageError):
    """A problem of a configuration; a ValueError. Its text never holds secrets.

    Parameters:
        message: what is wrong.
        file, server, field, line: where, as far as known.
        hint: what to do about it.
    """

    code = "config"

    def __init__(
        self,
        message: str,
        *,
        file: Path | None = None,
        server: str | None = None,
        field: str | None = None,
        line: int | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, server=server)
        self.message = message
        self.file = file
        self.field = field
        self.line = line
        self.hint = hint

    def __str__(self) -> str:
        where = "" if self.file is None else f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        what = [f"server {self.server!r}"] if self.server is not None else []
        what += [f"field {self.field!r}"] if self.field else []
        text = f"{where}{', '.join(what)}{': ' if what else ''}{self.message}"
        return f"{text}. {self.hint}" if self.hint else text

    def __reduce__(self) -> tuple[Any, ...]:
        return _error, (self.message, self.file, self.server, self.field, self.line, self.hint)


def _error(
    message: str, file: Path | None, server: str | None, field: str | None, line: int | None, hint: str
) -> ConfigError:
    return ConfigError(message, file=file, server=server, field=field, line=line, hint=hint)


_Errors = list[ConfigError]


class _Problem(NamedTuple):
    field: str | None
    message: str
    hint: str = ""


@dataclass(frozen=True)
class _Source:
    """Where a server was read from. Lines don't count when configurations are compared."""

    file: Path | None = field(default=None, compare=False)
    workspace: Path | None = None
    line: Callable[..., int | None] | None = field(default=None, compare=False, repr=False)
    inputs: Inputs = field(default=None, compare=False, repr=False)
    defaults: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def error(self, server: str | None, problem: _Problem) -> ConfigError:
        keys = [int(k) if k.isdigit() else k for k in re.findall(r"[^.\[\]]+", problem.field or "")]
        line = self.line(server, keys) if self.line is not None and server is not None else None
        return _error(problem.message, self.file, server, problem.field, line, problem.hint)


# --------------------------------------------------------------------------------------------------------------- one server

_ALIASES = {
    "type": "transport",
    "envFile": "env_file",
    **dict.fromkeys(("allow", "allowedTools", "includeTools", "enabledTools"), "include"),
    **dict.fromkeys(("deny", "excludeTools", "deniedTools", "disabledTools"), "exclude"),
    **dict.fromkeys(("connectTimeout", "connectionTimeout", "startup_timeout", "startupTimeout"), "connect_timeout"),
    "requestTimeout": "timeout",
    "cacheTtl": "cache_ttl",
    "oauth": "auth",
    "protocolEra": "protocol",
}
_TRANSPORTS = {
    "stdio": "stdio",
    "sse": "sse",
    **dict.fromkeys(("http", "streamable-http", "streamable_http", "streamableHttp"), "streamable_http"),
}
# what other hosts write there and what means nothing here
_IGNORED = set("description version metadata gallery dev sandbox icon autoApprove alwaysAllow roots $schema".split())
_AUTH_TYPES = ("oauth", "client_credentials", "bearer")
_AUTH_ALIASES = {
    "clientId": "client_id",
    "clientSecret": "client_secret",
    "clientName": "client_name",
    "redirectPort": "redirect_port",
    "callbackPort": "redirect_port",
    "CLIENT_ID": "client_id",  # Cursor
    "CLIENT_SECRET": "client_secret",
}
_AUTH_FIELDS = set(
    "type token client_id client_secret client_name scopes issuer redirect_port timeout token_endpoint_auth_method".split()
)
_MAX_SECONDS = 7 * 86400
_BOOL = TypeAdapter(bool)


def _text(value: Any) -> Any:
    """Numbers as they were written, as people write ports without quotes."""
    if isinstance(value, (SourceInt, SourceFloat)):
        return value.text
    return str(value) if type(value) is int else value


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("Input should be a number of seconds")
    return value


def _name_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_text)]
Seconds = Annotated[float, BeforeValidator(_no_bool), Field(gt=0, le=_MAX_SECONDS, allow_inf_nan=False)]
Globs = Annotated[list[str], BeforeValidator(_name_list)]


class ServerConfig(BaseModel):
    """What is needed to reach one server, and how its tools are treated. Immutable.

    Other hosts' names of fields are accepted too: ``type`` ("http" is "streamable_http"), ``envFile``, ``allow``, ``deny``,
    ``connectTimeout``, ``requestTimeout``, ``enabled`` and more. Without a transport, ``command`` means stdio, a ``url`` that
    ends in /sse means sse, and any other streamable_http. Times are in seconds.

    Two of them are equal if everything is; ``content_hash`` tells whether a running session is affected.

    Raises:
        ConfigError: for the constructor and ``model_validate``; never pydantic's ValidationError, which holds the input.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")

    name: str
    transport: Literal["stdio", "streamable_http", "sse"] = "stdio"
    command: str | None = None
    args: list[Text] = []
    env: dict[str, Text] = {}
    env_file: str | None = None
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, Text] = {}
    disabled: bool = False
    timeout: Seconds = 60.0
    connect_timeout: Seconds = 30.0
    prefix: str | None = None
    include: Globs | None = None
    exclude: Globs = []
    required: bool = False
    bundle: str | None = None
    retry: Literal["safe", "never", "always"] = "safe"
    cache_ttl: Annotated[float, BeforeValidator(_no_bool), Field(ge=0, allow_inf_nan=False)] = 0.0
    auth: Literal["oauth"] | dict[str, Any] | None = None
    protocol: Literal["auto", "legacy", "modern"] = "auto"

    _source: _Source = PrivateAttr(default_factory=_Source)
    # of a resolved one: what was written, to be shown in place of the values of variables
    _written: dict[str, Any] = PrivateAttr(default_factory=dict)
    # of a resolved one: values of variables in its arguments, and in its URL those that look like secrets by their names
    _used: dict[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, **data: Any) -> None:
        fields, problems, _ = _normalize(data)
        try:
            super().__init__(**fields)
        except ValidationError as exc:
            problems += _translate(exc)
        else:
            if "transport" not in fields:
                self.__dict__["transport"] = _infer(self.command, self.url)
            problems += _check(self)
        if problems:
            name = data.get("name")
            raise _several([_Source().error(name if isinstance(name, str) else None, problem) for problem in problems])

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> ServerConfig:
        """As the constructor, from a mapping with the name among the fields."""
        if isinstance(obj, ServerConfig):
            return obj
        if not isinstance(obj, Mapping):
            raise ConfigError("a server must be a mapping of fields")
        return cls(**{str(key): value for key, value in obj.items()})

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> ServerConfig:
        """As ``model_validate``, from JSON text."""
        try:
            data = json.loads(json_data)
        except ValueError:
            data = None
        return cls.model_validate(data)

    def resolved(self, inputs: Inputs = None, environ: Mapping[str, str] | None = None) -> ServerConfig:
        """A copy with references replaced, ready to be used; never to be saved.

        ``command``, ``args``, ``env``, ``url``, ``headers``, ``cwd``, ``env_file`` and ``auth`` may have references. ``env`` of
        the copy is that of ``env_file`` with the user's own on top; the process environment is no part of it. Variables of
        ``env_file`` may be referred to and come before the process environment. Relative ``cwd`` and ``env_file`` are taken
        from the workspace folder: the file's, or its parent if that is called .vscode or .cursor.

        Parameters:
            inputs: values for ``${input:id}``, a mapping or a function of the id; unless given, those of the ToolsConfig.
            environ: instead of the process environment.

        Raises:
            ConfigError: a variable or input has no value, the .env file cannot be read, or what comes out is not valid. The
                error names server, field and variable, no values.
        """
        workspace = self._source.workspace or Path.cwd()
        scope = Scope(
            workspace, environ, None, self._source.inputs if inputs is None else inputs, self._source.defaults
        )

        def replace(value: Any, where: str) -> Any:
            if isinstance(value, str):
                try:
                    return interpolate(value, scope)
                except Unresolved as exc:
                    problem = _Problem(where, exc.message, exc.hint)
                raise self._source.error(self.name, problem)
            if isinstance(value, dict):
                return {key: replace(part, f"{where}.{key}") for key, part in value.items()}
            if isinstance(value, list):
                return [replace(part, f"{where}[{i}]") for i, part in enumerate(value)]
            return value

        data = {key: getattr(self, key) for key in type(self).model_fields}
        if "transport" not in self.model_fields_set:
            del data["transport"]
        if self.env_file is not None:
            path = workspace / Path(replace(self.env_file, "env_file")).expanduser()
            problem = None
            try:
                scope.extra = read_env_file(path)
            except OSError as exc:
                problem = _Problem("env_file", f"cannot read {str(path)!r}: {exc.strerror}")
            except ValueError as exc:
                problem = _Problem("env_file", f"{str(path)!r}: {exc}")
            except ImportError:
                problem = _Problem("env_file", "reading it needs python-dotenv", 'pip install "aionest[mcp]"')
            if problem:
                raise self._source.error(self.name, problem)
            data["env_file"] = str(path)
        used: dict[str, str] = {}
        for key in ("command", "args", "env", "cwd", "url", "headers", "auth"):
            scope.used = {}
            data[key] = replace(data[key], key)
            if key in ("args", "url"):
                used |= {name: value for name, value in scope.used.items() if key == "args" or token_like(name)}
        data["env"] = {**scope.extra, **data["env"]}
        if data["cwd"] is not None:
            data["cwd"] = str(workspace / Path(data["cwd"]).expanduser())
        if data["command"] is not None and data["command"].startswith("~"):
            data["command"] = os.path.expanduser(data["command"])
        made, errors, _ = _build(self.name, data, self._source, literal=True)
        if made is None:
            raise _several(errors)
        made._used = self._used or used
        made._written = self._written or {
            key: getattr(self, key) for key in ("command", "args", "cwd", "env_file", "url")
        }
        return made

    def content_hash(self) -> str:
        """A stable hash of what a session is made with: command, arguments, environment, folder, URL, headers, auth, transport.

        Defaults of the inputs that these refer to are covered, as they are what is run where nobody gives a value. Timeouts,
        filters, prefix and the like are no part of it, so that a change of these needs no new process. Of a
        resolved configuration it also covers the values of variables and of the .env file. It is made with secrets, so treat
        it as one if these are guessable.
        """
        keys = ("transport", "command", "args", "env", "env_file", "cwd", "url", "headers", "auth")
        parts = {key: getattr(self, key) for key in keys}
        if self.protocol != "auto":
            parts["protocol"] = self.protocol
        defaults = self._defaults()
        if defaults:
            parts["inputs"] = defaults
        if self._source.workspace is not None and (self.env_file or self.cwd or "${workspaceFolder" in repr(parts)):
            parts["workspace"] = str(self._source.workspace)
        return hashlib.sha256(
            json.dumps(parts, sort_keys=True, default=str).encode("utf-8", "surrogatepass")
        ).hexdigest()

    def _defaults(self) -> dict[str, str]:
        """The defaults of inputs that may come into it: of all that are named, in whatever way."""
        keys = ("command", "args", "env", "env_file", "cwd", "url", "headers", "auth")
        text = "\0".join(_strings([getattr(self, key) for key in keys]))
        return {name: value for name, value in self._source.defaults.items() if f"${{input:{name}}}" in text}

    def public(self) -> dict[str, Any]:
        """All fields as plain data, with secrets replaced by three asterisks; references of a resolved one as they were written."""
        data = self.model_dump(mode="json")
        for key, written in self._written.items():
            if isinstance(written, list):
                data[key] = [then if has_reference(then) else now for then, now in zip(written, data[key])]
            elif written is not None and has_reference(written):
                data[key] = written
        data["args"] = mask_args(data["args"])
        data["env"] = dict.fromkeys(self.env, HIDDEN)
        data["headers"] = dict.fromkeys(self.headers, HIDDEN)
        data["auth"] = mask_auth(self.auth)
        data["url"] = None if self.url is None else mask_url(data["url"])
        return data

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for key, value in self.public().items():
            if key in ("name", "transport") or getattr(self, key) != type(self).model_fields[key].default:
                yield key, value


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(part)


def _several(errors: list[ConfigError]) -> ConfigError:
    """One error to raise for all."""
    first = errors[0]
    if len(errors) > 1:
        more = "; ".join(f"field {e.field!r}: {e.message}" if e.field else e.message for e in errors[1:])
        first = _error(f"{first.message}; {more}", first.file, first.server, first.field, first.line, first.hint)
    return first


def _infer(command: str | None, url: str | None) -> str:
    if command is not None or url is None:
        return "stdio"
    return "sse" if re.split(r"[?#]", url)[0].rstrip("/").endswith("/sse") else "streamable_http"


def _like(word: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), list(known), 1, 0.6)
    return f"did you mean {close[0]!r}?" if close else ""


def _normalize(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[_Problem], list[_Problem]]:
    """Fields under their own names; problems; and warnings for what is not known."""
    fields: dict[str, Any] = {}
    problems: list[_Problem] = []
    warnings: list[_Problem] = []
    given: dict[str, str] = {}
    known = {*ServerConfig.model_fields, *_ALIASES, "enabled"}
    for key, value in data.items():
        name = _ALIASES.get(key, key)
        if key == "enabled":
            name = "disabled"
        if name not in ServerConfig.model_fields:
            if key not in _IGNORED and not str(key).startswith(("x-", "_", "//", "$")):
                warnings.append(_Problem(str(key), "unknown field, ignored", _like(key, known)))
            continue
        if value is None:
            # written but left empty is the same as not written
            continue
        if name == "disabled":
            try:
                value = _BOOL.validate_python(value) is (key == "disabled")
            except ValidationError:
                if key == "enabled":
                    problems.append(_Problem(key, "Input should be true or false"))
                    continue
        if name == "auth" and value is False:
            continue
        if name == "transport":
            if not isinstance(value, str) or value not in _TRANSPORTS:
                allowed = "'stdio', 'http' (the same as 'streamable_http') or 'sse'"
                problems.append(_Problem(key, f"Input should be {allowed}", _like(value, _TRANSPORTS)))
                continue
            value = _TRANSPORTS[value]
        if isinstance(value, dict) and (key == "oauth" or (name == "auth" and "CLIENT_ID" in value)):
            value = {"type": "oauth", **value}
        if name == "auth" and isinstance(value, dict):
            value = {_AUTH_ALIASES.get(str(k), str(k)): part for k, part in value.items()}
            for part in value.keys() - _AUTH_FIELDS:
                warnings.append(_Problem(f"auth.{part}", "unknown field, ignored", _like(part, _AUTH_FIELDS)))
        if name in given and fields[name] != value:
            problems.append(_Problem(key, f"contradicts {given[name]!r}", "write only one of them"))
            continue
        given[name] = key
        fields[name] = value
    for name, seconds in ((n, fields.get(n)) for n in ("timeout", "connect_timeout")):
        if isinstance(seconds, (int, float)) and seconds >= 5000:
            warnings.append(_Problem(given[name], "is in seconds, and looks like milliseconds", "divide it by 1000"))
    return fields, problems, warnings


_HINTS = {
    "args": 'write a list of texts, as in args: ["-m", "server"]',
    "env": 'write values as text in quotes, as in env: {DEBUG: "true"}',
    "headers": 'write values as text in quotes, as in headers: {X-Version: "1"}',
    "auth": 'write "oauth", or a mapping with a type; a plain token belongs into headers',
    "include": 'write a list of patterns, as in include: ["get_*"]',
    "exclude": 'write a list of patterns, as in exclude: ["delete_*"]',
}


def _translate(exc: ValidationError) -> list[_Problem]:
    """pydantic's errors without the input that they carry."""
    found: dict[str, _Problem] = {}
    for one in exc.errors(include_url=False, include_context=False, include_input=False):
        loc = [part for part in one["loc"] if part != "[key]"]
        top = str(loc[0]) if loc else ""
        if top == "auth":
            loc = loc[:1]
        where = top + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc[1:])
        message = "Input should be 'oauth' or a mapping" if top == "auth" else one["msg"].removeprefix("Value error, ")
        found.setdefault(where, _Problem(where or None, message, _HINTS.get(top, "")))
    return list(found.values())


def _name_problem(name: Any) -> _Problem | None:
    if not isinstance(name, str):
        return _Problem(None, f"the name of a server must be text, not {type(name).__name__}", "put it in quotes")
    if not name.strip():
        return _Problem(None, "the name of a server must not be empty")
    if name != name.strip() or not name.isprintable():
        return _Problem(None, "the name of a server must not have control characters, or spaces at its ends")
    return _Problem(None, "the name of a server must not be longer than 128 characters") if len(name) > 128 else None


def _check(config: ServerConfig, literal: bool = False) -> list[_Problem]:
    """What types don't tell.

    Parameters:
        literal: references were replaced already, so that what looks like one is none.
    """
    found: list[_Problem] = []

    def open_(text: str) -> bool:
        return not literal and has_reference(text)

    named = _name_problem(config.name)
    if named:
        found.append(named)
    if config.command is not None and config.url is not None and "transport" not in config.model_fields_set:
        found.append(_Problem("command", "there is a url as well", "write only one of them, or a type"))
    elif config.transport == "stdio":
        if config.command is None:
            hint = "" if config.url is None else "type stdio doesn't use the url"
            missing = (
                "command" if config.url is not None or "transport" in config.model_fields_set else "command or url"
            )
            found.append(_Problem("command", f"a server needs a {missing}", hint))
        else:
            found += _check_command(config.command, open_(config.command))
    elif config.url is None:
        found.append(_Problem("url", f"type {config.transport} needs a url"))
    elif not open_(config.url):
        found += _check_url(config.url)
    for where, text in (("command", config.command), ("cwd", config.cwd), ("env_file", config.env_file)):
        if text is not None and "\0" in text:
            found.append(_Problem(where, "must not have null characters"))
        if where != "command" and text is not None and not text.strip():
            found.append(_Problem(where, "must not be empty"))
    found += [
        _Problem(f"args[{i}]", "must not have null characters") for i, arg in enumerate(config.args) if "\0" in arg
    ]
    for key, value in config.env.items():
        if not key or "=" in key or "\0" in key:
            found.append(_Problem("env", "names of variables must not be empty, nor have = or null characters"))
        if "\0" in value:
            found.append(_Problem(f"env.{key}", "must not have null characters"))
    for key, value in config.headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", key):
            found.append(_Problem("headers", "the name of a header has characters that are not allowed"))
        elif re.search(r"[\r\n\0]", value):
            found.append(_Problem(f"headers.{key}", "must not have line ends or null characters"))
    if config.prefix and not re.fullmatch(r"[A-Za-z0-9_.-]+", config.prefix):
        found.append(_Problem("prefix", "may have letters, digits, and the characters _ . - only"))
    for where, globs in (("include", config.include or []), ("exclude", config.exclude)):
        found += [_Problem(f"{where}[{i}]", "must not be empty") for i, glob in enumerate(globs) if not glob.strip()]
    if config.bundle is not None and not config.bundle.strip():
        found.append(_Problem("bundle", "must not be empty"))
    if isinstance(config.auth, dict):
        kind = config.auth.get("type")
        if not isinstance(kind, str) or kind not in _AUTH_TYPES:
            found.append(_Problem("auth.type", f"Input should be one of {', '.join(map(repr, _AUTH_TYPES))}"))
        needed = {"bearer": ("token",), "client_credentials": ("client_id", "client_secret")}.get(str(kind), ())
        texts = ("token", "client_id", "client_secret", "client_name", "issuer")
        for part in needed:
            if not config.auth.get(part):
                found.append(_Problem(f"auth.{part}", f"type {kind} needs it"))
        for part in texts:
            if config.auth.get(part) is not None and not isinstance(config.auth[part], str):
                found.append(_Problem(f"auth.{part}", "Input should be text"))
        port = config.auth.get("redirect_port")
        if port is not None and not (type(port) in (int, SourceInt) and 0 < port < 65536):
            found.append(_Problem("auth.redirect_port", "Input should be a port number"))
        scopes = config.auth.get("scopes")
        if scopes is not None and not (isinstance(scopes, list) and all(isinstance(scope, str) for scope in scopes)):
            found.append(_Problem("auth.scopes", "Input should be a list of texts"))
    return found


def _check_command(command: str, is_open: bool) -> list[_Problem]:
    if not command.strip():
        return [_Problem("command", "must not be empty")]
    if is_open or "\0" in command or not re.search(r"\s", command):
        return []
    # a folder's name may have spaces
    path = os.path.expanduser(command)
    if os.path.isfile(path) or shutil.which(path):
        return []
    return [_Problem("command", "has spaces, and there is no such file", "no shell runs it: put arguments in args")]


def _check_url(url: str) -> list[_Problem]:
    problem = _Problem("url", "must be an http:// or https:// URL with a host")
    kind = {"unix": "Unix socket", "pipe": "named pipe"}.get(url.partition(":")[0].lower())
    if kind:
        relay = ", as socat TCP-LISTEN:8080,bind=127.0.0.1,fork UNIX-CONNECT:FILE does" if kind == "Unix socket" else ""
        hint = f"have it listen on a port of 127.0.0.1, or relay one to it{relay}"
        return [_Problem("url", f"a server on a {kind} cannot be reached, only http:// and https:// can", hint)]
    try:
        parts = urlsplit(url)
        good = (
            parts.scheme.lower() in ("http", "https")
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        good = False
    return [] if good and not re.search(r"[\s\0]", url) else [problem]


def _build(
    name: Any, value: Any, source: _Source, literal: bool = False
) -> tuple[ServerConfig | None, list[ConfigError], list[ConfigError]]:
    """The server, or the errors; and warnings."""
    label = name if isinstance(name, str) else str(name)
    named = _name_problem(name)
    if named:
        return None, [source.error(label, named)], []
    if not isinstance(value, Mapping):
        problem = _Problem(None, "must be a mapping of fields", "write a command or a url below it")
        return None, [source.error(label, problem)], []
    data = {str(key): part for key, part in value.items()}
    fields, problems, warned = _normalize({**data, "name": name})
    made = ServerConfig.model_construct()
    try:
        # not the constructor, which tells the problems as one
        BaseModel.__init__(made, **fields)
    except ValidationError as exc:
        problems += _translate(exc)
    else:
        if "transport" not in fields:
            made.__dict__["transport"] = _infer(made.command, made.url)
        problems += _check(made, literal)
        made._source = source
    if made.__dict__.get("transport") == "stdio" and "headers" in fields:
        warned.append(_Problem("headers", "has no effect for a server that is started by a command"))
    if made.__dict__.get("transport") == "stdio" and fields.get("auth"):
        warned.append(_Problem("auth", "has no effect for a server that is started by a command", "pass it in env"))
    if made.__dict__.get("transport") != "stdio" and {"args", "cwd"} & fields.keys():
        warned.append(_Problem("args" if "args" in fields else "cwd", "has no effect for a server with a url"))
    if data.get("name") is not None and data["name"] != name:
        warned.append(_Problem("name", "differs from the key, which counts"))
    errors = [source.error(label, problem) for problem in problems]
    return (None if errors else made), errors, [source.error(label, warning) for warning in warned]


class ToolsConfigValue(dict[str, Any]):
    """One server's fields as they were written, without interpolation. Its repr hides secrets; its items are what they are.

    Parameters:
        value: the fields.

    Raises:
        ConfigError: they are not valid.
    """

    def __init__(self, value: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        super().__init__({**(value or {}), **fields})
        self.server()

    def server(self, name: str = "server", inputs: Inputs = None) -> ServerConfig:
        """These fields as a ServerConfig.

        Raises:
            ConfigError: they are no longer valid.
        """
        made, errors, _ = _build(name, self, _Source(inputs=inputs))
        if made is None:
            raise _several([_error(e.message, None, None, e.field, None, e.hint) for e in errors])
        return made

    @property
    def connection(self) -> dict[str, Any]:
        """What other clients take: transport with command, args and env, or with url and headers; references are replaced."""
        server = self.server().resolved()
        keys = ("command", "args", "env", "cwd") if server.transport == "stdio" else ("url", "headers")
        return {"transport": server.transport, **{k: v for k in keys if (v := getattr(server, k)) is not None}}

    def __repr__(self) -> str:
        try:
            public = self.server().public()
        except ConfigError:
            public = {}
        shown = {key: public.get(_ALIASES.get(key, key), HIDDEN) for key in self}
        return f"{type(self).__name__}({shown})"

    __str__ = __repr__


# ---------------------------------------------------------------------------------------------------------------- the files


class HostFile(NamedTuple):
    """Where a host keeps its configuration, whether or not the file is there."""

    host: str
    path: Path


_LOOK = ("mcp.yaml", "mcp.yml", "mcp.json", "mcp.toml", ".mcp.json", ".cursor/mcp.json", ".vscode/mcp.json")
_NO_SERVERS = {"$schema", "inputs", "version"}


def _workspace(file: Path) -> Path:
    folder = Path(os.path.abspath(file)).parent
    return folder.parent if folder.name in (".vscode", ".cursor") else folder


def _is_server(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(value.get(key), str) for key in ("command", "url"))


def _wrapper(root: Mapping[Any, Any]) -> tuple[str, ...]:
    """The path to the servers."""
    if "mcpServers" in root:
        return ("mcpServers",)
    if "servers" in root and not _is_server(root["servers"]):
        return ("servers",)
    inner = root.get("mcp")
    if isinstance(inner, Mapping) and not _is_server(inner):
        for key in ("servers", "mcpServers"):
            if key in inner:
                return ("mcp", key)
    return ()


def _looks_bare(root: Mapping[Any, Any]) -> bool:
    """Whether any member could be meant as a server, so that another program's file gives one error and not a hundred."""
    known = {*ServerConfig.model_fields, *_ALIASES} - {"name", "version"}
    return any(
        isinstance(value, Mapping) and any(difflib.get_close_matches(str(key), known, 1, 0.75) for key in value)
        for value in root.values()
    )


class ToolsConfig:
    """A file with servers. All methods may be called from any thread.

    Parameters:
        config_file: the file, or None for a configuration without one.
        load: read it at once.
        inputs: values for ``${input:id}`` of the servers: a mapping, or a function of the id.
    """

    def __init__(
        self, config_file: str | Path | None = "mcp.yaml", load: bool = True, *, inputs: Inputs = None
    ) -> None:
        self.config_file = None if config_file is None else Path(config_file)
        self._inputs = inputs
        self._only_found = False  # nobody has named the file: a loader asks whether it is accepted, at each reload
        self._lock = threading.RLock()
        self._base: Path | None = None
        self._text: str | None = None
        self._format = ""
        self._root: dict[Any, Any] = {}
        self._at: tuple[str, ...] = ()
        self._raw: dict[Any, Any] = {}
        self._servers: dict[str, ServerConfig] = {}
        self._errors: list[ConfigError] = []
        self._warnings: list[ConfigError] = []
        self._changes: dict[str, Any] = {}
        self._new_inputs: _Dicts = []  # definitions to be saved
        self._overrides: dict[str, Any] = {}
        if load:
            self.load()

    @classmethod
    def from_dict(
        cls, mapping: Mapping[str, Any], base_dir: str | Path | None = None, *, inputs: Inputs = None
    ) -> ToolsConfig:
        """A configuration without a file, of any of the shapes.

        Parameters:
            mapping: the content; it is copied.
            base_dir: what ``${workspaceFolder}`` means; the working directory unless given.
        """
        made = cls(None, load=False, inputs=inputs)
        made._base = None if base_dir is None else Path(base_dir)
        try:
            made._absorb(_formats.plain(mapping) if isinstance(mapping, dict) else mapping, None)
        except FormatError as exc:
            made._fail(exc)
        return made

    @staticmethod
    def find(start: str | Path | None = None) -> Path | None:
        """The configuration that applies in a folder, or None.

        $MCP_FILE if it is set (whether or not it is there, so that a wrong one is noticed), mcp.yaml, .yml, .json or .toml,
        .mcp.json, .cursor/mcp.json, .vscode/mcp.json, and last mcp.yaml in the user's configuration folder of aionest.

        Parameters:
            start: the folder, the working directory unless given.
        """
        named = os.environ.get("MCP_FILE")
        if named:
            return Path(named).expanduser()
        folder = Path.cwd() if start is None else Path(start)
        candidates = [folder / name for name in _LOOK]
        try:
            import platformdirs
        except ImportError:
            pass
        else:
            candidates.append(platformdirs.user_config_path("aionest", appauthor=False) / "mcp.yaml")
        return next((path for path in candidates if path.is_file()), None)

    @staticmethod
    def known_host_files(start: str | Path | None = None) -> list[HostFile]:
        """Where Claude Desktop, Claude Code, Cursor and VS Code keep theirs on this system, those of the user first.

        Parameters:
            start: the project's folder, the working directory unless given.
        """
        home = Path.home()
        folder = Path.cwd() if start is None else Path(start)
        if sys.platform == "darwin":
            apps = home / "Library" / "Application Support"
        elif sys.platform == "win32":
            apps = Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming")
        else:
            apps = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        return [
            HostFile("Claude Desktop", apps / "Claude" / "claude_desktop_config.json"),
            HostFile("Claude Code", home / ".claude.json"),
            HostFile("Cursor", home / ".cursor" / "mcp.json"),
            HostFile("VS Code", apps / "Code" / "User" / "mcp.json"),
            HostFile("Claude Code", folder / ".mcp.json"),
            HostFile("Cursor", folder / ".cursor" / "mcp.json"),
            HostFile("VS Code", folder / ".vscode" / "mcp.json"),
        ]

    # -- looking

    def list(self) -> _Texts:
        """Names of the valid servers, disabled ones included, in the file's order."""
        with self._lock:
            return [*self._servers]

    def get(self, name: str) -> ToolsConfigValue | None:
        """The fields of a valid server as they were written (a copy), or None."""
        with self._lock:
            if name not in self._servers:
                return None
            value = ToolsConfigValue.__new__(ToolsConfigValue)
            value.update({str(key): part for key, part in _formats.plain(self._raw[name]).items()})
            return value

    def get_errors(self) -> _Texts:
        """The errors as text."""
        with self._lock:
            return [str(error) for error in self._errors]

    @property
    def errors(self) -> _Errors:
        """What is wrong with the file and its servers."""
        with self._lock:
            return [*self._errors]

    @property
    def warnings(self) -> _Errors:
        """What is suspicious but does no harm, such as unknown fields."""
        with self._lock:
            return [*self._warnings]

    @property
    def servers(self) -> dict[str, ServerConfig]:
        """The valid servers by name, without interpolation."""
        with self._lock:
            return dict(self._servers)

    @property
    def raw(self) -> dict[Any, Any]:
        """A copy of everything under the servers' key as it was written, invalid entries included."""
        with self._lock:
            copied: dict[Any, Any] = _formats.plain(self._raw)
            return copied

    @property
    def inputs(self) -> _Dicts:
        """The definitions of inputs in the file: mappings with id, type, description, default, password."""
        with self._lock:
            return _input_definitions(self._root, self._at)

    def __repr__(self) -> str:
        with self._lock:
            file = None if self.config_file is None else str(self.config_file)
            return f"ToolsConfig({file!r}, servers={[*self._servers]}, errors={len(self._errors)})"

    # -- changing

    def set(self, name: str, value: Mapping[str, Any] | ServerConfig) -> bool:
        """Add or replace a server, in memory until ``save``.

        Parameters:
            value: its fields, uninterpolated; what ``resolved`` gave is refused.

        Returns:
            Whether it is valid. If not, nothing changes and the errors are added to ``errors``.
        """
        with self._lock:
            self._drop_problems(name)
            if isinstance(value, ServerConfig):
                if value._written:  # it would be saved, with the values of variables in it
                    hint = "give the server as it was written"
                    self._errors.append(ConfigError("is resolved, which is never saved", server=str(name), hint=hint))
                    return False
                value = _fields_of(value)
            try:
                value = _formats.plain(dict(value)) if isinstance(value, Mapping) else value
            except FormatError as exc:
                self._errors.append(ConfigError(exc.message, server=str(name)))
                return False
            made, errors, warned = _build(name, value, self._source(None))
            if not errors and name in ("mcpServers", *_NO_SERVERS) and not self._at:
                errors.append(ConfigError("this name has another meaning", server=name, hint="choose another"))
            self._errors += errors
            if made is None or errors:
                return False
            self._warnings += warned
            self._raw[name] = value
            self._servers[name] = self._overridden(made)
            self._changes[name] = value
            return True

    def override(self, **fields: float) -> None:
        """Have fields count for all servers, whatever the file says. They stay with this object, and are never saved.

        Parameters:
            fields: ``timeout``, ``connect_timeout``, ``cache_ttl``.

        Raises:
            ConfigError: there is no such field, or the value is not valid.
        """
        unknown = fields.keys() - {"timeout", "connect_timeout", "cache_ttl"}
        if unknown:
            raise ConfigError(f"{unknown.pop()!r} cannot be set for all servers")
        checked = ServerConfig(name="any", command="any", **fields)
        with self._lock:
            self._overrides.update({key: getattr(checked, key) for key in fields})
            self._servers = {name: self._overridden(server) for name, server in self._servers.items()}

    def _overridden(self, server: ServerConfig) -> ServerConfig:
        return server.model_copy(update=self._overrides) if self._overrides else server

    def remove(self, name: str) -> bool:
        """Remove a server, valid or not, in memory until ``save``; whether it was there."""
        with self._lock:
            if name not in self._raw:
                return False
            del self._raw[name]
            self._servers.pop(name, None)
            self._drop_problems(name)
            self._changes[name] = DELETE
            self._drop_inputs()
            return True

    def import_from(self, path: str | Path) -> _Texts:
        """Add the servers of another file, in memory until ``save``.

        Servers whose name is taken stay as they are, with a warning unless they are the same. ``${workspaceFolder}`` and
        relative folders of the other file are made absolute, so that they mean the same as before. Definitions of the inputs
        that they refer to come along; an input whose id means something else here gets another id. The other file's errors
        are added to ``errors``.

        Returns:
            The names added.
        """
        other = ToolsConfig(path)
        added: _Texts = []
        with self._lock:
            self._errors += other.errors
            renamed = self._input_names(other)
            for name, server in other.servers.items():
                value = _rebased(other.raw[name], _workspace(Path(path)))
                wanted = sorted(input_ids(value))
                value = _with_inputs(value, renamed)
                if name in self._raw:
                    if not _formats.same(self._raw[name], value):
                        self._warnings.append(
                            ConfigError("is there already, not imported", file=Path(path), server=name)
                        )
                    continue
                before = self._root
                new = self._define(
                    [{**d, "id": renamed.get(d["id"], d["id"])} for d in other.inputs if d["id"] in wanted]
                )
                if not self.set(name, value):
                    self._root = before
                    continue
                self._new_inputs += new
                added.append(name)
                if wanted:
                    ids = ", ".join(renamed.get(one, one) for one in wanted)
                    moved = [f"{renamed[one]} is its {one}" for one in wanted if one in renamed]
                    why = f" ({', '.join(moved)}, which is another one here)" if moved else ""
                    self._warnings.append(
                        ConfigError(f"wants inputs: {ids}{why}", server=server.name, hint="pass inputs=...")
                    )
        return added

    def _input_names(self, other: ToolsConfig) -> dict[str, str]:
        """New ids for inputs of another configuration whose ids mean something else here."""
        mine, its = ({one["id"]: one for one in config.inputs} for config in (self, other))
        used = {*mine, *input_ids(self._raw)}
        taken = {*used, *its, *input_ids(other.raw)}
        names: dict[str, str] = {}
        for id_ in sorted(input_ids(other.raw) & used):
            if _formats.same(mine.get(id_), its.get(id_)):
                continue
            number = 2
            while f"{id_}-{number}" in taken:
                number += 1
            names[id_] = f"{id_}-{number}"
            taken.add(names[id_])
        return names

    def _define(self, definitions: _Dicts) -> _Dicts:
        """Add definitions of inputs to those that there are; those that are new."""
        known = {one["id"] for one in _input_definitions(self._root, self._at)}
        new = [one for one in definitions if one["id"] not in known]
        if new:
            path = (*self._at[:-1], "inputs")
            self._root = _formats.put(self._root, path, [*_input_list(self._root, self._at), *new])
        return new

    def _drop_inputs(self) -> None:
        """Those that came along with a server which is no longer there, and that nobody has seen yet."""
        wanted = input_ids(self._raw)
        gone = [one["id"] for one in self._new_inputs if one["id"] not in wanted]
        if gone:
            self._new_inputs = [one for one in self._new_inputs if one["id"] in wanted]
            kept = [
                one
                for one in _input_list(self._root, self._at)
                if not (isinstance(one, dict) and one.get("id") in gone)
            ]
            self._root = _formats.put(self._root, (*self._at[:-1], "inputs"), kept or DELETE)

    # -- files

    def load(self, file: str | Path | None = None) -> bool:
        """Read the file; changes that were not saved are dropped.

        Parameters:
            file: another file, which takes the place of ``config_file``.

        Returns:
            Whether there are no errors. It never raises for what is in the file, or if there is none.
        """
        with self._lock:
            if file is not None:
                self.config_file = Path(file)
            self._text, self._format = None, ""
            if self.config_file is None:
                self._absorb({}, None)
                return True
            try:
                text, _ = _formats.read_text(self.config_file)
                self._accept_text(text)
            except FormatError as exc:
                self._fail(exc)
            except FileNotFoundError:
                self._fail(FormatError("there is no such file"))
            except OSError as exc:
                self._fail(FormatError(f"cannot be read: {exc.strerror}"))
            except ValueError:
                # such as a null character in its path
                self._fail(FormatError("this cannot be the name of a file"))
            return not self._errors

    def save(self, file: str | Path | None = None, *, force: bool = False) -> bool:
        """Write the servers, uninterpolated.

        Only the servers that were changed are touched, in the file as it is now: comments, order, layout, shape and mode stay,
        and so do changes that others made meanwhile. The file is replaced at once. A new file has mode 0600.

        Parameters:
            file: another file, of any of the formats; it is replaced. ``config_file`` stays, unless it is None.
            force: lose comments, or what is in a file that cannot be read, rather than fail.

        Returns:
            Whether it was written. If not, the reason is added to ``errors``.
        """
        target = self.config_file if file is None else Path(file)
        if target is None:
            with self._lock:
                self._errors.append(ConfigError("there is no file to save to", hint="name one"))
            return False
        try:
            # outside the own lock, so that nobody who only reads here waits for another process
            with locked(target):
                return self._save(target, force)
        except OSError as exc:
            with self._lock:
                self._errors.append(ConfigError(f"not saved: {exc.strerror}", file=target))
            return False

    def _save(self, target: Path, force: bool) -> bool:
        with self._lock:
            own = self.config_file is not None and os.path.realpath(target) == os.path.realpath(self.config_file)
            try:
                text, newline = self._new_text(target, own, force)
                _formats.write_atomic(target, text, newline)
            except FormatError as exc:
                self._errors.append(ConfigError(f"not saved: {exc.message}", file=target, line=exc.line, hint=exc.hint))
                return False
            except UnicodeEncodeError:
                self._errors.append(
                    ConfigError("not saved: it has characters that cannot be written as UTF-8", file=target)
                )
                return False
            if own or self.config_file is None:
                self.config_file = target
                try:
                    self._accept_text(text)
                except FormatError as exc:
                    self._fail(exc)
            return True

    def _new_text(self, target: Path, own: bool, force: bool) -> tuple[str, str]:
        if own and target.exists():
            text, newline = _formats.read_text(target)
            fmt = _formats.format_of(target, text)
            try:
                root = _formats.parse(text, fmt).data
                if root is not None and not isinstance(root, dict):
                    raise FormatError("the file is not a mapping", 1)
                at = _wrapper(root) if root else _default_wrapper(fmt)
                return self._edited(text, fmt, at, root, force), newline
            except FormatError:
                if not force:
                    raise
            return _formats.render(self._whole(fmt), fmt), newline
        fmt = _formats.format_of(target, "")
        if self._text is not None and fmt == self._format:
            return self._edited(self._text, fmt, self._at, _formats.parse(self._text, fmt).data, force), "\n"
        return _formats.render(self._whole(fmt), fmt), "\n"

    def _edited(self, text: str, fmt: str, at: tuple[str, ...], root: Any, force: bool) -> str:
        """The text of a file with what was changed."""
        there = {one["id"]: one for one in _input_definitions(root or {}, at)}
        for one in self._new_inputs:
            if one["id"] in there and not _formats.same(there[one["id"]], one):
                raise FormatError(
                    f"input {one['id']!r} is another one in the file now", hint="load it, and import again"
                )
        new = [one for one in self._new_inputs if one["id"] not in there]
        if new:
            text = _formats.edit(text, fmt, at[:-1], {"inputs": [*_input_list(root or {}, at), *new]}, force)
        return _formats.edit(text, fmt, at, self._changes, force)

    def _whole(self, fmt: str) -> dict[Any, Any]:
        """All content, in the shape that it has."""
        at = self._at if self._root.keys() - {"inputs"} else _default_wrapper(fmt)
        servers = dict(self._raw)
        if not at:
            return {**{k: v for k, v in self._root.items() if k in _NO_SERVERS or str(k).startswith("x-")}, **servers}
        return dict(_formats.put(self._root, at, servers))

    # -- within the lock

    def _accept_text(self, text: str) -> None:
        fmt = _formats.format_of(self.config_file, text)
        tree = _formats.parse(text, fmt)
        self._text, self._format = text, fmt
        self._absorb(tree.data, tree)

    def _fail(self, exc: FormatError) -> None:
        """The file as a whole is of no use."""
        self._absorb({}, None)
        self._errors.append(ConfigError(exc.message, file=self.config_file, line=exc.line, hint=exc.hint))

    def _source(self, tree: _formats.Tree | None) -> _Source:
        at = self._at

        def line(server: str, keys: _Texts) -> int | None:
            return None if tree is None else tree.line(*at, server, *keys)

        workspace = _workspace(self.config_file) if self.config_file is not None else self._base
        defaults = {
            d["id"]: d["default"] for d in _input_definitions(self._root, at) if isinstance(d.get("default"), str)
        }
        return _Source(self.config_file, workspace, line, self._inputs, defaults)

    def _absorb(self, root: Any, tree: _formats.Tree | None) -> None:
        """Take over what a file or mapping holds."""
        self._errors, self._warnings = [], []
        self._changes, self._servers, self._raw, self._root, self._at = {}, {}, {}, {}, ()
        self._new_inputs = []
        if root is None:
            self._errors.append(ConfigError("the file is empty", file=self.config_file))
            self._at = _default_wrapper(self._format)
            return
        if not isinstance(root, Mapping):
            hint = "write the servers below mcpServers:"
            self._errors.append(
                ConfigError(
                    "the content must be a mapping", file=self.config_file, line=None if tree is None else 1, hint=hint
                )
            )
            return
        self._root = dict(root)
        at = self._at = _wrapper(root) if root else _default_wrapper(self._format)
        found: Any = root
        for key in at:
            found = found.get(key) if isinstance(found, Mapping) else None
        where = tree.line(*at) if tree is not None else None
        if found is None:
            found = {}
        if not isinstance(found, Mapping):
            self._errors.append(ConfigError(f"{'.'.join(at)} must be a mapping", file=self.config_file, line=where))
            return
        if not at:
            found = {k: v for k, v in found.items() if k not in _NO_SERVERS and not str(k).startswith("x-")}
            if found and not _looks_bare(found):
                hint = "write the servers below mcpServers:, each with a command or a url"
                self._errors.append(ConfigError("there are no servers in it", file=self.config_file, hint=hint))
                return
        self._raw = dict(found)
        source = self._source(tree)
        for path, line_ in tree.duplicates() if tree is not None else ():
            # readers of JSON silently take the last one
            if path[: len(at)] == at and len(path) > len(at):
                server, inner = str(path[len(at)]), ".".join(map(str, path[len(at) + 1 :])) or None
                self._errors.append(
                    _error("the key appears twice", self.config_file, server, inner, line_, "remove one")
                )
        for name, value in found.items():
            made, errors, warned = _build(name, value, source)
            self._errors += errors
            self._warnings += warned
            if made is not None:
                self._servers[name] = self._overridden(made)

    def _drop_problems(self, name: Any) -> None:
        """What was said about a server that is no longer so."""
        self._errors = [error for error in self._errors if error.server is None or error.server != str(name)]
        self._warnings = [
            warning for warning in self._warnings if warning.server is None or warning.server != str(name)
        ]


def _default_wrapper(fmt: str) -> tuple[str, ...]:
    """The shape of a new file: what the hosts read in JSON, and the plain map in YAML."""
    return () if fmt in ("yaml", "") else ("mcpServers",)


def _input_list(root: Mapping[Any, Any], at: tuple[str, ...]) -> list[Any]:
    holder: Any = root.get("mcp") if at[:1] == ("mcp",) else root
    found = holder.get("inputs") if isinstance(holder, Mapping) else None
    return found if isinstance(found, list) else []


def _input_definitions(root: Mapping[Any, Any], at: tuple[str, ...]) -> _Dicts:
    return [dict(d) for d in _input_list(root, at) if isinstance(d, Mapping) and isinstance(d.get("id"), str)]


def _with_inputs(value: Any, renamed: Mapping[str, str]) -> Any:
    """A server's fields with other ids of inputs."""
    if isinstance(value, str):
        return re.sub(
            r"(?<!\$)\$\{input:([^}]*)\}", lambda found: f"${{input:{renamed.get(found[1], found[1])}}}", value
        )
    if isinstance(value, dict):
        return {key: _with_inputs(part, renamed) for key, part in value.items()}
    return [_with_inputs(part, renamed) for part in value] if isinstance(value, list) else value


def _fields_of(server: ServerConfig) -> dict[str, Any]:
    """The fields to write for a server: those that were given."""
    data = server.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
    if "transport" in server.model_fields_set:
        data["transport"] = server.transport
    else:
        data.pop("transport", None)
    return {k: int(v) if isinstance(v, float) and math.isfinite(v) and v == int(v) else v for k, v in data.items()}


def _rebased(value: Any, workspace: Path) -> Any:
    """A server's fields that mean the same in a file elsewhere."""
    here = str(workspace).replace("${", "$${")

    def replace(one: Any) -> Any:
        if isinstance(one, str):
            one = re.sub(r"(?<!\$)\$\{workspaceFolder\}", lambda _: here, one)
            return re.sub(r"(?<!\$)\$\{workspaceFolderBasename\}", lambda _: workspace.name, one)
        if isinstance(one, dict):
            return {key: replace(part) for key, part in one.items()}
        return [replace(part) for part in one] if isinstance(one, list) else one

    made = replace(value)
    for key in ("cwd", "env_file", "envFile"):
        text = made.get(key)
        if isinstance(text, str) and text and not text.startswith(("~", "${")) and not os.path.isabs(text):
            made[key] = os.path.join(here, text)
    return made
