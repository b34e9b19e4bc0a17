"""What can go wrong, and how it is told."""

import sys

from aionest.mcp import (
    ArgumentsError,
    CallTimeout,
    ServerLost,
    ServerUnavailable,
    ToolFailed,
    ToolNotFound,
    ToolsLoader,
)

CONFIG = {
    "notes": {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]},
    "broken": {"command": sys.executable, "args": ["-c", "exit('cannot start: no such database')"]},
}

with ToolsLoader(CONFIG) as loader:
    print(loader.errors["broken"])  # with the end of its stderr
    for name, arguments, error in [
        ("notes.reed", {}, ToolNotFound),
        ("notes.read", {"id": "two"}, ArgumentsError),  # nothing was sent
        ("notes.remind", {"text": "tea", "seconds": 600}, CallTimeout),
        ("notes.crash", {}, ServerLost),  # it may have had an effect
        ("notes.read", {"id": 9}, ToolFailed),
        ("broken.read", {"id": 1}, ServerUnavailable),
    ]:
        try:
            loader.call(name, arguments, timeout=0.5 if error is CallTimeout else None, check=True)
        except error as exc:
            print(f"{type(exc).__name__}, code {exc.code!r}")
    result = loader.call("notes.read", {"id": 9})  # without check: as a result
    print(result.is_error, result.text)

# Output:
# server 'broken': the server process ended with exit code 1. Its stderr ends with:
# cannot start: no such database
# ToolNotFound, code 'tool_not_found'
# ArgumentsError, code 'arguments'
# CallTimeout, code 'timeout'
# ServerLost, code 'lost'
# ToolFailed, code 'tool_error'
# ServerUnavailable, code 'unreachable'
# True there is no note 9
