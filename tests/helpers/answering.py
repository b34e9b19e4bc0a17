"""A server over streamable HTTP that answers as a test says."""

from __future__ import annotations

import contextlib
import json

import web

GOOD = {"content": [{"type": "text", "text": "fine"}]}
LONG = 600  # seconds: longer than any test


class Handler(web.Quiet):
    """Streamable HTTP; a call of a tool is answered as the test says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.reply(405, b"")

    do_DELETE = do_GET

    def reply(self, status, body, kind="application/json", length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        if length is not None:
            self.close_connection = True

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "id" not in body:
            return self.reply(202, b"")
        method = body["method"]
        if method == "server/discover" and self.server.discover is not None:
            return self.server.discover(self, str(body["id"]))
        if self.server.at_once or (method == "tools/call" and body["params"]["name"] != "good"):
            name = body.get("params", {}).get("name", "bad")
            return self.server.answers[name](self, str(body["id"]))
        result = {
            "initialize": {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "web", "version": "1"},
            },
            "tools/list": {
                "tools": [{"name": name, "inputSchema": {"type": "object"}} for name in [*self.server.answers, "good"]]
            },
            "tools/call": GOOD,
        }.get(method, {})
        answer = json.dumps({"jsonrpc": "2.0", "id": body["id"], "result": result}).encode()
        return self.reply(200, answer, Mcp_Session_Id="1")


@contextlib.contextmanager
def serving(make_loader):
    """Gives a function that makes a loader for the server, of which it is given the answers: one, or by tools.

    With ``at_once`` the answer is also that to the handshake; ``discover`` is the one to server/discover.
    """

    def make(answers, at_once=False, options=None, discover=None, **more):
        server.discover = discover
        server.answers, server.at_once = answers if isinstance(answers, dict) else {"bad": answers}, at_once
        return make_loader(
            {"s": {"url": f"{server.base}/mcp", "timeout": LONG, "protocol": "legacy", **more}}, **(options or {})
        )

    with web.serving(Handler, at_once=False, discover=None) as server:
        make.stop = server.stop
        yield make
