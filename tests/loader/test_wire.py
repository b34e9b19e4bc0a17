"""on_message: what goes over the wire, both ways, in order, without secrets."""

from __future__ import annotations

import subprocess
import sys

import pytest
from servers import SERVERS
from support import eventually

pytest.importorskip("mcp")

from aionest.mcp import ToolsLoader  # noqa: E402
from aionest.mcp.transport.asking import Asking  # noqa: E402

SECRET = 'tok"en\\of ünï'


def methods(seen, way):
    return [text.partition('"method": "')[2].partition('"')[0] for _, one, text in seen if one == way]


@pytest.fixture
def stdio():
    return {"one": {"command": sys.executable, "args": [str(SERVERS / "bare.py")], "env": {"TOKEN": SECRET}}}


def test_both_ways_in_order_and_without_secrets(stdio):
    seen = []
    with ToolsLoader(stdio, on_message=lambda *told: seen.append(told)) as loader:
        for text in ("first", SECRET, "x" * 100_000):
            assert str(loader.call("one.echo", {"text": text})) == text
        assert loader.call("one.fail").is_error
        eventually(lambda: sum('"first"' in text for *_, text in seen) == 2, "not told")
        eventually(lambda: methods(seen, "sent").count("tools/call") == 4, "not told")
    assert {server for server, *_ in seen} == {"one"}
    ways = [(way, '"first"' in text) for _, way, text in seen]
    assert ways.index(("sent", True)) < ways.index(("received", True))
    everything = "".join(text for *_, text in seen)
    assert "tok" not in everything.replace("token", "").replace("Token", "") and "***" in everything
    assert max(len(text) for *_, text in seen) < 21_000 and "more)" in everything
    assert "tools/list" in everything


def test_a_callback_that_fails_disturbs_nobody(stdio):
    def bad(*told):
        raise RuntimeError("on purpose")

    with ToolsLoader(stdio, on_message=bad) as loader:
        assert str(loader.call("one.echo", {"text": "x"})) == "x"


@pytest.mark.parametrize("events", [False, True], ids=["json", "events"])
def test_over_http(events, monkeypatch):
    asked = []
    ask = Asking.ask

    async def noting(self, *args):
        found = await ask(self, *args)
        asked.append(found is not None)
        return found

    monkeypatch.setattr(Asking, "ask", noting)
    command = [sys.executable, str(SERVERS / "bare_http.py"), *(["--events"] if events else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            servers = {"web": {"url": process.stdout.readline().strip(), "headers": {"X-Key": "secret-in-header"}}}
            seen = []
            with ToolsLoader(servers, on_message=lambda *told: seen.append(told)) as loader:
                assert str(loader.call("web.echo", {"text": "a secret-in-header"})) == "a secret-in-header"
                eventually(lambda: sum('"a ***"' in text for *_, text in seen) == 2, seen)
            assert "tools/call" in "".join(text for _, way, text in seen if way == "sent")
            assert asked == [True], "it went the short way, and was told of all the same"
        finally:
            process.kill()
