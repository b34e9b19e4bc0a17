"""What the commands use of ``aionest.mcp``, imported when one of them first asks for a name: help does not wait for the MCP SDK.

Contract: commands refer to it as ``lib.NAME`` in their bodies, never in defaults, base classes or decorators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        from aionest import mcp
        from aionest.mcp import auth, config, tools

        for module in (mcp, auth, config, tools):
            if hasattr(module, name):
                found = globals()[name] = getattr(module, name)
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
