"""MCP tools for synchronous and asynchronous Python: a loader whose sessions stay open.

from aionest.mcp import ToolsLoader

with ToolsLoader(config={"time": {"command": "mcp-server-time"}}) as loader:
    print(loader.call("time.get_current_time", {"timezone": "UTC"}))
"""

from __future__ import annotations

from ._connection import ServerStatus
from .bundle import ToolsBundle
from .config import ConfigError, ServerConfig, ToolsConfig
from .errors import (
    AuthError,
    CallTimeout,
    ProtocolError,
    ServerLost,
    ServerUnavailable,
    ToolFailed,
    ToolNotFound,
    ToolsError,
    UsageError,
)
from .loader import Diff, ToolsLoader
from .retriever import ToolsRetriever
from .tokens import KeyringTokenStore, TokenStore
from .tool import ArgumentsError, Tool, ToolResult, ToolSchemaError
from .trust import Trust

__all__ = [
    "ArgumentsError",
    "AuthError",
    "CallTimeout",
    "ConfigError",
    "Diff",
    "KeyringTokenStore",
    "ProtocolError",
    "ServerConfig",
    "ServerLost",
    "ServerStatus",
    "ServerUnavailable",
    "TokenStore",
    "Tool",
    "ToolFailed",
    "ToolNotFound",
    "ToolResult",
    "ToolSchemaError",
    "ToolsBundle",
    "ToolsConfig",
    "ToolsError",
    "ToolsLoader",
    "ToolsRetriever",
    "Trust",
    "UsageError",
]
