"""What the app's pages say and send, by Streamlit's test driver."""

from __future__ import annotations

import base64
import json
import sys

import pytest
import support

support.needs("streamlit", "mcp", "typer")

PNG = base64.b64encode(
    b"\x89PNG\r\n\x1a\n" + b"no more of it than its first bytes, which Pillow does not take"
).decode()
SERVER = f"""
import json, sys
seen = []
schema = {{"type": "object", "required": ["text", "n"], "properties": {{"text": {{"type": "string"}}, "n": {{"type": "number"}}}}}}
content = {{
    "echo": lambda a: [{{"type": "text", "text": json.dumps(a)}}],
    "picture": lambda a: [{{"type": "image", "mimeType": "image/png", "data": {PNG!r}}}],
    "links": lambda a: [{{"type": "resource_link", "uri": "note://7", "name": "seven"}}, {{"type": "text", "text": "see there"}}],
    "fail": lambda a: [{{"type": "text", "text": "it failed"}}],
}}
tools = [{{"name": name, "title": f"Title of {{name}}", "inputSchema": schema if name == "echo" else {{"type": "object"}}}} for name in content]
for line in sys.stdin:
    message = json.loads(line)
    params = message.get("params") or {{}}
    if message.get("method") == "tools/call":
        result = {{"content": content[params["name"]](params["arguments"]), "isError": params["name"] == "fail"}}
    else:
        result = {{
            "initialize": {{"protocolVersion": "2025-06-18", "capabilities": {{"tools": {{}}}}, "serverInfo": {{"name": "x", "version": "1"}}}},
            "tools/list": {{"tools": tools}},
        }}.get(message.get("method"), {{}})
    if "id" in message:
        print(json.dumps({{"jsonrpc": "2.0", "id": message["id"], "result": result}}), flush=True)
"""

BEGIN = """
import aionest.app, json, os
from pathlib import Path
from streamlit.testing.v1 import AppTest
MAIN = str(Path(aionest.app.__file__).parent / "main.py")
def page(name):
    text = f"import aionest; aionest.apply(); from aionest.app import views; views.{name}()"
    return AppTest.from_string(text, default_timeout=100).run()
def choose(app, name):
    app.button(key=f"pick {name}").click().run()
def press(app, label):
    next(b for b in app.button if b.label == label).click().run()
    assert not app.exception, app.exception
def texts(app):
    return "\\n".join(one.value for kind in ("title", "subheader", "markdown", "caption", "code", "error", "success", "warning", "info") for one in getattr(app, kind)).replace(chr(92), "")  # what is escaped for Markdown
"""


@pytest.fixture
def drive(driver, tmp_path):
    (tmp_path / "server.py").write_text(SERVER)
    servers = {"x": {"command": sys.executable, "args": [str(tmp_path / "server.py")]}}
    run = driver(servers, BEGIN)
    return lambda body: run(body).stdout


def test_what_is_sent_is_what_was_meant(drive):
    sent = drive("""
        app = page("tools")
        choose(app, "x__echo")
        app.number_input(key="x__echo/n").set_value(3.0)
        press(app, "Call")
        assert any("text: missing" in e.value for e in app.error), [e.value for e in app.error]
        app.text_input(key="x__echo/text").set_value("hi")
        press(app, "Call")
        print(app.json[0].value)
        app.number_input(key="x__echo/n").set_value(0.1)
        press(app, "Call")
        print(app.json[0].value)
    """)
    assert [json.loads(line) for line in sent.splitlines()] == [{"text": "hi", "n": 3}, {"text": "hi", "n": 0.1}]
    assert '"n":3.0' not in sent.replace(" ", "")


def test_pictures_links_and_whose_result_it_is(drive):
    drive("""
        app = page("tools")
        choose(app, "x__picture")
        press(app, "Call")
        assert not app.error, [e.value for e in app.error]  # a browser takes what Pillow does not
        choose(app, "x__links")
        assert "Result" not in [s.value for s in app.subheader] and "Earlier" in [s.value for s in app.subheader]
        press(app, "Call")
        assert "Result" in [s.value for s in app.subheader]
        assert "seven" in texts(app) and "note://7" in texts(app) and "see there" in texts(app)
    """)


