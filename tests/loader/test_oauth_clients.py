"""How a client says who it is at a token endpoint, and what happens where its tokens cannot be kept."""

from __future__ import annotations

import asyncio
import json
import logging
from urllib.parse import parse_qsl

import pytest
import web

pytest.importorskip("mcp")

from aionest.mcp import ConfigError, ServerConfig, TokenStore, ToolsConfig, sdk
from aionest.mcp.auth import Secrets, oauth

URL = "https://server.test/mcp"
AS = "https://as.test"


def provider(store, **auth):
    config = ServerConfig(name="web", url=URL, auth={"type": "oauth", "client_id": "me", **auth})
    made = oauth.provider(config, store, Secrets(), None, lambda exc: None, lambda asking: None)
    return asyncio.run(made())


def token_request(made, supported):
    """The request that would be made for a code, with the server's metadata."""
    from mcp.shared.auth import OAuthMetadata

    metadata = {"issuer": AS, "authorization_endpoint": f"{AS}/authorize", "token_endpoint": f"{AS}/token"}
    if supported is not None:
        metadata["token_endpoint_auth_methods_supported"] = supported

    async def ask():
        await made._initialize()
        made.context.oauth_metadata = OAuthMetadata.model_validate(metadata)
        return await made._exchange_token_authorization_code("code", "verifier")

    return asyncio.run(ask())


def way_of(request):
    if request.headers.get("authorization", "").startswith("Basic "):
        return "client_secret_basic"
    return "client_secret_post" if b"client_secret=" in request.content else "none"


@pytest.mark.parametrize(
    ("supported", "way"),
    [
        (None, "client_secret_basic"),  # which is what counts where nothing is said
        (["client_secret_basic"], "client_secret_basic"),
        (["client_secret_post"], "client_secret_post"),
        (["private_key_jwt", "client_secret_post", "client_secret_basic"], "client_secret_basic"),
    ],
)
def test_a_registered_client_says_who_it_is_as_the_server_takes_it(tmp_path, supported, way):
    made = provider(TokenStore(tmp_path / "tokens.json"), client_secret="s3cret")
    assert way_of(token_request(made, supported)) == way


@pytest.mark.parametrize("way", ["client_secret_basic", "client_secret_post", "none"])
@pytest.mark.parametrize("supported", [None, ["client_secret_post"], ["client_secret_basic"]])
def test_what_the_configuration_says_counts(tmp_path, way, supported):
    made = provider(TokenStore(tmp_path / "tokens.json"), client_secret="s3cret", token_endpoint_auth_method=way)
    assert way_of(token_request(made, supported)) == way


def test_a_client_without_a_secret_sends_none(tmp_path):
    made = provider(TokenStore(tmp_path / "tokens.json"))
    assert way_of(token_request(made, ["client_secret_basic"])) == "none"


def test_the_document_that_describes_the_client_is_passed_on(tmp_path):
    url = "https://client.test/metadata.json"
    made = provider(TokenStore(tmp_path / "tokens.json"), client_id=None, client_metadata_url=url)
    assert made.context.client_metadata_url == url


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ({"type": "client_credentials", "client_id": "me"}, "client_secret: type client_credentials needs it, or"),
        ({"type": "identity_assertion", "client_id": "me", "client_secret": "x", "issuer": AS}, "assertion"),
        (
            {"type": "identity_assertion", "client_id": "m", "client_secret": "x", "issuer": AS, "id_token": "t"},
            "idp_token_endpoint",
        ),
        ({"type": "oauth", "token_endpoint_auth_method": "basic"}, "client_secret_basic"),
    ],
)
def test_what_is_missing_is_said(auth, said):
    errors = ToolsConfig.from_dict({"web": {"url": URL, "auth": auth}}).get_errors()
    assert len(errors) == 1 and said.split(":")[0] in errors[0]
    with pytest.raises(ConfigError):
        ServerConfig(name="web", url=URL, auth=auth)


