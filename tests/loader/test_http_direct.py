"""Tool calls over HTTP past the SDK's streams: the same on the wire as the SDK's, and the same outcomes."""

from __future__ import annotations

import asyncio
import functools
import http.server
import importlib
import json
import threading

import pytest
from support import eventually
from web import Answering, serving

pytest.importorskip("mcp")

from mcp.client.streamable_http import StreamableHTTPTransport

from aionest.mcp import ToolsError, sdk
from aionest.mcp.sdk.shortcut import PipeOut
from aionest.mcp.transport.asking import Asking

shortcut = importlib.import_module(f"aionest.mcp.sdk.shortcut_v{2 if sdk.V2 else 1}")
OF_CONNECTION = {"host", "content-length", "connection", "accept-encoding"}
SUM = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
TOOLS = [
    {"name": name, "inputSchema": {"type": "object"}, **({"outputSchema": SUM} if name == "wrong" else {})}
    for name in "json events spaced late log primed wrong error other cut cut-events moved together".split()
]
TOOLS += [{"name": str(status), "inputSchema": {"type": "object"}} for status in (202, 204, 400, 404, 500)]
MANY = 120  # more than the HTTP library's own clients have connections
LOG = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "on the way"}}


class Handler(Answering):
    """Answers a tool's call as its name says."""

    def events(self, *chunks, end=True):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        if end:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def setup(self):
        self.server.connections += 1
        super().setup()

    def do_GET(self):
        self.reply(405)

    def do_DELETE(self):
        self.reply(200)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method, number = body["method"], body.get("id")
        if method == "tools/call":
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.server.calls.append((self.path, headers, body))
            return self.call(body["params"]["name"], number)
        if "id" not in body:
            return self.reply(202)
        about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "web", "version": "1"}}
        if method == "initialize":
            result = {"protocolVersion": "2025-06-18", **about}
        elif method == "server/discover" and self.server.modern:
            result = {"supportedVersions": ["2026-07-28"], "cacheScope": "private", "ttlMs": 0, **about}
        elif method == "tools/list":
            result = {"tools": TOOLS, **({"cacheScope": "private", "ttlMs": 0} if self.server.modern else {})}
        else:
            error = {"code": -32601, "message": "no such method"}
            return self.reply(200, json.dumps({"jsonrpc": "2.0", "id": number, "error": error}).encode())
        answer = json.dumps({"jsonrpc": "2.0", "id": number, "result": {**result, "resultType": "complete"}}).encode()
        more = {"Mcp_Session_Id": "one", "Set_Cookie": "seen=1"} if method == "initialize" else {}
        return self.reply(200, answer, **more)

    def call(self, name, number):
        result = {"content": [{"type": "text", "text": name}], "isError": False, "resultType": "complete"}
        if name == "wrong":
            result["structuredContent"] = {"sum": "much"}
        message = {"jsonrpc": "2.0", "id": number, "result": result}
        if name == "error":
            message = {"jsonrpc": "2.0", "id": number, "error": {"code": -32602, "message": "no such thing"}}
        if name == "other":
            message["id"] = number + 1000
        data = json.dumps(message).encode()
        event = b"event: message\r\ndata: " + data + b"\r\n\r\n"
        if name.isdigit():
            return self.reply(int(name), b'{"error": "as told"}' if int(name) >= 400 else b"")
        if name == "moved" and self.path == "/mcp":
            return self.reply(307, Location="/moved")
        if name == "cut":
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[:20])
            self.close_connection = True
            return None
        if name == "cut-events":
            return self.events(event[:20], end=False)
        if name == "events":
            return self.events(event)
        if name == "spaced":  # a comment, and the event in pieces
            return self.events(b": wait\n\n", event[:9], event[9:30], event[30:])
        if name == "log":
            return self.events(b"data: " + json.dumps(LOG).encode() + b"\n\n", event)
        if name == "primed":
            return self.events(b"id: 1\ndata:\n\n", b"id: 2\n" + event)
        if name == "together":
            self.server.together.wait(15)
        if name == "late":  # the stream stays open, which keeps nobody waiting
            self.events(event, end=False)
            self.server.stop.wait(30)
            return None
        return self.reply(200, data)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 2 * MANY


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.skipif(not sdk.V2, reason="the 1.x line"))])
def web(request):
    together = threading.Barrier(MANY)
    with serving(Handler, kind=Server, modern=request.param, calls=[], connections=0, together=together) as server:
        server.url = f"{server.base}/mcp"
        yield server


