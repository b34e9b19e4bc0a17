"""Where the servers stand in a file: the shapes of the common hosts.

Contract: pure functions on plain data.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from .fields import ALIASES
from .server import ServerConfig

NO_SERVERS = {"$schema", "inputs", "version"}


def _is_server(value: object) -> bool:
    return isinstance(value, Mapping) and any(
        isinstance(value.get(key), str) for key in ("command", "url", "serverUrl", "httpUrl")
    )


def wrapper(root: Mapping[object, object]) -> tuple[str, ...]:
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


def looks_bare(root: Mapping[object, object]) -> bool:
    """Whether any member could be meant as a server, so that another program's file gives one error and not a hundred."""
    known = {*ServerConfig.model_fields, *ALIASES} - {"name", "version"}
    return any(
        isinstance(value, Mapping) and any(difflib.get_close_matches(str(key), known, 1, 0.75) for key in value)
        for value in root.values()
    )


def default_wrapper(fmt: str) -> tuple[str, ...]:
    """The shape of a new file: what the hosts read in JSON, and the plain map in YAML."""
    return () if fmt in ("yaml", "") else ("mcpServers",)