def test_a_machine_with_a_private_key(tmp_path):
    jwt = pytest.importorskip("jwt")
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    from cryptography.hazmat.primitives import serialization

    key = ec.generate_private_key(ec.SECP256R1())
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file = tmp_path / "key.pem"
    file.write_bytes(pem)
    for given in ({"private_key": pem.decode()}, {"private_key_file": str(file)}):
        auth = {"type": "client_credentials", "client_id": "me", "signing_algorithm": "ES256", **given}
        config = ServerConfig(name="web", url=URL, auth=auth)
        assert pem.decode() not in repr(config)
        store = TokenStore(tmp_path / "tokens.json")
        made = asyncio.run(oauth.provider(config, store, Secrets(), None, print, print)())
        token = asyncio.run(made._assertion_provider(AS))
        claims = jwt.decode(token, key.public_key(), algorithms=["ES256"], audience=AS)
        assert claims["iss"] == claims["sub"] == "me"
    config = ServerConfig(name="web", url=URL, auth={**auth, "private_key_file": str(tmp_path / "no.pem")})
    with pytest.raises(Exception, match="cannot be read"):
        asyncio.run(oauth.provider(config, store, Secrets(), None, print, print)())


@pytest.mark.skipif(not sdk.V2, reason="1.x has no such flow")
def test_the_identity_of_an_organisation(tmp_path):
    auth = {"type": "identity_assertion", "client_id": "me", "client_secret": "x", "issuer": AS, "assertion": "jag"}
    config = ServerConfig(name="web", url=URL, auth=auth)
    store = TokenStore(tmp_path / "tokens.json")
    made = asyncio.run(oauth.provider(config, store, Secrets(), None, print, print)())
    assert asyncio.run(made._assertion_provider(AS, URL)) == "jag"


@pytest.mark.skipif(not sdk.V2, reason="1.x has no such flow")
def test_a_workload_has_no_secret_and_a_file_that_changes(tmp_path):
    file = tmp_path / "token"
    config = ServerConfig(
        name="web",
        url=URL,
        auth={"type": "identity_assertion", "client_id": "me", "issuer": AS, "assertion_file": str(file)},
    )
    store = TokenStore(tmp_path / "tokens.json")
    made = asyncio.run(oauth.provider(config, store, Secrets(), None, print, print)())
    made._token_endpoint = f"{AS}/token"
    for token in ("first", "second"):
        file.write_text(f"{token}\n")
        request = made._build_token_request("a b", asyncio.run(made._assertion_provider(AS, URL)))
        sent = dict(parse_qsl(request.content.decode()))
        assert sent["assertion"] == token and sent["client_id"] == "me" and sent["scope"] == "a b"
        assert "client_secret" not in sent and "Authorization" not in request.headers
    file.unlink()
    with pytest.raises(Exception, match="the assertion in .* cannot be read"):
        asyncio.run(made._assertion_provider(AS, URL))


@pytest.mark.skipif(sdk.V2, reason="2.x has it")
def test_the_line_without_that_flow_says_so(tmp_path):
    auth = {"type": "identity_assertion", "client_id": "me", "client_secret": "x", "issuer": AS, "assertion": "jag"}
    config = ServerConfig(name="web", url=URL, auth=auth)
    with pytest.raises(Exception, match="mcp>=2"):
        asyncio.run(oauth.provider(config, TokenStore(tmp_path / "t"), Secrets(), None, print, print)())


class Full(TokenStore):
    """A store on a full disk."""

    def set(self, key, value):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("make", [Full, lambda file: TokenStore(file.parent / "taken" / "tokens.json")])
def test_tokens_that_cannot_be_stored_are_kept_in_memory(tmp_path, caplog, make):
    from mcp.shared.auth import OAuthToken

    (tmp_path / "taken").write_text("a file where a folder should be")
    secrets = Secrets()
    storage = oauth.Storage(make(tmp_path / "tokens.json"), "key", secrets)

    async def go():
        await storage.load()
        for number in range(2):
            await storage.set_tokens(OAuthToken(access_token=f"access-token-{number}", expires_in=60))
        return await storage.get_tokens()

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(go()).access_token == "access-token-1"
    said = [record.getMessage() for record in caplog.records if "cannot store" in record.getMessage()]
    assert len(said) == 1 and "access-token" not in said[0]


