"""What servers say of themselves and of their tools beside what a call needs: it is kept, and shown as text."""

from __future__ import annotations

import base64
import json
import os
import sys
import textwrap

import forked
import pytest
import support

pytest.importorskip("mcp")

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SAID = "Call look first. **Not markup** <b>x</b>"
FAR = {"src": "https://evil.example.com/beacon.png", "mimeType": "image/png"}
NEAR = {"src": f"data:image/png;base64,{base64.b64encode(PNG).decode()}", "mimeType": "image/png", "sizes": ["1x1"]}
TOOLS = [
    {"name": "look", "inputSchema": {"type": "object"}, "icons": [FAR, NEAR]},
    {"name": "long", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "required"}, "icons": [FAR]},
    {"name": "maybe", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "optional"}},
]
CONTENT = [
    {"type": "resource_link", "uri": "note://7", "name": "seven", "title": "Seven", "mimeType": "text/plain"},
    {"type": "resource", "resource": {"uri": "note://8", "mimeType": "text/plain", "text": "eight"}},
    {
        "type": "resource",
        "resource": {"uri": "note://9", "mimeType": "image/png", "blob": NEAR["src"].rpartition(",")[2]},
    },
]
SERVER = """
import json, sys
known = json.loads(sys.argv[1])
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message and message["method"] in known:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": known[message["method"]]}), flush=True)
"""
KNOWN = {
    "initialize": {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "s", "version": "1"},
        "instructions": SAID,
    },
    "tools/list": {"tools": TOOLS},
    "tools/call": {"content": CONTENT},
}
ONE = {"command": sys.executable, "args": ["-c", SERVER, json.dumps(KNOWN)], "timeout": 60, "protocol": "legacy"}


def test_the_loader_keeps_it(make_loader):
    loader = make_loader({"one": ONE, "quiet": {**ONE, "disabled": True}})
    assert loader.instructions == {"one": SAID} and loader.status["one"].instructions == SAID
    look, long, maybe = (loader.find(f"one.{name}") for name in ("look", "long", "maybe"))
    assert [icon["src"] for icon in look.icons] == [FAR["src"], NEAR["src"]]
    assert look.icon == ("image/png", PNG) and long.icon is None
    assert [tool.task_support for tool in (look, long, maybe)] == ["forbidden", "required", "optional"]
    assert look.to_json()["icons"] == look.icons and maybe.to_json()["execution"] == {"taskSupport": "optional"}
    assert "execution" not in look.to_json() and "icons" not in maybe.to_json()
    result = loader.call(look)
    assert result.content == CONTENT and result.text == "eight" and result.images == [("image/png", PNG)]
    loader.cleanup()
    assert loader.instructions == {}


def test_notebooks_show_it_and_fetch_nothing(make_loader):
    loader = make_loader({"one": ONE})
    look, long = (loader.find(f"one.{name}")._repr_html_() for name in ("look", "long"))
    assert NEAR["src"] in look and "evil.example.com" not in look + long and "runs as a task" in long
    assert "Seven" in loader.call("one.look")._repr_html_()


@pytest.fixture(scope="session")
def commands():
    with forked.COMMANDS.there():
        yield forked.COMMANDS


@pytest.fixture(scope="session")
def pages():
    with forked.PAGES.there():
        yield forked.PAGES


def test_the_command_line_shows_it(tmp_path, commands):
    pytest.importorskip("typer")
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"one": ONE}}))
    environ = {**os.environ, "MCP_FILE": str(tmp_path / "mcp.json"), "HOME": str(tmp_path)}

    def run(*words):
        return commands.run([sys.executable, "-m", "aionest", "mcp", *words], env=environ, timeout=120)

    checked = run("check")
    assert checked.returncode == 0 and SAID in checked.stdout, checked.stdout + checked.stderr
    called = run("call", "one.look")
    assert "eight" in called.stdout and "Seven: seven; aionest mcp read one note://7" in called.stderr, called.stderr


