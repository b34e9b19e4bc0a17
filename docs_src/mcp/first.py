"""Load servers, look at their tools, call them. Plain synchronous code."""

import sys

from aionest.mcp import ToolsLoader

CONFIG = {
    "notes": {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]},  # comes with the package
    "broken": {"command": "no-such-command"},
}

with ToolsLoader(CONFIG) as loader:
    print(sorted(loader.bundles), "failed:", sorted(loader.errors))
    print(loader.call("notes.add", {"text": "Feed the cat", "tags": ["home"]}).structured)
    read = loader.tools["notes__read"]
    print(read.description, read.required, read(id=4).text)

# Output:
# ['notes'] failed: ['broken']
# {'id': 4, 'text': 'Feed the cat', 'tags': ['home']}
# The text of a note ['id'] Feed the cat
