"""What a server asks of the client, and what it is told: sampling, elicitation, roots, cancellations."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import sys
import threading
import time

import pytest
from servers import SERVER
from support import eventually

pytest.importorskip("mcp")

from aionest.mcp import CallTimeout, asking_server

ONE = {"one": {"command": sys.executable, "args": [str(SERVER)]}}
SAMPLE = {"messages": [{"role": "user", "content": {"type": "text", "text": "2+2?"}}], "maxTokens": 5}
QUESTION = {
    "message": "Your name?",
    "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
}


def ask(loader, method, params=None):
    return json.loads(loader.call("one.ask", {"method": method, "params": params or {}}).text)


def plain(params):
    time.sleep(0.01)  # a plain function runs in a thread: it may block
    return params.messages[0].content.text + " four"


async def coroutine(params):
    await asyncio.sleep(0.01)
    return {"content": {"type": "text", "text": "four"}, "model": "small"}


@pytest.mark.parametrize(("sampling", "said", "model"), [(plain, "2+2? four", "unnamed"), (coroutine, "four", "small")])
def test_sampling(make_loader, sampling, said, model):
    answer = ask(make_loader(ONE, sampling=sampling), "sampling/createMessage", SAMPLE)
    assert (answer["content"]["text"], answer["model"], answer["role"]) == (said, model, "assistant")


@pytest.mark.parametrize(
    ("given", "answer"), [({"name": "Ada"}, {"action": "accept", "content": {"name": "Ada"}}), (None, "decline")]
)
def test_elicitation(make_loader, given, answer):
    asked = []

    def elicitation(params):
        asked.append(params.message)
        return given

    got = ask(make_loader(ONE, elicitation=elicitation), "elicitation/create", QUESTION)
    assert asked == ["Your name?"]
    assert (got == answer) if given else (got["action"] == answer)


def test_who_asks_is_told(make_loader):
    told = []
    two = {**ONE, "two": ONE["one"]}

    async def elicitation(params):
        told.append(asking_server())

    def sampling(params):  # in a thread
        told.append(asking_server())

    loader = make_loader(two, elicitation=elicitation, sampling=sampling)
    ask(loader, "elicitation/create", QUESTION)
    loader.call("two.ask", {"method": "sampling/createMessage", "params": SAMPLE})
    assert told == ["one", "two"] and asking_server() is None


def test_a_completion_is_declined(make_loader):
    answer = ask(make_loader(ONE, sampling=lambda params: None), "sampling/createMessage", SAMPLE)
    assert (answer["code"], answer["message"]) == (-1, "declined by the person")


FORM = {
    "message": "Who?",
    "requestedSchema": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "default": "Ada"},
            "age": {"type": "integer", "default": 36},
            "sure": {"type": "boolean", "default": False},
            "odd": {"type": "object", "default": {"a": 1}},
            "odder": {"type": "array", "items": {"type": "integer"}, "default": [1]},
            "rank": {"type": "string"},
        },
    },
}


@pytest.mark.parametrize("as_sdk", [False, True])
@pytest.mark.parametrize("given", [{}, {"age": 3}, {"name": "", "sure": True, "rank": "x"}])
def test_what_an_answer_leaves_out_has_the_questions_defaults(make_loader, given, as_sdk):
    from aionest.mcp.sdk import types

    answer = types.ElicitResult(action="accept", content=given or None) if as_sdk else given
    got = ask(make_loader(ONE, elicitation=lambda params: answer), "elicitation/create", FORM)
    assert got == {"action": "accept", "content": {"name": "Ada", "age": 36, "sure": False, **given}}


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_defaults_are_no_answer_of_who_declines(make_loader, action):
    from aionest.mcp.sdk import types

    loader = make_loader(ONE, elicitation=lambda params: types.ElicitResult(action=action))
    got = ask(loader, "elicitation/create", FORM)
    assert got["action"] == action and not got.get("content")


def test_roots(make_loader, tmp_path):
    answer = ask(make_loader(ONE, roots=lambda: [tmp_path, "file:///srv/data"]), "roots/list")
    assert [root["uri"] for root in answer["roots"]] == [tmp_path.as_uri(), "file:///srv/data"]


@pytest.mark.parametrize("method", ["sampling/createMessage", "elicitation/create", "roots/list"])
def test_without_a_callback_the_server_gets_an_error(make_loader, method):
    params = {"sampling/createMessage": SAMPLE, "elicitation/create": QUESTION}.get(method)
    assert "code" in ask(make_loader(ONE), method, params)


def test_a_callback_that_fails_is_an_error_for_the_server_only(make_loader):
    def roots():
        raise RuntimeError("no disk")

    loader = make_loader(ONE, roots=roots)
    assert "code" in ask(loader, "roots/list")
    assert loader.call("one.echo", {"text": "on"}).text == "on"


def cancellations(loader, number):
    eventually(lambda: int(loader.call("one.cancellations").text) >= number)
    return int(loader.call("one.cancellations").text)


def test_the_server_is_told_of_a_deadline(make_loader):
    loader = make_loader(ONE)
    with pytest.raises(CallTimeout):
        loader.call("one.sleep", {"seconds": 60}, timeout=0.2)
    assert cancellations(loader, 1) == 1


def test_the_server_is_told_of_a_cancelled_call(make_loader):
    loader = make_loader(ONE)

    async def main():
        task = asyncio.create_task(loader.call_async("one.sleep", {"seconds": 60}))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert cancellations(loader, 1) == 1


@pytest.mark.slow
def test_a_deadline_stands_still_while_the_client_answers(make_loader):
    def elicitation(params):
        time.sleep(9)
        return {"name": "Ada"}

    loader = make_loader(ONE, elicitation=elicitation)
    answer = loader.call("one.ask", {"method": "elicitation/create", "params": QUESTION}, timeout=7)
    assert "Ada" in answer.text
    with pytest.raises(CallTimeout):
        loader.call("one.sleep", {"seconds": 60}, timeout=0.2)


def test_callbacks_that_wait_hold_nothing_else_up(make_loader):
    go_on, told = threading.Event(), []
    asked = min(32, (os.cpu_count() or 1) + 4) + 1  # more than a loop's own threads
    loader = make_loader({**ONE, "two": ONE["one"]}, elicitation=lambda params: go_on.wait(100) and {"name": "Ada"})
    with concurrent.futures.ThreadPoolExecutor(asked) as pool:
        try:
            waiting = [pool.submit(ask, loader, "elicitation/create", QUESTION) for _ in range(asked)]
            loader.call("two.progress", {"steps": 2}, progress=lambda *args: told.append(args))
            assert len(told) == 2 and not any(future.done() for future in waiting)
        finally:
            go_on.set()
        assert {future.result(60)["action"] for future in waiting} == {"accept"}


def test_a_reload_with_nothing_changed_waits_for_no_listener(make_loader, monkeypatch):
    from aionest.mcp.session import callbacks as module

    go_on = threading.Event()
    monkeypatch.setattr(module, "LISTENERS", 0.1)
    loader = make_loader(ONE, on_state=lambda status: go_on.wait(100))
    monkeypatch.setattr(module, "LISTENERS", 90.0)
    begin = time.monotonic()
    try:
        assert loader.reload().kept == ("one",)
        assert time.monotonic() - begin < 60  # not those 90 s
    finally:
        go_on.set()


@pytest.mark.parametrize("how", ["elicitation", "progress"])
def test_the_process_ends_though_a_callback_does_not(child, how):
    r = child(
        f"""
        import threading
        from aionest import portal
        from aionest.mcp import ToolsLoader
        from aionest.mcp.session import callbacks
        callbacks.LISTENERS = 0.1
        begun = threading.Event()
        def wait(*args):
            begun.set()
            threading.Event().wait()
        loader = ToolsLoader(config={ONE!r}, elicitation=wait)
        loader.load()
        if {how!r} == "progress":
            print(loader.call("one.progress", {{"steps": 1}}, progress=wait))
        else:
            question = {{"method": "elicitation/create", "params": {QUESTION!r}}}
            threading.Thread(target=loader.find("one.ask").call, args=(question,), daemon=True).start()
            begun.wait()
            threading.excepthook = lambda args: None
        portal().close(timeout=60)
        print("the end")
        """
    )
    assert r.returncode == 0 and r.stdout.splitlines()[-1] == "the end", r
