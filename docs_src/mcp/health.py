"""State and health of servers; what is done about one that has died."""

import os
import signal
import sys
import threading

from aionest.mcp import ToolsLoader

NOTES = {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}
CONFIG = {"notes": {**NOTES, "cache_ttl": 60}, "off": {**NOTES, "disabled": True}}

lost = threading.Event()


def on_state(status):
    if status.state == "lost":
        lost.set()


with ToolsLoader(CONFIG, on_state=on_state) as loader:
    status = loader.status["notes"]
    print(status.state, status.server, status.version, status.tools > 10)
    first = loader.call("notes.read", {"id": 1})
    print(loader.call("notes.read", {"id": 1}) is first)  # read-only, and cache_ttl says that it may be kept

    os.kill(status.pid, signal.SIGKILL)
    lost.wait(60)  # or the call may still be read by the one that dies
    print(loader.call("notes.add", {"text": "Feed the cat"}).text)  # started anew, and sent once
    print({name: one.state for name, one in loader.health(timeout=30).items()}, loader.status["notes"].connections)

# Output:
# connected notes 1.0 True
# True
# note 4 is kept
# {'notes': 'connected', 'off': 'disabled'} 2
