"""The configurations of hosts that write their servers in a way of their own, as this package writes them.

Codex, Gemini CLI, Zed, opencode, Goose, Continue, LibreChat, and the registry's ``server.json``. What Claude, Cursor, VS Code,
Windsurf and Cline write needs no translation: see ``shapes`` and ``fields``.

Contract: pure functions on plain data, which they don't change. What a host has and this package hasn't is said in ``left_out``, by
names; no value gets into a message. What a host takes literally stays literal: ``${`` is escaped where the host has no references.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

Server = dict[str, object]


@dataclass
class Translation:
    """Servers of a host's file."""

    host: str
    at: tuple[str, ...]  # where they stand in it
    servers: dict[object, Server] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)  # names of others, and why
    inputs: list[Server] = field(default_factory=list)  # definitions of what has to be asked for


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _given(**fields: object) -> Server:
    """Those that say something."""
    return {key: value for key, value in fields.items() if value not in (None, {}, [])}


@overload
def _over(value: str, change: Callable[[str], str]) -> str: ...
@overload
def _over(value: Mapping[str, object], change: Callable[[str], str]) -> Server: ...
@overload
def _over(value: object, change: Callable[[str], str]) -> object: ...
def _over(value: object, change: Callable[[str], str]) -> object:
    """A value with all its texts changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _over(part, change) for key, part in value.items()}
    return [_over(part, change) for part in value] if isinstance(value, list) else value


@overload
def _literal(value: str) -> str: ...
@overload
def _literal(value: Mapping[str, object]) -> Server: ...
def _literal(value: object) -> object:
    return _over(value, lambda text: text.replace("${", "$${"))


def _seconds(value: object, unit: float) -> object:
    """A time that the host counts in other units."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    return value / unit if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _codex(entry: Mapping[str, object]) -> Server:
    plain = _literal(entry)
    names = entry.get("env_vars")
    named = [_map(one).get("name", one) for one in (names if isinstance(names, list) else ())]
    kept = {name: f"${{{name}:-}}" for name in named if isinstance(name, str)}
    variable, token = entry.get("bearer_token_env_var"), plain.get("bearer_token")
    if variable is not None:
        token = f"${{{variable}}}" if isinstance(variable, str) and variable else ""  # which is an error
    only, never = entry.get("enabled_tools"), entry.get("disabled_tools")
    starting = entry.get("startup_timeout_sec", _seconds(entry.get("startup_timeout_ms"), 1000))
    return _given(
        **{key: plain.get(key) for key in ("command", "args", "cwd", "url", "enabled", "required")},
        env={**kept, **_map(plain.get("env"))},
        headers={
            **_map(plain.get("http_headers")),
            **{name: f"${{{variable}}}" for name, variable in _map(entry.get("env_http_headers")).items()},
        },
        auth={"type": "bearer", "token": token} if isinstance(token, str) else None,
        connect_timeout=starting,
        timeout=entry.get("tool_timeout_sec"),
        include=only,
        exclude=["*"] if only == [] else never,  # none are enabled
    )


def _gemini(entry: Mapping[str, object]) -> Server:
    one = _over(entry, lambda text: re.sub(r"(?<!\$)\$([A-Za-z_]\w*)", r"${\1}", text))
    streams, login = one.get("httpUrl"), _map(one.get("oauth"))
    known = {"clientId": "client_id", "clientSecret": "client_secret", "scopes": "scopes"}
    given: Server = {known[key]: value for key, value in login.items() if key in known}
    return _given(
        **{key: one.get(key) for key in ("command", "args", "cwd", "env", "headers")},
        url=streams or one.get("url"),
        type="http" if streams else "sse" if one.get("url") and one.get("type") != "http" else None,
        timeout=_seconds(one.get("timeout"), 1000),
        include=one.get("includeTools"),
        exclude=one.get("excludeTools"),
        auth={"type": "oauth", **given} if login.get("enabled") else None,
        enabled=one.get("enabled"),
    )


def _gemini_selects(root: Mapping[str, object]) -> Callable[[str], bool]:
    """Which servers it starts."""
    only = _map(root.get("mcp")).get("allowed", root.get("allowMCPServers"))
    never = _map(root.get("mcp")).get("excluded", root.get("excludeMCPServers"))
    return lambda name: not (isinstance(only, list) and name not in only) and not (
        isinstance(never, list) and name in never
    )