class Machines(web.Answering):
    """A server for clients with tokens, and the authorization server that grants them as the test says."""

    def do_GET(self):
        base = self.server.base
        if "protected-resource" in self.path:
            return self.reply(200, {"resource": f"{base}/mcp", "authorization_servers": [base]})
        if "well-known" not in self.path:
            return self.reply(405, b"")
        metadata = {"issuer": base, "authorization_endpoint": f"{base}/a", "token_endpoint": f"{base}/token"}
        return self.reply(200, {**metadata, "response_types_supported": ["code"]})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/token":
            return self.reply(200, {"token_type": "Bearer", **self.server.granted})
        if self.headers.get("authorization") != "Bearer good":
            return self.reply(401, b"")
        message = json.loads(body)
        if "id" not in message:
            return self.reply(202, b"")
        about = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
        result = about if message["method"] == "initialize" else {"tools": []}
        return self.reply(200, {"jsonrpc": "2.0", "id": message["id"], "result": result})


class Kept:
    """A token store that gives what the test says, or raises it."""

    def __init__(self, given):
        self.given = given

    def get(self, key):
        if isinstance(self.given, Exception):
            raise self.given
        return self.given

    def set(self, key, value):
        pass

    remove = get


KEY = "-----BEGIN PRIVATE KEY-----\ns3cret-key\n-----END PRIVATE KEY-----"
MACHINE = {"type": "client_credentials", "client_id": "me"}
IDENTITY = {"type": "identity_assertion", "client_id": "me", "id_token": "s3cret-id-token"}


@pytest.fixture
def machines(make_loader):
    with web.serving(Machines, granted={}) as server:

        def make(auth, granted=None, kept=None):
            server.granted = granted or {"access_token": "good", "expires_in": 60}
            servers = {
                "s": {"url": f"{server.base}/mcp", "protocol": "legacy", "auth": {"issuer": server.base, **auth}}
            }
            return make_loader(servers, tokens=Kept(kept))

        yield make


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ({**MACHINE, "private_key": KEY}, "login failed"),
        ({**MACHINE, "private_key": "s3cret-key", "signing_algorithm": "HS9999"}, "not supported"),
        ({**MACHINE, "private_key_file": "/no/such/key.pem"}, "/no/such/key.pem"),
        ({"type": "oauth", "client_metadata_url": "http://example.com/c.json"}, "client_metadata_url"),
    ],
)
def test_what_is_wrong_with_a_login_is_an_error_of_the_login(machines, auth, said):
    failure = machines(auth).failures["s"]
    assert failure.code == "auth" and said in str(failure) and "s3cret" not in str(failure)


@pytest.mark.skipif(not sdk.V2, reason="the 1.x line has no such login")
@pytest.mark.parametrize("url", ["http://127.0.0.1:9/token", "no address", "http://["])
def test_an_identity_provider_that_cannot_be_reached(machines, url):
    failure = machines({**IDENTITY, "client_secret": "s3cret-word", "idp_token_endpoint": url}).failures["s"]
    assert failure.code == "auth" and "identity provider" in str(failure) and "s3cret" not in str(failure)


@pytest.mark.parametrize(
    "granted",
    [{"access_token": "good\r\nX: y"}, {"access_token": "g\u20ac"}, {"access_token": "good", "expires_in": 10**400}],
)
def test_a_token_that_is_of_no_use_is_an_error_of_the_login(machines, granted):
    failure = machines({**MACHINE, "client_secret": "s3cret-word"}, granted).failures["s"]
    assert failure.code == "auth", failure


@pytest.mark.parametrize("kept", [RuntimeError("locked"), [1], "x", {"tokens": 7, "expires": "soon", "client": [1]}])
def test_what_a_store_gives_that_is_of_no_use_is_as_nothing(machines, kept):
    assert not machines({**MACHINE, "client_secret": "s3cret-word"}, kept=kept).errors


def test_how_a_client_says_who_it_is_is_no_secret():
    secrets = Secrets()
    auth = {
        **MACHINE,
        "client_secret": "s3cret-word",
        "token_endpoint_auth_method": "none",
        "private_key_file": "/a/key",
    }
    secrets.learn(ServerConfig(name="web", url=URL, auth=auth))
    assert secrets.hide("none of s3cret-word in /a/key") == "none of *** in /a/key"
