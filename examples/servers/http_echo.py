"""An MCP server over streamable HTTP, on the SDK's 1.x line: one tool, ``echo``. Usage: http_echo.py PORT"""

from __future__ import annotations

import sys

from mcp.server.fastmcp import FastMCP

server = FastMCP("echo", host="127.0.0.1", port=int(sys.argv[1]), log_level="ERROR")


@server.tool()
def echo(text: str) -> str:
    """Give the text back"""
    return text


server.run(transport="streamable-http")
