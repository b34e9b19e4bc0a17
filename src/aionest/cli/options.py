"""Options that several commands have, and what is given by them as NAME=VALUE.

Contract: the MCP SDK is not imported here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import typer

from . import _complete
from .output import Refused


def _at_home(value: Path | None) -> Path | None:
    """With ~ replaced: shells leave it in ``--config=~/mcp.json``, and in $MCP_FILE."""
    return Path(os.path.expanduser(value)) if value is not None else None


ConfigOption = typer.Option(
    None,
    "--config",
    "-c",
    help="Configuration file (JSON, YAML or TOML).",
    envvar="MCP_FILE",
    callback=_at_home,
    metavar="FILE",
)
JsonOption = typer.Option(False, "--json", help="One JSON document on standard output; errors as JSON.")
TimeoutOption = typer.Option(
    None, "--timeout", "-t", help="Seconds to start a server, and for each answer.", min=0.001, metavar="SECONDS"
)
ServerOption = typer.Option(
    None,
    "--server",
    "-s",
    help="Only this server. (May be repeated.)",
    autocompletion=_complete.servers,
    metavar="NAME",
)
YesOption = typer.Option(False, "--yes", "-y", help="Accept what a configuration that was found here would start.")
InputOption = typer.Option(
    None,
    "--input",
    help="A value for ${input:ID} of the configuration. (May be repeated.)",
    metavar="ID=VALUE",
)
ServerArgument = typer.Argument(..., autocompletion=_complete.servers, metavar="SERVER", help="The server's name.")


def pairs(items: list[str] | None, what: str, *, headers: bool = False) -> dict[str, str]:
    """NAME=VALUE items; of headers also NAME: VALUE. :raises Refused: one is not. It may be a secret, so it is not quoted."""
    found: dict[str, str] = {}
    for number, item in enumerate(items or [], 1):
        mark = re.search("[=:]" if headers else "=", item)
        if mark is None or not mark.start():
            named = re.match(r"[A-Za-z_][\w.-]*(?=:)", item)
            raise Refused(f"{repr(named[0]) if named else f'number {number}'} is not {what}")
        value = item[mark.end() :]
        found[item[: mark.start()]] = value.strip() if mark[0] == ":" else value
    return found
