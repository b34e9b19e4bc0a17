"""The command line in a few commands, each a process of its own, for every system, Windows too: servers over stdio and HTTP, what
is written and found in files, encodings, a reader that goes away."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys

import pytest
import windows
from servers import SERVERS

for name in ("mcp", "typer", "rich"):
    pytest.importorskip(name)

pytestmark = pytest.mark.slow

LIMIT = 400 if windows.on_wine else 110  # seconds: a guard
TEXT = "\u2603 caf\xe9"  # a snowman, which Windows' usual encoding has not


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder of one's own, with a space and more in its name, and two servers."""
    folder = tmp_path_factory.mktemp("home") / "J\xfcrgen's files"
    folder.mkdir()
    command = [sys.executable, str(SERVERS / "bare_http.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        servers = {
            "local": {"command": sys.executable, "args": [str(SERVERS / "bare.py")]},
            "web": {"url": server.stdout.readline().strip()},
        }
        (folder / "mcp.json").write_text(json.dumps({"mcpServers": servers}), "utf-8")
        yield folder
        server.kill()


def environment(home):
    known = {
        key: value for key, value in os.environ.items() if key not in ("MCP_FILE", "PYTHONUTF8", "PYTHONIOENCODING")
    }
    own = dict.fromkeys(
        ("HOME", "USERPROFILE", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "APPDATA"), str(home)
    )
    return {**known, **own, "WIN_PD_OVERRIDE_LOCAL_APPDATA": str(home), "COLUMNS": "200", "PYTHONIOENCODING": "cp1252"}


def aionest(home, *words):
    command = [sys.executable, "-m", "aionest", *words]
    return subprocess.run(
        command, cwd=home, env=environment(home), capture_output=True, encoding="cp1252", timeout=LIMIT, check=False, stdin=subprocess.DEVNULL
    )  # fmt: skip


def test_version_and_doctor(home):
    r = aionest(home, "--version")
    assert (r.returncode, r.stdout, r.stderr) == (0, f"{importlib.metadata.version('aionest')}\n", ""), r
    r = aionest(home, "doctor", "--json")
    assert r.returncode == 0 and json.loads(r.stdout)["self-test"] == "ok", r


def test_tools_of_servers_over_stdio_and_http(home):
    r = aionest(home, "mcp", "tools", "--json", "--config", "mcp.json")
    found = {(one["server"], one["tool"]) for one in json.loads(r.stdout)["tools"]}
    assert r.returncode == 0 and {("local", "echo"), ("web", "echo"), ("web", "add")} <= found, r


@pytest.mark.parametrize("server", ["local", "web"])
def test_a_call_whatever_the_encoding(home, server):
    r = aionest(home, "mcp", "call", f"{server}.echo", f"text={TEXT}", "--config", "mcp.json")
    assert (r.returncode, r.stdout, r.stderr) == (0, "\\u2603 caf\xe9\n", ""), r
    r = aionest(home, "mcp", "call", f"{server}.echo", f"text={TEXT}", "--json", "--config", "mcp.json")
    assert r.returncode == 0 and json.loads(r.stdout)["content"][0]["text"] == TEXT, r


def test_servers_of_another_host_are_found_and_imported(home):
    apps = {"win32": home, "darwin": home / "Library" / "Application Support"}.get(sys.platform, home)
    (apps / "Claude").mkdir(parents=True)
    theirs = {"mcpServers": {"theirs": {"command": sys.executable, "args": ["-c", TEXT]}}}
    (apps / "Claude" / "claude_desktop_config.json").write_text(json.dumps(theirs, ensure_ascii=False), "utf-8")
    (home / "own.yaml").write_text(f"# {TEXT}\nmine: {{command: x}}\n", "utf-8")
    r = aionest(home, "mcp", "config", "import", "--json", "--config", "own.yaml")
    assert r.returncode == 0 and "theirs" in json.loads(r.stdout)["added"], r
    r = aionest(home, "mcp", "config", "show", "theirs", "--json", "--config", "own.yaml")
    assert json.loads(r.stdout)["servers"]["theirs"]["args"] == ["-c", TEXT], r
    assert (home / "own.yaml").read_text("utf-8").startswith(f"# {TEXT}\n")


def test_a_reader_that_goes_away_is_no_error(home):
    command = [sys.executable, "-m", "aionest", "mcp", "--help"]
    with subprocess.Popen(
        command, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert said == "" and process.returncode in (1, 141)  # rich's own, or ours