def _zed(entry: Mapping[str, object]) -> Server | str:
    one = _literal(entry)
    command = one.get("command")
    if isinstance(command, Mapping):  # as it wrote them until 2025
        one = {**one, **command, "command": command.get("path")}
    if "command" not in entry and not one.get("url"):
        return "it comes from a Zed extension"
    keys = ("command", "args", "env", "url", "headers", "enabled")
    return _given(**{key: one.get(key) for key in keys}, timeout=_seconds(one.get("timeout"), 1000))


def _opencode(entry: Mapping[str, object]) -> Server | str:
    if "{file:" in repr(entry):
        return "it has a {file:...} in it"
    one = _over(_literal(entry), lambda text: re.sub(r"\{env:(\w+)\}", r"${\1:-}", text))
    words = one.get("command")
    command, *args = words if isinstance(words, list) and words else [words]
    if "type" not in entry and not words and not one.get("url"):
        return "it only changes a server that is described elsewhere"
    auth = entry.get("oauth")
    known = {"clientId": "client_id", "clientSecret": "client_secret"}
    given: Server = {known[key]: value for key, value in _map(one.get("oauth")).items() if key in known}
    scopes = str(_map(auth).get("scope") or "").split()
    return _given(
        **{key: one.get(key) for key in ("cwd", "url", "headers", "enabled")},
        command=command,
        args=args,
        env=one.get("environment"),
        timeout=_seconds(one.get("timeout"), 1000),
        auth={"type": "oauth", **given, **_given(scopes=scopes)} if isinstance(auth, Mapping) else None,
    )


def _goose(entry: Mapping[str, object]) -> Server | str:
    kinds = {"stdio": "stdio", "sse": "sse", "streamable_http": "http"}
    kind = kinds.get(str(entry.get("type")))
    if kind is None:
        return f"it is part of Goose ({entry.get('type')})" if isinstance(entry.get("type"), str) else "it has no type"
    one = _literal(entry)
    keys = entry.get("env_keys")  # in its store of secrets
    kept = {name: f"${{{name}}}" for name in (keys if isinstance(keys, list) else ()) if isinstance(name, str)}
    return _given(
        type=kind,
        command=one.get("cmd"),
        args=one.get("args"),
        env={**kept, **_map(one.get("envs"))},
        url=one.get("uri"),
        headers=one.get("headers"),
        timeout=entry.get("timeout"),
        enabled=entry.get("enabled"),
        include=entry.get("available_tools"),
    )


def _continue(entry: Mapping[str, object]) -> Server:
    one = _over(entry, lambda text: re.sub(r"\$\{\{\s*(?:secrets|inputs)\.(\w+)\s*\}\}", r"${\1}", text))
    asked, key = _map(one.get("requestOptions")), one.get("apiKey")
    return _given(
        **{name: one.get(name) for name in ("type", "command", "args", "cwd", "env", "url", "disabled")},
        headers={**_map(asked.get("headers")), **_map(one.get("headers"))},
        auth={"type": "bearer", "token": key} if isinstance(key, str) and key else None,
        connect_timeout=_seconds(one.get("connectionTimeout"), 1000),
    )


def _continue_list(entries: list[object]) -> Translation:
    """Its servers have their names in them."""
    made = Translation("Continue", ("mcpServers",))
    for number, entry in enumerate(entries):
        name = _map(entry).get("name")
        if not isinstance(entry, Mapping):
            made.left_out[f"mcpServers[{number}]"] = "it is not a mapping"
        elif not isinstance(name, str) or not name:
            made.left_out[f"mcpServers[{number}]"] = "it has no name"
        elif name in made.servers:
            made.left_out[f"mcpServers[{number}]"] = "another server has the same name"
        else:
            made.servers[name] = _continue(entry)
    return made


def _librechat(entry: Mapping[str, object]) -> Server:
    keys = ("type", "command", "args", "env", "url", "headers", "oauth")
    return _given(
        **{name: entry.get(name) for name in keys},
        timeout=_seconds(entry.get("timeout"), 1000),
        connect_timeout=_seconds(entry.get("initTimeout"), 1000),
    )


# under what names hosts have what is meant by a field, where they don't have it under its own
_WRITTEN = {
    "connect_timeout": ("startup_timeout_sec", "startup_timeout_ms", "initTimeout", "connectionTimeout"),
    "timeout": ("tool_timeout_sec",),
    "include": ("enabled_tools", "includeTools", "available_tools"),
    "exclude": ("disabled_tools", "excludeTools", "enabled_tools"),
    "headers": ("http_headers", "env_http_headers", "requestOptions"),
    "env": ("environment", "envs", "env_vars", "env_keys"),
    "command": ("cmd",),
    "args": ("command",),
    "url": ("httpUrl", "uri"),
    "disabled": ("enabled",),
    "auth": ("bearer_token_env_var", "oauth", "apiKey"),
}


