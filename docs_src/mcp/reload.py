"""What a reload does: only what has changed in the file gets a new session."""

import json
import sys
import tempfile
from pathlib import Path

from aionest.mcp import ToolsLoader


def one(*args, **more):
    return {"command": sys.executable, "args": ["-m", "aionest.examples.notes", *args], **more}


with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"a": one(), "b": one(), "c": one()}}))
    with ToolsLoader(config_file=file) as loader:
        pid = loader.status["a"].pid
        servers = {"a": one(include=["read"]), "b": one(str(Path(folder) / "notes.json")), "d": one()}
        file.write_text(json.dumps({"mcpServers": servers}))
        diff = loader.reload()
        print("added", diff.added, "removed", diff.removed, "changed", diff.changed)
        print("kept", diff.kept, "with other settings", diff.updated)
        print(loader.status["a"].pid == pid, [name for name in loader.tools if name.startswith("a")])
        print(bool(loader.reload()))

# Output:
# added ('d',) removed ('c',) changed ('b',)
# kept ('a',) with other settings ('a',)
# True ['a__read']
# False
