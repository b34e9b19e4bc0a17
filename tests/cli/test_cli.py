"""The command line, as a person or a script runs it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time

import forked
import pytest
from servers import SERVER
from support import eventually

for name in ("mcp", "typer", "rich"):
    pytest.importorskip(name)


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
        "USERPROFILE": str(home),
        "WIN_PD_OVERRIDE_LOCAL_APPDATA": str(home / "state"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "COLUMNS": "200",
    }


def aionest(home, *args, stdin="", cwd=None, really=False):
    """A command; really: in an interpreter of its own."""
    command = [sys.executable, "-m", "aionest", *args]
    options = {"input": stdin, "timeout": 60, "env": environment(home), "cwd": cwd or home.parent}
    if really:
        return subprocess.run(command, capture_output=True, text=True, check=False, **options)
    return forked.COMMANDS.run(command, **options)


def mcp(home, *args, **more):
    return aionest(home, "mcp", *args, "--config", str(home / "mcp.json"), **more)


def test_list_and_check(home):
    r = mcp(home, "list", really=True)
    assert r.returncode == 0 and "connected" in r.stdout and "no-such-command" in r.stdout
    r = mcp(home, "list", "--json")
    states = {s["name"]: s["state"] for s in json.loads(r.stdout)["servers"]}
    assert states == {"a": "connected", "bad": "failed", "hidden": "disabled"}
    assert mcp(home, "check").returncode == 4
    assert mcp(home, "check", "--server", "a").returncode == 0


def test_call(home):
    r = mcp(home, "call", "a.add", "a=2", "b=0.5", really=True)
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
        (["ping", "hidden"], 1, "usage"),
    ],
)
def test_errors_are_one_line_of_json_and_an_exit_code(home, args, code, kind):
    r = mcp(home, *args, "--json")
    assert r.returncode == code, r
    assert r.stdout == ""
    assert json.loads(r.stderr.splitlines()[-1])["error"]["code"] == kind


@pytest.mark.parametrize("command", ["list", "tools", "resources", "prompts", "ping", "shell"])
def test_what_cannot_be_used_at_all_is_an_error(home, command):
    def error(*args):
        r = mcp(home, command, "--json", *args)
        return r.returncode, json.loads(r.stderr)["error"]["code"], r.stdout

    if command not in ("ping", "shell"):
        code, kind, shown = error("-s", "bad")  # it was named
        assert (code, kind) == (4, "unreachable")
        if command == "list":  # which is about states
            assert json.loads(shown)["servers"][0]["state"] == "failed"
        else:
            assert shown == ""
            code, kind, shown = error("-s", "a", "-s", "bad")
            assert (code, kind) == (4, "unreachable") and json.loads(shown)["errors"].keys() == {"bad"}
    servers = {
        "none": {"command": "no-such-command"},
        "wrong": {"command": 5},
        "off": {"command": "x", "disabled": True},
    }
    (home / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    if command != "shell":  # where one may try again
        assert error()[:2] == (4, "unreachable"), "none of them came up"
        r = mcp(home, command)
        assert r.returncode == 4 and "no-such-command" in r.stdout + r.stderr and "wrong" in r.stderr
        del servers["none"]
        (home / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
        assert error()[:2] == (1, "config")
    (home / "mcp.json").write_text('{"mcpServers": {"a": {"command": ')
    assert error() == (1, "config", "")


def test_ping_says_why_it_fails(home):
    r = mcp(home, "ping", "--json")
    assert r.returncode == 4 and json.loads(r.stderr)["error"]["server"] == "bad"
    assert json.loads(r.stdout)["seconds_by_server"].keys() == {"a"}


def test_a_server_that_is_required_does_not_hide_the_others(home):
    configured = json.loads((home / "mcp.json").read_text())
    configured["mcpServers"]["bad"]["required"] = True
    configured["mcpServers"]["bad2"] = {"command": "no-such-command-either"}
    (home / "mcp.json").write_text(json.dumps(configured))
    for command in ("check", "list"):
        r = mcp(home, command, "--json")
        states = {s["name"]: s["state"] for s in json.loads(r.stdout)["servers"]}
        assert states == {"a": "connected", "bad": "failed", "bad2": "failed", "hidden": "disabled"}
        assert r.returncode == 4 and (command == "check" or json.loads(r.stderr)["error"]["server"] == "bad")
    r = mcp(home, "tools", "--json")
    found = json.loads(r.stdout)
    assert r.returncode == 4 and "echo" in [one["tool"] for one in found["tools"]]
    assert found["errors"].keys() == {"bad", "bad2"} and json.loads(r.stderr)["error"]["code"] == "unreachable"
    assert mcp(home, "call", "a.echo", "text=hi").stdout == "hi\n"
    r = mcp(home, "call", "bad.x", "--json")
    assert r.returncode == 4 and json.loads(r.stderr)["error"]["server"] == "bad"


@pytest.mark.parametrize("args", [[], ["mcp"], ["mcp", "config"]])
def test_no_command_is_answered_with_help(home, args):
    r = aionest(home, *args)
    assert (r.returncode, r.stderr) == (0, "") and "Usage" in r.stdout


def test_a_tool_that_fails(home):
    r = mcp(home, "call", "a.fail", "message=sorry")
    assert r.returncode == 5 and "sorry" in r.stderr


@pytest.mark.slow
def test_tools_resources_prompts_and_ping(home):
    assert json.loads(mcp(home, "tools", "add numbers", "--json").stdout)["tools"][0]["tool"] == "add"
    assert "memo://one" in mcp(home, "resources").stdout
    assert mcp(home, "read", "a", "memo://one", really=True).stdout == "the first memo\n"
    assert "greet" in mcp(home, "prompts").stdout
    assert json.loads(mcp(home, "ping", "a", "--json").stdout)["seconds"] > 0


def test_tools_are_found_by_name_and_title(odd):
    for words, tool in {"snow": "snow", "rain forecast": "forecast_of_rain", "weather": "forecast_of_rain"}.items():
        found = json.loads(mcp(odd, "tools", words, "-s", "odd", "--json").stdout)["tools"]
        assert [one["tool"] for one in found] == [tool]


def test_a_name_that_several_servers_may_be_meant_by(home):
    server = {"command": sys.executable, "args": [str(SERVER)]}
    (home / "mcp.json").write_text(json.dumps({"my": server, "my.server": server, "my.bad": {"command": "no-such"}}))
    assert mcp(home, "call", "my.server.echo", "text=hi").stdout == "hi\n"
    assert mcp(home, "call", "my.echo", "text=hi").stdout == "hi\n"
    assert "Greet Ada" in mcp(home, "prompts", "my.server.greet", "who=Ada").stdout
    r = mcp(home, "call", "my.bad.echo", "--json")
    assert r.returncode == 4 and json.loads(r.stderr)["error"]["server"] == "my.bad"


def test_shell(home):
    r = mcp(home, "shell", stdin="a.count\na.count\nwhat\ntools\nquit\n", really=True)
    assert r.returncode == 0 and "2" in r.stdout.split() and "no tool 'what'" in r.stderr


@pytest.mark.slow
def test_the_configuration(home):
    r = mcp(home, "config", "show", really=True)
    assert "secret" not in r.stdout + r.stderr and "hidden" in r.stdout
    assert mcp(home, "config", "add", "b", sys.executable, "x.py").returncode == 0
    assert json.loads((home / "mcp.json").read_text())["mcpServers"]["b"] == {
        "command": sys.executable,
        "args": ["x.py"],
    }
    assert mcp(home, "config", "remove", "b").returncode == 0
    assert mcp(home, "config", "remove", "b").returncode == 1
    headers = ["-H", "Authorization: Bearer a=b:c", "-H", "X-Own=1:2"]
    assert mcp(home, "config", "add", "w", "http://127.0.0.1:9/mcp", *headers).returncode == 0
    written = json.loads((home / "mcp.json").read_text())["mcpServers"]["w"]["headers"]
    assert written == {"Authorization": "Bearer a=b:c", "X-Own": "1:2"}
    other = home / "other.yaml"
    other.write_text("taken: {command: over}\n")
    assert mcp(home, "config", "import", str(other)).returncode == 0
    assert "taken" in (home / "mcp.json").read_text()


def test_an_import_takes_nothing_over_that_only_came_with_the_folder(home, tmp_path):
    folder = tmp_path / "cloned"
    folder.mkdir()
    (folder / ".mcp.json").write_text('{"mcpServers": {"theirs": {"command": "evil"}}}')
    r = mcp(home, "config", "import", cwd=folder)
    assert r.returncode == 1 and ".mcp.json was found in this folder and has not been accepted" in r.stderr
    (home / ".cursor").mkdir()
    (home / ".cursor" / "mcp.json").write_text('{"mcpServers": {"mine": {"command": "good"}}}')
    r = mcp(home, "config", "import", "--json", cwd=folder)
    told = json.loads(r.stdout)
    assert told["added"] == ["mine"] and "name it to import it" in told["warnings"][0]
    assert "evil" not in (home / "mcp.json").read_text()
    assert mcp(home, "config", "import", ".mcp.json", cwd=folder).returncode == 0
    assert "evil" in (home / "mcp.json").read_text()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["config", "add", "w", "http://h/", "-H", "Bearer secret1"], "number 1 is not NAME=VALUE or NAME: VALUE"),
        (["config", "add", "w", "http://h/", "-H", "A=1", "-H", ": secret1"], "number 2"),
        (["config", "add", "w", "x", "-e", "TOKEN: secret1"], "'TOKEN' is not NAME=VALUE"),
        (["config", "add", "w", "x", "-e", "=secret1"], "number 1"),
        (["list", "--input", "secret1"], "number 1 is not ID=VALUE"),
    ],
)
def test_usage_errors_quote_no_values(home, args, said):
    r = mcp(home, *args)
    assert r.returncode == 1 and said in r.stderr and "secret1" not in r.stderr + r.stdout


def test_a_configuration_that_was_only_found_runs_nothing(home, tmp_path):
    marker = tmp_path / "started"
    code = f"open({str(marker)!r}, 'w')"
    (home / "mcp.json").write_text(json.dumps({"mcpServers": {"a": {"command": sys.executable, "args": ["-c", code]}}}))
    r = aionest(home, "mcp", "list", "--json", cwd=home)
    assert r.returncode == 1 and "not been accepted" in r.stderr and not marker.exists()
    r = aionest(home, "mcp", "list", "--json", "--yes", cwd=home)
    assert r.returncode == 4 and marker.exists(), "it was started; that it is no server is told"
    marker.unlink()
    assert aionest(home, "mcp", "list", "--json", cwd=home).returncode == 4 and marker.exists()


@pytest.mark.parametrize("json_", [[], ["--json"]])
def test_a_shell_starts_nothing_new_of_a_configuration_that_was_only_found(home, tmp_path, json_):
    marker = tmp_path / "started"
    server = {"command": sys.executable, "args": [str(SERVER)]}
    (home / "mcp.json").write_text(json.dumps({"mcpServers": {"a": server}}))
    assert aionest(home, "mcp", "check", "--yes", cwd=home).returncode == 0
    command = [sys.executable, "-m", "aionest", "mcp", "shell", *json_]
    with forked.COMMANDS.talk(command, env=environment(home), cwd=home) as child:
        child.stdin.write("a.echo text=ready\n")
        while "ready" not in child.stdout.readline():
            assert child.poll() is None
        evil = {"command": sys.executable, "args": ["-c", f"open({str(marker)!r}, 'w')"]}
        (home / "mcp.json").write_text(json.dumps({"mcpServers": {"a": server, "evil": evil}}))
        child.stdin.write("reload\nevil.x\na.echo text=still\n")
        child.stdin.close()
        said = child.stdout.read()
    assert "not been accepted" in said and "still" in said and not marker.exists()


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
        eventually(lambda: pids.exists() and pids.read_text().strip(), "the server has not started")
        time.sleep(0.5)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else 143), errors
    assert "Traceback" not in errors
    pid = int(pids.read_text().split()[0])
    eventually(lambda: not os.path.exists(f"/proc/{pid}"), "the server is left")


def test_doctor(home):
    report = json.loads(aionest(home, "doctor", "--json", really=True).stdout)
    assert report["self-test"] == "ok"


@pytest.mark.slow
def test_demo(home):
    result = aionest(home, "demo", "--json")
    found = json.loads(result.stdout)
    assert result.returncode == 0 and set(found) == {"stock", "aionest", "threads"}
    for mode in ("aionest", "threads"):
        assert [found[mode][s]["detail"] for s in ("load", "call", "cleanup")] == ["upper", "STILL OPEN", "left"]
    # what it is all about: without it the call in the next run fails
    assert found["stock"]["load"]["ok"] and not found["stock"]["call"]["ok"]


# ---- what only shows with other servers, or on a terminal


@pytest.mark.slow
def test_everything_takes_json(home):
    file = str(home / "mcp.json")
    assert json.loads(mcp(home, "config", "add", "b", "x", "--json").stdout) == {
        "file": file,
        "added": ["b"],
        "changed": [],
    }
    assert json.loads(mcp(home, "config", "add", "b", "y", "--json").stdout)["changed"] == ["b"]
    shown = json.loads(mcp(home, "config", "show", "b", "--json").stdout)
    assert shown["servers"]["b"]["command"] == "y" and set(shown["servers"]) == {"b"}
    assert json.loads(mcp(home, "config", "remove", "b", "--json").stdout)["removed"] == ["b"]
    (home / "other.json").write_text('{"mcpServers": {"c": {"command": "z"}, "a": {"command": "other"}}}')
    told = json.loads(mcp(home, "config", "import", str(home / "other.json"), "--json").stdout)
    assert told["added"] == ["c"] and "already exists" in told["warnings"][0]
    lines = mcp(home, "shell", "--json", "-s", "a", stdin="a.count\nservers\nnope\nreload\n").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert found[0]["content"][0]["text"] == "1" and found[1]["servers"][0]["state"] == "connected"
    assert found[2]["error"]["code"] == "tool_not_found" and found[3]["kept"] == ["a"]
    assert json.loads(mcp(home, "prompts", "a.greet", "who=Ada", "--json").stdout)["messages"][0]["role"] == "user"
    assert set(json.loads(mcp(home, "resources", "--json").stdout)) == {"resources", "templates", "errors"}
    assert json.loads(mcp(home, "read", "a", "memo://one", "--json").stdout)["contents"][0]["uri"] == "memo://one"
    r = mcp(home, "ping", "--json")
    assert r.returncode == 4 and set(json.loads(r.stdout)["seconds_by_server"]) == {"a"}


def test_prompts_and_contents(home):
    assert mcp(home, "prompts", "a.greet", "who=Ada").stdout == "user: Greet Ada\nuser: the first memo\n"
    assert mcp(home, "prompts", "nope.greet").returncode == 1
    target = home / "memo.txt"
    assert mcp(home, "read", "a", "memo://one", "-o", str(target)).returncode == 0
    assert target.read_text() == "the first memo"


ODD = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    result = {
        "initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}, "resources": {}},
                       "serverInfo": {"name": "odd", "version": "1"}},
        "tools/list": {"tools": [{"name": "snow", "inputSchema": {"type": "object"}},
                                 {"name": "forecast_of_rain", "title": "Weather", "inputSchema": {"type": "object"}}]},
        "tools/call": {"content": [{"type": "text", "text": "\\u2603 \\u00e9"}], "structuredContent": {"v": float("nan"), "w": [1.5]}},
        "resources/read": {"contents": [{"uri": "odd://one", "blob": "A"}]},
    }.get(message.get("method"), {})
    if "id" in message:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


@pytest.fixture
def odd(home):
    """A server whose answers nobody expects."""
    (home / "odd.py").write_text(ODD)
    servers = {
        "odd": {"command": sys.executable, "args": [str(home / "odd.py")]},
        "web": {"url": "http://127.0.0.1:9/mcp", "auth": "oauth"},
    }
    (home / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    return home


@pytest.mark.parametrize(
    "encoding", ["latin-1", *(pytest.param(one, marks=pytest.mark.slow) for one in ("ascii", "utf-8"))]
)
def test_json_is_json_whatever_the_encoding_and_the_numbers(odd, encoding, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    r = mcp(odd, "call", "odd.snow", "--json")
    assert r.returncode == 0, r
    result = json.loads(r.stdout, parse_constant=pytest.fail)
    assert result["content"][0]["text"] == "\u2603 \xe9" and result["structuredContent"] == {"v": None, "w": [1.5]}
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    r = mcp(odd, "call", "odd.snow")
    assert (r.returncode, r.stdout) == (0, "\\u2603 \\xe9\n")


@pytest.mark.slow
def test_what_nobody_has_thought_of_is_an_error_like_others(odd, monkeypatch):
    r = mcp(odd, "read", "odd", "odd://one", "-o", str(odd / "out"), "--json")
    assert (r.returncode, r.stdout) == (5, "") and json.loads(r.stderr)["error"]["code"] == "protocol"
    # the package is not there, or finds no keyring
    monkeypatch.setenv("AIONEST_TOKENS", "keyring")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    r = mcp(odd, "logout", "web", "--json")
    error = json.loads(r.stderr)["error"]
    assert r.returncode != 0 and r.stdout == "" and "keyring" in error["message"]
    assert "Traceback" not in mcp(odd, "logout", "web").stderr
    r = aionest(odd, "-v", "mcp", "logout", "web", "--json", "--config", str(odd / "mcp.json"))
    assert json.loads(r.stderr.splitlines()[-1])["error"] == error
    # in the shell they end the call only
    r = mcp(odd, "shell", "--json", "-s", "odd", stdin="'\nhelp\nhelp odd.snow\n")
    told, general, one = map(json.loads, r.stdout.splitlines())
    assert told["error"]["code"] == "usage" and "SERVER.TOOL" in general["help"] and one["tool"] == "snow"


@pytest.fixture
def oauth():
    process = subprocess.Popen([sys.executable, str(SERVER.with_name("oauth.py")), "0"], stdout=-1, text=True)
    yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.slow
def test_a_login(home, oauth):
    """Exit code 3 until one has logged in; then the tokens are there for the next command."""
    browser = home / "browser.py"
    browser.write_text("import sys, urllib.request\nurllib.request.urlopen(sys.argv[1]).read()\n")
    assert mcp(home, "config", "add", "web", oauth, "--oauth").returncode == 0
    r = mcp(home, "call", "web.echo", "text=hi", "--json")
    assert r.returncode == 3 and json.loads(r.stderr)["error"]["code"] == "auth" and "login web" in r.stderr
    os.environ["BROWSER"] = f"{sys.executable} {browser} %s"
    try:
        r = mcp(home, "login", "web", really=True)
    finally:
        del os.environ["BROWSER"]
    assert r.returncode == 0 and "logged in" in r.stderr and oauth.rsplit("/", 1)[0] in r.stderr
    assert mcp(home, "call", "web.echo", "text=hi").stdout == "hi\n"
    assert mcp(home, "logout", "web").returncode == 0
    assert mcp(home, "call", "web.echo", "text=hi").returncode == 3
    assert mcp(home, "logout", "a").returncode == 1


@pytest.mark.parametrize("server", ["a", "hidden", "off", "other"])
def test_a_login_that_there_is_none_of(home, server):
    assert mcp(home, "config", "add", "off", "http://127.0.0.1:9/mcp", "--oauth", "--disabled").returncode == 0
    r = mcp(home, "login", server, "--json")
    error = json.loads(r.stderr)["error"]
    assert (r.returncode, r.stdout, error["code"], error["server"]) == (1, "", "usage", server)


def test_a_login_at_a_server_that_says_nothing(home):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/mcp"
        assert mcp(home, "config", "add", "web", url, "--oauth").returncode == 0
        r = mcp(home, "login", "web", "--timeout", "0.5", "--json")
    assert r.returncode == 4 and json.loads(r.stderr)["error"]["code"] == "timeout"


def complete(home, line, **more):
    """What the shell is offered for a line."""
    env = {**environment(home), "_AIONEST_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": line, **more}
    program = "import sys; sys.argv[0] = 'aionest'; from aionest.cli import main; main()"
    r = forked.COMMANDS.run([sys.executable, "-c", program], env=env, timeout=60, cwd=home)
    assert "Traceback" not in r.stderr, r
    return r.stdout


@pytest.mark.slow
def test_completion(home):
    file = home / "mcp.json"
    named = f"aionest mcp ping --config {file} "
    assert '"a"' in complete(home, named) and '"hidden"' in complete(home, named + "h")
    call = f"aionest mcp call --config {file} "
    assert '"a."' in complete(home, call), "nothing is known of its tools yet"
    assert mcp(home, "list").returncode == 0
    offered = complete(home, call + "a.")
    assert '"a.echo"' in offered and '"a.add"' in offered
    assert '"a.echo"' in complete(home, "aionest mcp call a.e"), "the configuration is found here"
    assert '"text="' in complete(home, call + "a.echo ")
    assert "a.echo" not in complete(home, "aionest mcp call a.e", MCP_FILE=str(home / "other.json"))
    # as shells leave it
    assert '"a.echo"' in complete(home, "aionest mcp call --config ~/mcp.json a.e")
    assert '"a.echo"' in complete(home, "aionest mcp call a.e", MCP_FILE="~/mcp.json")
    assert aionest(home, "mcp", "config", "show", "--config=~/mcp.json").returncode == 0


def test_inputs_of_vs_code(home):
    folder = home / ".vscode"
    folder.mkdir()
    server = {"type": "stdio", "command": sys.executable, "args": [str(SERVER)], "env": {"ZONE": "${input:zone}"}}
    (folder / "mcp.json").write_text(
        '{// comment\n"inputs": [{"id": "zone", "type": "promptString", "password": true}],\n"servers": '
        + json.dumps({"a": server})
        + "}"
    )

    def call(*args):
        return aionest(home, "mcp", "call", "a.env", "name=ZONE", "--config", str(folder / "mcp.json"), *args)

    assert call("--input", "zone=Oslo").stdout == "Oslo\n"
    r = call()
    assert r.returncode == 1 and "--input zone=VALUE" in r.stderr
    assert call("--input", "zone").returncode == 1


def test_what_was_named_may_be_found_and_what_is_written_is_accepted(home):
    assert aionest(home, "mcp", "list", "--json", cwd=home).returncode == 1
    assert mcp(home, "list", "--json").returncode == 0
    assert aionest(home, "mcp", "list", "--json", cwd=home).returncode == 0
    assert aionest(home, "mcp", "config", "add", "more", sys.executable, str(SERVER), cwd=home).returncode == 0
    assert aionest(home, "mcp", "list", "--json", cwd=home).returncode == 0
    servers = json.loads((home / "mcp.json").read_text())
    servers["mcpServers"]["more"]["args"] += ["--name", "other"]
    (home / "mcp.json").write_text(json.dumps(servers))
    assert "not been accepted" in aionest(home, "mcp", "list", "--json", cwd=home).stderr


@pytest.mark.slow
def test_the_doctor_tells_loops_and_patches(home):
    report = json.loads(aionest(home, "doctor", "--mcp", "--json", really=True).stdout)
    assert "asyncio.run" in report["apply() patches"] and report["unapply() undoes it"] == "yes"
    assert set(report["loops"]) == {"policy", "loop"}
    assert list(report["mcp names"]) == ["SDK"] and report["mcp"] in report["mcp names"]["SDK"]  # and none is missing
    assert {"self-test", "names", "ok"} <= {*aionest(home, "doctor").stdout.split()}


class Terminal:
    """A command on a terminal. Unless it is named, the configuration is the one that is found in its folder."""

    def __init__(self, home, *args, named=True):
        import pty

        self.leader, follower = pty.openpty()
        command = [sys.executable, "-m", "aionest", "mcp", *args]
        command += ["--config", str(home / "mcp.json")] if named else []
        env = {
            **environment(home),
            "TERM": "xterm",
            "COLUMNS": "300",
        }  # no line is folded, however long the path of the temporary folder
        self.process = forked.COMMANDS.popen(
            command,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env=env,
            terminal=True,
            cwd=None if named else home,
        )
        os.close(follower)
        self.seen = ""

    def until(self, text, seconds=60):
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            import select

            if select.select([self.leader], [], [], 1)[0]:
                try:
                    self.seen += os.read(self.leader, 10000).decode("utf-8", "replace")
                except OSError:
                    assert text in self.seen, self.seen
        self.seen = self.seen[self.seen.index(text) + len(text) :]

    def type(self, text):
        os.write(self.leader, text.encode())

    def interrupt(self, text):
        """Ctrl-C, as a person does it: again, if nothing happens. Python misses one between its last look and a read()."""
        for _ in range(5):
            self.type("\x03")
            try:
                return self.until(text, 10)
            except AssertionError:
                if self.process.poll() is not None:
                    raise
        raise AssertionError(self.seen)

    def end(self):
        code = self.process.wait(60)
        os.close(self.leader)
        return code


ASK = json.dumps(
    {
        "method": "elicitation/create",
        "params": {
            "message": "Who are you?",
            "requestedSchema": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
                "required": ["name"],
            },
        },
    }
)


def test_questions_of_a_server_on_a_terminal(home):
    terminal = Terminal(home, "call", "a.ask", "--args", ASK, "--timeout", "20")
    terminal.until("Who are you?")
    terminal.until("[Y/n]")
    terminal.type("\n")
    terminal.until("name:")
    terminal.type("Ada\n")
    terminal.until("age")
    terminal.type("old\n")
    terminal.until("expected integer")
    terminal.type("36\n")
    terminal.until('"age": 36')
    assert terminal.end() == 0


def test_ctrl_c_at_a_question(home):
    terminal = Terminal(home, "call", "a.ask", "--args", ASK)
    terminal.until("[Y/n]")
    terminal.interrupt("interrupted")
    assert terminal.end() == 130


def test_what_would_be_started_is_shown_before_it_is(home, tmp_path):
    marker = tmp_path / "started"
    servers = {
        "time": {
            "command": "sh",
            "args": ["-c", f"key=x; touch {marker}"],
            "env": {"LD_PRELOAD": "./evil.so", "TOKEN": "secret1", "KEY": "${input:id}"},
            "envFile": "some.env",
            "cwd": "there",
        },
        "spoof": {"command": "sh", "args": ["-c", f"touch {marker}\x1b[2K\x1b[1G\n  good: uvx :x: [red]x"]},
    }
    inputs = [{"id": "id", "default": "supplied"}]
    (home / "mcp.json").write_text(json.dumps({"mcpServers": servers, "inputs": inputs}))
    terminal = Terminal(home, "list", named=False)
    terminal.until("It would start or connect to:")
    terminal.until(f"time: sh -c 'key=x; touch {marker}'")
    terminal.until("with LD_PRELOAD=./evil.so")
    terminal.until("with 'TOKEN=***'")
    terminal.until("with 'KEY=${input:id}'")
    terminal.until("some.env")
    terminal.until("in there")
    terminal.until("with supplied for the input id")
    terminal.until(f"spoof: sh -c 'touch {marker}" + r"\x1b[2K\x1b[1G\n  good: uvx :x: [red]x'")
    terminal.until("[y/N]")
    terminal.type("n\n")
    terminal.until("nothing was started")
    assert terminal.end() == 1 and not marker.exists()


def test_progress_on_a_terminal(home):
    terminal = Terminal(home, "call", "a.progress", "steps=4", "delay=0.3")
    terminal.until("connected")
    terminal.until("step 2")
    terminal.until("done")
    assert terminal.end() == 0


def test_the_shell_on_a_terminal(home):
    terminal = Terminal(home, "shell", "-s", "a")
    terminal.until("aionest> ")
    terminal.type("a.ech\t")
    terminal.until("a.echo")
    terminal.type(" te\t'two words'\n")
    terminal.until("two words\r\n")
    terminal.until("aionest> ")
    terminal.type("a.sleep seconds=600\n")
    time.sleep(1)
    terminal.interrupt("cancelled")
    terminal.type("help a.add\n")
    terminal.until("(optional)")
    terminal.until("aionest> ")  # before that the end of the input is nobody's
    terminal.type("\x04")
    assert terminal.end() == 0


@pytest.mark.slow
def test_a_question_after_a_call_that_was_cancelled(home):
    terminal = Terminal(home, "shell", "-s", "a")
    question = f"a.ask {' '.join(_words(ASK))}\n"
    terminal.until("aionest> ")
    terminal.type("a.sleep seconds=600\n")
    time.sleep(1)
    terminal.interrupt("cancelled")
    terminal.until("aionest> ")
    terminal.type(question)
    terminal.until("The server asks")
    terminal.until("[Y/n]")
    terminal.interrupt("cancelled")  # at the question itself
    terminal.until("aionest> ")
    terminal.type(question)
    terminal.until("The server asks")
    terminal.until("[Y/n]")
    terminal.type("n\n")
    terminal.until('"action": "decline"')
    terminal.until("aionest> ")
    terminal.type("\x04")
    assert terminal.end() == 0


def _words(arguments):
    """JSON arguments as key=value words of the shell."""
    for name, value in json.loads(arguments).items():
        yield shlex.quote(f"{name}={value if isinstance(value, str) else json.dumps(value)}")
