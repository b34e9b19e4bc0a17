"""Configurations of MCP servers: what one server needs, and the files that hold several.

Contract: the shapes of the common hosts are read (a bare map, ``mcpServers``, ``servers``, ``mcp: {servers}``) in YAML,
JSON with or without comments, and TOML. Values of headers, environment variables, auth and secret parts of URLs appear in no
message and no repr.
"""

from __future__ import annotations

from .errors import ConfigError
from .file import ToolsConfig
from .files import read_object, read_text, replace, stamp_of, write_atomic
from .hosts import HostFile
from .inputs import input_ids
from .locking import locked
from .server import ServerConfig, ToolsConfigValue
from .text import FormatError

__all__ = [
    "ConfigError",
    "FormatError",
    "HostFile",
    "ServerConfig",
    "ToolsConfig",
    "ToolsConfigValue",
    "input_ids",
    "locked",
    "read_object",
    "read_text",
    "replace",
    "stamp_of",
    "write_atomic",
]
