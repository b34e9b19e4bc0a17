"""Tools as OpenAI wants them described, and the calls that its models make carried out.

Contract: dictionaries, or the library's own objects, in; dictionaries out. No library is imported. Chat completions and the
responses interface are both understood.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..errors import ArgumentsError
from .answers import field_of, tool_of

if TYPE_CHECKING:
    from ..tools import Tool, ToolResult

DESCRIPTION = 1024  # characters that the interface takes


def to_openai(tool: Tool, *, responses: bool = False) -> dict[str, object]:
    """An entry of ``tools`` for chat completions, or for the responses interface."""
    function = {
        "name": tool.name,
        "description": (tool.description or tool.title or tool.name)[:DESCRIPTION],
        "parameters": {**tool.input_schema, "type": "object", "properties": tool.properties},
    }
    return {"type": "function", **function} if responses else {"type": "function", "function": function}


def call_openai(tools: Mapping[str, Tool] | Iterable[Tool], tool_call: object, **options: object) -> ToolResult:
    """Carry out a tool call of a model's answer.

    :param tools: the tools by name, or just the tools.
    :param tool_call: an entry of ``message.tool_calls``, or an output item of type ``function_call``.
    :param options: of the call: ``timeout``, ``progress``.
    :raises UsageError: no such tool, or arguments that are not a JSON object or do not fit.
    """
    tool, arguments = _prepared(tools, tool_call)
    return tool.call(arguments, **options)


async def call_openai_async(
    tools: Mapping[str, Tool] | Iterable[Tool], tool_call: object, **options: object
) -> ToolResult:
    """``call_openai()`` for coroutines of any loop."""
    tool, arguments = _prepared(tools, tool_call)
    return await tool.call_async(arguments, **options)


def openai_message(tool_call: object, result: ToolResult) -> dict[str, object]:
    """What to append to the conversation for a call that was carried out."""
    if field_of(tool_call, "function") is None:
        return {"type": "function_call_output", "call_id": field_of(tool_call, "call_id"), "output": str(result)}
    return {"role": "tool", "tool_call_id": field_of(tool_call, "id"), "content": str(result)}


def _prepared(tools: Mapping[str, Tool] | Iterable[Tool], tool_call: object) -> tuple[Tool, dict[str, object]]:
    function = field_of(tool_call, "function")
    function = tool_call if function is None else function
    tool = tool_of(tools, field_of(function, "name"))
    given = field_of(function, "arguments") or "{}"
    try:
        arguments = json.loads(given) if isinstance(given, (str, bytes)) else given
    except ValueError as exc:
        raise ArgumentsError(
            f"arguments of {tool.name!r} are not valid JSON: {exc}", [str(exc)], server=tool.server or None
        ) from None
    if not isinstance(arguments, dict):
        raise ArgumentsError(
            f"arguments of {tool.name!r} are not a JSON object", ["not an object"], server=tool.server or None
        )
    return tool, arguments
