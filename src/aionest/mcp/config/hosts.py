"""Where configurations are looked for, and where other hosts keep theirs.

Contract: looks at the file system and the environment, reads no file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple


class HostFile(NamedTuple):
    """Where a host keeps its configuration, whether or not the file is there."""

    host: str
    path: Path


_LOOK = ("mcp.yaml", "mcp.yml", "mcp.json", "mcp.toml", ".mcp.json", ".cursor/mcp.json", ".vscode/mcp.json")


def workspace_of(file: Path) -> Path:
    folder = Path(os.path.abspath(file)).parent
    return folder.parent if folder.name in (".vscode", ".cursor") else folder


def find(start: str | Path | None = None) -> Path | None:
    """The configuration that applies in a folder, or None.

    $MCP_FILE if it is set (whether or not it is there, so that a wrong one is noticed), mcp.yaml, .yml, .json or .toml,
    .mcp.json, .cursor/mcp.json, .vscode/mcp.json, and last mcp.yaml in the user's configuration folder of aionest.

    Parameters:
        start: the folder, the working directory unless given.
    """
    named = os.environ.get("MCP_FILE")
    if named:
        return Path(named).expanduser()
    folder = Path.cwd() if start is None else Path(start)
    candidates = [folder / name for name in _LOOK]
    try:
        import platformdirs
    except ImportError:
        pass
    else:
        candidates.append(platformdirs.user_config_path("aionest", appauthor=False) / "mcp.yaml")
    return next((path for path in candidates if path.is_file()), None)


def known_host_files(start: str | Path | None = None) -> list[HostFile]:
    """Where Claude Desktop, Claude Code, Cursor and VS Code keep theirs on this system, those of the user first.

    Parameters:
        start: the project's folder, the working directory unless given.
    """
    home = Path.home()
    folder = Path.cwd() if start is None else Path(start)
    if sys.platform == "darwin":
        apps = home / "Library" / "Application Support"
    elif sys.platform == "win32":
        apps = Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming")
    else:
        apps = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return [
        HostFile("Claude Desktop", apps / "Claude" / "claude_desktop_config.json"),
        HostFile("Claude Code", home / ".claude.json"),
        HostFile("Cursor", home / ".cursor" / "mcp.json"),
        HostFile("VS Code", apps / "Code" / "User" / "mcp.json"),
        HostFile("Claude Code", folder / ".mcp.json"),
        HostFile("Cursor", folder / ".cursor" / "mcp.json"),
        HostFile("VS Code", folder / ".vscode" / "mcp.json"),
    ]
