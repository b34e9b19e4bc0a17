"""The assistant page against a real endpoint on this machine and a real MCP server; the protocol from bytes cut anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import forked
import pytest
import support
from app_browser import PATIENCE
from endpoint import SAYING, Handler, calling, delta, events, fragment
from hypothesis import given
from hypothesis import strategies as st
from servers import SERVER
from support import eventually, free_port, listens
from web import serving

support.needs("streamlit", "mcp", "typer")

from aionest.app.chat import ChatError, Endpoint, Events, Reply, stream

BAD_WORDS = ("Traceback", "cancel scope", "CancelledError", "was never awaited", "was destroyed", "RuntimeError")
SHOTS = Path(os.environ.get("AIONEST_SCREENSHOTS") or "/nonexistent")
KEY = "sk-not-to-be-seen"


@pytest.fixture
def endpoint():
    """An endpoint that gives the answers it is told to, and keeps the requests."""
    # threads are joined at the end, so none is left
    with serving(Handler, daemon_threads=False, answers=[], requests=[], closed=[], hold=False) as server:
        server.base += "/v1"
        yield server


# -- the protocol


def parsed(pieces):
    parser, reply = Events(), Reply()
    for piece in pieces:
        for data in parser.feed(piece):
            reply.add(data)
    for data in parser.feed(b"", final=True):
        reply.add(data)
    return reply


WHOLE = events(
    delta(role="assistant", content=""),
    delta(content="Zwölf Boxkämpfer 🥊\r\n"),
    delta(tool_calls=[fragment(0, "a", "one__add", '{"a"')]),
    delta(tool_calls=[fragment(1, "b", "one__echo"), fragment(0, arguments=": 4}")]),
    delta(tool_calls=[fragment(1, arguments='{"text": "ü"}')]),
    delta("tool_calls"),
    {"choices": [], "usage": {"total_tokens": 3}},
)


@given(st.lists(st.integers(0, len(WHOLE))), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_fragments_split_anywhere_give_the_same_answer(cuts, end):
    data = WHOLE.replace(b"\n", end)
    cuts = [0, *sorted(cuts), len(data)]
    reply = parsed([data[a:b] for a, b in zip(cuts, cuts[1:])])
    assert reply.text == "Zwölf Boxkämpfer 🥊\r\n" and reply.done and reply.finish == "tool_calls"
    assert [(c["id"], c["function"]["name"], json.loads(c["function"]["arguments"])) for c in reply.calls] == [
        ("a", "one__add", {"a": 4}),
        ("b", "one__echo", {"text": "ü"}),
    ]


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_fail_otherwise_than_it_says(data):
    try:
        parsed([data, b"\n\ndata: " + data])
    except ChatError:
        pass


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["choices", "delta", "content", "tool_calls", "index", "id", "function", "arguments"]),
                inner,
            )
        ),
    )
)
def test_no_json_makes_it_fail_otherwise_than_it_says(value):
    for chunk in (value, {"choices": [value]}, {"choices": [{"delta": value}]}, delta(tool_calls=[value])):
        reply = Reply()
        try:
            reply.add(json.dumps(chunk))
        except ChatError:
            continue
        json.dumps(reply.message())


def test_an_event_of_several_lines_comments_and_no_last_empty_line():
    parser = Events()
    assert parser.feed(b": keep-alive\n\nevent: x\ndata: {\ndata: }\n\ndata:last") == ["{\n}"]
    assert parser.feed(b"", final=True) == ["last"]


def test_an_event_without_an_end_is_refused():
    parser = Events()
    with pytest.raises(ChatError, match="does not end"):
        for _ in range(20):
            parser.feed(b"data: " + b"x" * (1 << 20))


@pytest.mark.parametrize("with_index", [True, False])
def test_calls_that_come_whole_with_one_index_or_none_stay_apart(with_index):
    reply = Reply()
    for name in ("a", "b"):
        one = fragment(0, name, f"tool_{name}", "{}")
        if not with_index:
            del one["index"]
        reply.add(json.dumps(delta(tool_calls=[one])))
    assert [call["function"]["name"] for call in reply.calls] == ["tool_a", "tool_b"]


def test_calls_without_ids_get_some():
    reply = Reply()
    reply.add(json.dumps(delta(tool_calls=[fragment(0, None, "x", "{}"), fragment(1, None, "y", "{}")])))
    ids = [call["id"] for call in reply.message(taken=4)["tool_calls"]]
    assert len(set(ids)) == 2 and all(ids)


@pytest.mark.parametrize(
    "data, says",
    [
        ("{", "invalid JSON"),
        ("[]", "not part of an answer"),
        ('{"error": {"message": "overloaded", "code": 529}}', "overloaded"),
        ('{"error": "plain words"}', "plain words"),
    ],
)
def test_bad_events_are_said(data, says):
    with pytest.raises(ChatError, match=says):
        Reply().add(data)


def asked(base, key=KEY):
    async def main():
        reply = Reply()
        pieces = [piece async for piece in stream(Endpoint(base, "m", key), [], [], reply)]
        return pieces, reply

    return asyncio.run(main())


def test_a_streamed_answer(endpoint):
    endpoint.answers = [SAYING]
    pieces, reply = asked(endpoint.base + "/")
    assert pieces == ["Hello ", "there é"] and reply.text == "Hello there é"
    (request,) = endpoint.requests
    assert request["path"] == "/v1/chat/completions" and request["authorization"] == f"Bearer {KEY}"
    assert request["stream"] is True and "tools" not in request


def test_an_endpoint_that_does_not_stream(endpoint):
    message = {"role": "assistant", "content": "whole"}
    endpoint.answers = [(200, json.dumps({"choices": [{"message": message}]}).encode(), "application/json")]
    assert asked(endpoint.base)[0] == ["whole"]


@pytest.mark.parametrize(
    "answer, says",
    [
        (
            (401, f'{{"error": {{"message": "Wrong key {KEY}"}}}}'.encode(), "application/json"),
            r"\(401\).*Wrong key \*\*\*",
        ),
        ((500, b"<html>oh dear</html>", "text/html"), r"failed \(500\)\.$"),
        ((400, b'{"detail": "no such thing"}', "application/json"), r"\(400\)\. no such thing"),
        ((200, b"<html>welcome</html>", "text/html"), "not a chat-completions endpoint"),
        ((200, b"{nonsense", "application/json"), "invalid JSON"),
        ((200, b"{}", "application/json"), "neither text nor calls"),
        ((200, b"data: {nonsense\n\n", "text/event-stream"), "invalid JSON"),
        ((200, events(delta(content="half"), done=False), "text/event-stream"), "was cut off"),
    ],
)
def test_bad_answers_are_said_without_the_key(endpoint, answer, says):
    endpoint.answers = [answer]
    with pytest.raises(ChatError, match=says) as caught:
        asked(endpoint.base)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("base", ["nonsense", "ftp://host/v1", "http://[", "http://"])
def test_base_urls_that_are_none(base):
    with pytest.raises(ChatError):
        asked(base)


def test_nobody_there_and_keys_that_are_none():
    with pytest.raises(ChatError, match="cannot be reached"):
        asked(f"http://127.0.0.1:{free_port()}/v1")
    with pytest.raises(ChatError, match="characters") as caught:
        asked("http://127.0.0.1:9/v1", "geheim\nschlüssel")
    assert "geheim" not in str(caught.value)
    assert KEY not in repr(Endpoint("b", "m", KEY))


def test_cancelling_closes_the_connection(endpoint):
    endpoint.answers, endpoint.hold = [events(delta(content="half"), done=False)], True

    async def main():
        reply, begun = Reply(), asyncio.Event()

        async def read():
            async for _ in stream(Endpoint(endpoint.base, "m"), [], [], reply):
                begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return reply.text

    assert asyncio.run(main()) == "half"
    eventually(lambda: endpoint.closed)
    assert endpoint.closed == [b""]


# -- the page


@pytest.fixture
def drive(tmp_path):
    """Drives the page in a process of its own; gives what the program printed."""
    pids = tmp_path / "pids"
    config = tmp_path / "mcp.json"
    one = {"command": sys.executable, "args": [str(SERVER), "--pid-file", str(pids)]}
    config.write_text(json.dumps({"mcpServers": {"one": one}}))

    def drive(body, **environ):
        program = """
            import aionest, threading, time
            from streamlit.testing.v1 import AppTest
            page = AppTest.from_string(
                "import aionest; aionest.apply(); from aionest.app.views import assistant; assistant()",
                default_timeout=60,
            ).run()
            assert not page.exception, page.exception

            def say(text):
                page.chat_input[0].set_value(text).run()
                assert not page.exception, page.exception

            def click(label):
                next(b for b in page.button if b.label == label).click().run()
                assert not page.exception, page.exception

            def said():
                return [(m.name, [e.value for e in [*m.markdown, *m.text]]) for m in page.chat_message]
        """
        env = {k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")}
        env.update(environ, MCP_FILE=str(config), HOME=str(tmp_path))
        program = textwrap.dedent(program) + textwrap.dedent(body)
        r = forked.PAGES.run([sys.executable, "-c", program], timeout=100, env=env)
        assert r.returncode == 0, r.stdout + r.stderr
        assert not [word for word in BAD_WORDS if word in r.stderr], r.stderr
        assert KEY not in r.stdout + r.stderr
        for pid in pids.read_text().split():
            assert not os.path.exists(f"/proc/{pid}"), "a server is left"
        return r.stdout

    return drive


def settings(endpoint):
    base = endpoint if isinstance(endpoint, str) else endpoint.base
    return {"OPENAI_BASE_URL": base, "OPENAI_MODEL": "m", "OPENAI_API_KEY": KEY}


def test_without_an_endpoint_it_says_how_to_set_one(drive):
    output = drive("print(page.info[0].value, page.chat_input[0].disabled)")
    assert "OPENAI_BASE_URL" in output and output.endswith("True\n")


def test_a_chat_and_settings_in_the_page(drive, endpoint):
    endpoint.answers = [SAYING, SAYING]
    output = drive(
        f"""
        page.text_input(key="assistant base").set_value({endpoint.base!r}).run()
        page.text_input(key="assistant model").set_value("big").run()
        page.text_input(key="assistant key").set_value("typed-key").run()
        assert page.text_input(key="assistant key").value == ""
        say("hi")
        say("again")
        print(said())
        """,
        OPENAI_API_KEY=KEY,
    )
    there = ("assistant", ["Hello there é"])
    assert output == f"{[('user', ['hi']), there, ('user', ['again']), there]}\n"
    first, second = endpoint.requests
    assert first["authorization"] == "Bearer typed-key" and first["model"] == "big"
    assert "one__add" in [tool["function"]["name"] for tool in first["tools"]]
    assert [m["content"] for m in second["messages"]] == ["hi", "Hello there é", "again"]


def test_the_environments_key_goes_to_no_other_endpoint(drive, endpoint):
    endpoint.answers = [SAYING]
    drive(
        f"""
        page.text_input(key="assistant base").set_value({endpoint.base!r}).run()
        say("hi")
        """,
        **settings("http://127.0.0.1:9/v1"),
    )
    assert endpoint.requests[0]["authorization"] is None


def test_a_tool_runs_with_consent_and_once_allowed_without_asking(drive, endpoint):
    arguments = '{"a": 40, "b": 2}'
    endpoint.answers = [calling("one__add", arguments), SAYING, calling("one__add", arguments, "c2"), SAYING]
    output = drive(
        """
        say("add")
        assert any('"a": 40' in c.value for c in page.code), page.code
        assert {"Run", "Refuse"} <= {b.label for b in page.button}
        page.checkbox[0].check().run()
        click("Run")
        print(said()[-1])
        say("once more")
        print(said()[-1], "Run" in {b.label for b in page.button})
        """,
        **settings(endpoint),
    )
    assert output == "('assistant', ['Hello there é'])\n('assistant', ['Hello there é']) False\n"
    assert len(endpoint.requests) == 4
    call, result = endpoint.requests[1]["messages"][-2:]
    assert call["tool_calls"][0]["function"] == {"name": "one__add", "arguments": arguments}
    assert result == {"role": "tool", "tool_call_id": "c1", "content": "42"}
    assert endpoint.requests[0]["authorization"] == f"Bearer {KEY}"


def test_a_refused_call_does_not_run(drive, endpoint):
    endpoint.answers = [calling("one__count", "{}"), calling("one__count", "{}", "c2"), SAYING]
    drive('say("count")\nclick("Refuse")\nclick("Run")\nprint(said())', **settings(endpoint))
    assert "rejected" in endpoint.requests[1]["messages"][-1]["content"]
    assert endpoint.requests[2]["messages"][-1]["content"] == "1"  # so the first did not run


def test_calls_that_cannot_be_made_are_told_to_the_model_and_failures_too(drive, endpoint):
    endpoint.answers = [calling("none", "{}"), calling("one__add", '{"a": "x"}'), calling("one__fail", "{}"), SAYING]
    drive('say("try")\nclick("Run")\nassert said()[-1][1] == ["Hello there é"], said()', **settings(endpoint))
    last = [request["messages"][-1]["content"] for request in endpoint.requests]
    assert "no tool" in last[1] and "do not fit" in last[2] and "it failed" in last[3]


def test_going_on_without_an_answer_to_a_call(drive, endpoint):
    endpoint.answers = [calling("one__count", "{}"), SAYING]
    drive('say("count")\nsay("never mind")\nassert said()[-1][0] == "assistant"', **settings(endpoint))
    assert [m["role"] for m in endpoint.requests[1]["messages"]] == ["user", "assistant", "tool", "user"]


def test_rounds_have_a_limit(drive, endpoint):
    endpoint.answers = [calling("one__pid", "{}", f"c{n}") for n in range(10)] + [SAYING]
    drive(
        """
        say("loop")
        page.checkbox[0].check().run()
        click("Run")
        assert page.warning, said()
        click("Continue")
        assert said()[-1] == ("assistant", ["Hello there é"])
        """,
        **settings(endpoint),
    )
    assert len(endpoint.requests) == 11


def test_a_wrong_key_loses_nothing_and_can_be_tried_again(drive, endpoint):
    refusal = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}).encode()
    endpoint.answers = [(401, refusal, "application/json"), SAYING]
    output = drive(
        """
        say("precious words")
        print(page.error[0].value)
        print(said())
        click("Try again")
        assert not page.error
        print(said())
        """,
        **settings(endpoint),
    )
    error, before, after = output.splitlines()
    assert "(401)" in error and "Incorrect API key" in error
    assert before == "[('user', ['precious words'])]" and "Hello there" in after


def test_an_endpoint_that_is_not_there(drive):
    output = drive('say("hi")\nprint(page.error[0].value, said())', **settings(f"http://127.0.0.1:{free_port()}/v1"))
    assert "cannot be reached" in output and "('user', ['hi'])" in output


def test_images_of_the_model_are_not_fetched(drive, endpoint):
    endpoint.answers = [events(delta(content="see ![x](https://example.org/?q=secret)"), delta("stop"))]
    output = drive('say("hi")\nprint("![" in said()[-1][1][0])', **settings(endpoint))
    assert output == "False\n"


# -- the stop button


SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 3}}}
ASKED = {"method": "elicitation/create", "params": {"message": "How many?", "requestedSchema": SCHEMA}}
SHOWN = """
def shown():
    return "\\n".join(one.value for kind in ("markdown", "text", "error") for one in getattr(page, kind))

