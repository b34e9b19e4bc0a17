import sys

from aionest.mcp import ToolsError, ToolsLoader

NOTES = {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}
BROKEN = {"command": sys.executable, "args": ["-c", "exit('no such database')"]}
MISSING = {"command": "no-such-program"}

try:
    ToolsLoader("no-such-file.json").load()
except ToolsError as exc:
    print(f"{type(exc).__name__}: {exc}")

with ToolsLoader({"notes": NOTES, "broken": BROKEN, "missing": MISSING}) as loader:
    for name, arguments, timeout in [
        ("broken.read", {}, None),
        ("missing.read", {}, None),
        ("notes.reed", {}, None),
        ("notes.read", {"id": "two"}, None),
        ("notes.remind", {"text": "tea", "seconds": 600}, 0.5),
        ("notes.crash", {}, None),
        ("notes.read", {"id": 9}, None),
    ]:
        try:
            loader.call(name, arguments, timeout=timeout, check=True)
        except ToolsError as exc:
            print(f"{type(exc).__name__}: {exc}")
