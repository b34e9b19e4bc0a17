"""The project's own MCP servers, for configurations of tests.

On the path of all tests, as ``support``.
"""

from __future__ import annotations

import sys
from pathlib import Path

SERVERS = Path(__file__).parent.parent.parent / "examples" / "servers"
SERVER = SERVERS / "bare.py"


def bare(*args, **more):
    """The small server over stdio, with these arguments."""
    return {"command": sys.executable, "args": [str(SERVER), *args], **more}
