"""What can go wrong, and how it is told."""

import sys
from pathlib import Path

from aionest.mcp import (
    ArgumentsError,
    CallTimeout,
    ServerLost,
    ServerUnavailable,
    ToolFailed,
    ToolNotFound,
    ToolsLoader,
)

SERVER = Path(__file__).parents[2] / "examples" / "servers" / "bare.py"
CONFIG = {
    "notes": {"command": sys.executable, "args": [str(SERVER)]},
    "broken": {"command": sys.executable, "args": [str(SERVER), "--fault", "crash"]},
}

with ToolsLoader(config=CONFIG) as loader:
    print(loader.errors["broken"])  # with the end of its stderr
    for name, arguments, error in [
        ("notes.ad", {}, ToolNotFound),
        ("notes.add", {"a": "two"}, ArgumentsError),  # nothing was sent
        ("notes.sleep", {"seconds": 60}, CallTimeout),
        ("notes.die", {}, ServerLost),  # it may have had an effect
        ("notes.fail", {"message": "no such note"}, ToolFailed),
        ("broken.add", {"a": 1}, ServerUnavailable),
    ]:
        try:
            loader.call(name, arguments, timeout=0.5 if error is CallTimeout else None, check=True)
        except error as exc:
            print(f"{type(exc).__name__}, code {exc.code!r}")
    result = loader.call("notes.fail", {"message": "no such note"})  # without check: as a result
    print(result.is_error, result.text)

# Output:
# server 'broken': the server process ended with exit code 3. Its stderr ends with:
# cannot start: no such database
# ToolNotFound, code 'tool_not_found'
# ArgumentsError, code 'arguments'
# CallTimeout, code 'timeout'
# ServerLost, code 'lost'
# ToolFailed, code 'tool_error'
# ServerUnavailable, code 'unreachable'
# True no such note
