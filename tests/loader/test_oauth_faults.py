"""Authorization servers that answer with what nobody understands: told in words, and no token is in them."""

from __future__ import annotations

import json
import logging

import pytest
from web import Quiet, serving

pytest.importorskip("mcp")

from aionest.mcp import AuthError

TOKEN = "a-token-that-nobody-may-read"
GOOD = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600}


class Handler(Quiet):
    protocol_version = "HTTP/1.1"

    def reply(self, status, body=b"", **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        base = self.server.base
        if self.path.startswith("/.well-known/oauth-protected-resource"):
            return self.reply(200, {"resource": f"{base}/mcp", "authorization_servers": [base]})
        if self.path.startswith("/.well-known/"):
            ends = {f"{name}_endpoint": f"{base}/{name}" for name in ("authorization", "token")}
            return self.reply(200, {"issuer": base, "response_types_supported": ["code"], **ends})
        return self.reply(405)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/token":
            return self.reply(200, self.server.token)
        where = self.server.where or f"{self.server.base}/.well-known/oauth-protected-resource"
        return self.reply(401, {}, WWW_Authenticate=f'Bearer resource_metadata="{where}"')


@pytest.fixture
def failed(make_loader, tmp_path, monkeypatch):
    monkeypatch.setenv("AIONEST_TOKENS", str(tmp_path / "tokens.json"))

    def failed(token=GOOD, where=""):
        auth = {"type": "client_credentials", "client_id": "one", "client_secret": "its-secret"}
        with serving(Handler, token=token, where=where) as web:
            loader = make_loader({"web": {"url": f"{web.base}/mcp", "auth": auth, "connect_timeout": 60}})
            with pytest.raises(Exception) as found:
                loader.restart("web")
            return found.value, loader.errors["web"]

    return failed


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (json.dumps(GOOD).encode()[:-1], "JSON"),
        ([GOOD], "object"),
        ({**GOOD, "token_type": TOKEN}, "token_type"),
    ],
)
def test_an_answer_that_is_no_token(failed, caplog, token, said):
    with caplog.at_level(logging.DEBUG):
        error, told = failed(token)
    assert isinstance(error, AuthError) and said in told
    chain, shown = error, [caplog.text, told]
    while chain is not None:
        assert len(shown) < 50
        shown.append(f"{chain!r} {chain}")
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    # httpcore and httpx log headers and addresses, never a body
    assert not any(TOKEN[:6] in one.lower() for one in shown)


def test_what_a_group_holds_is_told(failed):
    error, told = failed(where="file:///etc/hostname")
    assert "ExceptionGroup" not in told and "file://" in told and "ExceptionGroup" not in str(error)
