"""``aionest mcp``: the group that its commands are added to."""

from __future__ import annotations

from .help import App

HELP = "MCP servers: their tools, resources and prompts."
ORDER = ("list", "check", "tools", "call", "resources", "read", "prompts", "ping", "login", "logout", "shell", "config")
app = App(help=HELP, add_completion=False)
