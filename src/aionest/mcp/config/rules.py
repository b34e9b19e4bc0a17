"""What a server's fields must be beside their types: one check for each.

Contract: pure, but that a command is looked for in the file system. Problems hold no values.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .errors import Problem
from .fields import AUTH_METHODS, AUTH_TYPES
from .interpolate import has_reference

if TYPE_CHECKING:
    from .server import ServerConfig


def name_problem(name: object) -> Problem | None:
    """What is wrong with the name of a server, or None."""
    if not isinstance(name, str):
        return Problem(None, f"the name of a server must be text, not {type(name).__name__}", "put it in quotes")
    if not name.strip():
        return Problem(None, "the name of a server must not be empty")
    if name != name.strip() or not name.isprintable():
        return Problem(None, "the name of a server must not contain control characters, or begin or end with a space")
    return Problem(None, "the name of a server must not be longer than 128 characters") if len(name) > 128 else None


def check(config: ServerConfig, literal: bool = False) -> list[Problem]:
    """What types don't tell.

    :param literal: references were replaced already: what looks like one is not one.
    """

    def is_open(text: str) -> bool:
        return not literal and has_reference(text)

    named = name_problem(config.name)
    return [
        *([named] if named else []),
        *_target(config, is_open),
        *_texts(config),
        *_environment(config.env),
        *_headers(config.headers),
        *_labels(config),
        *(_auth(config.auth) if isinstance(config.auth, dict) else []),
    ]


def _target(config: ServerConfig, is_open: Callable[[str], bool]) -> list[Problem]:
    """What is started or reached."""
    typed = "transport" in config.model_fields_set
    if config.command is not None and config.url is not None and not typed:
        return [Problem("command", "there is also a url", "write only one of them, or a type")]
    if config.transport == "stdio":
        if config.command is None:
            hint = "" if config.url is None else "type stdio doesn't use the url"
            missing = "command" if config.url is not None or typed else "command or url"
            return [Problem("command", f"a server needs a {missing}", hint)]
        return _check_command(config.command, is_open(config.command))
    if config.url is None:
        return [Problem("url", f"type {config.transport} needs a url")]
    return [] if is_open(config.url) else _check_url(config.url)


def _texts(config: ServerConfig) -> list[Problem]:
    found: list[Problem] = []
    for where, text in (("command", config.command), ("cwd", config.cwd), ("env_file", config.env_file)):
        if text is not None and "\0" in text:
            found.append(Problem(where, "must not contain null characters"))
        if where != "command" and text is not None and not text.strip():
            found.append(Problem(where, "must not be empty"))
    found += [
        Problem(f"args[{i}]", "must not contain null characters") for i, arg in enumerate(config.args) if "\0" in arg
    ]
    return found


def _environment(env: Mapping[str, str]) -> list[Problem]:
    found: list[Problem] = []
    for key, value in env.items():
        if not key or "=" in key or "\0" in key:
            found.append(Problem("env", "variable names must not be empty or contain = or null characters"))
        if "\0" in value:
            found.append(Problem(f"env.{key}", "must not contain null characters"))
    return found


def _headers(headers: Mapping[str, str]) -> list[Problem]:
    found: list[Problem] = []
    for key, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", key):
            found.append(Problem("headers", "the header's name contains characters that are not allowed"))
        elif re.search(r"[\r\n\0]", value):
            found.append(Problem(f"headers.{key}", "must not contain line breaks or null characters"))
    return found


def _labels(config: ServerConfig) -> list[Problem]:
    """How its tools are named and chosen."""
    found: list[Problem] = []
    if config.prefix and not re.fullmatch(r"[A-Za-z0-9_.-]+", config.prefix):
        found.append(Problem("prefix", "may contain only letters, digits and the characters _ . -"))
    for where, globs in (("include", config.include or []), ("exclude", config.exclude)):
        found += [Problem(f"{where}[{i}]", "must not be empty") for i, glob in enumerate(globs) if not glob.strip()]
    if config.bundle is not None and not config.bundle.strip():
        found.append(Problem("bundle", "must not be empty"))
    return found


_AUTH_TEXTS = (
    *("token", "client_id", "client_secret", "client_name", "issuer", "client_metadata_url", "private_key"),
    *(
        "private_key_file",
        "signing_algorithm",
        "audience",
        "assertion",
        "assertion_file",
        "id_token",
        "idp_token_endpoint",
        "idp_client_id",
    ),
)
_NEEDED: dict[str, list[tuple[str, ...]]] = {  # of each line one
    "bearer": [("token",)],
    "client_credentials": [("client_id",), ("client_secret", "private_key", "private_key_file")],
    "identity_assertion": [("client_id",), ("issuer",), ("assertion", "assertion_file", "id_token")],
}


def _auth(auth: Mapping[str, object]) -> list[Problem]:
    found: list[Problem] = []
    kind = auth.get("type")
    if not isinstance(kind, str) or kind not in AUTH_TYPES:
        found.append(Problem("auth.type", f"Input should be one of {', '.join(map(repr, AUTH_TYPES))}"))
    found += [
        Problem(f"auth.{ways[0]}", f"type {kind} needs it" + "".join(f", or {way}" for way in ways[1:]))
        for ways in _NEEDED.get(str(kind), ())
        if not any(auth.get(way) for way in ways)
    ]
    if auth.get("id_token") and not auth.get("idp_token_endpoint"):
        found.append(Problem("auth.idp_token_endpoint", "an id_token is exchanged there"))
    method = auth.get("token_endpoint_auth_method")
    if method is not None and method not in AUTH_METHODS:
        hint = f"Input should be one of {', '.join(map(repr, AUTH_METHODS))}"
        found.append(Problem("auth.token_endpoint_auth_method", hint))
    return found + _signing(auth) + _auth_values(auth)


def _signing(auth: Mapping[str, object]) -> list[Problem]:
    """What a client that signs who it is lacks."""
    kind, method = auth.get("type"), auth.get("token_endpoint_auth_method")
    key = auth.get("private_key") or auth.get("private_key_file")
    if kind in ("oauth", "client_credentials") and method == "private_key_jwt" and not key:
        return [Problem("auth.private_key", "token_endpoint_auth_method private_key_jwt needs it, or private_key_file")]
    if kind == "oauth" and key and not (auth.get("client_id") or auth.get("client_metadata_url")):
        return [Problem("auth.client_id", "required with a private key, unless client_metadata_url is set")]
    if (
        kind == "client_credentials"
        and key
        and method not in (None, "private_key_jwt")
        and not auth.get("client_secret")
    ):
        return [Problem("auth.client_secret", f"token_endpoint_auth_method {method} needs it")]
    return []


def _auth_values(auth: Mapping[str, object]) -> list[Problem]:
    """What is wrong with the single values."""
    found: list[Problem] = []
    for part in _AUTH_TEXTS:
        if auth.get(part) is not None and not isinstance(auth[part], str):
            found.append(Problem(f"auth.{part}", "Input should be text"))
    port = auth.get("redirect_port")
    if port is not None and not (isinstance(port, int) and not isinstance(port, bool) and 0 < port < 65536):
        found.append(Problem("auth.redirect_port", "Input should be a port number"))
    scopes = auth.get("scopes")
    if scopes is not None and not (isinstance(scopes, list) and all(isinstance(scope, str) for scope in scopes)):
        found.append(Problem("auth.scopes", "Input should be a list of texts"))
    return found


def _check_command(command: str, is_open: bool) -> list[Problem]:
    if not command.strip():
        return [Problem("command", "must not be empty")]
    if is_open or "\0" in command or not re.search(r"\s", command):
        return []
    # a folder's name may have spaces
    path = os.path.expanduser(command)
    if os.path.isfile(path) or shutil.which(path):
        return []
    return [Problem("command", "contains spaces, and no such file exists", "no shell runs it: put arguments in args")]


def _check_url(url: str) -> list[Problem]:
    problem = Problem("url", "must be an http:// or https:// URL with a host")
    kind = {"unix": "Unix socket", "pipe": "named pipe"}.get(url.partition(":")[0].lower())
    if kind:
        relay = ", as socat TCP-LISTEN:8080,bind=127.0.0.1,fork UNIX-CONNECT:FILE does" if kind == "Unix socket" else ""
        hint = f"have it listen on a port of 127.0.0.1, or relay one to it{relay}"
        return [Problem("url", f"a server on a {kind} cannot be reached, only http:// and https:// can", hint)]
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
