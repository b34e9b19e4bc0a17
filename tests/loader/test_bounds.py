"""Servers without measure: what is too much ends with an error that says so, and costs no memory, no other server, no deadline."""

from __future__ import annotations

import json
import resource
import sys

import pytest

pytest.importorskip("mcp")

from aionest.mcp import ProtocolError
from aionest.mcp.errors import MessageTooLong

LONG = 600  # seconds: longer than any test
SERVER = r"""
import json, sys
def send(m): sys.stdout.write(json.dumps(m) + "\n"); sys.stdout.flush()
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    method = m["method"]
    if method == "tools/call" and m["params"]["name"] == "endless":
        if MODE == "stderr":
            for _ in range(600): sys.stderr.write("x" * 1000000); sys.stderr.flush()
        else:
            while True: sys.stdout.write("x" * 1000000); sys.stdout.flush()
    r = {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
                        "serverInfo": {"name": "s", "version": "1"}},
         "tools/list": {"tools": [{"name": n, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}
                                  for n in ("endless", "good")]},
         "resources/list": {"resources": [{"uri": f"a://{i}", "name": "x" * 1000} for i in range(100)], "nextCursor": str(m["id"])},
         "prompts/list": {"prompts": [], "nextCursor": str(m["id"])},
         "tools/call": {"content": [{"type": "text", "text": "fine"}]}}.get(method, {})
    if method == "tools/list" and MODE == "tools":
        r["tools"] = [{"name": f"t{m['id']}_{i}", "inputSchema": {"type": "object"}} for i in range(100)]
        r["nextCursor"] = str(m["id"])
    send({"jsonrpc": "2.0", "id": m["id"], "result": r})
"""


def server(mode="", **more):
    more = {"timeout": LONG, "protocol": "legacy", **more}
    return {"command": sys.executable, "args": ["-c", f"MODE = {mode!r}\n{SERVER}"], **more}


def peak():
    """MiB that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_a_line_without_an_end(make_loader):
    loader = make_loader({"s": server(max_message_mb=2), "other": server()})
    before = peak()
    with pytest.raises(MessageTooLong, match="'s'.* more than 2 MiB .*max_message_mb"):
        loader.call("s.endless")
    assert peak() - before < 100
    assert loader.status["s"].state == "lost" and loader.status["s"].connections == 1, "it is not asked once more"
    assert loader.call("other.good").text == "fine"
    assert loader.call("s.good").text == "fine", "the next call has it come back"


def test_a_line_without_an_end_while_it_is_started(make_loader):
    args = ["-c", "import sys\nwhile True: sys.stdout.write('x' * 100000)"]
    loader = make_loader({"s": {"command": sys.executable, "args": args, "max_message_mb": 2, "connect_timeout": LONG}})
    assert "max_message_mb" in loader.errors["s"]


def test_stderr_without_an_end_of_the_line(make_loader):
    loader = make_loader({"s": server("stderr")})
    before = peak()
    assert loader.call("s.endless").text == "fine"
    assert peak() - before < 100
    assert sum(map(len, loader.status["s"].stderr)) < 1 << 20


@pytest.mark.parametrize("what", ["resources", "prompts"])
def test_cursors_that_are_ever_new(make_loader, what):
    loader = make_loader({"s": server(max_listed=500)})
    with pytest.raises(ProtocolError, match="within 500 entries .max_listed"):
        getattr(loader, what)("s")
    assert getattr(loader, what)() == {}, "of all: those that have none are left out"
    assert loader.call("s.good").text == "fine"


def test_tools_without_an_end(make_loader):
    loader = make_loader({"s": server("tools", max_listed=500, connect_timeout=LONG), "other": server()})
    assert "max_listed" in loader.errors["s"]
    assert loader.call("other.good").text == "fine"


@pytest.mark.parametrize(
    "field", [{"max_message_mb": 0}, {"max_listed": 0}, {"max_message_mb": True}, {"max_listed": "x"}]
)
def test_a_limit_that_is_none(make_loader, field):
    assert next(iter(field)) in make_loader({"s": server(**field)}).errors["s"]


def test_limits_are_read_as_hosts_write_them(tmp_path):
    from aionest.mcp import ToolsConfig

    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"s": {"command": "x", "maxMessageMb": 1.5, "maxListed": 7}}}))
    found = ToolsConfig(file).servers["s"]
    assert (found.message_limit, found.max_listed) == (3 << 19, 7)
