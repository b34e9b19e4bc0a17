"""Every command with a server whose every text is an attack: no terminal is told anything but letters."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import forked
import hostile
import pytest
from support import GUARD

pytest.importorskip("mcp")
pytest.importorskip("typer")

pytestmark = pytest.mark.slow

COMMANDS = {
    "list": ["list"],
    "check": ["check"],
    "tools": ["tools"],
    "search": ["tools", "say"],
    "resources": ["resources"],
    "prompts": ["prompts"],
    "prompt": ["prompts", f"evil.p {hostile.BAD}"],
    "read": ["read", "evil", "file:///x"],
    "ping": ["ping"],
    "call": ["call", "evil.say", "choice=ok"],
    "call with bad arguments": ["call", "evil.say", "nope=1"],
    "call of nothing": ["call", "evil.nothing"],
    "failing call": ["call", "evil.fails"],
    "refused call": ["call", "evil.refuses"],
    "structured": ["call", "evil.structured"],
    "asking call": ["call", "evil.asks"],
    "verbose": ["call", "evil.refuses"],
    "login": ["login", "evil"],
    "config": ["config", "show"],
}
SHELL = """tools
servers
resources
prompts
read evil file:///x
evil.say choice=ok
evil.fails
evil.refuses
evil.nothing
help evil.say
reload
history
quit
"""


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "mcp.json"
    server = {"command": sys.executable, "args": [hostile.__file__]}
    gone = {"command": sys.executable, "args": ["-c", f"import sys; sys.stderr.write({hostile.ALL!r}); sys.exit(3)"]}
    file.write_text(json.dumps({"mcpServers": {"evil": server, "gone": gone}}))
    return file


def on_a_terminal(arguments, tmp_path, typed=b""):
    """All that a program writes on one."""
    import pty

    master, slave = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "XDG_CACHE_HOME": str(tmp_path), "COLUMNS": "150", "LINES": "50"}
    command = [sys.executable, "-m", "aionest", *arguments]
    process = forked.COMMANDS.popen(command, stdin=slave, stdout=slave, stderr=slave, env=environ)
    os.close(slave)
    written = bytearray()

    def read():
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:  # the other end is closed
                return
            if not data:
                return
            written.extend(data)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    if typed:
        os.write(master, typed)
    try:
        process.wait(GUARD)
    finally:
        process.kill()
        process.wait()
    reader.join(GUARD)
    os.close(master)
    return written.decode("utf-8", "replace")


def judge(text):
    for one in hostile.ESCAPES:
        if one != "\x08":  # a terminal echoes what is typed, and rubs it out, with these
            assert one not in text, (
                f"{one!r} came through: {text[max(0, text.index(one) - 80) : text.index(one) + 40]!r}"
            )
    assert "\x1b]" not in text, "a title, or a link"
    assert len(text) < 4_000_000


@pytest.mark.parametrize("which", COMMANDS)
def test_a_command(config, tmp_path, which):
    arguments = COMMANDS[which]
    more = ["-v"] if which == "verbose" else []
    named = ["--config", str(config)]
    typed = b"y\n\n\n" if which == "asking call" else b""
    text = on_a_terminal([*more, "mcp", *arguments, *named], tmp_path, typed)
    judge(text)
    assert text.strip()
    if which in ("call", "read", "list"):
        assert "Verified" in text, "what it says is shown"


def test_the_shell(config, tmp_path):
    text = on_a_terminal(["mcp", "shell", "--config", str(config)], tmp_path, SHELL.encode())
    judge(text.replace("\x1b[?2004h", "").replace("\x1b[?2004l", ""))
    assert "Verified" in text


@pytest.mark.parametrize(
    "arguments", [["list"], ["tools"], ["call", "evil.say", "choice=ok"], ["call", "evil.refuses"]]
)
def test_json_on_a_terminal(config, tmp_path, arguments):
    text = on_a_terminal(["mcp", *arguments, "--json", "--config", str(config)], tmp_path)
    judge(text)
    assert isinstance(json.loads(text.strip().splitlines()[-1]), dict)


def test_what_is_redirected_is_what_the_server_gave(config):
    command = [sys.executable, "-m", "aionest", "mcp", "read", "evil", "file:///x", "--config", str(config)]
    done = forked.COMMANDS.run(command, timeout=GUARD)
    assert done.stdout == f"{hostile.ALL}\n"


def test_completion_offers_no_names_that_a_terminal_obeys(config, tmp_path):
    on_a_terminal(["mcp", "tools", "--config", str(config)], tmp_path)
    kept = next(Path(tmp_path).rglob("completion.json")).read_text()
    names = json.loads(kept)[os.path.realpath(config)]["evil"]
    assert "say" in names and all(name.isprintable() and len(name) < 300 for name in names)
