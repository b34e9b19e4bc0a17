"""ToolsBundle: the tools of one server, as one thing.

Contract: immutable; a reload makes new ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .tool import Tool


class ToolsBundle:
    """The tools of a server.

    :param name: the server's name.
    :param tools: by their unique names.
    """

    def __init__(self, name: str, tools: dict[str, Tool]) -> None:
        self.name = name
        self.tools = dict(tools)

    @property
    def description(self) -> str:
        """What its tools are for."""
        return "\n".join(
            f"{tool.original_name}: {tool.description}" for tool in self.tools.values() if tool.description
        )

    def get_all(self) -> list[Tool]:
        """Its tools."""
        return list(self.tools.values())

    def to_langchain(self) -> list[Any]:
        """Its tools for LangChain."""
        from .adapters.langchain import to_langchain

        return [to_langchain(tool) for tool in self.get_all()]

    def __iter__(self) -> Iterator[Tool]:
        return iter(self.tools.values())

    def __len__(self) -> int:
        return len(self.tools)

    def __repr__(self) -> str:
        return f"<ToolsBundle {self.name}: {len(self.tools)} tools>"
