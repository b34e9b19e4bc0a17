"""Tools that their server runs as tasks only: called like others, whatever the server says of the task."""

from __future__ import annotations

import sys

import pytest
from support import eventually

pytest.importorskip("mcp")

from aionest.mcp import CallTimeout, ProtocolError, ToolsError

SERVER = """
import json, sys
state, told = {}, []
for line in sys.stdin:
    m = json.loads(line)
    method, p = m["method"], m.get("params") or {}
    if "id" not in m: continue
    task = {"taskId": "t1", "createdAt": "2025-01-01T00:00:00Z", "lastUpdatedAt": "2025-01-01T00:00:00Z", "ttl": None}
    error = result = None
    if method == "initialize":
        caps = {"tools": {}, **({"tasks": {"requests": {"tools": {"call": {}}}, "cancel": {}}} if sys.argv[1:] else {})}
        result = {"protocolVersion": "2025-11-25", "capabilities": caps, "serverInfo": {"name": "s", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": [{"name": n, "inputSchema": {"type": "object"}, "execution": {"taskSupport": "required"}}
                            for n in ("slow", "at_once", "no_id", "odd", "fails", "cancelled", "endless")]
                           + [{"name": "told", "inputSchema": {"type": "object"}}]}
    elif method == "tools/call" and p["name"] == "told":
        result = {"content": [{"type": "text", "text": " ".join(told)}]}
    elif method == "tools/call" and "task" not in p:
        told.append("plain")
        result = {"content": [{"type": "text", "text": "plain"}]}
    elif method == "tools/call":
        state = {"name": p["name"], "left": 2, "arguments": p["arguments"]}
        result = {"task": {**task, "status": "working", "pollInterval": 10}}
        if p["name"] == "at_once": result = {"content": [{"type": "text", "text": "now"}]}
        if p["name"] == "no_id": result["task"]["taskId"] = 7
        if p["name"] == "odd": result["task"].update(status="submitted", pollInterval="soon")
    elif method == "tasks/get":
        state["left"] -= 1
        done = {"fails": "failed", "cancelled": "cancelled", "odd": "what"}.get(state["name"], "completed")
        if state["name"] == "endless": state["left"] = 9
        result = {**task, "status": "working" if state["left"] > 0 else done, "pollInterval": -5, "statusMessage": "so it is"}
        if state["name"] == "odd": result["pollInterval"] = 1e300
    elif method == "tasks/result":
        text = json.dumps(state["arguments"])
        result = {"content": [{"type": "text", "text": text}], "isError": state["name"] == "fails"}
    else:
        told.append(method)
        result = {}
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": result}), flush=True)
"""


def one(*args):
    return {"s": {"command": sys.executable, "args": ["-c", SERVER, *args], "protocol": "legacy", "timeout": 600}}


def test_a_task_is_waited_for(make_loader):
    loader = make_loader(one("tasks"))
    assert loader.call("s.slow", {"a": None, "b": [1]}).text == '{"a": null, "b": [1]}'
    assert loader.call("s.at_once").text == "now"
    failed = loader.call("s.fails")
    assert failed.is_error and failed.text == "{}"


def test_a_server_without_tasks_is_called_plainly(make_loader):
    assert make_loader(one()).call("s.slow").text == "plain"


def test_what_is_no_task_is_an_error(make_loader, monkeypatch):
    monkeypatch.setattr("aionest.mcp.sdk.tasks.PAUSE", (0.01, 0.05))
    loader = make_loader(one("tasks"))
    with pytest.raises(ProtocolError, match="without an id"):
        loader.call("s.no_id")
    with pytest.raises(ToolsError, match="cancelled the task: so it is"):
        loader.call("s.cancelled")
    assert loader.call("s.odd").text == "{}", "a state that nobody knows is an end"


def test_a_task_that_is_given_up_is_cancelled(make_loader):
    loader = make_loader(one("tasks"))
    with pytest.raises(CallTimeout):
        loader.call("s.endless", timeout=1)
    eventually(lambda: "tasks/cancel" in loader.call("s.told").text, "not cancelled")
