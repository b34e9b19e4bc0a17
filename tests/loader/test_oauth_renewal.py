"""Tokens that have to be renewed: by one of many, at an authorization server that fails now and then, and beside what is in flight."""

from __future__ import annotations

import base64
import concurrent.futures
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from urllib.parse import parse_qsl

import pytest
from support import eventually
from web import Answering, serving

pytest.importorskip("mcp")

from aionest.mcp import AuthError, ServerConfig, ServerUnavailable, TokenStore, ToolsConfig
from aionest.mcp.auth import oauth

GOOD = {"access_token": "good", "token_type": "Bearer", "expires_in": 3600}
TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "slow")]


class Handler(Answering):
    """A server for who has one of the tokens in ``good``, and its authorization server, which answers as ``script`` says."""

    def do_GET(self):
        base = self.server.base
        if "protected-resource" in self.path:
            return self.reply(200, {"resource": f"{base}/mcp", "authorization_servers": [base]})
        return self.reply(200, self.server.metadata()) if "well-known" in self.path else self.reply(405)

    def do_DELETE(self):
        self.reply(200)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/token":
            return self.token(dict(parse_qsl(body.decode())))
        if self.headers.get("authorization") not in [f"Bearer {one}" for one in self.server.good]:
            return self.reply(401)
        message = json.loads(body)
        if "id" not in message:
            return self.reply(202)
        result = {"content": [{"type": "text", "text": "here"}]}
        if message["method"] == "initialize":
            about = {"name": "x", "version": "1"}
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": about}
        elif message["method"] == "tools/list":
            result = {"tools": TOOLS}
        elif message["params"]["name"] == "slow":
            self.server.slow.append(1)
            self.server.stop.wait(30)
        return self.reply(200, {"jsonrpc": "2.0", "id": message["id"], "result": result})

    def token(self, form):
        self.server.asked.append((form, self.headers.get("authorization")))
        with self.server.lock:
            answer = self.server.script.pop(0) if self.server.script else self.server.answer(form)
        if answer == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return self.connection.close()
        status, content, headers = answer
        return self.reply(status, content, **headers)


@pytest.fixture
def web():
    state = {"good": ["good"], "script": [], "asked": [], "slow": [], "said": {}, "lock": threading.Lock()}
    with serving(Handler, answer=lambda form: (200, {**GOOD, "refresh_token": "R2"}, {}), **state) as server:
        ends = {f"{name}_endpoint": f"{server.base}/{name}" for name in ("authorization", "token")}
        server.metadata = lambda: {
            "issuer": server.base,
            "response_types_supported": ["code"],
            **ends,
            **server.said,
        }
        yield server


@pytest.fixture
def store(tmp_path):
    return TokenStore(tmp_path / "state" / "tokens.json")


LOGIN = {"type": "oauth"}
MACHINE = {"type": "client_credentials", "client_id": "me", "client_secret": "s3cret/=+ &:%"}


def settings(web, auth=LOGIN, **more):
    return {"url": f"{web.base}/mcp", "auth": auth, "protocol": "legacy", **more}


def keep(web, store, token="old", seconds=-10.0, **more):
    """A login of before."""
    client = {"client_id": "me", "redirect_uris": ["http://127.0.0.1:7/callback"], "issuer": web.base}
    kept = {
        "tokens": {"access_token": token, "token_type": "Bearer", "refresh_token": "R1", **more},
        "expires": time.time() + seconds,
        "client": {**client, "token_endpoint_auth_method": "none"},
        "metadata": web.metadata(),
    }
    store.set(oauth.token_key(ServerConfig(name="web", **settings(web))), kept)


@pytest.mark.parametrize(
    "first",
    [
        (500, b"oops", {}),
        (502, b"<html>", {}),
        "reset",
        (429, b"", {}),
        (429, b"", {"Retry_After": "1"}),
        (503, b"", {"Retry_After": "0.2"}),
    ],
)
@pytest.mark.parametrize("auth", [LOGIN, MACHINE], ids=["login", "machine"])
def test_an_authorization_server_that_fails_once(web, store, make_loader, auth, first):
    if auth is LOGIN:
        keep(web, store)
    web.script = [first]
    loader = make_loader({"web": settings(web, auth)}, tokens=store)
    assert not loader.errors and loader.call("web.echo").text == "here"
    assert len(web.asked) == 2


