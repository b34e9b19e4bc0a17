"""Callbacks: what servers report, and what they ask. Plain functions may block; coroutine functions are awaited."""

import sys
from pathlib import Path

from aionest.mcp import ToolsLoader


def elicitation(params):
    print("asked:", params.message)
    return {"sure": False}  # None declines


async def sampling(params):
    return "an answer of your model"


logged = []
loader = ToolsLoader(
    config={"notes": {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}},
    on_state=lambda status: print("state:", status.name, status.state),
    on_log=lambda server, level, data: logged.append((server, level, data)),
    elicitation=elicitation,
    sampling=sampling,
    roots=lambda: [Path("/srv/notes")],
)
with loader:
    loader.call("notes.words", progress=lambda done, total, message: print(f"{done:g}/{total:g} {message}"))
    print(loader.call("notes.clear").text)
    print(loader.call("notes.summarize").text)
print(logged)

# Output:
# state: notes connecting
# state: notes connected
# 1/3 note 1
# 2/3 note 2
# 3/3 note 3
# asked: There are 3 notes.
# nothing was removed
# an answer of your model
# state: notes closed
# [('notes', 'info', '3 notes were counted')]
