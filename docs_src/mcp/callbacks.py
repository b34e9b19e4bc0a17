"""Callbacks: what servers report, and what they ask. Plain functions may block; coroutine functions are awaited."""

import sys
from pathlib import Path

from aionest.mcp import ToolsLoader

SERVER = Path(__file__).parents[2] / "examples" / "servers" / "bare.py"
QUESTION = {"message": "Your name?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}


def elicitation(params):
    print("asked:", params.message)
    return {"name": "Ada"}  # None declines


async def sampling(params):
    return "an answer of your model"


logged = []
loader = ToolsLoader(
    config={"notes": {"command": sys.executable, "args": [str(SERVER)]}},
    on_state=lambda status: print("state:", status.name, status.state),
    on_log=lambda server, level, data: logged.append((server, level, data)),
    elicitation=elicitation,
    sampling=sampling,
    roots=lambda: [Path("/srv/notes")],
)
with loader:
    loader.call(
        "notes.progress", {"steps": 2}, progress=lambda done, total, message: print(f"{done:g}/{total:g} {message}")
    )
    loader.call("notes.log", {"message": "hello", "level": "warning"})
    print(loader.call("notes.ask", {"method": "elicitation/create", "params": QUESTION}).text)
print(logged)

# Output:
# state: notes connecting
# state: notes connected
# 1/2 step 1
# 2/2 step 2
# asked: Your name?
# {"action": "accept", "content": {"name": "Ada"}}
# state: notes closed
# [('notes', 'warning', 'hello')]
