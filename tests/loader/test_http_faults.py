"""HTTP servers that fail in each of the ways they do, beside a good one that must not notice."""

from __future__ import annotations

import concurrent.futures
import contextlib
import email.utils
import functools
import json
import queue
import sys
import time
import uuid

import pytest
from servers import SERVER
from support import eventually
from web import Answering, Quiet, serving

pytest.importorskip("mcp")

from aionest.mcp import AuthError, CallTimeout, ServerLost, ServerUnavailable, ToolsError

SECRET = "a-token-nobody-may-read"
MIB = 1 << 20
TOOLS = [
    {"name": name, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": name == "echo"}}
    for name in ("echo", "slow", "fail", "drop", "deny", "begun", "resumable")
]


class Handler(Answering):
    """Streamable HTTP with plain JSON answers; the path says what goes wrong."""

    def do_GET(self):
        self.reply(405)

    def do_DELETE(self):
        if self.server.deaf:
            self.server.stop.wait(60)
            self.server.goodbyes += 1
        self.server.sessions.discard(self.headers.get("Mcp-Session-Id"))
        self.reply(200)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.strip("/")
        status = int(path) if path.isdigit() else self.server.status
        if path.startswith("endless-"):
            return self.endless(int(path.removeprefix("endless-")))
        if status:
            return self.reply(status, b'{"error": "as told"}')
        if path == "html":
            return self.reply(200, b"<html>Welcome</html>", "text/html")
        if path == "hang":
            self.server.stop.wait(30)
            self.close_connection = True
            return None
        if path == "redirect":
            return self.reply(307, Location=f"http://127.0.0.1:{self.server.server_port}/mcp")
        session = self.headers.get("Mcp-Session-Id")
        method = body.get("method")
        if self.server.busy and method in self.server.busy:
            after = self.server.busy[method].pop(0)
            self.server.busy = {name: times for name, times in self.server.busy.items() if times}
            self.server.put_off.append((method, time.monotonic()))
            return self.reply(429, b'{"error": "later"}', **({"Retry_After": after} if after is not None else {}))
        self.server.taken.append((method, time.monotonic()))
        if method == "tools/call" and self.server.forgets:
            self.server.forgets = False
            return self.reply(404)
        if method == "initialize":
            session = uuid.uuid4().hex
            self.server.sessions.add(session)
            result = {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "web", "version": "1"},
            }
        elif session not in self.server.sessions:
            return self.reply(404)
        elif "id" not in body:
            return self.reply(202)
        elif method == "tools/list":
            result = {"tools": TOOLS}
        elif method == "tools/call":
            name = body["params"]["name"]
            self.server.calls.append(name)
            if name == "slow":
                self.server.stop.wait(30)
            if name == "fail":
                return self.reply(500)
            if name == "deny":
                return self.reply(401)
            if name == "drop":
                self.close_connection = True
                return None
            if name in ("begun", "resumable"):  # an answer that never comes to its end
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                self.wfile.write(b"id: 1\ndata: \n\n" if name == "resumable" else b": wait\n\n")
                self.wfile.flush()
                self.close_connection = True
                return None
            result = {"content": [{"type": "text", "text": "here"}]}
        else:
            result = {}
        answer = json.dumps({"jsonrpc": "2.0", "id": body["id"], "result": result}).encode()
        return self.reply(200, answer, Mcp_Session_Id=session)

    def endless(self, status):
        """A body that goes on until nobody reads it."""
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status == 401 else "text/plain")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            while self.server.said < 64 * MIB:
                self.wfile.write(b" " * MIB)
                self.server.said += MIB


@pytest.fixture
def web():
    with serving(Handler, sessions=set(), calls=[], status=0, deaf=False, forgets=False, goodbyes=0) as server:
        server.said = 0  # bytes of endless bodies
        server.busy, server.put_off, server.taken = {}, [], []  # how often a method is put off, and for how long
        server.url = server.base
        yield server


@pytest.fixture
def load(web, make_loader):
    def load(path="mcp", **more):
        one = {"url": f"{web.url}/{path}", "headers": {"Authorization": f"Bearer {SECRET}"}, **more}
        good = {"command": sys.executable, "args": [str(SERVER)]}
        return make_loader({"web": one, "good": good})

    return load


def good_one_works(loader):
    assert loader.call("good.echo", {"text": "on"}).text == "on"


