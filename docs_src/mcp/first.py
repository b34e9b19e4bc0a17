"""Load servers, look at their tools, call them. Plain synchronous code."""

import sys
from pathlib import Path

from aionest.mcp import ToolsLoader

SERVER = Path(__file__).parents[2] / "examples" / "servers" / "bare.py"
CONFIG = {
    "notes": {"command": sys.executable, "args": [str(SERVER)]},
    "broken": {"command": "no-such-command"},
}

with ToolsLoader(config=CONFIG) as loader:
    print(sorted(loader.bundles), "failed:", sorted(loader.errors))
    print(loader.call("notes.add", {"a": 2, "b": 3}).structured)
    add = loader.tools["notes__add"]
    print(add.description, add.required, add(a=1).text)

# Output:
# ['notes'] failed: ['broken']
# {'sum': 5}
# Add two numbers ['a'] 2