@pytest.mark.parametrize("after", ["100000", "Wed, 21 Oct 2099 07:28:00 GMT", "20"])
def test_one_that_puts_it_off_for_too_long_is_not_waited_for(web, store, make_loader, after):
    keep(web, store)
    web.script = [(429, b"", {"Retry_After": after})]
    begin = time.monotonic()
    loader = make_loader({"web": settings(web, connect_timeout=15)}, tokens=store)
    assert time.monotonic() - begin < 10
    failure = loader.failures["web"]
    assert isinstance(failure, ServerUnavailable) and "authorization server answered HTTP 429" in str(failure)
    loader.restart("web")  # the tokens were kept
    assert loader.call("web.echo").text == "here"


def test_one_that_fails_during_a_session_costs_no_login(web, store, make_loader):
    keep(web, store, "good", 3600)
    loader = make_loader({"web": settings(web)}, tokens=store)
    web.good, web.script = ["new"], [(500, b"", {})] * 2
    web.answer = lambda form: (200, {**GOOD, "access_token": "new"}, {})
    with pytest.raises(ServerUnavailable, match="server 'web': its authorization server answered HTTP 500"):
        loader.call("web.echo")
    assert loader.call("web.echo").text == "here"
    assert {form["refresh_token"] for form, _ in web.asked} == {"R1"}


@pytest.mark.parametrize("during", [True, False])
def test_a_token_that_is_refused_before_its_time_is_renewed(web, store, make_loader, during):
    keep(web, store, "good", 3600)
    if not during:
        web.good = ["new"]
    web.answer = lambda form: (200, {**GOOD, "access_token": "new"}, {})
    loader = make_loader({"web": settings(web)}, tokens=store)
    assert not loader.errors
    web.good = ["new"]
    assert loader.call("web.echo").text == "here" and len(web.asked) == 1


def test_what_renews_goes_on_where_no_other_is_given(web, store, make_loader):
    keep(web, store)
    web.answer = lambda form: (200, {**GOOD, "access_token": f"{form['refresh_token']}-{len(web.asked)}"}, {})
    web.good = ["R1-1"]
    loader = make_loader({"web": settings(web)}, tokens=store)
    web.good = ["R1-2"]
    assert loader.call("web.echo").text == "here"
    loader.cleanup()
    web.good = ["R1-3"]
    assert not make_loader({"web": settings(web)}, tokens=store).errors


def test_a_call_that_takes_long_holds_up_no_other(web, store, make_loader):
    """The SDK sends one request at a time, to the headers of its answer: what a call waits for could not be sent."""
    keep(web, store, "good", 3600)
    loader = make_loader({"web": settings(web)}, tokens=store)
    slow = loader.submit("web.slow", {}, timeout=0)
    eventually(lambda: web.slow)
    assert loader.call("web.echo", timeout=20).text == "here"
    slow.cancel()
    concurrent.futures.wait([slow])


def test_of_many_calls_one_renews(web, store, make_loader):
    keep(web, store, "good", 3600)
    loader = make_loader({"web": settings(web)}, tokens=store)
    web.good, web.answer = ["new"], lambda form: (200, {**GOOD, "access_token": "new", "refresh_token": "R2"}, {})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert {one.text for one in pool.map(lambda _: loader.call("web.echo"), range(16))} == {"here"}
    assert len(web.asked) == 1


ROTATING = """
import sys
from aionest.mcp import ToolsLoader, TokenStore
base, file = sys.argv[1:]
config = {"web": {"url": f"{base}/mcp", "auth": {"type": "oauth"}, "protocol": "legacy"}}
with ToolsLoader(config, tokens=TokenStore(file)) as loader:
    for _ in range(4):
        print(loader.call("web.echo").text)
        sys.stdin.readline()
"""


