"""What servers ask amid a call: it is shown as plain text with the name of who asks, answered, declined, or ended with its call."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import support

support.needs("streamlit", "mcp", "typer")

pytestmark = pytest.mark.slow

BARE = Path(__file__).parent.parent.parent / "examples" / "servers" / "bare.py"
BEGIN = """
import aionest.app, json
from streamlit.testing.v1 import AppTest
from aionest.app import asking, state, widgets

def page():
    text = "import aionest; aionest.apply(); from aionest.app import views; views.tools()"
    return AppTest.from_string(text, default_timeout=100).run()

def press(app, label):
    next(b for b in app.button if b.label == label).click().run()
    assert not app.exception, app.exception

def called(name, app=None, **given):
    app = app or page()
    app.button(key=f"pick {name}").click().run()
    for field, value in given.items():
        {one.key: one for one in [*app.text_input, *app.text_area]}[f"{name}/{field}"].set_value(value)
    press(app, "Call")
    return app

def shown(app):
    return "\\n".join(one.value for kind in ("markdown", "text", "code", "error", "caption") for one in getattr(app, kind)).replace(chr(92), "")
"""


@pytest.fixture
def drive(driver):
    servers = {
        "notes": {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]},
        "lab": {"command": sys.executable, "args": [str(BARE)]},
    }

    begun = driver(servers, BEGIN)

    def run(body):
        done = begun(body)
        assert "Traceback" not in done.stderr, done.stderr

    return run


def test_a_question_is_answered(drive):
    drive("""
        app = called("notes__clear")
        assert "**notes** asks you:" in shown(app) and "There are 3 notes." in shown(app), shown(app)
        app.checkbox[0].check()
        press(app, "Answer")
        assert "all notes are removed" in shown(app), shown(app)
        assert "asks you" not in shown(app)
        assert (state.journal.count("done"), state.journal.count("running")) == (1, 0)
    """)


def test_a_question_waits_over_reruns_and_is_declined(drive):
    drive("""
        app = called("notes__clear")
        for _ in range(3):
            app.run()
            assert "There are 3 notes." in shown(app)
        app.button(key="pick notes__list").click().run()  # another tool is looked at
        assert "There are 3 notes." in shown(app) and state.journal.count("running") == 1
        press(app, "Decline")
        app.button(key="pick notes__clear").click().run()
        assert "nothing was removed" in shown(app), shown(app)
    """)


def test_the_call_is_cancelled_instead(drive):
    drive("""
        app = called("notes__clear")
        press(app, "Cancel the call")
        assert "Stopped before there was a result." in shown(app)
        assert asking.desk.question("notes") is None
        if widgets._HORIZONTAL:  # the oldest test driver keeps what a run showed before st.rerun()
            assert "There are 3 notes." not in shown(app), shown(app)
        assert (state.journal.count("stopped"), state.journal.count("running")) == (1, 0)
        app = called("notes__list")
        assert "Buy milk" in str(app.dataframe[0].value)
    """)


def test_a_person_answers_for_a_model(drive):
    drive("""
        app = called("notes__summarize")
        assert "**notes** asks for a model's answer" in shown(app) and "user: Sum up in a sentence:" in shown(app)
        next(one for one in app.text_area if one.label == "Answer").set_value("Three errands.")
        press(app, "Answer")
        assert "Three errands." in shown(app), shown(app)
        app = called("notes__summarize")
        press(app, "Decline")
        assert "asks" not in shown(app) and state.journal.count("running") == 0
    """)


def test_what_does_not_fit_is_said_and_asked_again(drive):
    drive("""
        schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 3}}}
        params = {"message": "How many?", "requestedSchema": schema}
        app = called("lab__ask", method="elicitation/create", params=json.dumps(params))
        app.number_input[0].set_value(1)
        press(app, "Answer")
        assert app.error and "How many?" in shown(app), shown(app)
        app.number_input[0].set_value(4)
        press(app, "Answer")
        assert '"n": 4' in shown(app) or '"n": 4' in str([one.value for one in app.json]), shown(app)
    """)


def test_all_that_is_asked_is_plain_text_and_bounded(drive):
    drive("""
        evil = "![x](http://evil/x.png) <b>bold</b> **not from lab** [go](http://evil)\\u202e"
        properties = {"a": {"type": "string", "title": evil, "description": evil, "default": evil}}
        params = {"message": evil + "x" * 100_000, "requestedSchema": {"type": "object", "properties": properties}}
        app = called("lab__ask", method="elicitation/create", params=json.dumps(params))
        question = next(one for one in app.text if "evil" in one.value)  # st.text knows no Markdown
        assert len(question.value) < 6_000 and chr(0x202e) not in question.value
        field = next(one for one in app.text_input if "evil" in one.label)
        escaped = lambda text: chr(92) + "](http:" + chr(0x200b) + "//evil" in text and "*not" not in text.replace(chr(92) + "*", "")
        assert escaped(field.label) and len(field.label) < 1_000, field.label
        assert escaped(field.help), field.help
        assert not [one.value for one in app.markdown if "evil" in one.value]
        press(app, "Decline")
    """)


def test_nobody_is_asked_where_nobody_calls(drive):
    drive("""
        from aionest.streamlit import tools_loader
        page()
        loader = state.opened()
        assert loader.call("notes.clear").text == "nothing was removed"
        declined = loader.call("lab.ask", {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 5}})
        assert json.loads(declined.text)["code"] == -1, declined
    """)


def test_two_browsers_and_the_first_answer_counts(drive):
    drive("""
        first, second = called("notes__clear"), called("notes__clear")
        assert "There are 3 notes." in shown(first) and "There are 3 notes." in shown(second)
        for app in (first, second):
            press(app, "Decline")
        for app in (first, second):
            app.run()
        while state.journal.count("running"):
            for app in (first, second):
                declining = [b for b in app.button if b.label == "Decline"]
                declining[0].click().run() if declining else app.run()
        assert state.journal.count("done") == 2
    """)
