"""Tools as plain data: what they are, what arguments fit, what a call gave, how they are named and found.

Contract: no trace of the SDK, no sessions, no loop. Everything here may be used from any thread.
"""

from __future__ import annotations

from .bundle import ToolsBundle
from .naming import splits, unique_names
from .result import ToolResult
from .retriever import ToolsRetriever
from .tool import Tool, ToolCaller

__all__ = ["Tool", "ToolCaller", "ToolResult", "ToolsBundle", "ToolsRetriever", "splits", "unique_names"]
