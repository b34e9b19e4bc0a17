"""Servers of either generation of the protocol: those that take the first question amiss, and those that are others after a while."""

from __future__ import annotations

import json
import sys

import pytest
from web import Answering, serving

pytest.importorskip("mcp")

from aionest.mcp import sdk

MODERN = "2026-07-28"
TOOLS = [{"name": "echo", "inputSchema": {"type": "object"}}]
ABOUT = {"name": "x", "version": "1"}
NEEDS_2 = pytest.mark.skipif(not sdk.V2, reason="1.x only makes the handshake")

FRAIL = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if method == "server/discover":
        {end}
    result = {{"tools/list": {{"tools": {tools}}}, "tools/call": {{"content": [{{"type": "text", "text": "here"}}]}}}}.get(method)
    if method == "initialize":
        result = {{"protocolVersion": "2025-06-18", "capabilities": {{"tools": {{}}}}, "serverInfo": {{"name": "x", "version": "1"}}}}
    if "id" in message:
        print(json.dumps({{"jsonrpc": "2.0", "id": message["id"], "result": result}}), flush=True)
"""


@pytest.mark.parametrize("end", ["sys.exit(3)", "raise RuntimeError('unknown method')", "sys.exit(0)"])
def test_a_server_that_ends_at_a_question_that_it_does_not_know(make_loader, tmp_path, end):
    file = tmp_path / "server.py"
    file.write_text(FRAIL.format(end=end, tools=TOOLS))
    loader = make_loader({"s": {"command": sys.executable, "args": [str(file)]}})
    assert not loader.errors, loader.errors
    assert loader.call("s.echo").text == "here"
    loader.restart("s")  # now it is known
    assert loader.call("s.echo").text == "here"


def test_a_server_that_cannot_start_is_started_once(make_loader, tmp_path):
    file, starts = tmp_path / "server.py", tmp_path / "starts"
    file.write_text(f"import sys\nopen({str(starts)!r}, 'a').write('x')\nsys.exit('no such database')")
    loader = make_loader({"s": {"command": sys.executable, "args": [str(file)]}})
    assert str(loader.errors["s"]).count("no such database") == 1
    assert starts.read_text() == "x"


class Web(Answering):
    """One that speaks what ``speaks`` says at the moment."""

    def do_GET(self):
        self.reply(405)

    def do_DELETE(self):
        self.reply(200)

    def error(self, number, code, message):
        self.reply(400, {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}})

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method, number = message["method"], message.get("id")
        self.server.asked.append(method)
        if self.server.speaks == "modern":
            return self.modern(method, number)
        if method == "server/discover" and self.server.speaks == "closes":
            self.close_connection = True
            return None
        if method == "server/discover" and self.server.speaks == "silent":
            self.server.stop.wait(30)
            self.close_connection = True
            return None
        if method != "initialize" and self.headers.get("mcp-session-id") != "one":
            return self.error("server-error", -32600, "Bad Request: Missing session ID")
        result = {"tools": TOOLS} if method == "tools/list" else {"content": [{"type": "text", "text": "legacy"}]}
        if method == "initialize":
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": ABOUT}
        if number is None:
            return self.reply(202)
        return self.reply(200, {"jsonrpc": "2.0", "id": number, "result": result}, Mcp_Session_Id="one")

    def modern(self, method, number):
        if self.headers.get("mcp-protocol-version") != MODERN:
            return self.error(number, self.server.code, "not that protocol")
        results = {
            "server/discover": {"supportedVersions": [MODERN], "capabilities": {"tools": {}}},
            "tools/list": {"tools": TOOLS},
            "tools/call": {"content": [{"type": "text", "text": "modern"}]},
        }
        result = results.get(method)
        if result is None:
            return self.error(number, -32601, "no such method")
        whole = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **result}
        return self.reply(200, {"jsonrpc": "2.0", "id": number, "result": whole})


def settings(web, **more):
    return {"web": {"url": f"{web.base}/mcp", **more}}


@NEEDS_2
@pytest.mark.parametrize("code", [-32020, -32022])
@pytest.mark.parametrize("kinds", [("modern", "legacy"), ("legacy", "modern")])
def test_a_server_that_is_of_another_generation_by_now(make_loader, kinds, code):
    with serving(Web, speaks=kinds[0], code=code, asked=[]) as web:
        loader = make_loader(settings(web))
        assert loader.call("web.echo").text == kinds[0]
        web.speaks = kinds[1]
        assert loader.call("web.echo").text == kinds[1]
        web.speaks = kinds[0]
        assert loader.call("web.echo").text == kinds[0]


@pytest.mark.parametrize("kind", ["closes", "silent"])
def test_a_server_that_leaves_the_question_unanswered(make_loader, kind):
    with serving(Web, speaks=kind, asked=[]) as web:
        loader = make_loader(settings(web, connect_timeout=9))
        assert not loader.errors, loader.errors
        assert loader.call("web.echo").text == "legacy"
        asked = len(web.asked)
        loader.restart("web")
        assert "server/discover" not in web.asked[asked:], "it is not asked again"


@pytest.mark.skipif(sdk.V2, reason="2.x speaks it")
def test_a_server_that_left_this_lines_protocol_behind_is_told_so(make_loader):
    with serving(Web, speaks="legacy", code=-32022, asked=[]) as web:
        loader = make_loader(settings(web))
        assert loader.call("web.echo").text == "legacy"
        web.speaks = "modern"
        with pytest.raises(Exception, match="mcp>=2"):
            loader.call("web.echo")
