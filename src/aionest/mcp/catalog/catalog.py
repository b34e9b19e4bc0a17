"""Catalog: the tools of all servers at one moment, by their names.

Contract: never changed; another takes its place as a whole, so that a reader in another thread sees one state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ..._near import either, near
from ..._untrusted import for_cell
from .._json import JsonObject
from ..errors import ToolNotFound, in_a_line
from ..tools import Tool, ToolCaller, splits, unique_names
from .bundle import ToolsBundle

if TYPE_CHECKING:
    from ..config import ServerConfig

Offer = tuple["ServerConfig", list[JsonObject]]  # a server, and its tools as it describes them


@dataclass(frozen=True)
class Catalog:
    """All tools."""

    tools: dict[str, Tool] = field(default_factory=dict)  # by their unique names
    by_server: dict[tuple[str, str], Tool] = field(default_factory=dict)  # by server and original name
    bundles: dict[str, ToolsBundle] = field(default_factory=dict)  # by server

    @classmethod
    def of(cls, offers: Iterable[Offer], caller: ToolCaller) -> Catalog:
        """What servers offer, but for what their settings leave out.

        :param caller: carries the tools' calls out.
        """
        described: dict[tuple[str, str], JsonObject] = {}
        prefixed: list[tuple[str, str]] = []
        taken: set[tuple[str, str]] = set()
        for config, tools in offers:
            for one in tools:
                name = str(one["name"])
                if not _is_wanted(config, name):
                    continue
                if (config.name, name) not in described:
                    pair = (config.prefix or config.name, name)
                    while pair in taken:  # two servers may have been given one prefix
                        pair = (f"{pair[0]}_{config.name}", name)
                    prefixed.append(pair)
                    taken.add(pair)
                described[config.name, name] = one
        names = unique_names(prefixed)
        made = cls()
        members: dict[str, dict[str, Tool]] = {}
        for (server, original), pair in zip(described, prefixed):
            tool = _tool(names[pair], server, described[server, original], caller)
            made.tools[tool.name] = made.by_server[server, original] = tool
            members.setdefault(server, {})[tool.name] = tool
        made.bundles.update({server: ToolsBundle(server, tools) for server, tools in members.items()})
        return made

    def find(self, name: str, absent: Mapping[str, str], hint: str = "") -> Tool:
        """The tool of that name: ``server__tool``, ``server.tool``, ``server/tool``, or the bare name if only one has it.

        :param absent: servers that are unavailable, and why, for the error.
        :param hint: to add to it.
        :raises ToolNotFound: there is none, or there are several.
        """
        found = self.tools.get(name)
        if found is not None:
            return found
        for pair in splits(name):
            if pair in self.by_server:
                return self.by_server[pair]
        bare = [tool for tool in self.tools.values() if tool.original_name == name]
        if len(bare) == 1:
            return bare[0]
        if bare:
            raise ToolNotFound(f"several servers offer a tool {for_cell(name)!r}: use " + either(t.name for t in bare))
        dotted = [f"{server}.{tool}" for server, tool in self.by_server]
        known = [*(dotted if "." in name else self.tools), *(tool.original_name for tool in self.tools.values())]
        meant = near(name, known)
        down = [f"{server} ({in_a_line(why)})" for server, why in absent.items()]
        raise ToolNotFound(
            f"no tool {for_cell(name)!r} is loaded"
            + (f"; did you mean {either(meant)}?" if meant else "")
            + (f"; unavailable servers: {', '.join(down)}" if down else "")
            + hint
        )


def _is_wanted(config: ServerConfig, tool: str) -> bool:
    if config.include is not None and not any(fnmatchcase(tool, pattern) for pattern in config.include):
        return False
    return not any(fnmatchcase(tool, pattern) for pattern in config.exclude)


def _tool(name: str, server: str, raw: JsonObject, caller: ToolCaller) -> Tool:
    original, annotations = str(raw["name"]), _mapping(raw.get("annotations"))
    icons, output = raw.get("icons"), raw.get("outputSchema")
    return Tool(
        name=name,
        server=server,
        original_name=original,
        title=str(raw.get("title") or annotations.get("title") or original),
        description=str(raw.get("description") or ""),
        input_schema=_mapping(raw.get("inputSchema")) or {"type": "object"},
        output_schema=output if isinstance(output, dict) else None,
        annotations=annotations,
        meta=_mapping(raw.get("_meta")),
        icons=icons if isinstance(icons, list) else [],
        task_support=str(_mapping(raw.get("execution")).get("taskSupport") or "forbidden"),
        caller=caller,
    )


def _mapping(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}


__all__ = ["Catalog"]
