"""A call as a program: Python, a command of ``aionest mcp``, or requests by curl.

Contract: pure text, which means the same call when it is pasted; no value of a configuration but a server's address without
what is secret in it. What cannot be told is left for an environment variable, which the text names.
"""

from __future__ import annotations

import json
import pprint
import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aionest.mcp import ServerConfig, Tool

PROTOCOL = "2025-06-18"
_VARIABLE = re.compile(r"\$\{(?:env:)?([A-Za-z_]\w*)\}")


def as_python(tool: Tool, arguments: dict[str, object], file: str) -> str:
    """A program."""
    given = pprint.pformat(arguments, width=100, sort_dicts=False)
    given = given.replace("\n", "\n    ")
    return (
        "from aionest.mcp import ToolsLoader\n\n"
        f"with ToolsLoader({file!r}) as loader:\n"
        f"    result = loader.call({_name(tool)!r}, {given})\n"
        "    print(result)\n"
    )


def as_command(tool: Tool, arguments: dict[str, object], file: str) -> str:
    """A command line for a POSIX shell."""
    parts = ["aionest", "mcp", "call", _name(tool)]
    if arguments:
        parts += ["--args", json.dumps(arguments, ensure_ascii=False)]
    return shlex.join([*parts, "--config", file])


def as_curl(tool: Tool, arguments: dict[str, object], server: ServerConfig) -> str | None:
    """Requests for a POSIX shell; None if the server is not reached by streamable HTTP."""
    if not server.url or server.transport != "streamable_http":
        return None
    url = str(server.public().get("url", ""))
    hidden = "# put in what is hidden in the address: ***\n" if "***" in url and "***" not in server.url else ""
    headers = [
        '-H "Content-Type: application/json"',
        '-H "Accept: application/json, text/event-stream"',
        *(_header(name, value) for name, value in server.headers.items()),
    ]
    if server.auth:
        headers.append('-H "Authorization: Bearer $TOKEN"')
    hello: dict[str, object] = {
        "protocolVersion": PROTOCOL,
        "capabilities": {},
        "clientInfo": {"name": "curl", "version": "0"},
    }
    lines = [
        f"{hidden}URL={_in_quotes(url)}",
        "send() {",
        f'  curl -sS -N "$URL" {" ".join(headers)} "$@"',
        "}",
        f"SESSION=$(send -o /dev/null -D - -d {_body('initialize', hello, 0)} |",
        "  tr -d '\\r' | grep -i '^mcp-session-id:' | cut -d ' ' -f 2)",
        f'send -H "Mcp-Session-Id: $SESSION" -d {_body("notifications/initialized")}',
        f'send -H "Mcp-Session-Id: $SESSION" -d {_body("tools/call", {"name": tool.original_name, "arguments": arguments}, 1)}',
    ]
    return "\n".join(lines) + "\n"


def _name(tool: Tool) -> str:
    return f"{tool.server}.{tool.original_name}"


def _body(method: str, params: dict[str, object] | None = None, number: int | None = None) -> str:
    message: dict[str, object] = {"jsonrpc": "2.0"}
    if number is not None:
        message["id"] = number
    message["method"] = method
    if params is not None:
        message["params"] = params
    return shlex.quote(json.dumps(message, ensure_ascii=False))


def _header(name: str, value: str) -> str:
    """A header: its variables are the shell's; any other value may be a secret, and stays where it is."""
    plain = _VARIABLE.sub("", value)
    # words such as Bearer are no secret; what else stands there may be
    if not _VARIABLE.search(value) or not re.fullmatch(r"([A-Za-z]+ )?", plain):
        value = "${" + re.sub(r"[^A-Z0-9]", "_", name.upper()) + "}"
    return f"-H {_in_quotes(f'{name}: {value}')}"


def _in_quotes(text: str) -> str:
    """For the shell, which puts in variables, and nothing else."""
    parts = _VARIABLE.split(text)  # every second one is a variable's name
    shown = ["${" + part + "}" if n % 2 else re.sub(r'(["\\$`])', r"\\\1", part) for n, part in enumerate(parts)]
    return f'"{"".join(shown)}"'


__all__ = ["as_command", "as_curl", "as_python"]
