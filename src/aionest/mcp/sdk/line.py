"""Which line of the MCP SDK is installed, and the names that nothing works without.

Contract: the import fails with advice if there is no SDK, or one of another line; and names the missing part if a release of a
known line lacks it. What can be done without is not imported here: see ``surface``.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from importlib import metadata
from typing import TYPE_CHECKING

_NEEDS = 'aionest.mcp needs the MCP SDK, 1.24 up to (not including) 3: pip install "aionest[mcp]"'

try:
    VERSION = metadata.version("mcp")
    import mcp
    from anyio.abc import ObjectReceiveStream, ObjectSendStream  # comes with the SDK
except ImportError as exc:  # PackageNotFoundError is one
    raise ImportError(_NEEDS) from exc

_release = tuple(int(part) if part.isdigit() else 0 for part in (VERSION.split(".") + ["0"])[:2])
if not (1, 24) <= _release < (3, 0):
    raise ImportError(f"{_NEEDS} (version {VERSION} is installed)")
V2 = _release >= (2, 0)
log = logging.getLogger("aionest.mcp")

try:
    from mcp import ClientSession, types
    from mcp.client.auth import OAuthFlowError
    from mcp.client.sse import sse_client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared.message import SessionMessage

    if TYPE_CHECKING:  # types are checked with the 1.x line; what 2.x has in their place has the same attributes
        import httpx as HTTP
        from mcp import McpError as SDKError
    else:
        SDKError = mcp.MCPError if V2 else mcp.McpError
        HTTP = importlib.import_module("httpx2" if V2 and importlib.util.find_spec("httpx2") else "httpx")
except (ImportError, AttributeError) as exc:
    raise ImportError(
        f"aionest.mcp cannot use MCP SDK {VERSION}, which lacks something that it needs ({exc}): install another release"
    ) from exc

# what a session reads from and writes to: the SDK's streams or ours
Incoming = ObjectReceiveStream[SessionMessage | Exception]
Outgoing = ObjectSendStream[SessionMessage]

__all__ = [
    "HTTP",
    "V2",
    "VERSION",
    "ClientSession",
    "Incoming",
    "OAuthFlowError",
    "Outgoing",
    "SDKError",
    "SessionMessage",
    "log",
    "sse_client",
    "streamable_http_client",
    "types",
]
