"""The command line: ``aionest``.

Contract: typer and rich are imported here and nowhere below; what needs no servers works without them, see ``bare``, and what a person
types first does not wait for them.
Exit codes: 0 ok, 1 usage, 3 auth, 4 unreachable, 5 tool error or anything that nobody has thought of, 130 interrupted. Under
``--json`` standard output holds one JSON document and nothing else; errors are one line of JSON on standard error:
``{"error": {"code": ..., "message": ..., "server": ...}}``.
"""

from __future__ import annotations

import atexit
import gc
import sys
from importlib.util import find_spec

_NEEDED = ("typer", "rich", "click", "shellingham")


def main() -> None:
    """Run the command line and exit."""
    # At its end an interpreter looks for garbage among all that was ever imported, which takes a quarter of the time of a
    # call. What it would find goes with the process. In development mode it is found, and told
    if not sys.flags.dev_mode:
        atexit.register(gc.freeze)
    try:
        from . import bare

        if bare.can(sys.argv[1:]) and all(find_spec(name) for name in ("typer", "rich")):
            bare.run(extras=True)
        try:
            from .root import run
        except ModuleNotFoundError as exc:
            if (exc.name or "").partition(".")[0] not in _NEEDED:
                raise
            bare.run(extras=False)
    except KeyboardInterrupt:
        sys.exit(130)
    run()
