"""The server of ``aionest demo``: one tool over stdio, standard library only.

Contract: answers until its input ends; run as ``python -m aionest.cli._demo_server`` or by its path.
"""

from __future__ import annotations

import json
import sys

TOOL = {
    "name": "upper",
    "description": "The text in capitals",
    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
}


def answer(method: str, params: dict[str, object]) -> dict[str, object] | None:
    """The result of a request, or None for a method that is not known."""
    if method == "initialize":
        return {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "demo", "version": "1.0"},
        }
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        arguments = params.get("arguments")
        text = arguments.get("text", "") if isinstance(arguments, dict) else ""
        return {"content": [{"type": "text", "text": str(text).upper()}]}
    return {} if method == "ping" else None


def main() -> None:
    """Serve standard input."""
    for line in sys.stdin.buffer:  # UTF-8, whatever the system takes text for
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        result = answer(message["method"], message.get("params") or {})
        reply = {"error": {"code": -32601, "message": "Method not found"}} if result is None else {"result": result}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **reply}), flush=True)


if __name__ == "__main__":
    main()
