"""Servers without measure: what is too much ends with an error that says so, and costs no memory, no other server, no deadline."""

from __future__ import annotations

import json
import resource
import sys

import pytest
from support import eventually

pytest.importorskip("mcp")

from aionest.mcp import ArgumentsError, ProtocolError, Tool, ToolSchemaError
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


@pytest.mark.slow
def test_stderr_without_an_end_of_the_line(make_loader):
    loader = make_loader({"s": server("stderr")})
    before = peak()
    assert loader.call("s.endless").text == "fine"
    assert peak() - before < 100
    assert sum(map(len, loader.status["s"].stderr)) < 1 << 20


@pytest.mark.parametrize("what", ["resources", "prompts"])
def test_cursors_that_are_ever_new(make_loader, what):
    loader = make_loader({"s": server(max_listed=500)})
    with pytest.raises(ProtocolError, match="exceeds 500 entries .raise max_listed"):
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


STORM = r"""
import json, sys, threading, time
lock, lists = threading.Lock(), 0
tools = [{"name": n, "inputSchema": {"type": "object"}} for n in ("lists", "storm")]
tools += [{"name": f"t{i}", "description": "d" * 500, "inputSchema": {"type": "object"}} for i in range(2000)]
def send(m):
    with lock: sys.stdout.write(json.dumps({"jsonrpc": "2.0", **m}) + "\n"); sys.stdout.flush()
def storm():
    while True: time.sleep(0.002); send({"method": "notifications/tools/list_changed"})
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    name = m.get("params", {}).get("name") if m["method"] == "tools/call" else ""
    if m["method"] == "tools/list":
        lists += 1
        if lists == 3: tools.append({"name": "late", "inputSchema": {"type": "object"}})
    if name == "storm": threading.Thread(target=storm, daemon=True).start()
    r = {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {"listChanged": True}},
                        "serverInfo": {"name": "s", "version": "1"}},
         "tools/list": {"tools": tools}, "tools/call": {"content": [{"type": "text", "text": str(lists)}]}}.get(m["method"], {})
    send({"id": m["id"], "result": r})
"""


def test_a_storm_of_news_is_read_now_and_then(make_loader):
    storm = {"command": sys.executable, "args": ["-c", STORM], "protocol": "legacy", "timeout": LONG}
    loader = make_loader({"s": storm, "other": server()})
    published = []
    publish = loader._fleet._on_tools
    loader._fleet._on_tools = lambda: (published.append(1), publish())
    loader.call("s.storm")
    eventually(lambda: "s__late" in loader.tools, "what is new is seen in the end")
    connection = loader._fleet.connections["s"]
    assert connection._news.not_before > 0
    eventually(lambda: int(loader.call("s.lists").text) >= 4)
    assert len(published) == 1, "what has not changed is not made anew"
    assert loader.call("other.good").text == "fine"


FREEZES = ["^(a+)+$", "^(a|a)*$", "(x+x+)+y", "^(([a-z])+.)+[A-Z]([a-z])+$"]


@pytest.mark.parametrize("pattern", FREEZES)
def test_a_pattern_that_would_freeze_the_interpreter(pattern):
    text = "a" * 5000 + "!" if "x" not in pattern else "x" * 5000
    tool = Tool("t", input_schema={"type": "object", "properties": {"s": {"type": "string", "pattern": pattern}}})
    with pytest.raises(ArgumentsError, match="s: expected string that matches"):
        tool.validate({"s": text})
    names = Tool(
        "t", input_schema={"type": "object", "patternProperties": {pattern: {}}, "additionalProperties": False}
    )
    with pytest.raises(ArgumentsError):
        names.validate({text: 1})
    with pytest.raises(ArgumentsError):
        names.coerce({text: "1"})


def test_patterns_mean_what_they_mean():
    tool = Tool(
        "t",
        input_schema={
            "type": "object",
            "properties": {"s": {"type": "string", "pattern": "b+"}},
            "patternProperties": {"^n_": {"type": "integer"}},
            "additionalProperties": {"type": "string"},
        },
    )
    tool.validate({"s": "abba", "n_1": 5, "other": "x"})
    for wrong in ({"s": "aa"}, {"n_1": "x"}, {"other": 1}):
        with pytest.raises(ArgumentsError):
            tool.validate(wrong)


def test_a_pattern_that_cannot_be_told_in_bounded_time_is_the_servers():
    tool = Tool(
        "t", input_schema={"type": "object", "properties": {"s": {"type": "string", "pattern": r"^(?!x)(a+)+\1$"}}}
    )
    tool.validate({"s": "a" * 5000 + "!"})
    none = Tool("t", input_schema={"type": "object", "properties": {"s": {"type": "string", "pattern": "("}}})
    with pytest.raises(ToolSchemaError):
        none.validate({"s": "x"})


ANSWERS = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    number, method = message.get("id"), message["method"]
    if method == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
    elif method == "tools/list":
        schema = {"type": "object", "properties": {"s": {"type": "string", "pattern": sys.argv[1]}}}
        result = {"tools": [{"name": "t", "inputSchema": {"type": "object"}, "outputSchema": schema}]}
    elif method == "tools/call":
        result = {"content": [], "structuredContent": message["params"]["arguments"]}
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": number, "result": result}), flush=True)
"""


def test_a_result_whose_pattern_would_freeze_the_interpreter(make_loader):
    one = {"command": sys.executable, "args": ["-c", ANSWERS, "^(a+)+$"], "timeout": 60, "protocol": "legacy"}
    loader = make_loader({"one": one})
    assert not loader.errors, loader.errors
    for _ in range(2):  # the second with what the first has made
        assert loader.call("one.t", {"s": "a" * 5000}).structured == {"s": "a" * 5000}
        with pytest.raises(ProtocolError, match="Invalid structured content returned by tool t"):
            loader.call("one.t", {"s": "a" * 5000 + "!"})


def test_a_result_whose_schema_is_none(make_loader):
    one = {"command": sys.executable, "args": ["-c", ANSWERS, "("], "timeout": 60, "protocol": "legacy"}
    with pytest.raises(ProtocolError, match="Invalid schema for tool t"):
        make_loader({"one": one}).call("one.t", {"s": "a"})
