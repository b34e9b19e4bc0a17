"""Changes of the configuration's file: from a form's fields to a server's entry, checks, and writing.

Contract: no widgets here. A change that is not valid leaves the file as it is and says why; fields that the form does not have stay
as they were written, and so do comments and the other servers.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aionest.mcp import ToolsConfig
from aionest.mcp.config import replace as put_in_place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aionest.mcp import ConfigError

PROGRAM, HTTP, SSE = "Program", "HTTP", "SSE"
KINDS = {"stdio": PROGRAM, "streamable_http": HTTP, "sse": SSE}
# other names of fields that the form has, as other hosts write them
_NAMES = {
    "timeout": ("timeout", "requestTimeout"),
    "connect_timeout": ("connect_timeout", "connectTimeout", "connectionTimeout", "startup_timeout", "startupTimeout"),
    "include": ("include", "allow", "allowedTools", "includeTools", "enabledTools"),
    "exclude": ("exclude", "deny", "excludeTools", "deniedTools", "disabledTools"),
    "transport": ("transport", "type"),
}


@dataclass(frozen=True)
class Fields:
    """A server as the form has it: texts, as a person writes them."""

    kind: str = PROGRAM
    command: str = ""  # with its arguments, as in a shell
    env: str = ""  # NAME=value, a line each
    cwd: str = ""
    url: str = ""
    headers: str = ""  # Name: value, a line each
    timeout: str = ""
    connect_timeout: str = ""
    prefix: str = ""
    include: str = ""  # patterns, a line each
    exclude: str = ""


def fields_of(config: ToolsConfig, name: str) -> Fields:
    """A server of a configuration as fields; those of a new one if it is not there, or not valid."""
    server, raw = config.servers.get(name), config.get(name)
    if server is None or raw is None:
        return Fields()

    def written(field: str) -> str:
        value = next((raw[key] for key in _NAMES.get(field, (field,)) if key in raw), None)
        if isinstance(value, list):
            return "\n".join(map(str, value))
        return "" if value is None else str(value)

    return Fields(
        KINDS[server.transport],
        shlex.join([server.command, *server.args]) if server.command else "",
        "\n".join(f"{key}={value}" for key, value in server.env.items()),
        written("cwd"),
        server.url or "",
        "\n".join(f"{key}: {value}" for key, value in server.headers.items()),
        *(written(field) for field in ("timeout", "connect_timeout", "prefix", "include", "exclude")),
    )


def value_of(fields: Fields, before: Mapping[str, object] | None = None) -> tuple[dict[str, object], list[str]]:
    """The entry of a server that has these fields, and what is wrong with them.

    :param before: its entry as it was; what the form does not have is kept.
    """
    problems: list[str] = []
    value = dict(before or {})

    def put(field: str, new: object) -> None:
        keys = [key for key in _NAMES.get(field, (field,)) if key in value]
        for key in keys if new in ("", [], {}, None) else keys[1:]:
            del value[key]
        if new not in ("", [], {}, None):
            value[keys[0] if keys else field] = new

    stdio = fields.kind == PROGRAM
    command = _command(fields.command, problems) if stdio else []
    if not stdio and not fields.url.strip():
        problems.append("Address: required. It looks like https://host/mcp.")
    put("command", command[0] if command else "")
    put("args", command[1:])
    put("env", _pairs(fields.env, "=", "Environment", problems) if stdio else {})
    put("cwd", fields.cwd.strip() if stdio else "")
    put("url", "" if stdio else fields.url.strip())
    put("headers", {} if stdio else _pairs(fields.headers, ":", "Headers", problems))
    if not _says_transport(value, fields):
        put("transport", {PROGRAM: "stdio", HTTP: "http", SSE: "sse"}[fields.kind])
    for field, text, label in (
        ("timeout", fields.timeout, "Seconds for an answer"),
        ("connect_timeout", fields.connect_timeout, "Seconds to start"),
    ):
        put(field, _seconds(text, label, problems))
    put("prefix", fields.prefix.strip())
    for field, text in (("include", fields.include), ("exclude", fields.exclude)):
        put(field, [line.strip() for line in text.splitlines() if line.strip()])
    return value, problems


def _command(text: str, problems: list[str]) -> list[str]:
    try:
        command = shlex.split(text)
    except ValueError as exc:
        problems.append(f"Command: {exc}")
        return []
    if not command:
        problems.append("Command: required. Write what you would type in a terminal.")
    return command


def _says_transport(value: Mapping[str, object], fields: Fields) -> bool:
    """Is an entry for the form's transport, by what it says of that, or else by its address?"""
    said = [str(value[key]) for key in _NAMES["transport"] if key in value]
    if fields.kind == PROGRAM:
        inferred = PROGRAM
    else:
        inferred = SSE if fields.url.strip().split("?")[0].rstrip("/").endswith("/sse") else HTTP
    of_name = {"stdio": PROGRAM, "sse": SSE}
    return inferred == fields.kind and all(of_name.get(name, HTTP) == fields.kind for name in said)