@pytest.fixture
def load(web, make_loader):
    def load():
        return make_loader({"web": {"url": web.url, "headers": {"X-Mine": "yes"}, "retry": "never", "timeout": 20}})

    return load


@pytest.fixture
def left_to_the_sdk(monkeypatch):
    """Calls go the SDK's own way from now on."""

    def leave():
        monkeypatch.setattr(shortcut, "HttpOut", PipeOut)

    return leave


def test_the_request_is_the_sdks(load, web, left_to_the_sdk):
    arguments = {"text": "\u00e9\u2028\U0001f600", "more": {"a": None, "b": [1, 2.5, True, None], "c": {}}, "n": 10**30}
    loader = load()
    loader.call("web.json", arguments)
    loader.call("web.json", arguments, progress=lambda *args: None)
    left_to_the_sdk()
    loader = load()
    loader.call("web.json", arguments)
    loader.call("web.json", arguments, progress=lambda *args: None)
    mine, sdks = web.calls[:2], web.calls[2:]
    for (path, headers, body), (its_path, its_headers, its_body) in zip(mine, sdks):
        assert (path, body) == (its_path, its_body)
        assert {k: v for k, v in headers.items() if k not in OF_CONNECTION} == {
            k: v for k, v in its_headers.items() if k not in OF_CONNECTION
        }
        assert headers["x-mine"] == "yes" and headers["accept-encoding"] == its_headers["accept-encoding"]


def outcome(loader, name):
    try:
        return loader.call(f"web.{name}", {}).text
    except ToolsError as exc:
        return type(exc).__name__, str(exc)


@pytest.mark.parametrize(
    "name", "json events spaced late log primed wrong error cut cut-events moved 202 204 400 404 500".split()
)
def test_the_outcome_is_the_sdks(load, web, left_to_the_sdk, name):
    mine = outcome(load(), name)
    posts = len(web.calls)
    # a redirect is asked for by each; a request that its server has not taken is made again
    assert posts == {"moved": 3, "404": 2}.get(name, 1)
    if name in ("events", "late"):
        web.stop.set()
    left_to_the_sdk()
    assert outcome(load(), name) == mine
    assert len(web.calls) == posts + {"moved": 2, "404": 2}.get(name, 1)


def test_a_server_that_has_moved_is_asked_there(load, web):
    loader = load()
    for _ in range(3):
        assert loader.call("web.moved", {}).text == "moved"
    assert [path for path, *_ in web.calls] == ["/mcp", *["/mcp", "/moved"] * 3]


def test_an_answer_to_something_else(load, web):
    assert outcome(load(), "other") == "other"  # the SDK gives an answer the id of what it came for, and so do we


def test_a_connection_is_kept_after_its_events(load, web):
    loader = load()
    before = web.connections
    for _ in range(30):
        assert loader.call("web.events", {}).text == "events"
    assert web.connections - before < 8  # a call may come before the last one's stream has ended


def test_as_many_calls_are_in_flight_as_there_are(load):
    loader = load()

    async def all_of_them():
        return await asyncio.gather(*(loader.call_async("web.together", {}) for _ in range(MANY)))

    assert {result.text for result in asyncio.run(all_of_them())} == {"together"}


def test_an_open_stream_is_let_go(load, web):
    loader = load()
    for _ in range(5):
        assert loader.call("web.late", {}).text == "late"
    asking = eventually(lambda: _asking(loader))
    eventually(lambda: not asking._draining)


def _asking(loader):
    outgoing = loader._fleet.connections["web"].link.session.direct._http
    return outgoing._asking


def test_who_has_wrapped_the_sdk_sees_the_calls(load, web, monkeypatch):
    seen = []
    original = StreamableHTTPTransport._handle_post_request

    @functools.wraps(original)
    async def wrapper(self, *args, **keywords):
        seen.extend(["call"] * ("tools/call" in repr(args)))
        return await original(self, *args, **keywords)

    monkeypatch.setattr(StreamableHTTPTransport, "_handle_post_request", wrapper)
    loader = load()
    assert loader.call("web.json", {}).text == "json"
    assert len(seen) == 1


def test_calls_go_past_the_sdk(load, monkeypatch):
    asked = []
    ask = Asking.ask

    async def noting(self, number, line, headers):
        asked.append(await ask(self, number, line, headers))
        return asked[-1]

    monkeypatch.setattr(Asking, "ask", noting)
    loader = load()
    loader.call("web.json", {})
    loader.call("web.events", {})
    assert [one["content"][0]["text"] for one in asked] == ["json", "events"]
