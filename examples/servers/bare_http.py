"""A small MCP server over streamable HTTP, standard library only, quick enough that a client's time can be told from its own.

Usage: bare_http.py [--events] [--legacy] [--port N]. It prints its URL once it listens.

It speaks 2025-11-25, with a session, and, but for ``--legacy``, 2026-07-28. Tools: ``echo`` (text) and ``add`` (a, b), whose result has
a schema. ``--events``: answers are streams of one event, as Python servers send them, else JSON. Connections are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json

parser = argparse.ArgumentParser()
parser.add_argument("--events", action="store_true")
parser.add_argument("--legacy", action="store_true")
parser.add_argument("--port", type=int, default=0)
options = parser.parse_args()

MODERN, LEGACY = "2026-07-28", "2025-11-25"
SUM = {"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]}
NUMBERS = {"a": {"type": "number"}, "b": {"type": "number"}}
TOOLS = [
    {
        "name": "echo",
        "description": "Give the text back",
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    },
    {
        "name": "add",
        "description": "Add two numbers",
        "inputSchema": {"type": "object", "properties": NUMBERS, "required": ["a", "b"]},
        "outputSchema": SUM,
    },
]
ABOUT = {"name": "bare-http", "version": "1.0"}
CAPABILITIES = {"tools": {"listChanged": False}}


def answer(method: str, params: dict, modern: bool) -> dict | None:
    more = {"resultType": "complete"} if modern else {}
    if method == "initialize":
        return {"protocolVersion": LEGACY, "capabilities": CAPABILITIES, "serverInfo": ABOUT}
    if method == "server/discover" and not options.legacy:
        info = {"io.modelcontextprotocol/serverInfo": ABOUT}
        found = {"supportedVersions": [MODERN, LEGACY], "capabilities": CAPABILITIES, "_meta": info}
        return {"cacheScope": "private", "ttlMs": 0, **found, "resultType": "complete"}
    if method == "tools/list":
        return {"tools": TOOLS, **({"cacheScope": "private", "ttlMs": 0} if modern else {}), **more}
    if method == "ping":
        return {}
    if method == "tools/call":
        arguments = params.get("arguments") or {}
        if params["name"] == "echo":
            return {"content": [{"type": "text", "text": arguments["text"]}], "isError": False, **more}
        total = {"sum": arguments["a"] + arguments["b"]}
        text = [{"type": "text", "text": json.dumps(total)}]
        return {"content": text, "structuredContent": total, "isError": False, **more}
    return None


class Server(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.rest += data
        while b"\r\n\r\n" in self.rest:
            head, _, body = self.rest.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            length = int(headers.get("content-length", 0))
            if len(body) < length:
                return
            self.rest = body[length:]
            self.answer(lines[0].split()[0], headers, body[:length])

    def answer(self, verb: str, headers: dict[str, str], body: bytes) -> None:
        if verb != "POST":
            return self.send("200 OK" if verb == "DELETE" else "405 Method Not Allowed", b"", "application/json")
        message = json.loads(body)
        modern = headers.get("mcp-protocol-version") == MODERN
        if "id" not in message:
            return self.send("202 Accepted", b"", "application/json")
        result = answer(message["method"], message.get("params") or {}, modern)
        answered = {"jsonrpc": "2.0", "id": message["id"]}
        if result is None:
            answered["error"] = {"code": -32601, "message": "no such method"}
        else:
            answered["result"] = result
        data = json.dumps(answered).encode()
        more = "mcp-session-id: one\r\n" if message["method"] == "initialize" else ""
        if options.events and message["method"] == "tools/call":
            self.send("200 OK", b"event: message\r\ndata: " + data + b"\r\n\r\n", "text/event-stream")
        else:
            self.send("200 OK", data, "application/json", more)
        return None

    def send(self, status: str, body: bytes, kind: str, more: str = "") -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{more}"
        if kind == "text/event-stream":  # the end comes by itself, as from uvicorn
            self.transport.write(f"{head}transfer-encoding: chunked\r\n\r\n{len(body):x}\r\n".encode() + body + b"\r\n")
            self.transport.write(b"0\r\n\r\n")
        else:
            self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", options.port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp", flush=True)
    await server.serve_forever()


asyncio.run(main())
