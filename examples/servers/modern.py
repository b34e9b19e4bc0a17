"""An MCP server over stdio of protocol 2026-07-28 and no other, standard library only: no handshake, no ping.

Tools: ``echo`` (text), ``change`` (adds a tool ``later``, and tells those who listen), ``ask`` (a question to the client, within
the call), ``listeners`` (how many listen). Usage: modern.py
"""

from __future__ import annotations

import json
import sys

VERSION = "2026-07-28"
ID = "io.modelcontextprotocol/subscriptionId"
TOOLS = [
    {"name": name, "description": name, "inputSchema": {"type": "object"}}
    for name in ("echo", "change", "ask", "listeners")
]
QUESTION = {
    "method": "elicitation/create",
    "params": {"mode": "form", "message": "Your name?", "requestedSchema": {"type": "object", "properties": {}}},
}
listening: list[object] = []


def send(message: dict) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def text(value: object) -> dict:
    return {"content": [{"type": "text", "text": str(value)}], "isError": False, "resultType": "complete"}


def call(params: dict) -> dict:
    name = params["name"]
    if name == "change":
        TOOLS.append({"name": "later", "description": "later", "inputSchema": {"type": "object"}})
        for number in listening:
            send({"method": "notifications/tools/list_changed", "params": {"_meta": {ID: number}}})
        return text("changed")
    if name == "ask":
        if params.get("requestState") != "asked":
            return {"resultType": "input_required", "requestState": "asked", "inputRequests": {"name": QUESTION}}
        return text(json.dumps(params["inputResponses"]["name"]))
    if name == "listeners":
        return text(len(listening))
    return text((params.get("arguments") or {}).get("text", name))


def answer(message: dict) -> dict | None:
    method, params = message["method"], message.get("params") or {}
    if method == "server/discover":
        info = {"io.modelcontextprotocol/serverInfo": {"name": "modern", "version": "1.0"}}
        found = {"capabilities": {"tools": {"listChanged": True}}, "supportedVersions": [VERSION], "_meta": info}
        return {"cacheScope": "private", "ttlMs": 0, "resultType": "complete", **found}
    if method == "tools/list":
        return {"cacheScope": "private", "ttlMs": 0, "resultType": "complete", "tools": TOOLS}
    if method == "tools/call":
        return call(params)
    return None


for line in sys.stdin.buffer:  # UTF-8, whatever the system takes text for
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue
    if message["method"] == "subscriptions/listen":  # answered when it ends
        listening.append(message["id"])
        told = {"_meta": {ID: message["id"]}, "notifications": message["params"]["notifications"]}
        send({"method": "notifications/subscriptions/acknowledged", "params": told})
        continue
    result = answer(message)
    if result is None:
        send({"id": message["id"], "error": {"code": -32601, "message": "Method not found"}})
    else:
        send({"id": message["id"], "result": result})
