"""Secrets of the configuration are in no error, log, repr or status, whatever servers and libraries write."""

from __future__ import annotations

import base64
import json
import logging
import sys
import traceback
from pathlib import Path

import pytest
from servers import SERVER
from web import Quiet, serving

pytest.importorskip("mcp")

from aionest.mcp import ToolFailed, ToolsConfig, ToolsError, ToolsLoader
from aionest.mcp.auth import Secrets
from aionest.mcp.config.masks import mask_args

SECRET = "correct-horse-battery"


@pytest.fixture
def everything(caplog):
    """All log records of all levels."""
    with caplog.at_level(logging.DEBUG):
        yield caplog


def shown(loader, caplog):
    """All that a person or a log may see."""
    status = loader.status
    texts = [repr(loader), repr(loader.config), repr(loader.config.servers), str(status), str(loader.errors)]
    texts += [repr(value) for value in loader.config.servers.values()]
    for connection in loader._fleet.connections.values():
        if connection.failure is not None:
            texts += ["".join(traceback.format_exception(None, connection.failure, connection.failure.__traceback__))]
    texts += [record.getMessage() for record in caplog.records]
    texts += [logging.Formatter().format(record) for record in caplog.records]
    return "\n".join(texts)


def test_a_server_that_tells_its_token(make_loader, everything):
    env = {"TOKEN": SECRET}
    loader = make_loader({"a": {"command": sys.executable, "args": [str(SERVER), "--fault", "leak"], "env": env}})
    said = loader.errors["a"]
    assert "cannot log in with ***" in said and "exit code 3" in said
    assert any("key is ***" in line for line in loader.status["a"].stderr)
    assert SECRET not in shown(loader, everything)
    assert "cannot log in with ***" in everything.text


def test_tokens_from_an_env_file_and_from_variables(make_loader, everything, tmp_path, monkeypatch):
    (tmp_path / "a.env").write_text(f"OTHER={SECRET}\n")
    monkeypatch.setenv("FROM_HERE", SECRET)
    args = [str(SERVER), "--fault", "leak"]
    servers = {
        "file": {"command": sys.executable, "args": args, "envFile": "a.env", "env": {"TOKEN": SECRET}},
        "variable": {"command": sys.executable, "args": args, "env": {"TOKEN": "${FROM_HERE}"}},
    }
    (tmp_path / "mcp.json").write_text(json.dumps(servers))
    loader = make_loader(tmp_path / "mcp.json")
    assert set(loader.errors) == set(servers)
    assert SECRET not in shown(loader, everything)


def test_tokens_in_arguments(make_loader, everything, monkeypatch):
    monkeypatch.setenv("FROM_HERE", SECRET + "1")
    monkeypatch.setenv("A_PATH", str(SERVER))
    code = "import sys; sys.exit('refused: ' + ' '.join(sys.argv[1:]) + ' at ' + sys.argv[1])"
    args = ["${A_PATH}", "mode", "${FROM_HERE}", "x${input:one}", "--token", SECRET + "3", f"--api-key={SECRET}4"]
    args += ["--header", f"Authorization: Bearer {SECRET}5", "--config", json.dumps({"apiKey": SECRET + "6"})]
    servers = {"a": {"command": sys.executable, "args": ["-c", code, *args]}}
    loader = make_loader(ToolsConfig.from_dict(servers, inputs={"one": SECRET + "2"}))
    said = loader.errors["a"]
    assert f"refused: {SERVER} mode *** x*** --token *** --api-key=***" in said
    assert SECRET not in shown(loader, everything).replace(code, "")


def test_a_tool_that_tells_its_token(make_loader):
    env = {"TOKEN": SECRET}
    loader = make_loader({"a": {"command": sys.executable, "args": [str(SERVER)], "env": env}})
    with pytest.raises(ToolFailed) as caught:
        loader.call("a.fail", {"message": f"no {SECRET}"}, check=True)
    assert "no ***" in str(caught.value) and SECRET not in str(caught.value)
    from aionest.mcp.adapters import python

    with pytest.raises(ToolFailed) as caught:
        python.to_function(loader.find("a.fail"))(message=f"no {SECRET}")
    assert "no ***" in str(caught.value) and SECRET not in str(caught.value)


