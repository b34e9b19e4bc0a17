"""Protocol 2026-07-28, which the SDK's 2.x line speaks: no handshake, no ping, changes only for who listens, questions as results."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import answering
import pytest
from support import eventually
from web import Quiet, serving

pytest.importorskip("mcp")

from aionest.mcp import ProtocolError, sdk

SERVER = Path(__file__).parent.parent.parent / "examples" / "servers" / "modern.py"
ONE = {"one": {"command": sys.executable, "args": [str(SERVER)]}}
needs_2 = pytest.mark.skipif(not sdk.V2, reason="only the SDK's 2.x line speaks it")

SDK_SERVER = """
from mcp.server.mcpserver import Context, MCPServer
server = MCPServer("both")
@server.tool()
def echo(text: str) -> str:
    return text
@server.tool()
async def change(ctx: Context) -> str:
    server.add_tool(lambda: "later", name="later", description="later")
    await ctx.notify_tools_changed()  # tells those who listen, and nobody else
    return "changed"
server.run("stdio")
"""


@needs_2
def test_a_server_without_a_handshake(make_loader):
    loader = make_loader(ONE)
    assert not loader.errors, loader.errors
    status = loader.status["one"]
    assert (status.protocol, status.server, status.version) == ("2026-07-28", "modern", "1.0")
    assert loader.call("one.echo", {"text": "hi"}).text == "hi"
    assert loader.ping("one") > 0
    assert loader.health()["one"].state == "connected"


@needs_2
def test_changes_are_listened_for(make_loader):
    loader = make_loader(ONE)
    eventually(lambda: loader.call("one.listeners").text == "1")
    loader.call("one.change")
    eventually(lambda: "one__later" in loader.tools)
    assert loader.call("one.later").text == "later"


@needs_2
def test_questions_within_a_call(make_loader):
    asked = []

    def elicitation(params):
        asked.append(params.message)
        return {"name": "Ada"}

    assert '"Ada"' in make_loader(ONE, elicitation=elicitation).call("one.ask").text
    assert asked == ["Your name?"]
    with pytest.raises(ProtocolError, match="elicitation"):
        make_loader(ONE).call("one.ask")


@needs_2
def test_a_server_of_the_sdk_that_speaks_both(make_loader):
    both = {"command": sys.executable, "args": ["-c", SDK_SERVER], "connect_timeout": 120}
    loader = make_loader({"old": {**both, "protocol": "legacy"}, "both": both})
    assert not loader.errors, loader.errors
    assert loader.status["old"].protocol < loader.status["both"].protocol == "2026-07-28"
    for name in ("old", "both"):
        assert loader.call(f"{name}.echo", {"text": "hi"}).structured == {"result": "hi"}
    loader.call("both.change")
    eventually(lambda: "both__later" in loader.tools)


LOGGING_SERVER = """
from mcp.server.mcpserver import Context, MCPServer
server = MCPServer("logs", instructions="Call shout first.")
@server.tool()
async def shout(ctx: Context) -> str:
    await ctx.info("from the tool")
    return "done"