def written(entry: object, field: str) -> str:
    """How a host's entry calls a field, as far as that is known."""
    names = _map(entry)
    return field if field in names else next((name for name in _WRITTEN.get(field, ()) if name in names), field)


# -- the registry's: one server, described for all hosts

_RUNNERS = {"npm": ("npx", ["-y"]), "pypi": ("uvx", []), "oci": ("docker", ["run", "-i", "--rm"]), "nuget": ("dnx", [])}


def _word(value: object) -> str:
    """As it is written in JSON."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Registry:
    """One ``server.json``. What a person has to give becomes an input."""

    def __init__(self, root: Mapping[str, object]) -> None:
        self._root = root
        self.inputs: dict[str, Server] = {}

    def server(self) -> Server | str:
        """What it describes: a package that can be started here, else a server that is reached by a URL; or why not."""
        remotes = [one for one in self._list(self._root, "remotes") if isinstance(one.get("url"), str)]
        packages = [one for one in self._list(self._root, "packages") if self._kind(one) in _RUNNERS]
        for package in packages:
            named = package.get("identifier") or package.get("name")
            if (
                isinstance(named, str)
                and named
                and str(_map(package.get("transport")).get("type") or "stdio") == "stdio"
            ):
                return self._package(package, named)
        if remotes:
            kind = "sse" if remotes[0].get("type") == "sse" else "http"
            url = self._filled(str(remotes[0]["url"]), _map(remotes[0].get("variables")))
            return _given(type=kind, url=url, headers=self._values(self._list(remotes[0], "headers")))
        return "it has no package that can be started, and no remote"

    @staticmethod
    def _list(one: Mapping[str, object], *names: str) -> list[Mapping[str, object]]:
        for name in names:
            found = one.get(name)
            if isinstance(found, list):
                return [part for part in found if isinstance(part, Mapping)]
        return []

    @staticmethod
    def _kind(package: Mapping[str, object]) -> str:
        return str(package.get("registryType") or package.get("registry_type") or package.get("registry_name"))

    def _package(self, package: Mapping[str, object], name: str) -> Server:
        kind = self._kind(package)
        command, first = _RUNNERS[kind]
        version = package.get("version")
        env = self._values(self._list(package, "environmentVariables", "environment_variables"))
        before = self._arguments(self._list(package, "runtimeArguments", "runtime_arguments"))
        if kind == "oci":
            before = [*before, *(word for key in env for word in ("-e", key))]
        elif before:
            first = []  # the description says it all
        joint = {"npm": "@", "pypi": "@" if version == "latest" else "==", "nuget": "@", "oci": ":"}[kind]
        if kind == "oci" and ("@" in name or ":" in name.rpartition("/")[2]):
            version = None  # the name says it
        what = f"{name}{joint}{version}" if version else name
        after = self._arguments(self._list(package, "packageArguments", "package_arguments"))
        hint = package.get("runtimeHint") or package.get("runtime_hint")
        return _given(command=hint or command, args=[*first, *before, what, *after], env=env)

    def _arguments(self, described: list[Mapping[str, object]]) -> list[str]:
        words: list[str] = []
        for one in described:
            name = str(one.get("name") or "")
            value = self._value(one, name or str(one.get("valueHint") or one.get("value_hint") or "argument"))
            if value is not None:
                words += [name, value] if one.get("type") == "named" and name else [value]
        return words

    def _values(self, described: list[Mapping[str, object]]) -> dict[str, str]:
        found = {str(one.get("name")): self._value(one, str(one.get("name"))) for one in described if one.get("name")}
        return {name: value for name, value in found.items() if value is not None}

    def _value(self, one: Mapping[str, object], name: str) -> str | None:
        """What is written for it; None where it need not be there."""
        value, default = one.get("value"), one.get("default")
        if isinstance(value, (str, int, float)):
            return self._filled(_word(value), _map(one.get("variables")))
        if isinstance(default, (str, int, float)):
            return _literal(_word(default))
        if one.get("isRequired") or one.get("is_required"):
            return self._asked(name, one)
        return None

    def _filled(self, text: str, variables: Mapping[str, object]) -> str:
        """A text with its {variables}."""

        def replace(found: re.Match[str]) -> str:
            one = _map(variables.get(found[1]))
            return self._value({**one, "isRequired": True}, found[1]) or ""

        return re.sub(r"\{(\w[\w-]*)\}", replace, _literal(text))

    def _asked(self, name: str, one: Mapping[str, object]) -> str:
        id_ = re.sub(r"\W+", "-", name).strip("-") or "value"
        secret = one.get("isSecret") or one.get("is_secret")
        said = _given(description=one.get("description"), password=True if secret else None)
        self.inputs.setdefault(id_, {"type": "promptString", "id": id_, **said})
        return f"${{input:{id_}}}"


def _registry(root: Mapping[str, object]) -> Translation | None:
    inner = root.get("server")
    if isinstance(inner, Mapping) and isinstance(inner.get("name"), str):  # as the registry's API answers
        root = inner
    described = any(isinstance(root.get(key), list) for key in ("packages", "remotes"))
    full = root.get("name")
    if not described or not isinstance(full, str):
        return None
    made = Translation("the registry", ())
    reading = _Registry(root)
    found = reading.server()
    name = full.rpartition("/")[2]
    if isinstance(found, str):
        made.left_out[name] = found
    else:
        made.servers[name], made.inputs = found, list(reading.inputs.values())
    return made


# -- which is which

_TRANSLATE: dict[str, tuple[str, Callable[[Mapping[str, object]], Server | str]]] = {
    "mcp_servers": ("Codex", _codex),
    "context_servers": ("Zed", _zed),
    "extensions": ("Goose", _goose),
    "mcp": ("opencode", _opencode),
    "mcpServers": ("Gemini CLI", _gemini),
}
# settings of everything, which need not have servers; by the end of the path
_SETTINGS = {
    (".codex", "config.toml"): "mcp_servers",
    (".gemini", "settings.json"): "mcpServers",
    ("zed", "settings.json"): "context_servers",
    (".zed", "settings.json"): "context_servers",
    ("goose", "config.yaml"): "extensions",
}


def _is_opencode(value: object) -> bool:
    """Are these servers as opencode has them? Others have ``mcp`` too, with the servers one level deeper."""
    return isinstance(value, Mapping) and any(
        isinstance(one, Mapping) and one.get("type") in ("local", "remote") for one in value.values()
    )


def _is_goose(value: object) -> bool:
    return isinstance(value, Mapping) and any(
        isinstance(one, Mapping) and ("cmd" in one or one.get("type") in ("builtin", "platform")) or "uri" in _map(one)
        for one in value.values()
    )


def _key_of(root: Mapping[str, object], file: Path | None) -> str | None:
    """Where a host's servers are, if they are written in its own way."""
    if file is not None:
        if file.name in ("opencode.json", "opencode.jsonc"):
            return "mcp"
        by_path = _SETTINGS.get((file.parent.name.lower(), file.name))
        if by_path is not None:
            return by_path
    if isinstance(root.get("mcp_servers"), Mapping):
        return "mcp_servers"
    if isinstance(root.get("context_servers"), Mapping):
        return "context_servers"
    if _is_opencode(root.get("mcp")):
        return "mcp"
    return "extensions" if _is_goose(root.get("extensions")) else None


def translated(content: Mapping[object, object], file: Path | None) -> Translation | None:
    """The servers of a host's own way to write them; None if it is none of these.

    :param file: where it was read, which tells hosts apart that write alike.
    """
    root = _map(content)
    entries = root.get("mcpServers")
    if isinstance(entries, list) and any(isinstance(one, Mapping) for one in entries):
        return _continue_list(entries)
    chat = file is not None and file.name in ("librechat.yaml", "librechat.yml")
    key = "mcpServers" if chat else _key_of(root, file)
    if key is None:
        return _registry(root)
    host, translate = ("LibreChat", _librechat) if chat else _TRANSLATE[key]
    made = Translation(host, (key,))
    for name, entry in _map(root.get(key)).items():
        found = translate(entry) if isinstance(entry, Mapping) else "it is not a mapping"
        if isinstance(found, str):
            made.left_out[str(name)] = found
        else:
            made.servers[str(name)] = found
    if host == "Gemini CLI":
        selects = _gemini_selects(root)
        for left in [str(name) for name in made.servers if not selects(str(name))]:
            made.servers[left] = {**made.servers[left], "enabled": False}
    return made


__all__ = ["Translation", "translated", "written"]
