"""MCP tools for synchronous and asynchronous Python: a loader whose sessions stay open.

import sys
from aionest.mcp import ToolsLoader

with ToolsLoader({"notes": {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}}) as loader:
    print(loader.call("notes.read", {"id": 1}))
"""

from __future__ import annotations

from .sdk import line as _line  # noqa: F401  # first: it says what is missing

# isort: split
from .auth import KeyringTokenStore, TokenStore, Trust
from .catalog import ToolsBundle, ToolsRetriever
from .config import ConfigError, ServerConfig, ToolsConfig
from .errors import (
    ArgumentsError,
    AuthError,
    CallTimeout,
    ProtocolError,
    ServerLost,
    ServerUnavailable,
    ToolFailed,
    ToolNotFound,
    ToolSchemaError,
    ToolsError,
    UsageError,
)
from .loader import ToolsLoader
from .session.callbacks import asking_server
from .session.plan import Diff
from .session.status import ServerStatus, State
from .tools import Tool, ToolResult

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
    "State",
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
    "asking_server",
]

for _value in [globals()[_name] for _name in __all__]:
    if isinstance(_value, type) and issubclass(_value, Exception):
        _value.__module__ = __name__  # what tracebacks show, and pickles import