class Handler(Quiet):
    """Refuses with all that it was given."""

    def do_POST(self):
        body = f"{self.path} {self.headers}".encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Location", self.path)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST


@pytest.fixture
def web():
    with serving(Handler) as server:
        yield server


@pytest.mark.parametrize("status", [401, 404, 500])
@pytest.mark.parametrize("kind", ["http", "sse"])
def test_urls_and_headers(web, make_loader, everything, kind, status):
    web.status = status
    url = f"http://someone:{SECRET}@127.0.0.1:{web.server_port}/mcp?api_key={SECRET}&auth=staple%2Fgun&page=1"
    headers = {"Authorization": f"Bearer {SECRET}", "X-Own": SECRET}
    loader = make_loader({"web": {"url": url, "type": kind, "headers": headers, "connect_timeout": 10}})
    assert str(status) in loader.errors["web"], loader.errors
    with pytest.raises(ToolsError) as caught:
        loader.restart("web")
    logging.getLogger("httpcore.made.later").debug("sent %s", SECRET)
    chain = "".join(traceback.format_exception(None, caught.value, caught.value.__traceback__))
    said = chain + shown(loader, everything)
    assert SECRET not in said and "staple" not in said and "sent ***" in said and "page=1" in said


def test_nobody_there(make_loader, everything):
    url = f"http://127.0.0.1:9/mcp?token={SECRET}"
    loader = make_loader({"web": {"url": url, "auth": {"type": "bearer", "token": SECRET}}})
    assert set(loader.errors) == {"web"}
    assert SECRET not in shown(loader, everything)


def test_what_is_hidden():
    config = ToolsConfig.from_dict(
        {
            "a": {
                "url": f"https://me:pass%2Fword@h/x?token={SECRET}2",
                "headers": {"Authorization": f"Basic {SECRET}", "X-Version": "1"},
                "auth": {"type": "client_credentials", "client_id": "public-id", "client_secret": SECRET + "3"},
            }
        }
    ).servers["a"]
    secrets = Secrets()
    assert secrets.hide("nothing is known yet") == "nothing is known yet"
    secrets.learn(config.resolved())
    said = secrets.hide(f"{SECRET} {SECRET}2 {SECRET}3 pass%2Fword pass/word public-id 1")
    assert said == "*** *** *** *** *** public-id 1"
    url = "https://h/?token=a%2fb+c%7Cd&plain=hidden-not&auth=e|f%20%22g"
    secrets.learn(ToolsConfig.from_dict({"a": {"url": url}}).servers["a"])
    for way in ("a%2fb+c%7Cd", "a/b c|d", "a%2Fb+c%7Cd", "a%2Fb%20c%7Cd", "e|f%20%22g", 'e|f "g', "e%7Cf%20%22g"):
        assert secrets.hide(f"<{way}> hidden-not") == "<***> hidden-not"
    assert SECRET not in repr(secrets)
    exc = ValueError(f"no {SECRET}")
    exc.__cause__ = OSError(5, f"with {SECRET}")
    secrets.scrub(exc)
    assert exc.args == ("no ***",) and exc.__cause__.args == (5, "with ***")


