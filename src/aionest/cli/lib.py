"""What the commands use of ``aionest.mcp``, imported when one of them first asks for a name: help does not wait for the MCP SDK.

Contract: commands refer to it as ``lib.NAME`` in their bodies, never in defaults, base classes or decorators.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

# where each of them is
_HOMES = {
    "ArgumentsError": "aionest.mcp",
    "AuthError": "aionest.mcp",
    "ProtocolError": "aionest.mcp",
    "ServerConfig": "aionest.mcp",
    "ServerStatus": "aionest.mcp",
    "Tool": "aionest.mcp",
    "ToolNotFound": "aionest.mcp",
    "ToolResult": "aionest.mcp",
    "ToolsConfig": "aionest.mcp",
    "ToolsError": "aionest.mcp",
    "ToolsLoader": "aionest.mcp",
    "ToolsRetriever": "aionest.mcp",
    "Trust": "aionest.mcp",
    "UsageError": "aionest.mcp",
    "input_ids": "aionest.mcp.config",
    "splits": "aionest.mcp.tools",
    "was_only_found": "aionest.mcp.auth",
    "would_start": "aionest.mcp.auth",
}

if TYPE_CHECKING:
    from aionest.mcp import (
        ArgumentsError,
        AuthError,
        ProtocolError,
        ServerConfig,
        ServerStatus,
        Tool,
        ToolNotFound,
        ToolResult,
        ToolsConfig,
        ToolsError,
        ToolsLoader,
        ToolsRetriever,
        Trust,
        UsageError,
    )
    from aionest.mcp.auth import was_only_found, would_start
    from aionest.mcp.config import input_ids
    from aionest.mcp.tools import splits

    __all__ = [
        "ArgumentsError",
        "AuthError",
        "ProtocolError",
        "ServerConfig",
        "ServerStatus",
        "Tool",
        "ToolNotFound",
        "ToolResult",
        "ToolsConfig",
        "ToolsError",
        "ToolsLoader",
        "ToolsRetriever",
        "Trust",
        "UsageError",
        "input_ids",
        "splits",
        "was_only_found",
        "would_start",
    ]
else:

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return found
