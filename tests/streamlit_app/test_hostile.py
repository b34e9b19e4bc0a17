"""Every page of the app with a server whose every text is an attack: nothing of it is markup, and nothing is without an end."""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap

import forked
import hostile
import pytest
import support
from web import Quiet, serving

support.needs("streamlit", "mcp", "typer")

from aionest._untrusted import for_cell, for_json, for_label, for_log, for_markdown, for_page, for_terminal

pytestmark = pytest.mark.slow

# what must not be where Markdown is drawn
LIVE = [
    "![x", "](", "<script", "<img", ":red[red", ":material/verified", "**Verified", "$\\frac{", f"http://{hostile.EVIL_HOST}",
    f"www.{hostile.EVIL_HOST}", f"@{hostile.EVIL_HOST}", "`code`", "~~no", "\n# H", "\n- list", "\n> q", "\n---", "\n|",
]  # fmt: skip

DRIVER = """
import json, os, re, sys
from streamlit.testing.v1 import AppTest

LIVE, ESCAPES = json.loads(os.environ["LIVE"]), json.loads(os.environ["ESCAPES"])
# of elements that draw text as it is; all else draws Markdown
PLAIN = {"text", "code", "json", "arrow_data_frame", "arrow_vega_lite_chart"}
PLAIN_FIELDS = {"options", "placeholder", "id", "default", "value", "values", "raw_values", "raw_value", "set_value", "string_value", "spec",
                "form_id", "icon", "language", "element_type", "color", "type", "key", "url"}
seen = 0

def strings(message, path=()):
    for field, value in message.ListFields():
        single = isinstance(value, (str, bytes, int, float)) or hasattr(value, "ListFields")
        for one in [value] if single else value.values() if hasattr(value, "items") else value:
            if isinstance(one, str):
                yield field.name, one
            elif hasattr(one, "ListFields"):
                yield from strings(one, (*path, field.name))

def walk(node):
    yield node
    for child in getattr(node, "children", {}).values():
        yield from walk(child)

def judge(app, where):
    global seen
    assert not app.exception, (where, app.exception)
    for node in walk(app._tree):
        proto = getattr(node, "proto", None)
        if proto is None or not hasattr(proto, "ListFields"):
            continue
        for name, text in strings(proto):
            seen += "Verified" in text
            assert len(text) < 150_000, (where, node.type, name, len(text))
            if name in PLAIN_FIELDS:
                continue
            for one in ESCAPES:
                assert one not in text, (where, node.type, name, one)
            if node.type in PLAIN:
                continue
            assert len(text) < 20_000, (where, node.type, name, len(text))
            bare = re.sub(r"\\\\.", "", text)
            drawn = "Markdown" in str(where)  # a person has asked for that view: what is harmless of it is drawn
            for one in [*LIVE[:5], "$\\frac{", *LIVE[8:11]] if drawn else LIVE:
                assert one not in bare, (where, node.type, name, one, text[:500])
    return app

def page(name):
    source = f"from aionest.app.views.{name} import {VIEWS[name]}\\n{VIEWS[name]}()"
    return judge(AppTest.from_string(source, default_timeout=60).run(), name)

VIEWS = {"tools": "tools", "servers": "servers", "sessions": "sessions", "about": "about", "assistant": "assistant"}
"""


def drive(tmp_path, body, **env):
    file = tmp_path / "mcp.json"
    server = {"command": sys.executable, "args": [hostile.__file__]}
    gone = {"command": sys.executable, "args": ["-c", f"import sys; sys.stderr.write({hostile.ALL!r}); sys.exit(3)"]}
    file.write_text(json.dumps({"mcpServers": {"evil": server, "gone": gone}}))
    environ = {
        **os.environ,
        "MCP_FILE": str(file),
        "HOME": str(tmp_path),
        "LIVE": json.dumps(LIVE),
        "ESCAPES": json.dumps(hostile.ESCAPES),
        **env,
    }
    done = forked.PAGES.run([sys.executable, "-c", DRIVER + textwrap.dedent(body)], timeout=115, env=environ)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    assert "Verified" in done.stdout
    return done.stdout


