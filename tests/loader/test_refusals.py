"""Servers that say no over HTTP with a reason: the reason is told. Redirects to elsewhere are not followed, and it is said where they lead."""

from __future__ import annotations

import json
import sys

import answering
import pytest
from support import eventually

pytest.importorskip("mcp")

from aionest.mcp import CallTimeout, ProtocolError, ServerUnavailable, ToolsError

SECRET = "s3cret-token"


@pytest.fixture
def web(make_loader):
    with answering.serving(make_loader) as make:
        yield make


def says_no(status, code, message, number=True, **more):
    def answer(handler, request):
        error = {"jsonrpc": "2.0", "id": int(request) if number else None, "error": {"code": code, "message": message}}
        handler.reply(status, json.dumps({**error, **more}).encode())

    return answer


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize(
    ("status", "code"),
    [(400, -32602), (400, -32000), (400, -32001), (404, -32601), (422, 7), (500, -32603), (503, 408)],
)
def test_a_status_with_an_error_reads_as_the_error(web, status, code, at_once):
    loader = web(says_no(status, code, "the tea is cold", number=code != 7), at_once=at_once)
    if at_once:
        assert "the tea is cold" in loader.errors["s"]
        return
    for _ in range(2):
        with pytest.raises(ProtocolError, match="the tea is cold") as caught:
            loader.call("s.bad")
        assert caught.value.rpc_code == code
    assert loader.call("s.good").text == "fine"
    assert loader.status["s"].connections == 1, "the session goes on"


@pytest.mark.parametrize("whose", [None, "server-error"])
def test_a_session_that_the_server_does_not_know_is_opened_anew(web, whose):
    """As servers made with the SDKs for TypeScript and Python say it after a restart."""
    calls = []

    def answer(handler, request):
        calls.append(request)
        if len(calls) == 1:
            says_no(400, -32000, "Bad Request: No valid session ID provided", id=whose)(handler, request)
        else:
            handler.reply(200, json.dumps({"jsonrpc": "2.0", "id": int(request), "result": answering.GOOD}).encode())

    loader = web(answer)
    assert loader.call("s.bad").text == "fine"
    assert loader.status["s"].connections == 2


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"no", b'{"error": "x"}', b'{"jsonrpc":"2.0","error":{"message":1,"code":"x"}}', b"\xff" * 9]
)
def test_a_status_with_anything_else_is_told(web, body):
    loader = web(lambda handler, number: handler.reply(400, body))
    with pytest.raises(ServerUnavailable, match="HTTP 400"):
        loader.call("s.bad")
    assert loader.call("s.good").text == "fine"


REDIRECTS = {
    "away": (307, f"http://user:{SECRET}@127.0.0.1:9/x?token={SECRET}", "http://127.0.0.1:9/x"),
    "as a GET": (302, "/elsewhere", "/elsewhere"),
    "see": (303, "/mcp/", "drops the request body"),
    "another scheme": (308, "ftp://127.0.0.1/x", "ftp://127.0.0.1/x"),
    "nowhere": (307, None, "without a usable Location"),
    "no address": (301, "http://[", ""),
    "circle": (307, "/mcp", "in a loop"),
}


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("which", REDIRECTS)
def test_a_redirect_that_is_not_followed_says_where_it_leads(web, which, at_once):
    status, location, said = REDIRECTS[which]
    headers = {"Location": location} if location else {}
    loader = web(lambda handler, number: handler.reply(status, b"", **headers), at_once=at_once, connect_timeout=30)
    if at_once:
        told = loader.failures["s"]
    else:
        with pytest.raises(ToolsError) as caught:
            loader.call("s.bad")
        told = caught.value
    assert said in str(told) and not isinstance(told, CallTimeout)
    assert SECRET not in str(told) and "Connection closed" not in str(told)
    if not at_once:
        assert loader.call("s.good").text == "fine"


def test_what_comes_after_a_redirect_is_looked_at_too(web):
    def answer(handler, number):
        if handler.path == "/mcp":
            handler.reply(307, b"", Location="/mcp/")
        else:
            handler.reply(202, b"", kind=None)

    loader = web(answer)
    with pytest.raises(ProtocolError, match="202"):
        loader.call("s.bad")
    assert loader.call("s.good").text == "fine"


OWN = """
import json, sys
waiting = []
def say(number, **what):
    print(json.dumps({"jsonrpc": "2.0", "id": number, **what}), flush=True)
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    about = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
    tools = [{"name": "t", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}]
    if m["method"] != "tools/call":
        say(m["id"], result={"initialize": about, "tools/list": {"tools": tools}}.get(m["method"], {}))
    elif "code" not in m["params"]["arguments"]:
        waiting.append(m["id"])
    else:
        say(m["id"], error={"code": m["params"]["arguments"]["code"], "message": "the tea is cold"})
        for number in waiting:
            say(number, result={"content": [{"type": "text", "text": "fine"}]})
        waiting.clear()
"""


@pytest.mark.parametrize("code", [-32000, -32001, 408, -32097])
def test_a_servers_own_error_is_neither_a_lost_connection_nor_a_timeout(make_loader, code):
    seen = []
    one = {"command": sys.executable, "args": ["-c", OWN], "protocol": "legacy", "timeout": 600}
    loader = make_loader({"s": one}, on_message=lambda *told: seen.append(told[2]))
    other = loader.submit("s.t", {})
    eventually(lambda: any("tools/call" in text for text in seen), "not sent")
    with pytest.raises(ProtocolError, match="the tea is cold") as caught:
        loader.call("s.t", {"code": code})
    assert caught.value.rpc_code == code
    assert other.result(60).text == "fine", "other calls go on"
    assert loader.status["s"].connections == 1 and "aionest/said" not in "".join(seen)


@pytest.mark.parametrize("code", [-32000, -32001])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_a_servers_own_error_over_http(web, code, kind):
    seen = []

    def answer(handler, number):
        said = f'{{"jsonrpc":"2.0","id":{number},"error":{{"code":{code},"message":"the tea is cold"}}}}'
        handler.reply(200, (f"data: {said}\n\n" if "event" in kind else said).encode(), kind)

    loader = web(answer, options={"on_message": lambda *told: seen.append(told[2])})
    with pytest.raises(ProtocolError, match="the tea is cold") as caught:
        loader.call("s.bad")
    assert caught.value.rpc_code == code and loader.call("s.good").text == "fine"
    assert loader.status["s"].connections == 1 and "aionest/said" not in "".join(seen)
