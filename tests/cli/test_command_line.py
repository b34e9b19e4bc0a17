"""What a person at the command line sees: names that can be copied, empty answers, suggestions, files, help, the shell."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import forked
import pytest
import support
from support import GUARD, eventually

for name in ("mcp", "typer", "rich"):
    pytest.importorskip(name)

BARE = str(Path(__file__).parents[2] / "examples" / "servers" / "bare.py")
LONG = "a_name_of_a_tool_that_is_longer_than_a_narrow_terminal_is_wide"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    servers = {"notes": {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    return folder


def command(home, *args, columns="80"):
    env = {key: value for key, value in os.environ.items() if key != "MCP_FILE"}
    env |= {"HOME": str(home), "USERPROFILE": str(home), "WIN_PD_OVERRIDE_LOCAL_APPDATA": str(home)}
    env |= {"XDG_STATE_HOME": str(home), "XDG_CACHE_HOME": str(home), "COLUMNS": columns}
    where = () if "--help" in args or args[0] != "mcp" else ("--config", str(home / "mcp.json"))
    return [sys.executable, "-m", "aionest", *map(str, args), *where], {"env": env, "cwd": home}


def aionest(home, *args, stdin="", columns="80"):
    arguments, options = command(home, *args, columns=columns)
    return forked.COMMANDS.run(arguments, input=stdin, timeout=110, **options)


def on_terminal(home, *args, columns):
    """What a terminal shows."""
    import pty

    leader, follower = pty.openpty()
    arguments, options = command(home, *args, columns=columns)
    options["env"]["TERM"] = "dumb"  # no colours in the text
    process = forked.COMMANDS.popen(arguments, stdin=follower, stdout=follower, stderr=follower, **options)
    os.close(follower)
    seen = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # nobody has it open any more
            break
        if not piece:
            break
        seen += piece
    os.close(leader)
    return process.wait(GUARD), seen.decode().replace("\r\n", "\n")


@pytest.fixture
def long_names(tmp_path):
    program = f"""
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    result = {{
        "initialize": {{"protocolVersion": "2025-06-18", "capabilities": {{"tools": {{}}}}, "serverInfo": {{"name": "x", "version": "1"}}}},
        "tools/list": {{"tools": [{{"name": {LONG!r}, "description": "word " * 100,
            "inputSchema": {{"type": "object", "properties": {{f"argument{{n}}": {{}} for n in range(30)}}}}}}]}},
    }}.get(message.get("method"), {{}})
    if "id" in message:
        print(json.dumps({{"jsonrpc": "2.0", "id": message["id"], "result": result}}), flush=True)
"""
    (tmp_path / "server.py").write_text(program)
    servers = {"long": {"command": sys.executable, "args": [str(tmp_path / "server.py")]}}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    return tmp_path


@pytest.mark.parametrize("columns", ["30", "80", "100"])
def test_names_are_whole_on_a_terminal_of_any_width(long_names, columns):
    code, seen = on_terminal(long_names, "mcp", "tools", columns=columns)
    assert code == 0 and f"long.{LONG}" in seen and "\u2026" not in seen


def test_in_a_pipe_each_tool_is_a_line(long_names):
    r = aionest(long_names, "mcp", "tools", columns="30")
    title, line = r.stdout.splitlines()
    assert title.startswith("tool ") and line.startswith(f"long.{LONG}  ") and line.count("word") == 100


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["tools", "zebra"], "No tool matches 'zebra'. `aionest mcp tools` shows all"),
        (["tools", "serch"], "did you mean 'search'"),
        (["prompts", "notes.plam", "day=x"], "did you mean 'plan'"),
        (["prompts", "nots.plan"], "did you mean 'notes'"),
        (["ping", "nots"], "did you mean 'notes'"),
        (["logout", "nots"], "did you mean 'notes'"),
        (["config", "show", "nots"], "did you mean 'notes'"),
        (["config", "remove", "nots"], "did you mean 'notes'"),
        (["call", "notes.serch"], "did you mean notes.search"),
        (["tols"], "did you mean 'tools'"),
        (["config", "shwo"], "did you mean 'show'"),
    ],
)
def test_an_empty_answer_and_a_misspelt_word_are_told(home, args, said):
    r = aionest(home, "mcp", *args)
    assert r.stdout == "" and said in r.stderr, r
    assert r.returncode == (0 if args[0] == "tools" else 1)


def test_servers_that_offer_nothing_are_told(tmp_path):
    servers = {"x": {"command": sys.executable, "args": [BARE, "--fault", "no-tools"]}}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    assert "No tools" in aionest(tmp_path, "mcp", "tools").stderr
    (tmp_path / "mcp.json").write_text('{"mcpServers": {}}')
    assert "aionest mcp config add" in aionest(tmp_path, "mcp", "config", "show").stderr


def test_pictures_of_a_result_are_saved(home, tmp_path):
    file = tmp_path / "chart.png"
    r = aionest(home, "mcp", "call", "notes.chart")
    assert "image/png" in r.stderr and "--save FILE" in r.stderr
    assert aionest(home, "mcp", "call", "notes.chart", "--save", file).returncode == 0
    assert file.read_bytes().startswith(b"\x89PNG")
    for number in (1, 2):  # in a folder none takes the place of another
        r = aionest(home, "mcp", "call", "notes.chart", "-o", f"{tmp_path}/all/")
        assert f"chart-{number}.png" in r.stderr
    assert len(list((tmp_path / "all").iterdir())) == 2
    r = aionest(home, "mcp", "call", "notes.list", "-o", tmp_path / "x", "--json")
    assert r.returncode == 1 and "nothing to save" in r.stderr and not (tmp_path / "x").exists()


def test_the_shell_has_resources_prompts_files_and_a_history(home, tmp_path):
    typed = f"""resources