from aionest.app import asking, state
say("ask")
click("Run")
assert "**one** asks you:" in shown() and "How many?" in shown(), shown()
"""


def test_what_a_server_asks_amid_a_call_is_for_the_person(drive, endpoint):
    """It waits over reruns, is checked, and the call goes on with the answer."""
    endpoint.answers = [calling("one__ask", json.dumps(ASKED)), SAYING]
    drive(
        SHOWN
        + """
for _ in range(3):
    page.run()
    assert "How many?" in shown(), shown()
page.number_input[0].set_value(1)
click("Answer")
assert page.error and "How many?" in shown(), shown()
page.number_input[0].set_value(4)
click("Answer")
assert said()[-1][1] == ["Hello there é"], said()
assert (state.journal.count("done"), state.journal.count("running")) == (1, 0)
""",
        **settings(endpoint),
    )
    assert '"n": 4' in endpoint.requests[1]["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("does", "told", "outcome"),
    [
        ('click("Decline")', "decline", "done"),
        ('click("Cancel the call")\nsay("go on")', "stopped this call", "stopped"),
        ('say("never mind")', "stopped this call", "stopped"),
    ],
)
def test_a_question_that_is_not_answered(drive, endpoint, does, told, outcome):
    endpoint.answers = [calling("one__ask", json.dumps(ASKED)), SAYING]
    after = f"""