@pytest.mark.slow
def test_of_several_processes_one_renews(web, store):
    """A refresh token that is used twice is a thief's: many servers then let nobody in."""
    keep(web, store)
    live, stolen = ["R1"], []

    def rotated(form):
        if [form["refresh_token"]] != live:
            stolen.append(form)
            return 400, {"error": "invalid_grant"}, {}
        number = len(web.asked)
        live[:] = [f"new-{number}"]
        web.good = [f"good-{number}"]
        return 200, {**GOOD, "access_token": web.good[0], "refresh_token": live[0]}, {}

    web.answer, web.good = rotated, []
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    program = [sys.executable, "-c", ROTATING, web.base, str(store.file)]
    with subprocess.Popen(program, **pipes) as one, subprocess.Popen(program, **pipes) as other:
        for turn in range(4):
            assert [process.stdout.readline().strip() for process in (one, other)] == ["here", "here"]
            if turn == 1:
                web.good = []  # all that were given are refused
            for process in (one, other):
                process.stdin.write("\n")
                process.stdin.flush()
    assert not stolen and len(web.asked) == 2
    assert [path.name for path in store.file.parent.iterdir()] == [store.file.name]


class Unlocked:
    """A store of somebody's own."""

    def __init__(self, inner):
        self.get, self.set, self.remove = inner.get, inner.set, inner.remove


def test_where_there_are_no_locks_the_faster_one_counts(web, store, make_loader):
    keep(web, store)

    def too_late(form):
        if form["refresh_token"] == "R1":
            keep(web, store, "good", 3600, refresh_token="R2")
            return 400, {"error": "invalid_grant"}, {}
        raise AssertionError

    web.answer = too_late
    loader = make_loader({"web": settings(web)}, tokens=Unlocked(store))
    assert not loader.errors and loader.call("web.echo").text == "here"


def test_a_login_elsewhere_is_noticed(web, store, make_loader):
    keep(web, store)
    web.answer = lambda form: (400, {"error": "invalid_grant"}, {})
    loader = make_loader({"web": settings(web)}, tokens=store)
    assert isinstance(loader.failures["web"], AuthError)
    keep(web, store, "good", 3600)
    loader.restart("web")
    assert loader.call("web.echo").text == "here"


class ReadOnly(TokenStore):
    """A store on a disk that takes nothing any more."""

    def set(self, key, value):
        raise OSError(30, "Read-only file system")


def test_what_could_not_be_stored_is_newer_than_what_is(web, tmp_path, make_loader):
    keep(web, TokenStore(tmp_path / "tokens.json"))
    web.answer = lambda form: (
        200,
        {**GOOD, "access_token": f"good-{len(web.asked)}", "refresh_token": f"new-{len(web.asked)}"},
        {},
    )
    web.good = ["good-1"]
    loader = make_loader({"web": settings(web)}, tokens=ReadOnly(tmp_path / "tokens.json"))
    web.good = ["good-2"]
    assert loader.call("web.echo").text == "here"
    assert [form["refresh_token"] for form, _ in web.asked] == ["R1", "new-1"]


@pytest.mark.parametrize("seconds", [0, -5])
def test_a_token_that_is_given_as_expired_is_used(web, store, make_loader, seconds):
    keep(web, store)
    web.answer = lambda form: (200, {**GOOD, "expires_in": seconds}, {})
    loader = make_loader({"web": settings(web)}, tokens=store)
    assert not loader.errors and loader.call("web.echo").text == "here" and len(web.asked) == 1


@pytest.mark.parametrize(
    ("granted", "said"),
    [
        (b'{"access_token": "good", "expires_in": 1e400}', "expires_in"),
        ({**GOOD, "expires_in": "soon"}, "expires_in"),
        ({**GOOD, "expires_in": 10**400}, "expires_in"),
        ({**GOOD, "access_token": "x" * 900_000}, "more than 64 KiB"),
        ({**GOOD, "access_token": ["s3cret-token"]}, "access_token"),
        (b'{"a":"s3cret-tok', "JSON"),
    ],
)
def test_a_token_that_is_none(web, store, make_loader, granted, said):
    web.answer = lambda form: (200, granted, {})
    begin = time.monotonic()
    failure = make_loader({"web": settings(web, MACHINE)}, tokens=store).failures["web"]
    assert time.monotonic() - begin < 10
    assert isinstance(failure, AuthError) and said in str(failure) and str(failure).startswith("server 'web': ")
    told = f"{failure} {failure.__cause__!r}"
    assert "\n" not in str(failure) and "s3cret" not in told and "pydantic" not in told


