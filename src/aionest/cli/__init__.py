"""The command line: ``aionest``.

Contract: typer and rich are imported here and nowhere below. Exit codes: 0 ok, 1 usage, 3 auth, 4 unreachable, 5 tool error
or anything that nobody has thought of, 130 interrupted. Under ``--json`` standard output holds one JSON document and nothing else;
errors are one line of JSON on standard error: ``{"error": {"code": ..., "message": ..., "server": ...}}``.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit."""
    try:
        from .app import run
    except ImportError as exc:
        sys.exit(f'the command line needs typer, rich and the MCP SDK: pip install "aionest[cli]" ({exc})')
    run()