@pytest.mark.parametrize("path", ["401", "403", "404", "500", "503", "html", "hang", "redirect-loop"])
def test_at_connect(load, path):
    begin = time.monotonic()
    loader = load("307" if path == "redirect-loop" else path, connect_timeout=2)
    assert time.monotonic() - begin < 25
    assert set(loader.errors) == {"web"}
    message = loader.errors["web"]
    assert "web" in message and SECRET not in message
    if path.isdigit():
        assert path in message
    if path in ("401", "403"):
        assert loader.status["web"].error_code == "auth"
        with pytest.raises(AuthError):
            loader.call("web.echo")
    good_one_works(loader)


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_refusal_without_end_is_not_read(load, web, status):
    loader = load(f"endless-{status}", connect_timeout=20)
    assert str(status) in loader.errors["web"]
    assert web.said <= 32 * MIB  # some of it is in buffers; it may be asked twice
    good_one_works(loader)


def dated(seconds):
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize("method", ["initialize", "tools/list", "tools/call"])
@pytest.mark.parametrize("after", [lambda: ["1"], lambda: ["0", "0.5", "0"], lambda: [dated(2)]])
def test_a_request_that_is_put_off_is_made_again_when_the_server_says(load, web, method, after):
    first = after()
    web.busy, times = {method: [*first]}, len(first)
    loader = load()
    assert loader.errors == {} and loader.call("web.echo").text == "here"
    assert [name for name, _ in web.put_off] == [method] * times and web.calls == ["echo"]
    if first == ["1"]:
        taken = next(when for name, when in web.taken if name == method)
        assert taken - web.put_off[0][1] > 0.9


def test_a_date_in_no_zone_is_not_local_time(monkeypatch):
    from aionest.mcp.sdk.deferred import moment

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        for date in ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 -0000", "Wed Oct 21 07:28:00 2015"):
            assert moment(date) == 1445412480
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_request_that_is_put_off_for_longer_than_there_is_time_fails_at_once(load, web):
    web.busy = {"tools/call": ["120"]}
    loader = load(timeout=60)
    begin = time.monotonic()
    with pytest.raises(ToolsError, match="429.*try again later"):
        loader.call("web.echo", timeout=30)
    assert time.monotonic() - begin < 20 and web.calls == []
    assert loader.call("web.echo").text == "here"
    good_one_works(loader)


def test_a_call_that_is_cancelled_while_it_is_put_off_is_never_made(load, web):
    web.busy = {"tools/call": ["2"]}
    loader = load()
    call = loader.submit("web.echo", {})
    eventually(lambda: web.put_off)
    call.cancel()
    concurrent.futures.wait([call])
    begin = time.monotonic()
    eventually(lambda: time.monotonic() - begin > 3)
    assert web.calls == [] and loader.call("web.echo").text == "here" and web.calls == ["echo"]


@pytest.mark.parametrize(
    "after", [None, "soon", "-1", "100000000", "9" * 5000, "\u00b2", "1e3", "nan", "Wed, 99 Oct 99999 07:28:00 GMT"]
)
def test_a_refusal_that_says_no_time_is_an_error(load, web, after):
    web.busy = {"tools/call": [after]}
    loader = load()
    with pytest.raises(ToolsError, match="429"):
        loader.call("web.echo")
    assert loader.call("web.echo").text == "here"


def test_a_redirect_is_followed(load):
    loader = load("redirect")
    assert not loader.errors
    assert loader.call("web.echo").text == "here"


@pytest.mark.parametrize("url", ["http://no-such-host.invalid/mcp", "http://127.0.0.1:9/mcp"])
def test_nobody_there(make_loader, url):
    loader = make_loader({"web": {"url": url, "connect_timeout": 10}})
    assert set(loader.errors) == {"web"} and loader.status["web"].error_code == "unreachable"
    with pytest.raises(ServerUnavailable):
        loader.call("web.echo")


def test_a_call_to_a_server_that_is_back_after_it_failed_at_load(web, make_loader):
    web.status = 503
    loader = make_loader({"web": {"url": f"{web.url}/mcp"}})
    assert set(loader.errors) == {"web"}
    web.status = 0
    end = time.monotonic() + 30
    while True:
        try:
            assert loader.call("web.echo").text == "here"
            break
        except ServerUnavailable:  # it is not tried again at once
            assert time.monotonic() < end
            time.sleep(0.1)
    assert not loader.errors


def test_a_slow_call_ends_at_its_deadline(load, web):
    loader = load()
    with pytest.raises(CallTimeout):
        loader.call("web.slow", timeout=0.3)
    assert loader.call("web.echo").text == "here"
    good_one_works(loader)


