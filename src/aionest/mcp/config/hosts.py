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
    return folder.parent if folder.name in (".vscode", ".cursor", ".gemini", ".codex", ".zed") else folder


def find(start: str | Path | None = None) -> Path | None:
    """The configuration that applies in a folder, or None.

    $MCP_FILE if it is set (whether or not it is there, so that a wrong one is noticed), mcp.yaml, .yml, .json or .toml,
    .mcp.json, .cursor/mcp.json, .vscode/mcp.json, and last mcp.yaml in the user's configuration folder of aionest.

    :param start: the folder, the working directory unless given.
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
    """Where the known hosts keep theirs on this system, those of the user first.

    They are Claude Desktop, Claude Code, Cursor, VS Code, Cline, Windsurf, Codex, Gemini CLI, Zed, opencode and Goose.

    :param start: the project's folder, the working directory unless given.
    """
    home = Path.home()
    folder = Path.cwd() if start is None else Path(start)
    if sys.platform == "darwin":
        apps = home / "Library" / "Application Support"
    elif sys.platform == "win32":
        apps = Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming")
    else:
        apps = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    # these keep to ~/.config on macOS too
    unix = apps if sys.platform == "win32" else Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    cline = Path("saoudrizwan.claude-dev", "settings", "cline_mcp_settings.json")
    goose = Path("Block", "goose", "config") if sys.platform == "win32" else Path("goose")
    return [
        HostFile("Claude Desktop", apps / "Claude" / "claude_desktop_config.json"),
        HostFile("Claude Code", home / ".claude.json"),
        HostFile("Cursor", home / ".cursor" / "mcp.json"),
        HostFile("VS Code", apps / "Code" / "User" / "mcp.json"),
        HostFile("Cline", apps / "Code" / "User" / "globalStorage" / cline),
        HostFile("Windsurf", home / ".codeium" / "windsurf" / "mcp_config.json"),
        HostFile("Codex", Path(os.environ.get("CODEX_HOME") or home / ".codex") / "config.toml"),
        HostFile("Gemini CLI", home / ".gemini" / "settings.json"),
        HostFile("Zed", unix / ("Zed" if sys.platform == "win32" else "zed") / "settings.json"),
        HostFile("opencode", (unix if sys.platform != "win32" else home / ".config") / "opencode" / "opencode.json"),
        HostFile("Goose", unix / goose / "config.yaml"),
        HostFile("Claude Code", folder / ".mcp.json"),
        HostFile("Cursor", folder / ".cursor" / "mcp.json"),
        HostFile("VS Code", folder / ".vscode" / "mcp.json"),
        HostFile("Codex", folder / ".codex" / "config.toml"),
        HostFile("Gemini CLI", folder / ".gemini" / "settings.json"),
        HostFile("Zed", folder / ".zed" / "settings.json"),
        HostFile("opencode", folder / "opencode.json"),
    ]
