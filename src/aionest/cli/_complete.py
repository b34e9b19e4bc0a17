"""Shell completion of servers, tools and their arguments.

Contract: nothing is started for it. Servers come from the configuration, tools from what was seen when they were last open, which
is kept by configuration in the user's cache folder. Whatever cannot be read completes nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from aionest._untrusted import for_cell

if TYPE_CHECKING:
    from aionest.mcp import ToolsConfig, ToolsLoader

KEPT = 20  # configurations
LONGEST = 200  # characters of a name


def cache_file() -> Path:
    """Where names are kept."""
    from platformdirs import user_cache_path

    return user_cache_path("aionest", appauthor=False) / "completion.json"


def _read() -> dict[str, dict[str, dict[str, list[str]]]]:
    try:
        found = json.loads(cache_file().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remember(loader: ToolsLoader) -> None:
    """Keep the names of all tools that are there now."""
    from aionest.mcp.config import write_atomic

    if loader.config.config_file is None:
        return
    key = os.path.realpath(loader.config.config_file)
    known = _read()
    mine = {**known.pop(key, {})}
    for name, status in loader.status.items():
        if status.state == "connected":
            mine[name] = {}
    for tool in loader.tools.values():
        # a shell shows them, and puts them on its line
        if is_name(tool.original_name):
            mine.setdefault(tool.server, {})[tool.original_name] = [one for one in tool.properties if is_name(one)]
    known[key] = {name: tools for name, tools in mine.items() if name in loader.config.servers}
    with contextlib.suppress(OSError):
        write_atomic(cache_file(), json.dumps(dict(list(known.items())[-KEPT:])), mode=0o600)


def is_name(text: str) -> bool:
    """May a shell have it?"""
    return text.isprintable() and text == for_cell(text, LONGEST)


def _config(context: typer.Context) -> ToolsConfig | None:
    from aionest.mcp import ToolsConfig

    named = context.params.get("config") or os.environ.get("MCP_FILE")
    # shells hand over ~ as it is where they complete a word
    file = Path(os.path.expanduser(named)) if named else ToolsConfig.find()
    return ToolsConfig(file) if file is not None and Path(file).exists() else None


def _tools(config: ToolsConfig) -> dict[str, dict[str, list[str]]]:
    assert config.config_file is not None
    known = _read().get(os.path.realpath(config.config_file), {})
    return {name: tools for name, tools in known.items() if name in config.servers and isinstance(tools, dict)}


def servers(context: typer.Context, incomplete: str) -> list[str]:
    """Names of servers."""
    config = _config(context)
    return [name for name in config.servers if name.startswith(incomplete)] if config is not None else []


def tools(context: typer.Context, incomplete: str) -> list[str]:
    """Names of tools; of servers that were never open, what their tools' names begin with."""
    config = _config(context)
    if config is None:
        return []
    known = _tools(config)
    names = [f"{server}.{tool}" for server, found in known.items() for tool in found]
    names += [f"{name}." for name in config.servers if name not in known]
    return [name for name in names if name.startswith(incomplete)]


def arguments(context: typer.Context, incomplete: str) -> list[str]:
    """Names of a tool's arguments."""
    from aionest.mcp.tools import splits

    config, tool = _config(context), context.params.get("tool")
    if config is None or not tool or "=" in incomplete:
        return []
    known = _tools(config)
    for server, name in splits(tool):
        found = known.get(server, {}).get(name)
        if found is not None:
            return [f"{one}=" for one in found if one.startswith(incomplete)]
    return []
