"""ServerConfig: what is needed to reach one server.

Contract: immutable. What is kept and compared is what was written; ``resolved()`` gives the copy that is used, with references
replaced, which is never saved. No repr shows secrets.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, overload

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError

from .errors import ConfigError, Problem, Source, combined, make_error
from .fields import ALIASES, Globs, Seconds, Text, no_bool, normalize, translate
from .interpolate import Inputs, Scope, Unresolved, has_reference, interpolate, read_env_file
from .masks import HIDDEN, mask_args, mask_auth, mask_url, token_like
from .rules import check, name_problem
from .text import mapping, plain


class ServerConfig(BaseModel):
    """What is needed to reach one server, and how its tools are treated. Immutable.

    Other hosts' names of fields are accepted too: ``type`` ("http" is "streamable_http"), ``envFile``, ``allow``, ``deny``,
    ``connectTimeout``, ``requestTimeout``, ``enabled`` and more. Without a transport, ``command`` means stdio, a ``url`` that
    ends in /sse means sse, and any other streamable_http. Times are in seconds.

    Two of them are equal if everything is; ``content_hash`` tells whether a running session is affected.

    :raises ConfigError: for the constructor and ``model_validate``; never pydantic's ValidationError, which holds the input.
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
    cache_ttl: Annotated[float, BeforeValidator(no_bool), Field(ge=0, allow_inf_nan=False)] = 0.0
    max_message_mb: Annotated[float, BeforeValidator(no_bool), Field(gt=0, le=4096, allow_inf_nan=False)] = 64.0
    max_listed: Annotated[int, BeforeValidator(no_bool), Field(gt=0)] = 10_000
    auth: Literal["oauth"] | dict[str, object] | None = None
    protocol: Literal["auto", "legacy", "modern"] = "auto"

    _source: Source = PrivateAttr(default_factory=Source)
    # of a resolved one: what was written, to be shown in place of the values of variables
    _written: dict[str, object] = PrivateAttr(default_factory=dict)
    # of a resolved one: values of variables in its arguments, and in its URL those that look like secrets by their names
    _used: dict[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, **data: object) -> None:
        fields, problems, _ = normalize(data, ServerConfig.model_fields)
        try:
            super().__init__(**fields)
        except ValidationError as exc:
            problems += translate(exc)
        else:
            if "transport" not in fields:
                self.__dict__["transport"] = infer_transport(self.command, self.url)
            problems += check(self)
        if problems:
            name = data.get("name")
            raise combined([Source().error(name if isinstance(name, str) else None, problem) for problem in problems])

    @classmethod
    def model_validate(cls, obj: object, **options: object) -> ServerConfig:
        """As the constructor, from a mapping with the name among the fields."""
        if isinstance(obj, ServerConfig):
            return obj
        if not isinstance(obj, Mapping):
            raise ConfigError("a server must be a mapping of fields")
        return cls(**{str(key): value for key, value in obj.items()})

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: object) -> ServerConfig:
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

        :param inputs: values for ``${input:id}``, a mapping or a function of the id; unless given, those of the ToolsConfig.
        :param environ: instead of the process environment.
        :raises ConfigError: a variable or input has no value, the .env file cannot be read, or what comes out is not valid. The
            error names server, field and variable, no values.
        """
        workspace = self._source.workspace or Path.cwd()
        scope = Scope(
            workspace, environ, None, self._source.inputs if inputs is None else inputs, self._source.defaults
        )
        data = {key: getattr(self, key) for key in type(self).model_fields}
        if "transport" not in self.model_fields_set:
            del data["transport"]
        if self.env_file is not None:
            path = workspace / Path(self._replaced(self.env_file, "env_file", scope)).expanduser()
            scope.extra = self._variables_of(path)
            data["env_file"] = str(path)
        used: dict[str, str] = {}
        for key in ("command", "args", "env", "cwd", "url", "headers", "auth"):
            scope.used = {}
            data[key] = self._replaced(data[key], key, scope)
            if key in ("args", "url"):
                used |= {name: value for name, value in scope.used.items() if key == "args" or token_like(name)}
        data["env"] = {**scope.extra, **data["env"]}
        if data["cwd"] is not None:
            data["cwd"] = str(workspace / Path(data["cwd"]).expanduser())
        if data["command"] is not None and data["command"].startswith("~"):
            data["command"] = os.path.expanduser(data["command"])
        made, errors, _ = build(self.name, data, self._source, literal=True)
        if made is None:
            raise combined(errors)
        made._used = self._used or used
        made._written = self._written or {
            key: getattr(self, key) for key in ("command", "args", "cwd", "env_file", "url")
        }
        return made

    @overload
    def _replaced(self, value: str, where: str, scope: Scope) -> str: ...
    @overload
    def _replaced(self, value: object, where: str, scope: Scope) -> object: ...
    def _replaced(self, value: object, where: str, scope: Scope) -> object:
        """A value with the references in all its parts replaced."""
        if isinstance(value, str):
            try:
                return interpolate(value, scope)
            except Unresolved as exc:
                problem = Problem(where, exc.message, exc.hint)
            raise self._source.error(self.name, problem)
        if isinstance(value, dict):
            return {key: self._replaced(part, f"{where}.{key}", scope) for key, part in value.items()}
        if isinstance(value, list):
            return [self._replaced(part, f"{where}[{i}]", scope) for i, part in enumerate(value)]
        return value

    def _variables_of(self, path: Path) -> dict[str, str]:
        """What its .env file holds."""
        try:
            return read_env_file(path)
        except OSError as exc:
            problem = Problem("env_file", f"cannot read {str(path)!r}: {exc.strerror}")
        except ValueError as exc:
            problem = Problem("env_file", f"{str(path)!r}: {exc}")
        except ImportError:
            problem = Problem("env_file", "reading it needs python-dotenv", 'pip install "aionest[mcp]"')
        raise self._source.error(self.name, problem)

    @property
    def is_resolved(self) -> bool:
        """Were its references replaced? Then it holds the values of variables, and is not to be saved."""
        return bool(self._written)

    @property
    def message_limit(self) -> int:
        """Bytes that one message of the server may have."""
        return int(self.max_message_mb * (1 << 20))

    @property
    def variables(self) -> dict[str, str]:
        """Of a resolved one: values of variables in its arguments, and of those in its URL that look like secrets by their names."""
        return self._used

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
        defaults = self.input_defaults()
        if defaults:
            parts["inputs"] = defaults
        if self._source.workspace is not None and (self.env_file or self.cwd or "${workspaceFolder" in repr(parts)):
            parts["workspace"] = str(self._source.workspace)
        return hashlib.sha256(
            json.dumps(parts, sort_keys=True, default=str).encode("utf-8", "surrogatepass")
        ).hexdigest()

    def input_defaults(self) -> dict[str, str]:
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
            elif isinstance(written, str) and has_reference(written):
                data[key] = written
        data["args"] = mask_args(data["args"])
        data["env"] = dict.fromkeys(self.env, HIDDEN)
        data["headers"] = dict.fromkeys(self.headers, HIDDEN)
        data["auth"] = mask_auth(self.auth)
        data["url"] = None if self.url is None else mask_url(data["url"])
        return data

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        for key, value in self.public().items():
            if key in ("name", "transport") or getattr(self, key) != type(self).model_fields[key].default:
                yield key, value


def _strings(value: object) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(part)


def infer_transport(command: str | None, url: str | None) -> str:
    if command is not None or url is None:
        return "stdio"
    return "sse" if re.split(r"[?#]", url)[0].rstrip("/").endswith("/sse") else "streamable_http"


def build(
    name: object, value: object, source: Source, literal: bool = False
) -> tuple[ServerConfig | None, list[ConfigError], list[ConfigError]]:
    """The server, or the errors; and warnings."""
    label = name if isinstance(name, str) else str(name)
    named = name_problem(name)
    if named:
        return None, [source.error(label, named)], []
    if not isinstance(value, Mapping):
        problem = Problem(None, "must be a mapping of fields", "give it a command or a url")
        return None, [source.error(label, problem)], []
    data = {str(key): part for key, part in value.items()}
    fields, problems, warned = normalize({**data, "name": name}, ServerConfig.model_fields)
    made = ServerConfig.model_construct()
    try:
        # not the constructor, which tells the problems as one
        BaseModel.__init__(made, **fields)
    except ValidationError as exc:
        problems += translate(exc)
    else:
        if "transport" not in fields:
            made.__dict__["transport"] = infer_transport(made.command, made.url)
        # of a kind that is not known, nothing else can be said
        known = not any(problem.field in ("type", "transport", "transportType") for problem in problems)
        problems += [one for one in check(made, literal) if known or one.field not in ("url", "command")]
        made._source = source
    warned += _without_effect(made.__dict__.get("transport"), fields)
    if data.get("name") is not None and data["name"] != name:
        warned.append(Problem("name", "differs from the key; the key is used"))
    errors = [source.error(label, problem) for problem in problems]
    return (None if errors else made), errors, [source.error(label, warning) for warning in warned]


def _without_effect(transport: str | None, fields: Mapping[str, object]) -> list[Problem]:
    """Fields that another transport would want."""
    found: list[Problem] = []
    if transport == "stdio" and "headers" in fields:
        found.append(Problem("headers", "has no effect for a server that is started by a command"))
    if transport == "stdio" and fields.get("auth"):
        found.append(Problem("auth", "has no effect for a server that is started by a command", "pass it in env"))
    if transport != "stdio" and {"args", "cwd"} & fields.keys():
        found.append(Problem("args" if "args" in fields else "cwd", "has no effect for a server with a url"))
    return found


class ToolsConfigValue(dict[str, Any]):
    """One server's fields as they were written, without interpolation. Its repr hides secrets; its items are what they are.

    :param value: the fields.
    :raises ConfigError: they are not valid.
    """

    def __init__(self, value: Mapping[str, object] | None = None, /, **fields: object) -> None:
        super().__init__({**(value or {}), **fields})
        self.server()

    def server(self, name: str = "server", inputs: Inputs = None) -> ServerConfig:
        """These fields as a ServerConfig.

        :raises ConfigError: they are no longer valid.
        """
        made, errors, _ = build(name, self, Source(inputs=inputs))
        if made is None:
            raise combined([make_error(e.message, None, None, e.field, None, e.hint) for e in errors])
        return made

    @classmethod
    def of_valid(cls, fields: object) -> ToolsConfigValue:
        """A copy of fields that were checked already."""
        value = cls.__new__(cls)
        value.update({str(key): part for key, part in plain(mapping(fields)).items()})
        return value

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
        shown = {key: public.get(ALIASES.get(key, key), HIDDEN) for key in self}
        return f"{type(self).__name__}({shown})"

    __str__ = __repr__
