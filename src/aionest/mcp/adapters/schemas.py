"""Tools as OpenAI and Anthropic want them described, and calls that their models make carried out.

Contract: plain dictionaries in and out; no library is imported.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..tool import Tool, ToolResult


def to_openai(tool: Tool) -> dict[str, Any]:
    """An entry of ``tools`` for chat completions."""
    schema = {"type": "object", "properties": {}, **tool.input_schema}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description[:1024], "parameters": schema},
    }


def call_openai(tools: Mapping[str, Tool], tool_call: Mapping[str, Any], **options: Any) -> ToolResult:
    """Carry out a ``tool_call`` of a chat completion.

    :raises UsageError: no such tool, or arguments that are no JSON object or do not fit.
    """
    from ..errors import ToolNotFound
    from ..tool import ArgumentsError

    function = tool_call["function"]
    name, text = function["name"], function.get("arguments") or "{}"
    if name not in tools:
        raise ToolNotFound(f"no tool {name!r}; there are: {', '.join(tools) or 'none'}")
    try:
        arguments = json.loads(text) if isinstance(text, str) else text
    except ValueError as exc:
        raise ArgumentsError(f"arguments of {name!r} are no JSON: {exc}", [str(exc)]) from None
    if not isinstance(arguments, dict):
        raise ArgumentsError(f"arguments of {name!r} are no JSON object", ["no object"])
    return tools[name].call(arguments, **options)


def to_anthropic(tool: Tool) -> dict[str, Any]:
    """An entry of ``tools`` for messages."""
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": {"type": "object", "properties": {}, **tool.input_schema},
    }
