"""Lists of resources, templates and prompts in which something is wrong: what is right in them is there."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("mcp")

from aionest.mcp import ToolsError
from aionest.mcp.sdk.line import V2

SERVER = """
import json, sys
LISTS = {
    "resources/list": {"resources": [
        {"uri": "notes://1", "name": "one", "mimeType": "text/plain", "size": 3},
        {"uri": "not a URI at all", "name": "two"},
        {"uri": "notes://3", "name": 3, "title": ["no"], "description": "three", "icons": "none", "size": "big"},
        {"name": "none to ask for"}, "no object", None,
    ]},
    "resources/templates/list": {"resourceTemplates": [
        {"uriTemplate": "notes://{id}", "name": "note", "mimeType": 7}, {"name": "none"}, []]},
    "prompts/list": {"prompts": [
        {"name": "greet", "arguments": [{"name": "who", "required": True}, {"name": 5}, "no"]},
        {"name": "plain", "arguments": "none"}, {"title": "no name"}]},
}
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    method = m["method"]
    cursor = (m.get("params") or {}).get("cursor")
    r = {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
                        "serverInfo": {"name": "s", "version": "1"}},
         "tools/list": {"tools": []},
         "resources/read": {"contents": [{"uri": "notes://1", "text": "read"}]}, **LISTS}.get(method, {})
    if method in LISTS and MODE == "pages":
        field, entries = next(iter(r.items()))
        first = int(cursor or 0)
        r = {field: entries[first:first + 1], **({"nextCursor": str(first + 1)} if first + 1 < len(entries) else {})}
    if method in LISTS and MODE == "none":
        r = {next(iter(r)): "no list"}
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r}), flush=True)
"""


@pytest.fixture
def server(make_loader):
    def make(mode):
        args = ["-c", f"MODE = {mode!r}\n{SERVER}"]
        return make_loader({"s": {"command": sys.executable, "args": args, "protocol": "legacy"}})

    return make


@pytest.mark.parametrize("mode", ["whole", "pages"])
def test_what_is_right_is_there(server, mode):
    loader = server(mode)
    resources = {one["uri"]: one for one in loader.resources("s")["s"]}
    assert set(resources) == {"notes://1", "not a URI at all", "notes://3"}
    assert resources["notes://1"]["size"] == 3 and resources["notes://1"]["mimeType"] == "text/plain"
    assert resources["notes://3"]["name"] == "notes://3" and resources["notes://3"]["description"] == "three"
    assert not {"title", "icons", "size"} & resources["notes://3"].keys()
    assert [one["uriTemplate"] for one in loader.resource_templates("s")["s"]] == ["notes://{id}"]
    prompts = {one["name"]: one for one in loader.prompts("s")["s"]}
    assert set(prompts) == {"greet", "plain"}
    assert [one["name"] for one in prompts["greet"]["arguments"]] == ["who"]


def test_no_list_is_an_error(server):
    loader = server("none")
    with pytest.raises(ToolsError):
        loader.resources("s")


def test_what_is_no_uri_may_be_asked_for(server):
    loader = server("whole")
    if V2:
        assert loader.read_resource("s", "not a URI at all")[0]["text"] == "read"
    else:
        with pytest.raises(ToolsError, match="not a URI at all"):
            loader.read_resource("s", "not a URI at all")
    assert loader.read_resource("s", "notes://1")[0]["text"] == "read"
