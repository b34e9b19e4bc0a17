"""Open the app with the servers of a configuration: at a terminal until Ctrl-C, else until it has shown that all is there.

    python tools/show_app.py CONFIG

Exit status 1: a server is not connected, the page shows an error, the log has a traceback, or a process is left behind.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import webbrowser
from pathlib import Path

from streamlit_session import Server, Session

BAD_WORDS = ("Traceback", "cancel scope", "CancelledError", "was never awaited", "was destroyed", "RuntimeError")


def children(pid):
    """Process ids of a process's children and theirs."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if parent == pid:
                found += [int(entry.name), *children(int(entry.name))]
    return found


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def shown(texts, errors, names):
    """Print what the page shows of each server; whether all are connected and it shows no error."""
    plain = [re.sub(r":\w+\[(.*?)\]", r"\1", text).replace("**", "").replace("\\", "") for text in texts]
    for name in names:
        line = next((t for t in plain if t.startswith(f"● {name} ")), f"{name}: not shown")
        print("  " + ", ".join(part.strip() for part in line.splitlines()), flush=True)
    for error in errors:
        print(f"  the page shows an error: {error}")
    return not errors and all(any(t.startswith(f"● {name} connected") for t in plain) for name in names)


def until_ctrl_c(server):
    print("Open it in a browser; Ctrl-C ends it.", flush=True)
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(server.address)
    try:
        server.process.wait()
    except KeyboardInterrupt:
        pass


def left_of(pids):
    """Those that still run; they are given half a minute to end."""
    end = time.monotonic() + 30
    while any(map(runs, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return [pid for pid in pids if runs(pid)]


def main():
    config = Path(sys.argv[1]).resolve()
    names = list(json.loads(config.read_text())["mcpServers"])
    with Server(["aionest", "app", "--config", str(config)], config.parent) as server:
        with Session(server.port) as session:
            texts = session.run()
        seconds = time.monotonic() - server.begin
        good = shown(texts, session.errors, names)
        print(f"The app came up in {seconds:.1f} s at {server.address}", flush=True)
        started = children(server.process.pid)
        if sys.stdin.isatty() and sys.stdout.isatty():
            until_ctrl_c(server)
        log = server.stop()
    left = left_of(started)
    clean = not any(word in log for word in BAD_WORDS)
    print(f"It was stopped: servers left: {len(left)}; its log is {'clean' if clean else 'NOT clean:'}")
    if not clean:
        print(log)
    return 0 if good and clean and not left else 1


if __name__ == "__main__":
    sys.exit(main())
