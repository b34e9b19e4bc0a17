"""What the answers of models have in common, whoever makes the model.

Contract: dictionaries or objects in; no library is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..errors import ToolNotFound

if TYPE_CHECKING:
    from ..tools import Tool


def field_of(thing: object, name: str) -> object:
    """A field of a dictionary or of a library's object, or None."""
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def tool_of(tools: Mapping[str, Tool] | Iterable[Tool], name: object) -> Tool:
    """The tool that a model names.

    :raises ToolNotFound: there is none.
    """
    known = dict(tools) if isinstance(tools, Mapping) else {tool.name: tool for tool in tools}
    if name not in known:
        raise ToolNotFound(f"no tool {name!r}; there are: {', '.join(known) or 'none'}")
    return known[name]
