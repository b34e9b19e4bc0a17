"""Tools as Anthropic wants them described, and the calls that its models make carried out.

Contract: dictionaries, or the library's own objects, in; dictionaries out. No library is imported.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from ..errors import ArgumentsError
from .answers import field_of, tool_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..tools import Tool, ToolResult

_MEDIA = ("image/png", "image/jpeg", "image/gif", "image/webp")


def to_anthropic(tool: Tool) -> dict[str, object]:
    """An entry of ``tools`` for messages."""
    return {
        "name": tool.name,
        "description": tool.description or tool.title or tool.name,
        "input_schema": {**tool.input_schema, "type": "object", "properties": tool.properties},
    }


def call_anthropic(tools: Mapping[str, Tool] | Iterable[Tool], tool_use: object, **options: object) -> ToolResult:
    """Carry out a ``tool_use`` block of a model's answer.

    :param tools: the tools by name, or just the tools.
    :param options: of the call: ``timeout``, ``progress``.
    :raises UsageError: no such tool, or arguments that do not fit.
    """
    tool, arguments = _prepared(tools, tool_use)
    return tool.call(arguments, **options)


async def call_anthropic_async(
    tools: Mapping[str, Tool] | Iterable[Tool], tool_use: object, **options: object
) -> ToolResult:
    """``call_anthropic()`` for coroutines of any loop."""
    tool, arguments = _prepared(tools, tool_use)
    return await tool.call_async(arguments, **options)


def anthropic_block(tool_use: object, result: ToolResult) -> dict[str, object]:
    """The ``tool_result`` block for a call that was carried out; with its images, and other things named in the text."""
    text = result.shown(_MEDIA)
    content: list[dict[str, object]] = [{"type": "text", "text": text}] if text else []
    for kind, data in result.images:
        if kind in _MEDIA:
            source = {"type": "base64", "media_type": kind, "data": base64.b64encode(data).decode()}
            content.append({"type": "image", "source": source})
    return {
        "type": "tool_result",
        "tool_use_id": field_of(tool_use, "id"),
        "content": content,
        "is_error": result.is_error,
    }


def _prepared(tools: Mapping[str, Tool] | Iterable[Tool], tool_use: object) -> tuple[Tool, dict[str, object]]:
    tool = tool_of(tools, field_of(tool_use, "name"))
    arguments = field_of(tool_use, "input")
    if not isinstance(arguments, dict):
        raise ArgumentsError(
            f"arguments of {tool.name!r} are not a JSON object", ["not an object"], server=tool.server or None
        )
    return tool, arguments