def _seconds(text: str, label: str, problems: list[str]) -> int | float | str:
    if not text.strip():
        return ""
    try:
        number = float(text)
        return int(number) if number.is_integer() else number
    except (ValueError, OverflowError):
        problems.append(f"{label}: {text.strip()!r} is not a number.")
        return ""


def _pairs(text: str, separator: str, label: str, problems: list[str]) -> dict[str, str]:
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, there, value = line.partition(separator)
        if not there or not name.strip():
            problems.append(f"{label}, line {number}: it is not like NAME{separator}{' ' * (separator == ':')}value.")
        else:
            found[name.strip()] = value.strip() if separator == ":" else value
    return found


# -- the file


def read(file: Path) -> str:
    """The file's text; that of an empty configuration if there is none."""
    if file.exists():
        return file.read_text(encoding="utf-8")
    return "mcpServers: {}\n" if file.suffix in (".yaml", ".yml") else '{\n  "mcpServers": {}\n}\n'


def check(file: Path, text: str) -> list[str]:
    """What is wrong with a text that is to be the file's."""
    return _with_text(file, text, replace=False)


def write(file: Path, text: str) -> list[str]:
    """Replace the file's text at once, if it is valid; else what is wrong with it."""
    return _with_text(file, text, replace=True)


def _with_text(file: Path, text: str, replace: bool) -> list[str]:
    target = Path(os.path.realpath(file))  # a link stays one
    # beside the file, so that what is relative in it means the same
    folder = target.parent
    if replace:
        folder.mkdir(parents=True, exist_ok=True)
    elif not folder.is_dir():
        folder = Path(tempfile.gettempdir())
    handle, name = tempfile.mkstemp(prefix=".", suffix=target.suffix, dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        problems = [str(error).replace(name, file.name) for error in ToolsConfig(name).errors]
        if replace and not problems:
            if target.exists():
                os.chmod(name, target.stat().st_mode & 0o777)
            put_in_place(name, target)
        return problems
    finally:
        if os.path.exists(name):
            os.unlink(name)


def put_server(file: Path, name: str, value: Mapping[str, object], old_name: str | None = None) -> list[str]:
    """Add or replace a server, under a new name if ``old_name`` is another one; what is wrong if it cannot be."""
    if not name.strip():
        return ["Name: required."]
    config = _config(file)
    if name != old_name and name in config.raw:
        return [f"Name: there is a server {name!r} already."]
    before = list(config.errors)
    if old_name is not None and old_name != name:
        config.remove(old_name)
    if not config.set(name, value):
        return [_short(e) for e in config.errors if e not in before] or ["It is not valid."]
    return [] if config.save() else [str(config.errors[-1])]


def remove_server(file: Path, name: str) -> list[str]:
    """Take a server out; what is wrong if it cannot be."""
    config = _config(file)
    if not config.remove(name):
        return [f"There is no server {name!r} any more."]
    return [] if config.save() else [str(config.errors[-1])]


def switch(file: Path, name: str, on: bool) -> list[str]:
    """Enable or disable a server; what is wrong if it cannot be."""
    value = dict(_config(file).get(name) or {})
    if not value:
        return [f"Server {name!r} is not valid: correct it first."]
    for key in ("disabled", "enabled"):
        value.pop(key, None)
    if not on:
        value["disabled"] = True
    return put_server(file, name, value, name)


def import_servers(file: Path, source: Path, names: list[str]) -> list[str]:
    """Take over servers of another file; what is wrong if it cannot be."""
    config = _config(file)
    before = list(config.errors)
    for name in config.import_from(source):
        if name not in names:
            config.remove(name)
    wrong = [_short(e) for e in config.errors if e not in before and e.server in names]
    return wrong if wrong else [] if config.save() else [str(config.errors[-1])]


def _config(file: Path) -> ToolsConfig:
    if file.exists():
        return ToolsConfig(file)
    made = ToolsConfig.from_dict({"mcpServers": {}})
    made.config_file = file
    return made


def _short(error: ConfigError) -> str:
    """An error of a form, which needs neither file nor server to be named."""
    text = f"{error.field}: {error.message}" if error.field else error.message
    return f"{text}. {error.hint}" if error.hint else text
