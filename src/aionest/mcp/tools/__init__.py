"""Tools as plain data: what they are, what arguments fit, what a call gave, how they are named.

Contract: no trace of the SDK, no sessions, no loop. Everything here may be used from any thread.
"""

from __future__ import annotations

from .naming import splits, unique_names
from .result import ToolResult
from .tool import Tool, ToolCaller

__all__ = ["Tool", "ToolCaller", "ToolResult", "splits", "unique_names"]