read notes note://1
read notes note://2 {tmp_path}/two.txt
prompts
prompts notes.plan day=Friday
notes.chart
save {tmp_path}/chart.png
history
!2
tols
notes.serch words=x
read nots note://1
!99
"""
    r = aionest(home, "mcp", "shell", stdin=typed)
    assert r.returncode == 0
    assert "note://3" in r.stdout and "notes.plan" in r.stdout and "Plan my Friday" in r.stdout
    assert r.stdout.count("Buy milk and bread\n") >= 2  # and by its number
    assert (tmp_path / "two.txt").read_text() == "Call Ada about the engine"
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert "   2  read notes note://1\n" in r.stdout
    for said in (
        "no tool 'tols' is loaded; did you mean the command 'tools'?",
        "did you mean notes.search",
        "did you mean 'notes'",
        "no such line",
    ):
        assert said in r.stderr
    r = aionest(home, "mcp", "shell", "--json", stdin="prompts\nhistory\nread notes note://1\nresources x\n")
    prompts, history, contents, wrong = map(json.loads, r.stdout.splitlines())
    assert prompts["prompts"]["notes"][0]["name"] == "plan" and history == {"history": ["prompts"]}
    assert contents["contents"][0]["text"] == "Buy milk and bread" and wrong["error"]["code"] == "usage"


def test_the_shell_takes_what_the_command_line_takes_and_its_help_fits(home):
    r = aionest(home, "mcp", "shell", stdin="call notes.read id=1\ncall\ntools notes.list\nhelp\n")
    assert r.returncode == 0 and "Buy milk and bread\n" in r.stdout
    assert r.stderr.count("no tool 'call'") == 1  # the one that says no tool
    assert re.search(r"notes\.list +\[tag\]", r.stdout), r.stdout
    help_ = r.stdout[r.stdout.index("  SERVER.TOOL") :]
    assert max(map(len, help_.splitlines())) <= 80
    assert not [line for line in help_.splitlines() if not line.startswith("  ")], help_


@pytest.mark.parametrize("args", [["mcp", "call"], ["mcp", "config", "add"], ["app"], ["mcp", "shell"]])
def test_help_has_examples_no_types_and_fits(home, args):
    r = aionest(home, *args, "--help")
    assert r.returncode == 0 and "Example" in r.stdout and "<" not in r.stdout
    options = r.stdout.partition("Examples:")[0]
    assert max(map(len, options.splitlines())) <= 80


def test_a_file_that_the_app_is_to_use_must_be_there(home):
    support.needs("streamlit")
    r = aionest(home, "app", "--config", "none.json")
    assert r.returncode == 1 and "no such file" in r.stderr


def test_a_misspelt_option_of_the_app_is_told_by_us_not_by_streamlit(home):
    r = aionest(home, "app", "--prot", "8600")
    assert r.returncode == 1 and "no option '--prot'; did you mean '--port'" in r.stderr


@pytest.mark.parametrize("moment", ["started", "importing", "ready for it"])
def test_ctrl_c_in_the_first_moments_of_the_app_is_clean(home, moment):
    support.needs("streamlit")
    arguments, options = command(home, "app", "--no-browser", "--port", "0", "--config", str(home / "mcp.json"))
    with subprocess.Popen(arguments, **options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        proc = Path(f"/proc/{process.pid}")

        def has_come():
            if b"aionest.app" not in (proc / "cmdline").read_bytes():
                return False  # it is still the command line
            if moment == "importing":
                return "aionest/_core" in (proc / "maps").read_text()
            blocked = next(one for one in (proc / "status").read_text().splitlines() if one.startswith("SigBlk:"))
            return moment == "started" or not int(blocked.split()[1], 16) & 1 << signal.SIGINT - 1

        eventually(has_come, "Streamlit is not started", every=0.01)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert "Traceback" not in said and "KeyboardInterrupt" not in said, said
    assert process.returncode in (0, 130)


@pytest.mark.skipif(sys.platform == "win32", reason="no process can send itself a Ctrl-C there")
@pytest.mark.parametrize("ignored", [False, True])
def test_ctrl_c_while_the_package_is_imported_is_clean(home, ignored):
    program = f"""if True:
        import os, signal, sys
        if {ignored}:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        class Interrupted:
            def find_spec(name, path=None, target=None):
                if name == "aionest":
                    os.kill(os.getpid(), signal.SIGINT)
        sys.meta_path.insert(0, Interrupted)
        from _aionest_script import main
        sys.argv[1:] = ["--version"]
        main()
    """
    r = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, cwd=home
    )
    assert r.stderr == "" and (r.returncode, r.stdout != "") == ((0, True) if ignored else (-signal.SIGINT, False)), r


def test_port_and_host_are_those_of_streamlit():
    support.needs("streamlit")
    program = """if True:
        import os, sys
        os.execv = lambda program, args: print(*args)
        from aionest.cli import main
        main()
    """
    args = ["app", "--port", "8600", "--host", "0.0.0.0", "--no-browser", "--theme.base", "dark"]
    r = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, timeout=60, check=False)
    words = r.stdout.split()
    assert {"--server.port=8600", "--server.address=0.0.0.0", "--server.headless=true"} <= set(words), r
    assert words[words.index("--theme.base") + 1] == "dark" and "--server.address=localhost" not in words