assert asking.desk.question("one") is None and page.session_state["assistant chat"].held is None
assert said()[-1][1] == ["Hello there é"], said()
assert (state.journal.count("{outcome}"), state.journal.count("running")) == (1, 0)
"""
    drive(f"{SHOWN}\n{does}\n{after}", **settings(endpoint))
    assert told in next(m["content"] for m in endpoint.requests[1]["messages"] if m["role"] == "tool")


def test_a_call_that_is_cancelled_while_the_page_waits_is_a_stopped_one(drive, endpoint):
    """As a later run of the script, or the end of the loader, does it."""
    endpoint.answers = [calling("one__echo", json.dumps({"text": "hi"})), SAYING]
    drive(
        """
from aionest.app import asking, state

def follow(work, *args, stock=asking.Work.follow, **options):
    assert work.future.cancel()
    return stock(work, *args, **options)

asking.Work.follow, stock = follow, asking.Work.follow
say("echo")
click("Run")
asking.Work.follow = stock
chat = page.session_state["assistant chat"]
assert not chat.open_calls() and not chat.waiting and [one.note for one in chat.entries][-1] == "stopped", chat.entries
assert (state.journal.count("stopped"), state.journal.count("running")) == (1, 0)
say("go on")
assert said()[-1][1] == ["Hello there é"], said()
""",
        **settings(endpoint),
    )
    assert "stopped this call" in next(m["content"] for m in endpoint.requests[1]["messages"] if m["role"] == "tool")


def test_a_new_chat_ends_the_call_that_waits(drive, endpoint):
    endpoint.answers = [calling("one__ask", json.dumps(ASKED))]
    after = """