server.run("stdio")
"""


@needs_2
@pytest.mark.parametrize("protocol", ["legacy", "auto", "modern"])
def test_log_messages_arrive(make_loader, protocol):
    logs = []
    one = {"command": sys.executable, "args": ["-c", LOGGING_SERVER], "connect_timeout": 120, "protocol": protocol}
    loader = make_loader({"one": one}, on_log=lambda *args: logs.append(args))
    assert not loader.errors, loader.errors
    assert loader.call("one.shout").text == "done"
    eventually(lambda: ("one", "info", "from the tool") in logs)


class Modern(Quiet):
    """Streamable HTTP of protocol 2026-07-28 and no other. What is not, is refused with 400 and the body that the test names."""

    protocol_version = "HTTP/1.1"

    def reply(self, status, document):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(document, bytes) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply(405, b"")

    do_DELETE = do_GET

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body["method"])
        meta = (body.get("params") or {}).get("_meta") or {}
        if self.headers.get("Mcp-Protocol-Version") != "2026-07-28" or len(meta) < 2:
            refusal = self.server.refusal
            return self.reply(400, {"jsonrpc": "2.0", "id": body.get("id"), "error": refusal} if refusal else b"")
        info = {"io.modelcontextprotocol/serverInfo": {"name": "modern", "version": "1.0"}}
        tools = [{"name": "echo", "inputSchema": {"type": "object"}}]
        kept = {"cacheScope": "private", "ttlMs": 0, "resultType": "complete"}
        known = {
            "server/discover": {
                "capabilities": {"tools": {}},
                "supportedVersions": ["2026-07-28"],
                "_meta": info,
                **kept,
            },
            "tools/list": {"tools": tools, **kept},
            "tools/call": {"content": [{"type": "text", "text": "here"}], "resultType": "complete"},
        }
        result = known.get(body["method"])
        if result is None:
            error = {"code": -32601, "message": "Method not found"}
            return self.reply(200, {"jsonrpc": "2.0", "id": body["id"], "error": error})
        return self.reply(200, {"jsonrpc": "2.0", "id": body["id"], "result": result})


REFUSALS = [
    {"code": -32020, "message": "Header mismatch"},
    {"code": -32022, "message": "Unsupported protocol version", "data": {"supported": ["2026-07-28"]}},
    {"code": -32600, "message": "Invalid request"},
    None,
]


@pytest.fixture(params=REFUSALS, ids=lambda one: str(one["code"]) if one else "400")
def modern_url(request):
    with serving(Modern, refusal=request.param, asked=[]) as server:
        yield f"{server.base}/mcp"


@needs_2
def test_a_server_of_the_newest_protocol_only_over_http(make_loader, modern_url):
    loader = make_loader({"one": {"url": modern_url}})
    assert not loader.errors, loader.errors
    assert loader.status["one"].protocol == "2026-07-28" and loader.call("one.echo").text == "here"


def test_refused_credentials_are_told_whatever_comes_after_them(make_loader, modern_url, monkeypatch):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.reply(403 if body["method"] == "server/discover" or not sdk.V2 else 400, b"")

    monkeypatch.setattr(Modern, "do_POST", do_POST)
    loader = make_loader({"one": {"url": modern_url}})
    assert "HTTP 403" in loader.errors["one"], loader.errors


@pytest.mark.skipif(sdk.V2, reason="2.x speaks it")
def test_the_line_that_does_not_speak_it_says_so_over_http(make_loader, modern_url):
    loader = make_loader({"one": {"url": modern_url}})
    assert "mcp>=2" in loader.errors["one"], loader.errors


@pytest.mark.skipif(sdk.V2, reason="2.x speaks it")
@pytest.mark.parametrize("protocol", ["auto", "modern"])
def test_the_line_that_does_not_speak_it_says_so(make_loader, protocol):
    loader = make_loader({"one": {**ONE["one"], "protocol": protocol}})
    assert set(loader.errors) == {"one"} and "mcp>=2" in loader.errors["one"], loader.errors


def test_without_it(make_loader):
    loader = make_loader({"one": {**ONE["one"], "protocol": "legacy"}})
    assert "Method not found" in loader.errors["one"]


# Takes what it does not know without a word, as some do, and keeps a record of what it was asked
PLAIN_SERVER = """
import json, os, sys
with open(sys.argv[1], "a") as asked:
    def send(number, **answer):
        print(json.dumps({"jsonrpc": "2.0", "id": number, **answer}), flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        asked.write(f"{os.getpid()} {message['method']}\\n")
        asked.flush()
        number, method = message.get("id"), message["method"]
        if method == "initialize":
            if sys.argv[2] == "late":  # slow to start, and modern only: it has read both by now
                about = {"capabilities": {}, "supportedVersions": ["2026-07-28"], "resultType": "complete"}
                send(discover, result={**about, "cacheScope": "private", "ttlMs": 0})
                send(number, error={"code": -32601, "message": "Method not found"})
                continue
            about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "plain", "version": "1"}}
            send(number, result={"protocolVersion": "2025-11-25", **about})
        elif method == "tools/list":
            kept = {"cacheScope": "private", "ttlMs": 0, "resultType": "complete"}
            send(number, result={"tools": [{"name": "t", "inputSchema": {"type": "object"}}], **kept})
        elif method == "server/discover":
            discover = number
        elif method == "tools/call":
            send(number, result={"content": [{"type": "text", "text": "done"}]})
