"""State and health of servers; what is done about one that has died."""

import os
import signal
import sys
import threading
from pathlib import Path

from aionest.mcp import ToolsLoader

SERVER = Path(__file__).parents[2] / "examples" / "servers" / "bare.py"
CONFIG = {
    "notes": {"command": sys.executable, "args": [str(SERVER)], "cache_ttl": 60},
    "off": {"command": sys.executable, "args": [str(SERVER)], "disabled": True},
}

lost = threading.Event()


def on_state(status):
    if status.state == "lost":
        lost.set()


with ToolsLoader(config=CONFIG, on_state=on_state) as loader:
    status = loader.status["notes"]
    print(status.state, status.server, status.version, status.tools > 10)
    first = loader.call("notes.echo", {"text": "hi"})
    print(loader.call("notes.echo", {"text": "hi"}) is first)  # read-only, and cache_ttl says that it may be kept

    os.kill(status.pid, signal.SIGKILL)
    lost.wait(60)  # or the call may still be read by the one that dies
    print(loader.call("notes.count").text)  # started anew, and sent once
    print({name: one.state for name, one in loader.health(timeout=30).items()}, loader.status["notes"].connections)

# Output:
# connected bare 1.0 True
# True
# 1
# {'notes': 'connected', 'off': 'disabled'} 2
