"""ToolsBundle: the tools of one server, as one thing.

Contract: immutable; a reload makes new ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_core.tools import StructuredTool

    from ..tools import Tool


class ToolsBundle:
    """The tools of a server.

    :param name: the server's name.
    :param tools: by their unique names.
    """

    __slots__ = ("__weakref__", "name", "tools")

    def __init__(self, name: str, tools: Mapping[str, Tool]) -> None:
        self.name = name
        self.tools: dict[str, Tool] = dict(tools)

    @property
    def description(self) -> str:
        """What its tools are for, a line for each that says so."""
        return "\n".join(
            f"{tool.original_name}: {tool.description}" for tool in self.tools.values() if tool.description
        )

    def get_all(self) -> list[Tool]:
        """Its tools."""
        return list(self.tools.values())

    def get(self, name: str) -> Tool | None:
        """The tool of that name, unique or as its server has it."""
        found = self.tools.get(name)
        return found or next((tool for tool in self.tools.values() if tool.original_name == name), None)

    def to_langchain(self, *, handle_tool_error: bool = True) -> list[StructuredTool]:
        """Its tools for LangChain.

        :raises ImportError: langchain-core is not installed.
        """
        from ..adapters.langchain import to_langchain

        return [to_langchain(tool, handle_tool_error=handle_tool_error) for tool in self.get_all()]

    def __iter__(self) -> Iterator[Tool]:
        return iter(self.get_all())

    def __len__(self) -> int:
        return len(self.tools)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __repr__(self) -> str:
        return f"<ToolsBundle {self.name}: {len(self.tools)} tools>"
