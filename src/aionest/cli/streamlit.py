"""``aionest app``: Streamlit is started in place of this process, with options that suit a tool for the person at this machine.

Contract: Streamlit is not imported here. Ctrl-C is held back from here until the new program can end cleanly by it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from . import suggest
from .output import Refused

if TYPE_CHECKING:
    from pathlib import Path

# where Streamlit's own defaults do not suit
DEFAULTS = {
    "server.address": "localhost",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "server.fileWatcherType": "none",
}


_OWN = ("--config", "--port", "--host", "--browser", "--no-browser", "--help")


def _check(options: list[str]) -> None:
    """Streamlit's options have a dot in their names, so one without is a misspelt one of ours; Streamlit would not know which."""
    for one in options:
        name = one.partition("=")[0]
        if name.startswith("--") and "." not in name:
            raise Refused(f"no option {name!r}{suggest.hint(name, _OWN)}")


def start(config: Path | None, port: int | None, host: str | None, browser: bool, options: list[str]) -> None:
    """Does not come back.

    :raises Refused: there is no Streamlit, no such file, or an option that neither has.
    """
    _check(options)
    if importlib.util.find_spec("streamlit") is None or importlib.util.find_spec("mcp") is None:
        raise Refused('the app needs Streamlit and the MCP SDK: pip install "aionest[app]"')
    if config is not None:
        if not config.exists():
            raise Refused(f"{config}: no such file")
        os.environ["MCP_FILE"] = str(config.resolve())
    own = {"server.port": port, "server.address": host, "server.headless": None if browser else "true"}
    given = [*options, *(f"--{name}={value}" for name, value in own.items() if value is not None)]
    for name, value in DEFAULTS.items():
        variable = "STREAMLIT_" + re.sub(r"([A-Z])", r"_\1", name.replace(".", "_")).upper()
        if variable not in os.environ and not any(one.split("=")[0] == f"--{name}" for one in given):
            given.append(f"--{name}={value}")
    sys.stdout.flush()
    command = [sys.executable, "-m", "aionest.app", *given]
    if sys.platform == "win32":  # there exec is a new process, and the shell goes on at once
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the app
        sys.exit(subprocess.call(command))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    os.execv(sys.executable, command)