@pytest.mark.parametrize("around", [(b"", b""), (b"Authorization: Bearer ", b"\r\n"), (b"u:", b"@h"), (b"12", b"3")])
def test_a_copy_in_base64_is_hidden_too(around):
    secrets = Secrets()
    headers = {
        "X-Api-Key": "s3cret~key/+?>value",
        "Authorization": "Basic " + base64.b64encode(b"me:pass>word~").decode(),
    }
    secrets.learn(ToolsConfig.from_dict({"a": {"url": "https://h/x", "headers": headers}}).servers["a"])
    for secret in (b"s3cret~key/+?>value", b"pass>word~"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            said = secrets.hide(f"<{encode(around[0] + secret + around[1]).decode()}>")
            left = base64.urlsafe_b64decode(said[1:].partition("***")[0].ljust(64, "A")[:64])
            assert "***" in said and len(said) < 60 and secret[:6] not in left
    assert secrets.hide("c29tZXRoaW5nIGVsc2U= pass>word~") == "c29tZXRoaW5nIGVsc2U= ***"


def test_a_config_only_found_here_starts_nothing(tmp_path, monkeypatch, make_loader, processes):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MCP_FILE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"a": {"command": sys.executable, "args": [str(SERVER)]}}}))
    loader = ToolsLoader()
    try:
        assert loader.load() == {} and not processes()
        assert (
            "not been accepted" in loader.errors["(configuration)"]
            and "config_file" in loader.errors["(configuration)"]
        )
        with pytest.raises(ToolsError, match="not been accepted"):
            loader.ping("a")
        assert not processes()
        from aionest.mcp import Trust

        Trust().accept(file)
        assert set(loader.load()) and not loader.errors
        assert loader.call("a.echo", {"text": "1"}).text == "1"
        # what it would start is another now
        file.write_text(json.dumps({"mcpServers": {"b": {"command": sys.executable, "args": [str(SERVER), "--x"]}}}))
        assert loader.reload().kept == ("a",) and "not been accepted" in loader.errors["(configuration)"]
        ran = tmp_path / "ran"
        file.write_text(json.dumps({"mcpServers": {"a": {"command": "touch", "args": [str(ran)]}}}))
        assert loader.reload().kept == ("a",)
        assert loader.restart("a").state == "connected" and not ran.exists()
    finally:
        loader.cleanup()
    # one that comes later was not named either
    file.unlink()
    late = ToolsLoader()
    try:
        with pytest.raises(ToolsError, match="no configuration was found"):
            late.load()
        assert "no such file" in late.errors["(configuration)"]
        Path("mcp.yaml").write_text(f"a: {{command: '{sys.executable}', args: ['{SERVER}']}}\n")
        assert not late.reload() and "not been accepted" in late.errors["(configuration)"] and not processes()
        with pytest.raises(ToolsError, match="not been accepted"):
            late.ping("a")
        Trust().accept("mcp.yaml")
        assert late.reload().added == ("a",) and not late.errors
    finally:
        late.cleanup()
    # what code sets where there is no file is the code's
    Path("mcp.yaml").unlink()
    own = ToolsLoader()
    try:
        own.config.set("a", {"command": sys.executable, "args": [str(SERVER)]})
        assert own.load() and own.call("a.echo", {"text": "1"}).text == "1"
    finally:
        own.cleanup()
    # named, it is as good as accepted
    file.write_text(json.dumps({"mcpServers": {"c": {"command": sys.executable, "args": [str(SERVER)]}}}))
    assert make_loader("mcp.json").call("c.echo", {"text": "1"}).text == "1"
    monkeypatch.setenv("MCP_FILE", str(file))
    with ToolsLoader() as named:
        assert not named.errors


def test_numbers_that_nobody_keeps_secret_are_told():
    error = '{"error": {"code": -32601, "message": "no such method"}, "password": 123456, "max_tokens": 4096}'
    args = [
        "-c",
        error,
        "--max-tokens",
        "8192",
        "--session-timeout=300",
        "--code",
        "a-code-of-a-login",
        "--token",
        "112233",
    ]
    env = {"PORT": "-32601", "MAX_TOKENS": "2048", "API_KEY": "654321", "PIN_TOKEN": "1234"}
    one = ToolsConfig.from_dict({"a": {"command": "x", "args": args, "env": env}}).servers["a"]
    secrets = Secrets()
    secrets.learn(one)
    said = "error -32601: at most 4096, 8192 and 2048 in 300 s"
    assert secrets.hide(said) == said
    for secret in ("123456", "654321", "1234", "112233", "a-code-of-a-login"):
        assert secrets.hide(f"<{secret}>") == "<***>"
    shown = " ".join(mask_args(args))
    assert "-32601" in shown and "4096" in shown and "8192" in shown and "=300" in shown
    assert not any(secret in shown for secret in ("123456", "112233", "a-code-of-a-login"))
