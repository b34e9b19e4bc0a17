"""Tools for LangChain, with both a synchronous and an asynchronous form.

Contract: LangChain is imported on use. A tool that reports an error raises ToolException. Arguments reach the server as the
model gave them, also those with names that LangChain injects itself (``config``, ``run_manager``).
"""

from __future__ import annotations

import base64
import functools
from typing import TYPE_CHECKING

from ..errors import ToolsError
from ..tools.result import described, image_of, json_of, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.tools import StructuredTool

    from ..tools import Tool, ToolResult


@functools.lru_cache(maxsize=1)
def _classes() -> tuple[Callable[..., StructuredTool], type[Exception]]:
    try:
        from langchain_core.tools import StructuredTool, ToolException
    except ImportError as exc:
        raise ImportError("tools for LangChain need langchain-core: pip install langchain-core") from exc

    class MCPStructuredTool(StructuredTool):
        """LangChain finds what to inject by the signature of these; without names there, it leaves the arguments alone."""

        def _run(self, /, *args: object, **kwargs: object) -> object:
            return self.func(*args, **kwargs)  # type: ignore[misc]

        async def _arun(self, /, *args: object, **kwargs: object) -> object:
            return await self.coroutine(*args, **kwargs)  # type: ignore[misc]

    return MCPStructuredTool, ToolException


def _content(result: ToolResult) -> object:
    """A text, or LangChain's content blocks if there are images: these, the texts, and what else there is named as text."""
    if not result.images:
        return str(result)
    blocks: list[dict[str, object]] = []
    if not result.text and result.structured is not None:
        blocks.append({"type": "text", "text": json_of(result.structured)})
    for block in result.content:
        image, text = image_of(block), text_of(block)
        if image is not None:
            blocks.append({"type": "image", "base64": base64.b64encode(image[1]).decode(), "mime_type": image[0]})
        elif text != "":
            blocks.append({"type": "text", "text": described(block) if text is None else text})
    return blocks


def to_langchain(tool: Tool, *, handle_tool_error: bool = True) -> StructuredTool:
    """A ``StructuredTool`` whose ``invoke`` works from any thread, and ``ainvoke`` on any loop.

    Its artifact is the result as JSON.

    :param handle_tool_error: give the text of an error as the result, so that the model sees it. Otherwise ToolException is
        raised for what the tool reports, and ToolsError for arguments that do not fit and servers that are not there.
    :raises ImportError: langchain-core is not installed.
    """
    structured_tool, tool_exception = _classes()

    def outcome(result: ToolResult) -> tuple[object, dict[str, object]]:
        if result.is_error:
            raise tool_exception(tool.reason(result))
        return _content(result), result.to_json()

    def call(**arguments: object) -> tuple[object, dict[str, object]]:
        try:
            return outcome(tool.call(arguments))
        except ToolsError as exc:
            if handle_tool_error:
                raise tool_exception(str(exc)) from exc
            raise

    async def call_async(**arguments: object) -> tuple[object, dict[str, object]]:
        try:
            return outcome(await tool.call_async(arguments))
        except ToolsError as exc:
            if handle_tool_error:
                raise tool_exception(str(exc)) from exc
            raise

    return structured_tool(
        name=tool.name,
        description=tool.description or tool.title or tool.name,
        args_schema={"properties": {}, **tool.input_schema},
        func=call,
        coroutine=call_async,
        response_format="content_and_artifact",
        handle_tool_error=handle_tool_error,
        metadata={"server": tool.server, **tool.annotations},
    )