"""


def plain(tmp_path, kind):
    """The settings of that server, and what each process of it was asked."""
    file = tmp_path / "asked"
    file.touch()

    def asked():
        found = {}
        for line in file.read_text().splitlines():
            pid, _, method = line.partition(" ")
            found.setdefault(pid, []).append(method)
        return list(found.values())

    return {"one": {"command": sys.executable, "args": ["-c", PLAIN_SERVER, str(file), kind], "timeout": 60}}, asked


@needs_2
def test_a_server_that_ignores_the_question_what_it_speaks_is_asked_once(make_loader, tmp_path, monkeypatch):
    import mcp.client.session as of_sdk

    assert sdk.of_line.PROBE < of_sdk.DISCOVER_TIMEOUT_SECONDS / 4
    monkeypatch.setattr(sdk.of_line, "PROBE", 0.05)
    monkeypatch.setattr(of_sdk, "DISCOVER_TIMEOUT_SECONDS", 600)  # whoever waits that long for it fails here
    config, asked = plain(tmp_path, "silent")
    loader = make_loader(config)
    assert not loader.errors and loader.status["one"].protocol == "2025-11-25"
    loader.restart("one")
    assert loader.call("one.t").text == "done"
    first, second = asked()
    assert first[:3] == ["server/discover", "initialize", "notifications/initialized"]
    assert second[:2] == ["initialize", "notifications/initialized"] and "server/discover" not in second


@needs_2
def test_a_server_of_the_newest_protocol_that_is_slow_to_start(make_loader, tmp_path, monkeypatch):
    monkeypatch.setattr(sdk.of_line, "PROBE", 0.05)
    config, asked = plain(tmp_path, "late")
    loader = make_loader(config)
    assert not loader.errors and loader.status["one"].protocol == "2026-07-28"
    assert loader.call("one.t").text == "done"  # its result does not say that it is complete, and is
    assert asked()[0][:2] == ["server/discover", "initialize"]


@needs_2
def test_who_asks_for_the_newest_protocol_only_waits_as_the_sdk_does(make_loader, tmp_path, monkeypatch):
    import mcp.client.session as of_sdk

    monkeypatch.setattr(sdk.of_line, "PROBE", 0.0)
    monkeypatch.setattr(of_sdk, "DISCOVER_TIMEOUT_SECONDS", 0.2)
    config, asked = plain(tmp_path, "silent")
    loader = make_loader({"one": {**config["one"], "protocol": "modern"}})
    assert set(loader.errors) == {"one"} and asked() == [["server/discover"]]


def says(status, body, kind="application/json", **headers):
    return lambda handler, number: handler.reply(status, body.replace(b"ID", number.encode()), kind, **headers)


# how servers that know handshakes only take the question what they speak
SURPRISED = {
    "500": says(500, b"oops", "text/plain"),
    "502 page": says(502, b"<html>", "text/html"),
    "405": says(405, b""),
    "404 error": says(404, b'{"jsonrpc":"2.0","id":ID,"error":{"code":-32601,"message":"x"}}'),
    "400 nobody's": says(400, b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no session"}}'),
    "400 odd error": says(400, b'{"jsonrpc":"2.0","id":ID,"error":{"code":"x","message":7}}'),
    "202": says(202, b"", None),
    "page": says(200, b"<html>", "text/html"),
    "empty": says(200, b""),
    "cut": says(200, b'{"jsonrpc":"2.0","id":ID,"resu'),
    "wide": says(200, '{"jsonrpc":"2.0","error":{"code":-32601,"message":"x"}}'.encode("utf-16")),
    "list": says(200, b'{"jsonrpc":"2.0","id":ID,"result":[]}'),
    "older only": says(
        200,
        b'{"jsonrpc":"2.0","id":ID,"result":{"supportedVersions":["2025-06-18"],"capabilities":{},"resultType":"complete"}}',
    ),
    "versions are none": says(
        400, b'{"jsonrpc":"2.0","id":ID,"error":{"code":-32022,"message":"x","data":{"supported":"2025-06-18"}}}'
    ),
    "stream without an answer": says(200, b": nothing\n\n", "text/event-stream"),
    "timeout by its own word": says(408, b'{"jsonrpc":"2.0","id":ID,"error":{"code":-32001,"message":"x"}}'),
}


@pytest.mark.parametrize("which", SURPRISED)
def test_a_server_that_is_surprised_by_the_question_gets_the_handshake(make_loader, which):
    with answering.serving(make_loader) as make:
        loader = make({}, discover=SURPRISED[which], protocol="auto")
        assert not loader.errors, loader.errors
        assert loader.call("s.good").text == "fine" and loader.status["s"].protocol == "2025-06-18"
