"""Tools for LangChain, with both a synchronous and an asynchronous form.

Contract: LangChain is imported on use. A tool that reports an error raises ToolException.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..tool import Tool, ToolResult


def to_langchain(tool: Tool, *, handle_tool_error: bool = True) -> Any:
    """A ``StructuredTool`` whose ``invoke`` works from any thread, and ``ainvoke`` on any loop.

    :param handle_tool_error: give the text of an error as the result instead of raising it.
    :raises ImportError: langchain-core is not installed.
    """
    try:
        from langchain_core.tools import StructuredTool, ToolException
    except ImportError as exc:
        raise ImportError("tools for LangChain need langchain-core: pip install langchain-core") from exc

    def outcome(result: ToolResult) -> tuple[str, dict[str, Any]]:
        if result.is_error:
            raise ToolException(result.text or f"{tool.name} failed")
        return str(result), result.to_json()

    def call(**arguments: Any) -> tuple[str, dict[str, Any]]:
        return outcome(tool.call(arguments))

    async def acall(**arguments: Any) -> tuple[str, dict[str, Any]]:
        return outcome(await tool.acall(arguments))

    return StructuredTool(
        name=tool.name,
        description=tool.description or tool.title or tool.name,
        args_schema={"properties": {}, **tool.input_schema},
        func=call,
        coroutine=acall,
        response_format="content_and_artifact",
        handle_tool_error=handle_tool_error,
        metadata={"server": tool.server, **tool.annotations},
    )
