"""The command line, as a person or a script runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

for name in ("mcp", "typer", "rich"):
    pytest.importorskip(name)

SERVER = Path(__file__).parent.parent.parent / "examples" / "servers" / "bare.py"


@pytest.fixture
def home(tmp_path):
    file = tmp_path / "mcp.json"
    servers = {
        "a": {"command": sys.executable, "args": [str(SERVER)]},
        "bad": {"command": "no-such-command"},
        "hidden": {
            "url": "http://127.0.0.1:9/mcp?token=secret1",
            "headers": {"Authorization": "secret2"},
            "disabled": True,
        },
    }
    file.write_text(json.dumps({"mcpServers": servers}))
    return tmp_path


def environment(home):
    return {
        **{k: v for k, v in os.environ.items() if k != "MCP_FILE"},
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "COLUMNS": "200",
    }


def aionest(home, *args, stdin="", cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "aionest", *args],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(home),
        cwd=cwd or home.parent,
        check=False,
    )


def mcp(home, *args, **more):
    return aionest(home, "mcp", *args, "--config", str(home / "mcp.json"), **more)


def test_list_and_check(home):
    r = mcp(home, "list")
    assert r.returncode == 0 and "connected" in r.stdout and "no-such-command" in r.stdout
    r = mcp(home, "list", "--json")
    states = {s["name"]: s["state"] for s in json.loads(r.stdout)["servers"]}
    assert states == {"a": "connected", "bad": "failed", "hidden": "disabled"}
    assert mcp(home, "check").returncode == 4
    assert mcp(home, "check", "--server", "a").returncode == 0


def test_call(home):
    r = mcp(home, "call", "a.add", "a=2", "b=0.5")
    assert (r.returncode, r.stdout, r.stderr) == (0, "2.5\n", "")
    r = mcp(home, "call", "a.add", "--args", "-", "--json", stdin='{"a": 1}')
    assert json.loads(r.stdout)["structuredContent"] == {"sum": 2}
    (home / "args.json").write_text('{"text": "from a file"}')
    assert mcp(home, "call", "a.echo", "--args", f"@{home / 'args.json'}").stdout == "from a file\n"


@pytest.mark.parametrize(
    ("args", "code", "kind"),
    [
        (["call", "a.add", "a=x"], 1, "arguments"),
        (["call", "a.add", "x"], 1, "usage"),
        (["call", "a.nope"], 1, "tool_not_found"),
        (["call", "bad.x"], 4, "unreachable"),
        (["call", "a.sleep", "seconds=30", "--timeout", "0.2"], 4, "timeout"),
        (["call", "a.die"], 4, "lost"),
        (["nope"], 1, "usage"),
        (["ping", "other"], 1, "usage"),
    ],
)
def test_errors_are_one_line_of_json_and_an_exit_code(home, args, code, kind):
    r = mcp(home, *args, "--json")
    assert r.returncode == code, r
    assert r.stdout == ""
    assert json.loads(r.stderr.splitlines()[-1])["error"]["code"] == kind


def test_a_tool_that_fails(home):
    r = mcp(home, "call", "a.fail", "message=sorry")
    assert r.returncode == 5 and "sorry" in r.stderr


def test_tools_resources_prompts_and_ping(home):
    assert json.loads(mcp(home, "tools", "add numbers", "--json").stdout)["tools"][0]["tool"] == "add"
    assert "memo://one" in mcp(home, "resources").stdout
    assert mcp(home, "read", "a", "memo://one").stdout == "the first memo\n"
    assert "greet" in mcp(home, "prompts").stdout
    assert json.loads(mcp(home, "ping", "a", "--json").stdout)["seconds"] > 0


def test_shell(home):
    r = mcp(home, "shell", stdin="a.count\na.count\nwhat\ntools\nquit\n")
    assert r.returncode == 0 and "2" in r.stdout.split() and "no tool 'what'" in r.stderr


def test_the_configuration(home):
    r = mcp(home, "config", "show")
    assert "secret" not in r.stdout + r.stderr and "hidden" in r.stdout
    assert mcp(home, "config", "add", "b", sys.executable, "x.py").returncode == 0
    assert json.loads((home / "mcp.json").read_text())["mcpServers"]["b"] == {
        "command": sys.executable,
        "args": ["x.py"],
    }
    assert mcp(home, "config", "remove", "b").returncode == 0
    assert mcp(home, "config", "remove", "b").returncode == 1
    other = home / "other.yaml"
    other.write_text("taken: {command: over}\n")
    assert mcp(home, "config", "import", str(other)).returncode == 0
    assert "taken" in (home / "mcp.json").read_text()


def test_a_configuration_that_was_only_found_runs_nothing(home, tmp_path):
    marker = tmp_path / "started"
    code = f"open({str(marker)!r}, 'w')"
    (home / "mcp.json").write_text(json.dumps({"mcpServers": {"a": {"command": sys.executable, "args": ["-c", code]}}}))
    r = aionest(home, "mcp", "list", "--json", cwd=home)
    assert r.returncode == 1 and "never accepted" in r.stderr and not marker.exists()
    r = aionest(home, "mcp", "list", "--json", "--yes", cwd=home)
    assert r.returncode == 0 and marker.exists()
    marker.unlink()
    assert aionest(home, "mcp", "list", "--json", cwd=home).returncode == 0 and marker.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing(home, number):
    pids = home / "pids"
    servers = {"a": {"command": sys.executable, "args": [str(SERVER), "--pid-file", str(pids)]}}
    (home / "mcp.json").write_text(json.dumps(servers))
    command = [
        sys.executable,
        "-m",
        "aionest",
        "mcp",
        "call",
        "a.sleep",
        "seconds=60",
        "--config",
        str(home / "mcp.json"),
    ]
    with subprocess.Popen(command, env=environment(home), stdout=-1, stderr=-1, text=True) as process:
        end = time.monotonic() + 30
        while not (pids.exists() and pids.read_text().strip()) and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.5)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else 143), errors
    assert "Traceback" not in errors
    end = time.monotonic() + 5
    pid = int(pids.read_text().split()[0])
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{pid}")


def test_doctor(home):
    report = json.loads(aionest(home, "doctor", "--json").stdout)
    assert report["self-test"] == "ok"


def test_demo(home):
    result = aionest(home, "demo", "--json")
    found = json.loads(result.stdout)
    assert result.returncode == 0 and set(found) == {"stock", "aionest", "threads"}
    for mode in ("aionest", "threads"):
        assert [found[mode][s]["detail"] for s in ("load", "call", "cleanup")] == ["upper", "STILL OPEN", "left"]
    # what it is all about: without it the call in the next run fails
    assert found["stock"]["load"]["ok"] and not found["stock"]["call"]["ok"]