click("New chat")
assert asking.desk.question("one") is None and state.journal.count("stopped") == 1 and not said()
"""
    drive(SHOWN + after, **settings(endpoint))


@contextlib.contextmanager
def in_a_browser(tmp_path, endpoint):
    """The page in Chromium, and its log, which must be clean in the end."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium here: apt-get install chromium")
    config = tmp_path / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"one": {"command": sys.executable, "args": [str(SERVER)]}}}))
    port = free_port()
    command = [sys.executable, "-m", "aionest", "app", "--config", str(config), "--server.port", str(port)]
    command += ["--server.headless", "true", "--browser.gatherUsageStats", "false"]
    env = {**os.environ, **settings(endpoint), "HOME": str(tmp_path)}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env)
    try:
        eventually(lambda: listens(port), "the app does not listen")
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            tab = browser.new_page()
            tab.set_default_timeout(PATIENCE)
            tab.goto(f"http://127.0.0.1:{port}/assistant")
            yield tab
            assert KEY not in tab.content()
            browser.close()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    finally:
        endpoint.hold = False
        if process.poll() is None:
            process.kill()
            process.wait()
    text = (tmp_path / "log").read_text()
    assert not [word for word in (*BAD_WORDS, KEY) if word in text], text


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_stop_closes_the_stream_and_keeps_what_was_said(tmp_path, endpoint):
    """In a browser: only there can something be clicked while the script runs."""
    endpoint.answers = [events(delta(content="The first half"), done=False), SAYING]
    endpoint.hold = True
    with in_a_browser(tmp_path, endpoint) as tab:
        box = tab.get_by_placeholder("Write a message")
        box.fill("tell me")
        box.press("Enter")
        tab.get_by_text("The first half").wait_for()
        tab.get_by_role("button", name="Stop", exact=True).click()
        tab.get_by_text("Stopped.").wait_for()
        assert tab.get_by_text("The first half").is_visible()
        eventually(lambda: endpoint.closed)
        assert endpoint.closed == [b""], [request["messages"] for request in endpoint.requests]
        endpoint.hold = False
        box.fill("go on")
        box.press("Enter")
        tab.get_by_text("Hello there").wait_for()
        tab.get_by_role("button", name="Stop", exact=True).wait_for(state="detached")
        if SHOTS.is_dir():
            tab.screenshot(path=SHOTS / "assistant.png")
    assert [m["content"] for m in endpoint.requests[1]["messages"]] == ["tell me", "The first half", "go on"]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_a_question_in_a_browser_and_the_end_of_a_call_that_goes_on_after_it(tmp_path, endpoint):
    """The form stands in the conversation; an answered call can be stopped; one that was stopped has been answered for the model."""
    endpoint.answers = [calling("one__ask", json.dumps(ASKED)), calling("one__sleep", '{"seconds": 600}', "c2"), SAYING]
    with in_a_browser(tmp_path, endpoint) as tab:
        box = tab.get_by_placeholder("Write a message")
        box.fill("ask")
        box.press("Enter")
        tab.get_by_role("button", name="Run", exact=True).click()
        tab.get_by_text("asks you").wait_for()
        if SHOTS.is_dir():
            tab.screenshot(path=SHOTS / "assistant-asked.png")
        tab.get_by_role("link", name="Tools").click()  # and back: it waits
        tab.get_by_role("heading", name="Tools").wait_for()
        tab.get_by_role("link", name="Assistant").click()
        tab.get_by_test_id("stForm").get_by_text("How many?").wait_for()
        tab.get_by_role("spinbutton").fill("5")
        tab.get_by_role("button", name="Answer").click()
        tab.get_by_role("button", name="Run", exact=True).click()
        tab.get_by_role("button", name="Stop", exact=True).click()
        box.fill("go on")
        box.press("Enter")
        tab.get_by_text("Hello there").wait_for()
        tab.get_by_role("button", name="Stop", exact=True).wait_for(state="detached")
    tools = [m["content"] for m in endpoint.requests[2]["messages"] if m["role"] == "tool"]
    assert '"n": 5' in tools[0] and "stopped this call" in tools[1], tools