def test_the_command_lines_report_is_bounded_and_has_no_controls(tmp_path, commands):
    pytest.importorskip("typer")
    said = "\x1b[2J\x9b31m\u202e" + "so it goes on \x1b]0;x\x07" * 50_000
    known = {**KNOWN, "initialize": {**KNOWN["initialize"], "instructions": said}}
    (tmp_path / "server.py").write_text(SERVER.replace("sys.argv[1]", "open(sys.argv[1]).read()"))
    (tmp_path / "known.json").write_text(json.dumps(known))
    one = {**ONE, "args": [str(tmp_path / "server.py"), str(tmp_path / "known.json")]}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"one": one}}))
    environ = {**os.environ, "MCP_FILE": str(tmp_path / "mcp.json"), "HOME": str(tmp_path)}
    checked = commands.run([sys.executable, "-m", "aionest", "mcp", "check"], env=environ, timeout=120)
    assert checked.returncode == 0 and "one says of itself" in checked.stdout and "so it goes on" in checked.stdout
    assert len(checked.stdout) < 25_000 and "more characters" in checked.stdout
    assert checked.stdout.replace("\n", "").isprintable()


def test_the_app_shows_it(tmp_path, pages):
    support.needs("streamlit")
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"one": ONE}}))
    environ = {**os.environ, "MCP_FILE": str(tmp_path / "mcp.json"), "HOME": str(tmp_path)}
    program = """
        from streamlit.testing.v1 import AppTest
        def page(name):
            text = f"import aionest; aionest.apply(); from aionest.app import views; views.{name}()"
            app = AppTest.from_string(text, default_timeout=100).run()
            assert not app.exception, app.exception
            return app
        app = page("servers")
        assert any(one.value == SAID for one in app.text), [one.value for one in app.text]
        app = page("tools")
        app.button(key="pick one__long").click().run()
        assert not app.exception and any("as a task" in one.value for one in app.caption), app.caption
        app.button(key="pick one__look").click().run()
        assert not app.exception, app.exception
    """
    words = [sys.executable, "-c", f"SAID = {SAID!r}\n{textwrap.dedent(program)}"]
    done = pages.run(words, env=environ, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


WRONG = {
    "icons": "nope",
    "execution": {"taskSupport": "sometimes"},
    "annotations": [1],
    "title": {"x": 1},
}
AWAY = [
    {"type": "resource_link", "uri": "docs/a b.md", "name": "relative"},
    {"type": "resource", "resource": {"uri": "ui://x\x1b]0;y\x07 z", "mimeType": "text/plain", "text": "inner"}},
    {"type": "text", "text": "after"},
]


def test_a_tool_is_not_lost_for_what_nobody_needs_to_call_it(make_loader):
    tools = [{"name": f"t_{key}", "inputSchema": {"type": "object"}, key: value} for key, value in WRONG.items()]
    tools.append({"name": "none", "inputSchema": 7, "icons": "nope"})
    known = {**KNOWN, "tools/list": {"tools": tools}}
    loader = make_loader({"one": {**ONE, "args": ["-c", SERVER, json.dumps(known)]}})
    assert {tool.original_name for tool in loader.tools.values()} == {f"t_{key}" for key in WRONG}
    said = loader.status["one"].left_out
    assert len(said) == 5 and any(one.startswith("icons of tool 't_icons'") for one in said), said
    assert loader.call("one.t_icons").text is not None


def test_one_icon_that_is_none_costs_no_other(make_loader):
    old = {"src": "data:image/png;base64,AAAA", "sizes": "48x48 any"}
    tools = [{"name": "t", "inputSchema": {"type": "object"}, "icons": [FAR, 5, {"mimeType": "x"}, old]}]
    loader = make_loader(
        {"one": {**ONE, "args": ["-c", SERVER, json.dumps({**KNOWN, "tools/list": {"tools": tools}})]}}
    )
    (tool,) = loader.tools.values()
    assert [icon["src"] for icon in tool.icons] == [FAR["src"], old["src"]]
    assert tool.icons[1]["sizes"] == ["48x48", "any"] and len(loader.status["one"].left_out) == 1


def test_addresses_that_are_no_urls_are_kept(make_loader):
    known = {**KNOWN, "tools/call": {"content": AWAY}}
    loader = make_loader({"one": {**ONE, "args": ["-c", SERVER, json.dumps(known)]}})
    content = loader.call("one.look").content
    assert content[0]["uri"] == AWAY[0]["uri"] and content[1]["resource"]["uri"] == AWAY[1]["resource"]["uri"]
    assert content[1]["resource"]["text"] == "inner" and content[2]["text"] == "after"


def test_a_tools_repr_has_no_control_characters():
    from aionest.mcp import Tool

    one = Tool("t", input_schema={"type": "object", "properties": {"a\x1b[2J\u202e\n": {}}})
    assert repr(one).isprintable(), repr(one)