@pytest.mark.parametrize(
    "half", [0, 1]
)  # each result is drawn again with the later ones: twice as many take four times as long
def test_tools_and_their_results(tmp_path, half):
    drive(
        tmp_path,
        """
        half = int(os.environ["HALF"])
        app = page("tools")
        names = [b for b in app.button if str(b.key).startswith("pick ")]
        assert len(names) > 5
        from aionest.app import state
        for tool in list(state.loader().tools.values())[half::2]:
            judge(app.button(key=f"pick {tool.name}").click().run(), tool.name)
            judge(next(b for b in app.button if b.label == "Call").click().run(), tool.name)
            for view in [r for r in [*app.radio, *getattr(app, "button_group", [])] if str(r.key).startswith("view")][:1]:
                for option in list(getattr(view, "options", [])):
                    again = [r for r in [*app.radio, *getattr(app, "button_group", [])] if r.key == view.key]
                    if again:
                        judge(again[0].set_value(getattr(option, "content", option)).run(), (tool.name, option))
        print("Verified" if seen else "")
        for name in ("servers", "sessions", *(["about"] if half else [])):
            page(name)
        """,
        HALF=str(half),
    )


def test_servers_after_calls(tmp_path):
    drive(
        tmp_path,
        """
        app = page("servers")
        judge(next(b for b in app.button if b.key == "restart evil").click().run(), "restart")
        judge(next(b for b in app.button if b.key == "restart gone").click().run(), "restart of what fails")
        judge(next(b for b in app.button if b.key == "test gone").click().run(), "test of what fails")
        judge(next(b for b in app.button if b.key == "reload").click().run(), "reload")
        print("Verified" if seen else "")
        """,
    )


class Model(Quiet):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        call = {"index": 0, "id": "c1", "function": {"name": "evil__say", "arguments": "{}"}}
        for part in (
            {"delta": {"role": "assistant", "tool_calls": [call]}},
            {"delta": {}, "finish_reason": "tool_calls"},
        ):
            self.wfile.write(f"data: {json.dumps({'choices': [part]})}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")


def test_what_is_consented_to_stands_in_our_words(tmp_path):
    with serving(Model) as model:
        drive(
            tmp_path,
            """
            app = page("assistant")
            judge(app.chat_input[0].set_value("hi").run(), "approval")
            said = [m.value for m in app.markdown]
            assert any("evil" in one and "say" in one for one in said), said
            titles = [t.value for t in app.text if t.value.startswith("The server calls it:")]
            assert len(titles) == 1 and len(titles[0]) < 250, titles
            judge(next(b for b in app.button if b.label == "Run").click().run(), "run")
            assert any("build" in e.label for e in app.expander)
            print("Verified" if seen else "")
            """,
            OPENAI_BASE_URL=f"{model.base}/v1",
            OPENAI_MODEL="m",
            OPENAI_API_KEY="k",
        )


@pytest.mark.parametrize("function", [for_cell, for_label, for_log, for_markdown, for_page, for_terminal])
def test_each_place(function):
    text = function(hostile.ALL)
    assert not [one for one in hostile.ESCAPES if one in text]
    assert "Verified" in text and "\r" not in text
    assert ("\n" in text) == (function in (for_markdown, for_page, for_terminal))
    assert len(function("x" * 3_000_000)) < 1_100_000
    assert function("") == "" and function(None) == "None"
    if function in (for_label, for_markdown):
        bare = re.sub(r"\\.", "", text)
        assert not [one for one in LIVE if one in bare]


def test_plain_text_stays_as_it_is():
    text = "Größe: 5 µm, 日本語, עברית, 👩‍👧"  # noqa: RUF001
    assert for_terminal(text) == for_log(text) == for_cell(text) == for_page(text) == text
    assert json.loads(for_json(json.dumps(hostile.ALL, ensure_ascii=False))) == hostile.ALL