@pytest.mark.parametrize("tool", ["fail", "drop", "deny", "begun", pytest.param("resumable", marks=pytest.mark.slow)])
def test_in_the_middle_of_a_call(load, web, tool):
    loader = load()
    with pytest.raises(ToolsError) as caught:
        loader.call(f"web.{tool}", timeout=60)
    assert not isinstance(caught.value, CallTimeout), caught.value
    assert isinstance(caught.value, AuthError) == (tool == "deny")
    assert web.calls == [tool], "what may have had an effect is not sent twice"
    assert loader.call("web.echo", timeout=20).text == "here"
    good_one_works(loader)


def test_a_server_that_forgot_the_session(load, web):
    loader = load()
    assert loader.call("web.echo").text == "here"
    web.sessions.clear()  # as after a restart
    assert loader.call("web.echo", timeout=20).text == "here"
    assert loader.status["web"].connections == 2


class EventHandler(Quiet):
    """The older transport, with two connections: what is posted is answered in the stream of the first."""

    def do_GET(self):
        path = self.path.strip("/").split("/")[0]
        if path.isdigit():
            return self.empty(int(path))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        number = uuid.uuid4().hex
        news = self.server.streams[number] = queue.Queue()
        try:
            if path != "silent":
                self.wfile.write(f"event: endpoint\r\ndata: /post/{number}\r\n\r\n".encode())
            self.wfile.flush()
            while (item := news.get()) is not None:
                self.wfile.write(f"event: message\r\ndata: {item}\r\n\r\n".encode())
                self.wfile.flush()
        except OSError:
            pass
        self.close_connection = True

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.startswith("/post/"):  # somebody tries the newer transport
            self.server.tried += 1
            return self.empty(self.server.unknown)
        news = self.server.streams[self.path.rsplit("/", 1)[1]]
        method, name = body.get("method"), (body.get("params") or {}).get("name")
        status = 500 if name == "fail" else 202
        if name in ("drop", "fail"):
            news.put(None) if name == "drop" else None
        elif "id" in body and name != "slow":
            if method == "initialize":
                info = {"name": "web", "version": "1"}
                result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
            elif method == "tools/list":
                result = {"tools": TOOLS}
            else:
                result = {"content": [{"type": "text", "text": "here"}]}
            news.put(json.dumps({"jsonrpc": "2.0", "id": body["id"], "result": result}))
        return self.empty(status)

    def empty(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def events():
    with serving(EventHandler, streams={}, unknown=405, tried=0) as server:
        yield server
        for news in server.streams.values():
            news.put(None)


def test_events_of_the_older_transport(events, make_loader):
    base = f"http://127.0.0.1:{events.server_port}"
    servers = {"web": {"url": f"{base}/sse"}, **{code: {"url": f"{base}/{code}/sse"} for code in ("401", "404", "500")}}
    loader = make_loader(servers)
    assert set(loader.errors) == {"401", "404", "500"}, loader.errors
    for code, message in loader.errors.items():
        assert f"HTTP {code}" in message
    assert loader.status["401"].error_code == "auth"
    assert loader.call("web.echo").text == "here"
    with pytest.raises(CallTimeout):
        loader.call("web.slow", timeout=0.3)
    for tool in ("drop", "fail"):
        with pytest.raises(ToolsError) as caught:
            loader.call(f"web.{tool}", timeout=60)
        assert not isinstance(caught.value, CallTimeout), caught.value
        assert loader.call("web.echo", timeout=60).text == "here"
    assert loader.ping("web") > 0


@pytest.mark.parametrize("status", [400, 404, 405])
@pytest.mark.parametrize("written", [{"type": "http"}, {"transport": "streamable_http"}])
def test_a_server_that_has_only_the_older_transport(events, make_loader, status, written):
    """As VS Code does with type http, and as the protocol advises."""
    events.unknown = status
    loader = make_loader({"web": {"url": f"http://127.0.0.1:{events.server_port}/sse", **written}})
    assert not loader.errors, loader.errors
    assert loader.status["web"].transport == "sse" and events.tried >= 1
    assert loader.call("web.echo").text == "here"
    with pytest.raises(ToolsError):
        loader.call("web.drop", timeout=60)
    assert loader.call("web.echo", timeout=60).text == "here"


@pytest.mark.parametrize("path", ["404", "silent"])
def test_a_server_that_has_neither_transport(events, make_loader, path):
    """The error is that of the transport that was asked for, in time."""
    events.unknown = 404
    url = f"http://127.0.0.1:{events.server_port}/{path}/mcp"
    loader = make_loader({"web": {"url": url, "connect_timeout": 6}})
    assert "HTTP 404" in loader.errors["web"] and loader.status["web"].state == "failed"
    assert loader.status["web"].transport == "streamable_http"


def test_a_server_that_fails_is_not_tried_with_the_older_transport(events, make_loader):
    events.unknown = 500
    loader = make_loader({"web": {"url": f"http://127.0.0.1:{events.server_port}/sse", "type": "http"}})
    assert "500" in loader.errors["web"] and not events.streams


def under_way(web, name):
    eventually(lambda: name in web.calls)


@pytest.mark.parametrize("fault", ["forgets", "fail"])
def test_what_ends_the_session_ends_the_other_calls_too(load, web, fault):
    """At once, and each says what is true of itself: the other one was sent, and must not be sent again."""
    loader = load()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        other = pool.submit(loader.call, "web.slow", timeout=600)
        under_way(web, "slow")
        if fault == "forgets":
            web.forgets = True
            assert loader.call("web.echo", timeout=60).text == "here"  # by itself it was not taken: it is sent again
        else:
            with pytest.raises(ServerUnavailable, match="HTTP 500"):
                loader.call("web.fail", timeout=60)
        if fault == "fail" and _sdk_line() == 2:
            web.stop.set()  # there the session goes on
            assert other.result(60).text == "here"
        else:
            assert isinstance(other.exception(60), ServerLost)
    assert web.calls.count("slow") == 1


def _sdk_line():
    from aionest.mcp import sdk

    return 2 if sdk.V2 else 1


def test_a_call_that_was_sent_is_not_sent_again_since_another_was_refused(load, web, make_loader):
    port = web.server_port
    loader = load()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        sent = pool.submit(loader.call, "web.slow", timeout=600)
        under_way(web, "slow")
        web.shutdown()
        web.socket.close()  # new connections are refused; what was begun goes on
        with pytest.raises(ToolsError):
            loader.call("web.fail", timeout=60)
        same = ("sessions", "calls", "stop", "status", "deaf", "forgets", "busy", "put_off", "taken")
        with serving(Handler, port=port, **{name: getattr(web, name) for name in same}):
            web.stop.set()
            try:
                assert sent.result(60).text == "here"
            except ServerLost:
                pass
            assert web.calls.count("slow") == 1 and "fail" not in web.calls
            assert loader.call("web.echo", timeout=60).text == "here"


def test_a_server_that_does_not_answer_the_goodbye(load, web):
    loader = load()
    web.deaf = True
    web.forgets = True
    assert loader.call("web.echo", timeout=60).text == "here"  # the old session is left meanwhile
    assert loader.restart("web").state == "connected"
    loader.cleanup()
    assert web.goodbyes == 0, "nobody has waited for the answer"


def test_what_the_caller_handles_is_no_reason(load, web):
    """A call made on the portal's own loop, while another exception is being handled."""

    class NotFound(Exception):
        class response:  # noqa: N801 - as HTTP libraries have it
            status_code = 404

    loader = load()

    async def call(exc):
        try:
            raise exc
        except Exception:
            with pytest.raises(ToolsError) as caught:
                await loader.call_async("web.fail")
            return str(caught.value)

    for exc in (NotFound(), FileNotFoundError(2, "No such file", "/my/file")):
        web.calls.clear()
        assert "HTTP 500" in loader.portal.call(call, exc)
        assert web.calls == ["fail"]


def test_an_answer_takes_the_time_that_it_takes(load, web, monkeypatch):
    """There is the call's deadline, and no other of the HTTP client."""
    from aionest.mcp.transport import client

    monkeypatch.setattr(client, "READ", 0.5)
    loader = load()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(loader.call, "web.slow", timeout=100)
        eventually(lambda: web.calls)
        time.sleep(1.5)
        web.stop.set()
        assert call.result(60).text == "here" and web.calls == ["slow"]


def test_events_may_be_far_apart(events, make_loader, monkeypatch):
    from aionest.mcp.transport import sse

    monkeypatch.setattr(sse, "sse_client", functools.partial(sse.sse_client, sse_read_timeout=0.5))
    loader = make_loader({"web": {"url": f"http://127.0.0.1:{events.server_port}/sse"}})
    time.sleep(1.5)
    assert loader.call("web.begun").text == "here" and loader.status["web"].connections == 1


def test_a_stream_of_events_that_has_ended_is_noticed(events, make_loader):
    """Before a call does: it goes to a new session, even if it may not be sent twice."""
    loader = make_loader({"web": {"url": f"http://127.0.0.1:{events.server_port}/sse"}})
    for news in events.streams.values():
        news.put(None)
    eventually(lambda: loader.status["web"].state == "lost")
    assert loader.call("web.begun").text == "here" and loader.status["web"].connections == 2
