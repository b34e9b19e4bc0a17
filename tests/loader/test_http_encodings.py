"""Answers that are encoded: read as ever, and no memory for a few bytes that would become gigabytes."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib

import pytest
from web import Quiet, serving

pytest.importorskip("mcp")

from aionest.mcp import ToolsError

MIB = 1 << 20
BOMB = 64 * MIB  # what it becomes once it is read
HOLDS = 24 * MIB  # of that, what may be in memory
TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("one",)]


def deflated(data):
    return zlib.compress(data, 9)


def raw(data):
    made = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return made.compress(data) + made.flush()


WAYS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": deflated,
    "deflate raw": raw,
    "gzip, gzip": lambda data: gzip.compress(gzip.compress(data)),
    "identity": bytes,
}


class Handler(Quiet):
    """Streamable HTTP; what is called, listed or refused comes encoded."""

    protocol_version = "HTTP/1.1"

    def reply(self, body, kind="application/json", status=200, encoding=None, **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_DELETE(self):
        self.reply(b"")

    def do_GET(self):
        server = self.server
        if self.path.startswith("/.well-known") and server.metadata is not None:
            return self.reply(server.metadata, encoding="gzip, gzip")
        return self.reply(b"", status=405)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.accepted.add(self.headers.get("Accept-Encoding"))
        if self.server.metadata is not None:
            return self.reply(b"{}", status=401, WWW_Authenticate="Bearer")
        method = body.get("method")
        if "id" not in body:
            return self.reply(b"", status=202)
        if method == "initialize":
            info = {"name": "web", "version": "1"}
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
        else:
            result = {"tools": TOOLS} if method == "tools/list" else {"content": [{"type": "text", "text": "here"}]}
        answer = json.dumps({"jsonrpc": "2.0", "id": body["id"], "result": result}).encode()
        if method != "tools/call":
            return self.reply(answer)
        return self.reply(**self.server.say(answer))


@pytest.fixture
def web():
    with serving(Handler, say=lambda answer: {"body": answer}, metadata=None, accepted=set()) as server:
        yield server


@pytest.fixture
def load(web, make_loader):
    return lambda **more: make_loader({"web": {"url": f"{web.base}/mcp", "timeout": 60, "max_message_mb": 4, **more}})


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [("identity", "identity"), ("gzip;q=0.5, br", "gzip;q=0.5"), ("br, zstd", "identity"), (None, "gzip, deflate")],
)
def test_the_configuration_says_what_is_taken_as_far_as_it_can_be_read(load, web, wanted, asked):
    loader = load(headers={"Accept-Encoding": wanted} if wanted else {})
    assert loader.call("web.one").text == "here" and web.accepted == {asked}


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("way", WAYS)
def test_an_encoded_answer_is_read(load, web, way, kind):
    def say(answer):
        data = b"data: " + answer + b"\n\n" if kind == "text/event-stream" else answer
        return {"body": WAYS[way](data), "kind": kind, "encoding": way.partition(" raw")[0]}

    web.say = say
    loader = load()
    for _ in range(3):
        assert loader.call("web.one").text == "here"
    assert web.accepted == {"gzip, deflate"}


def bombs():
    """Some hundred bytes that become much."""
    blank = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return b"".join([*(blank.compress(b" " * MIB) for _ in range(BOMB // MIB)), blank.flush()])


@pytest.fixture(scope="module")
def bomb():
    return gzip.compress(bombs())


@pytest.fixture
def most_held():
    """A function that gives the bytes that were allocated at most since the test began."""
    tracemalloc.start()
    begin = tracemalloc.get_traced_memory()[0]
    yield lambda: tracemalloc.get_traced_memory()[1] - begin
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_a_bomb_is_not_unpacked(load, web, bomb, most_held, status, kind):
    web.say = lambda answer: {"body": bomb, "kind": kind, "encoding": "gzip, gzip", "status": status}
    loader = load()
    with pytest.raises(ToolsError) as found:
        loader.call("web.one")
    assert most_held() < HOLDS
    assert ("more than 4 MiB" in str(found.value)) == (status == 200) or status == 400
    web.say = lambda answer: {"body": answer}
    assert loader.call("web.one").text == "here"


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip, gzip", "no\x7fne"])
def test_what_was_not_asked_for_is_told(load, web, encoding):
    web.say = lambda answer: {"body": b"\x28\xb5\x2f\xfd" * 99, "encoding": encoding}
    with pytest.raises(ToolsError, match="content encoding"):
        load().call("web.one")


def test_metadata_are_no_bomb(load, web, bomb, most_held, tmp_path, monkeypatch):
    monkeypatch.setenv("AIONEST_TOKENS", str(tmp_path / "tokens.json"))
    web.metadata = bomb
    loader = load(auth="oauth", connect_timeout=30)
    assert most_held() < HOLDS and "MiB" in loader.errors["web"]


@pytest.mark.parametrize("event", [b":\n\n", b"id: 1\n\n", b"data: {}\n\n", b"event: other\ndata: {\n\n"])
def test_many_events_that_come_at_once_leave_turns_to_others(event):
    from aionest.mcp.sdk.line import HTTP
    from aionest.mcp.transport.bodies import Events

    number = 20_000
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main():
        response = HTTP.Response(200, stream=Once(event * number))
        task = asyncio.ensure_future(others())
        found = [one async for one in Events(response, 1, MIB)]
        task.cancel()
        return found

    class Once(HTTP.AsyncByteStream):
        def __init__(self, data):
            self.data = data

        async def __aiter__(self):
            yield self.data

    assert len(asyncio.run(main())) == number
    assert turns > 5