def test_a_long_answer_is_told_in_part(web, store, make_loader):
    web.answer = lambda form: (400, b"<html>\n" + b"x" * 200_000, {})
    failure = make_loader({"web": settings(web, MACHINE)}, tokens=store).failures["web"]
    assert isinstance(failure, AuthError) and "(400)" in str(failure) and len(str(failure)) < 1000


@pytest.mark.parametrize(
    ("supported", "way"),
    [
        (None, "client_secret_basic"),
        (["client_secret_post"], "client_secret_post"),
        (["client_secret_post", "client_secret_basic"], "client_secret_basic"),
        (["private_key_jwt"], "client_secret_basic"),
    ],
)
def test_a_machine_says_who_it_is_as_the_server_takes_it(web, store, make_loader, supported, way):
    web.said = {} if supported is None else {"token_endpoint_auth_methods_supported": supported}
    assert not make_loader({"web": settings(web, MACHINE)}, tokens=store).errors
    ((form, header),) = web.asked
    if way == "client_secret_post":
        assert (form["client_id"], form["client_secret"], header) == ("me", MACHINE["client_secret"], None)
    else:
        pair = base64.b64decode(header.removeprefix("Basic ")).decode()
        assert pair == "me:s3cret%2F%3D%2B%20%26%3A%25" and "client_secret" not in form


def test_a_machine_without_a_secret_says_its_name(web, store, make_loader):
    auth = {**MACHINE, "token_endpoint_auth_method": "none"}
    assert not make_loader({"web": settings(web, auth)}, tokens=store).errors
    ((form, header),) = web.asked
    assert form["client_id"] == "me" and "client_secret" not in form and header is None


@pytest.mark.parametrize(("kind", "audience"), [("machine", None), ("login", None), ("machine", "own")])
def test_a_signed_assertion_is_for_who_the_server_says_it_is(web, store, make_loader, kind, audience):
    jwt = pytest.importorskip("jwt")
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    from cryptography.hazmat.primitives import serialization

    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    wanted = f"{web.base}/token" if audience else web.base
    auth = {"client_id": "me", "private_key": pem, "signing_algorithm": "ES256", "issuer": web.base}
    auth["type"] = "client_credentials" if kind == "machine" else "oauth"
    if audience:
        auth["audience"] = wanted
    config = settings(web, auth)
    if kind == "login":
        kept = {
            "tokens": {"access_token": "old", "token_type": "Bearer", "refresh_token": "R1"},
            "expires": time.time() - 10,
            "metadata": web.metadata(),
        }
        store.set(oauth.token_key(ServerConfig(name="web", **config)), kept)
    assert not make_loader({"web": config}, tokens=store).errors
    ((form, header),) = web.asked
    claims = jwt.decode(form["client_assertion"], key.public_key(), algorithms=["ES256"], audience=wanted)
    assert claims["aud"] == wanted and claims["sub"] == claims["iss"] == "me"
    assert header is None and "client_secret" not in form and form["client_assertion_type"].endswith("jwt-bearer")


@pytest.mark.parametrize(
    ("auth", "field"),
    [
        ({"type": "oauth", "token_endpoint_auth_method": "private_key_jwt"}, "auth.private_key"),
        ({**MACHINE, "token_endpoint_auth_method": "private_key_jwt"}, "auth.private_key"),
        ({"type": "oauth", "private_key": "x"}, "auth.client_id"),
        (
            {
                "type": "client_credentials",
                "client_id": "me",
                "private_key": "x",
                "token_endpoint_auth_method": "client_secret_post",
            },
            "auth.client_secret",
        ),
    ],
)
def test_a_client_that_lacks_what_it_signs_with(auth, field):
    (error,) = ToolsConfig.from_dict({"web": {"url": "https://server.test/mcp", "auth": auth}}).get_errors()
    assert field in error
