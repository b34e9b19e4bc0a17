"""What a reload does: only what has changed in the file gets a new session."""

import json
import sys
import tempfile
from pathlib import Path

from aionest.mcp import ToolsLoader

SERVER = Path(__file__).parents[2] / "examples" / "servers" / "bare.py"


def one(*args, **more):
    return {"command": sys.executable, "args": [str(SERVER), *args], **more}


with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"a": one(), "b": one(), "c": one()}}))
    with ToolsLoader(config_file=file) as loader:
        pid = loader.call("a.pid").text
        file.write_text(
            json.dumps({"mcpServers": {"a": one(include=["pid"]), "b": one("--name", "other"), "d": one()}})
        )
        diff = loader.reload()
        print("added", diff.added, "removed", diff.removed, "changed", diff.changed)
        print("kept", diff.kept, "with other settings", diff.updated)
        print(loader.call("a.pid").text == pid, [name for name in loader.tools if name.startswith("a")])
        print(bool(loader.reload()))

# Output:
# added ('d',) removed ('c',) changed ('b',)
# kept ('a',) with other settings ('a',)
# True ['a__pid']
# False