def test_the_sessions_page_agrees_with_itself(drive):
    drive("""
        app = AppTest.from_file(MAIN, default_timeout=100).run()
        for name in ("fail", "links", "links"):
            choose(app, f"x__{name}")
            press(app, "Call")
        from aionest.app import state
        assert (state.journal.count(), state.journal.count("failed"), state.journal.count("running")) == (3, 1, 0)
        sessions = page("sessions")
        assert not sessions.exception, sessions.exception
        numbers = {one.label: one.value for one in sessions.metric}
        servers = sessions.dataframe[0].value
        assert (numbers["Calls"], numbers["Failed"]) == ("3", "1"), numbers
        assert (servers["calls"].sum(), servers["failed"].sum()) == (3, 1), servers
        browsers = sessions.dataframe[-1].value
        assert browsers["calls"].sum() == 3 and browsers["failed"].sum() == 1, browsers
    """)


def test_a_server_that_cannot_start_is_no_success(drive, tmp_path):
    drive(
        """
        app = page("servers")
        app.text_input(key="form None 0 name").set_value("wrong")
        app.text_input(key="form None 0 command").set_value("no-such-command --at-all")
        press(app, "Add")
        assert not app.success and app.error and "cannot start 'no-such-command'" in texts(app), texts(app)
        app.text_input(key="form None 1 name").set_value("right")
        app.text_input(key="form None 1 command").set_value("%s %s")
        press(app, "Add")
        assert app.success and "right" in app.success[0].value, texts(app)  # though the other one still fails
    """
        % (sys.executable, tmp_path / "server.py")
    )


def test_all_errors_of_the_text_stand_above_it(drive):
    drive("""
        app = page("servers")
        wrong = {"mcpServers": {f"s{n}": {"command": "x", "timeout": "soon"} for n in range(5)}}
        app.text_area(key="editor 1").set_value(json.dumps(wrong, indent=1)).run()
        (error,) = [e.value for e in app.error if "s0" in e.value]
        assert all(f"s{n}" in error for n in range(5)), error
        kinds = [one.type for one in app.main]  # in the order of the page; the editor is its last text
        assert kinds.index("error") < len(kinds) - 1 - kinds[::-1].index("text_area"), kinds
        assert "monospace" in texts(app)
    """)


def test_the_list_has_names_where_titles_differ(drive):
    drive("""
        app = page("tools")
        label = app.button(key="pick x__echo").label
        assert "Title of echo (echo)" in label, label
    """)


NOTES = {"mcpServers": {"notes": {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}}}


def test_resources_are_read_and_prompts_are_filled_in(drive, tmp_path):
    (tmp_path / "mcp.json").write_text(json.dumps(NOTES))
    drive("""
        app = page("resources")
        assert not app.exception, app.exception
        listed = next(s for s in app.selectbox if s.label == "Resource (3)")
        listed.select_index(1).run()
        assert "Call Ada about the engine" in texts(app)
        app.text_input[0].set_value("note://3")
        press(app, "Read")
        assert "Water the plants" in texts(app) and "Call Ada" not in texts(app).partition("note://3")[2]
        app.text_input[0].set_value("note://99")
        press(app, "Read")
        assert app.error and "there is no note 99" in texts(app), texts(app)

        app = page("prompts")
        press(app, "Show")
        assert app.error and "day: required" in texts(app)
        app.text_input[0].set_value("Friday")
        press(app, "Show")
        assert not app.error and "Plan my Friday" in texts(app)
    """)


def test_the_servers_stand_beside_each_page(drive, tmp_path):
    (tmp_path / "mcp.json").write_text(json.dumps(NOTES))
    drive("""
        app = AppTest.from_file(MAIN, default_timeout=100).run()
        assert not app.exception and any("connected" in m.value for m in app.sidebar.markdown)
        # another page of the same process: what is open is shown, and nothing is started for it
        from aionest.app import state
        assert state.opened() is not None and state.opened().status["notes"].connections == 1
    """)


def test_a_call_is_made_again_exported_and_compared(drive, tmp_path):
    (tmp_path / "mcp.json").write_text(json.dumps(NOTES))
    drive("""
        app = page("tools")
        for number in (1, 2):
            choose(app, "notes__read")
            app.number_input(key="notes__read/id").set_value(number)
            press(app, "Call")
        choose(app, "notes__list")
        labels = [one.label.replace(chr(92), "").replace(chr(0x200b), "") for one in app.expander]
        assert "notes__read" in labels[0] and "id=2" in labels[0] and "done" in labels[0] and "ms" in labels[0], labels
        app.button(key="run 1").click().run()
        assert not app.exception, app.exception
        past = app.session_state["past"]
        assert [one.arguments for one in past.entries] == [{"id": 1}, {"id": 2}, {"id": 1}] and past.tool == "notes__read"
        assert app.number_input(key="notes__read/id").value == 1
        app.run()
        assert len(past.entries) == 3  # once
        assert "loader.call('notes.read', {'id': 1})" in texts(app) and "aionest mcp call notes.read" in texts(app)
        assert "-  \\"id\\": 2" in texts(app).replace("- \\"id", "-  \\"id") or '- "id": 2' in texts(app), texts(app)
    """)


