"""Tools for Strands agents.

Contract: Strands is imported on use. Errors become a result with status "error", which the model sees; nothing is raised
into the agent but cancellation.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from ..errors import ToolsError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from strands.types.tools import AgentTool, ToolSpec, ToolUse

    from ..tools import Tool, ToolResult

_FORMATS = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}


def _strands_result(result: ToolResult, use_id: object) -> dict[str, object]:
    images: list[dict[str, object]] = [
        {"image": {"format": _FORMATS[kind], "source": {"bytes": data}}}
        for kind, data in result.images
        if kind in _FORMATS
    ]
    text = result.shown(_FORMATS)
    content = [{"text": text}, *images] if text or not images else images
    answer: dict[str, object] = {
        "toolUseId": use_id,
        "status": "error" if result.is_error else "success",
        "content": content,
    }
    if result.structured is not None:
        answer["structuredContent"] = result.structured
    return answer


@functools.lru_cache(maxsize=1)
def _agent_tool() -> Callable[[Tool], AgentTool]:
    try:
        from strands.types._events import ToolResultEvent
        from strands.types.tools import AgentTool
    except ImportError as exc:
        raise ImportError("tools for Strands need strands-agents: pip install strands-agents") from exc

    class MCPAgentTool(AgentTool):
        """A tool of a server as Strands sees it."""

        def __init__(self, tool: Tool) -> None:
            super().__init__()
            self.tool = tool

        @property
        def tool_name(self) -> str:
            return self.tool.name

        @property
        def tool_type(self) -> str:
            return "python"

        @property
        def tool_spec(self) -> ToolSpec:
            spec: ToolSpec = {
                "name": self.tool.name,
                "description": self.tool.description or self.tool.title or self.tool.name,
                "inputSchema": {"json": {"properties": {}, **self.tool.input_schema}},
            }
            if self.tool.output_schema:
                spec["outputSchema"] = {"json": self.tool.output_schema}
            return spec

        async def stream(
            self, tool_use: ToolUse, invocation_state: dict[str, object], **kwargs: object
        ) -> AsyncGenerator[ToolResultEvent, None]:
            try:
                answer = _strands_result(await self.tool.call_async(tool_use.get("input") or {}), tool_use["toolUseId"])
            except ToolsError as exc:
                answer = {
                    "toolUseId": tool_use["toolUseId"],
                    "status": "error",
                    "content": [{"text": str(exc)}],
                }
            yield ToolResultEvent(answer)  # type: ignore[arg-type]

    return MCPAgentTool


def to_strands(tool: Tool) -> AgentTool:
    """An ``AgentTool`` for ``Agent(tools=[...])``.

    :raises ImportError: strands-agents is not installed.
    """
    return _agent_tool()(tool)