def test_the_list_is_searched_grouped_and_says_what_is_dangerous(drive, tmp_path):
    lab = {"command": sys.executable, "args": [str(tmp_path / "server.py")]}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {**NOTES["mcpServers"], "x": lab}}))
    drive("""
        app = page("tools")
        label = lambda name: app.button(key=f"pick notes__{name}").label
        assert "read-only" in label("list") and "destructive" in label("remove") and ":" not in label("add")
        listed = lambda: [b.key for b in app.button if str(b.key).startswith("pick ")]
        assert {key.partition("__")[0] for key in listed()} == {"pick notes", "pick x"}
        choose(app, "x__echo")
        app.text_input(key="search").set_value("destroy for good").run()
        assert listed()[0] == "pick notes__remove", listed()
        assert "x__echo of server" in texts(app).replace("*", "")  # what was chosen stays
        app.text_input(key="search").set_value("title of pic").run()
        assert listed()[0] == "pick x__picture"
        app.text_input(key="search").set_value("").run()
        app.selectbox(key="server").select("x").run()
        assert {key.partition("__")[0] for key in listed()} == {"pick x"}
    """)


def test_messages_are_listed_with_what_they_answer(drive, tmp_path):
    (tmp_path / "mcp.json").write_text(json.dumps(NOTES))
    drive("""
        app = page("tools")
        choose(app, "notes__list")
        press(app, "Call")
        from aionest.app import state
        app = page("messages")
        plain = lambda: [one.label.replace(chr(92), "").replace(chr(0x200b), "") for one in app.expander]
        assert any("sent **tools/call**" in one for one in plain()), plain()
        assert any("received **tools/call** :green[result]" in one and "ms" in one for one in plain()), plain()
        assert any("**notifications/initialized**" in one for one in plain())
        app.text_input(key="messages with").set_value("water the plants").run()
        assert len(app.expander) == 1 and "received" in plain()[0] and "Water the plants" in texts(app)
        app.selectbox(key="messages way").select("Sent").run()
        assert not app.expander and "No message matches" in texts(app)
        press(app, "Clear")
        assert not state.journal.messages()
    """)


def test_latencies_are_those_of_calls_that_ended():
    from aionest.app.state import Call
    from aionest.app.views.sessions import latencies

    calls = [Call("a", "s", "b", "p", 10.0, 10.0 + took, "done") for took in (0.1, 0.2, 0.6)]
    calls += [
        Call("a", "s", "b", "p", 10.0, 99.0, "stopped"),
        Call("c", "s", "b", "p", 10.0, 10.5, "failed"),
        Call("d", "s", "b", "p", 1.0),
    ]
    first, second = latencies(calls)
    assert (first["tool"], first["calls"], second["tool"]) == ("a", 3, "c")
    assert [round(first[name]) for name in ("fastest", "median", "slowest")] == [100, 200, 600]


def test_the_list_is_indexed_once_for_all_searches(monkeypatch):
    from aionest.app import picker
    from aionest.app.past import Past
    from aionest.mcp import Tool

    made = []
    monkeypatch.setattr(picker, "ToolsRetriever", lambda make=picker.ToolsRetriever: made.append(1) or make())
    tools, past = [Tool(name, description=f"does {name}") for name in ("one", "two", "three")], Past()
    for query in ("one", "does two", "three"):
        assert picker._fitting(list(tools), query, past)
    assert len(made) == 1
    assert [tool.name for tool in picker._fitting(tools[1:], "does three", past)][0] == "three" and len(made) == 2


@pytest.mark.slow
def test_the_report_is_texts_and_no_python(drive):
    drive("""
        report = page("about").table[0].value["version"]
        assert "asyncio.run, BaseEventLoop.run_forever" in report["apply() patches"], report
        assert not [key for key, value in report.items() if str(value)[:1] in ("[", "{", "-")], report
    """)


@pytest.mark.parametrize("kind", ["integer", "number"])
def test_a_default_that_no_field_could_show_is_none(kind):
    from aionest.app import forms

    for value in (10**400, -(10**400), float("inf"), float("nan"), True, "5"):
        assert forms._written(kind, value) is None
    assert forms._written(kind, 5.0) == 5
