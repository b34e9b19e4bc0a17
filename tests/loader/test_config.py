"""Configurations: every shape and format, every field broken, saving without loss, secrets kept, trust."""

from __future__ import annotations

import copy
import json
import os
import pickle
import stat
import string
import subprocess
import sys
import threading

import pytest

pytest.importorskip("pydantic")
pytest.importorskip("ruamel.yaml")
pytest.importorskip("json5")
pytest.importorskip("tomlkit")
pytest.importorskip("dotenv")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import Thread, mode

from aionest.mcp import TokenStore
from aionest.mcp.auth import Trust
from aionest.mcp.config import ConfigError, ServerConfig, ToolsConfig, ToolsConfigValue, files, locking
from aionest.mcp.config import text as formats
from aionest.mcp.config.interpolate import Scope, Unresolved, interpolate
from aionest.mcp.config.masks import mask_args, mask_url

SECRET = "hunter2-S3CR3T"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def one(value, name="s", **options):
    """The ToolsConfig with just this server."""
    return ToolsConfig.from_dict({"mcpServers": {name: value}}, **options)


def server(value, **options):
    config = one(value, **options)
    assert config.get_errors() == []
    return config.servers["s"]


# ------------------------------------------------------------------------------------------------------------- one server


@pytest.mark.parametrize(
    "value, transport",
    [
        ({"command": "x"}, "stdio"),
        ({"url": "http://h/mcp"}, "streamable_http"),
        ({"url": "http://h/sse"}, "sse"),
        ({"url": "http://h/sse/?a=b"}, "sse"),
        ({"url": "http://h/mcp?x=/sse"}, "streamable_http"),
        ({"url": "http://h/sse", "type": "http"}, "streamable_http"),
        ({"url": "http://h/mcp", "transport": "sse"}, "sse"),
        ({"url": "http://h/sse", "type": "streamable-http"}, "streamable_http"),
        ({"url": "http://h/sse", "type": "streamable_http"}, "streamable_http"),
        ({"command": "x", "url": "http://h", "type": "stdio"}, "stdio"),
        ({"command": "x", "url": "http://h", "type": "http"}, "streamable_http"),
    ],
)
def test_transport(value, transport):
    assert server(value).transport == transport
    assert ServerConfig(name="s", **value).transport == transport


def test_defaults():
    config = ServerConfig(name="s", command="x")
    assert (config.timeout, config.connect_timeout, config.retry, config.cache_ttl) == (60, 30, "safe", 0)
    assert (config.args, config.env, config.headers, config.include, config.exclude) == ([], {}, {}, None, [])
    assert not config.disabled and not config.required and config.prefix is None and config.auth is None
    with pytest.raises(ValueError):
        config.command = "y"


@pytest.mark.parametrize(
    "key, value, field, expected",
    [
        ("envFile", ".env", "env_file", ".env"),
        ("allow", ["a*"], "include", ["a*"]),
        ("allowedTools", ["a"], "include", ["a"]),
        ("includeTools", "a", "include", ["a"]),
        ("deny", ["a"], "exclude", ["a"]),
        ("excludeTools", ["a"], "exclude", ["a"]),
        ("connectTimeout", 3, "connect_timeout", 3.0),
        ("connectionTimeout", 3, "connect_timeout", 3.0),
        ("startup_timeout", 3.5, "connect_timeout", 3.5),
        ("requestTimeout", 7, "timeout", 7.0),
        ("enabled", False, "disabled", True),
        ("enabled", True, "disabled", False),
        ("enabled", "yes", "disabled", False),
        ("enabled", "no", "disabled", True),
        ("disabled", "yes", "disabled", True),
        ("enabled", 0, "disabled", True),
        ("auth", False, "auth", None),
        ("oauth", False, "auth", None),
        ("auth", {"CLIENT_ID": "c"}, "auth", {"type": "oauth", "client_id": "c"}),
        (
            "auth",
            {"CLIENT_ID": "c", "CLIENT_SECRET": "s", "scopes": ["a"]},
            "auth",
            {"type": "oauth", "client_id": "c", "client_secret": "s", "scopes": ["a"]},
        ),
        ("timeout", None, "timeout", 60.0),
        ("oauth", {"clientId": "c"}, "auth", {"type": "oauth", "client_id": "c"}),
        ("auth", "oauth", "auth", "oauth"),
        ("env", {"PORT": 80}, "env", {"PORT": "80"}),
        ("args", [1, "b"], "args", ["1", "b"]),
    ],
)
def test_aliases_and_coercion(key, value, field, expected):
    made = server({"command": "x", key: value})
    assert getattr(made, field) == expected
    assert getattr(ServerConfig(name="s", command="x", **{key: value}), field) == expected


BROKEN = [
    ({}, "command"),
    ({"command": ""}, "command"),
    ({"command": "  "}, "command"),
    ({"command": 5}, "command"),
    ({"command": ["x", SECRET]}, "command"),
    ({"command": f"npx -y {SECRET}"}, "command"),
    ({"command": "a\0b"}, "command"),
    ({"command": "x", "url": "http://h"}, "command"),
    ({"url": "http://h", "type": "stdio"}, "command"),
    ({"command": "x", "type": "http"}, "url"),
    ({"command": "x", "type": "websocket"}, "type"),
    ({"command": "x", "transport": 5}, "transport"),
    ({"command": "x", "type": "stdio", "transport": "sse"}, "transport"),
    ({"command": "x", "args": SECRET}, "args"),
    ({"command": "x", "args": [True]}, "args[0]"),
    ({"command": "x", "args": ["a", {"b": SECRET}]}, "args[1]"),
    ({"command": "x", "args": ["a\0"]}, "args[0]"),
    ({"command": "x", "env": SECRET}, "env"),
    ({"command": "x", "env": [SECRET]}, "env"),
    ({"command": "x", "env": {"A": True}}, "env.A"),
    ({"command": "x", "env": {"A": None}}, "env.A"),
    ({"command": "x", "env": {"A": [SECRET]}}, "env.A"),
    ({"command": "x", "env": {"A=B": SECRET}}, "env"),
    ({"command": "x", "env": {"A": SECRET + "\0"}}, "env.A"),
    ({"command": "x", "env_file": 5}, "env_file"),
    ({"command": "x", "envFile": ""}, "env_file"),
    ({"command": "x", "cwd": 5}, "cwd"),
    ({"command": "x", "cwd": ""}, "cwd"),
    ({"command": "x", "cwd": "\0"}, "cwd"),
    ({"url": 5}, "url"),
    ({"url": ""}, "url"),
    ({"url": f"ftp://u:{SECRET}@h"}, "url"),
    ({"url": f"{SECRET}"}, "url"),
    ({"url": f"http://[{SECRET}"}, "url"),
    ({"url": "http://h:99999/"}, "url"),
    ({"url": "http:///x"}, "url"),
    ({"url": "http://h/a b"}, "url"),
    ({"url": "http://h", "headers": SECRET}, "headers"),
    ({"url": "http://h", "headers": {"A": [SECRET]}}, "headers.A"),
    ({"url": "http://h", "headers": {"A b": SECRET}}, "headers"),
    ({"url": "http://h", "headers": {"A": SECRET + "\r\nB: c"}}, "headers.A"),
    ({"command": "x", "disabled": "perhaps"}, "disabled"),
    ({"command": "x", "enabled": "perhaps"}, "enabled"),
    ({"command": "x", "enabled": True, "disabled": True}, "disabled"),
    ({"command": "x", "enabled": "yes", "disabled": "yes"}, "disabled"),
    ({"command": "x", "enabled": [True]}, "enabled"),
    ({"url": "http://h", "auth": {"CLIENT_ID": 5}}, "auth.client_id"),
    ({"url": f"unix:///run/{SECRET}.sock"}, "url"),
    ({"url": f"pipe:///pipe/{SECRET}", "type": "http"}, "url"),
    ({"command": "x", "timeout": 0}, "timeout"),
    ({"command": "x", "timeout": -1}, "timeout"),
    ({"command": "x", "timeout": True}, "timeout"),
    ({"command": "x", "timeout": SECRET}, "timeout"),
    ({"command": "x", "timeout": float("inf")}, "timeout"),
    ({"command": "x", "timeout": float("nan")}, "timeout"),
    ({"command": "x", "connect_timeout": 0}, "connect_timeout"),
    ({"command": "x", "connectTimeout": [SECRET]}, "connect_timeout"),
    ({"command": "x", "prefix": "a b"}, "prefix"),
    ({"command": "x", "prefix": 5}, "prefix"),
    ({"command": "x", "include": 5}, "include"),
    ({"command": "x", "include": [5]}, "include[0]"),
    ({"command": "x", "exclude": [""]}, "exclude[0]"),
    ({"command": "x", "exclude": {"a": SECRET}}, "exclude"),
    ({"command": "x", "required": [SECRET]}, "required"),
    ({"command": "x", "bundle": 5}, "bundle"),
    ({"command": "x", "bundle": " "}, "bundle"),
    ({"command": "x", "retry": SECRET}, "retry"),
    ({"command": "x", "protocolEra": SECRET}, "protocol"),
    ({"command": "x", "cache_ttl": -1}, "cache_ttl"),
    ({"command": "x", "cache_ttl": True}, "cache_ttl"),
    ({"command": "x", "auth": SECRET}, "auth"),
    ({"command": "x", "auth": [SECRET]}, "auth"),
    ({"command": "x", "auth": {"token": SECRET}}, "auth.type"),
    ({"command": "x", "auth": {"type": SECRET}}, "auth.type"),
    ({"command": "x", "auth": {"type": "oauth", "scopes": SECRET}}, "auth.scopes"),
    ({"command": "x", "auth": {"type": "oauth", "scopes": [1]}}, "auth.scopes"),
    ({"url": "http://h", "auth": {"type": "bearer"}}, "auth.token"),
    ({"url": "http://h", "auth": {"type": "bearer", "token": [SECRET]}}, "auth.token"),
    ({"url": "http://h", "auth": {"type": "client_credentials", "client_id": "a"}}, "auth.client_secret"),
    ({"url": "http://h", "oauth": {"clientId": 5}}, "auth.client_id"),
    ({"url": "http://h", "oauth": {"redirectPort": 70000}}, "auth.redirect_port"),
    (SECRET, None),
    ([SECRET], None),
    (5, None),
    (None, None),
]


@pytest.mark.parametrize("value, field", BROKEN, ids=[str(i) for i in range(len(BROKEN))])
def test_every_field_broken(value, field):
    config = ToolsConfig.from_dict({"mcpServers": {"bad": value, "good": {"command": "y"}}})
    assert config.list() == ["good"]
    assert {error.server for error in config.errors} == {"bad"}
    assert field in [error.field for error in config.errors]
    assert SECRET not in "".join(config.get_errors()) + repr(config.errors) + repr(config)
    assert "server 'bad'" in config.get_errors()[0]
    assert not config.set("other", value) and config.list() == ["good"]
    if isinstance(value, dict):
        for make in (
            lambda: ServerConfig(name="s", **value),
            lambda: ServerConfig.model_validate({"name": "s", **value}),
        ):
            with pytest.raises(ConfigError) as caught:
                make()
            exc = caught.value
            assert exc.server == "s" and exc.__cause__ is None and exc.__context__ is None
            assert SECRET not in str(exc) + repr(exc) + str(vars(exc))
        with pytest.raises(ValueError):
            ToolsConfigValue(value)


@pytest.mark.parametrize("name", ["", "  ", 5, None, " a", "a\nb", "x" * 129, True])
def test_bad_names(name):
    config = ToolsConfig.from_dict({"mcpServers": {name: {"command": "x"}, "good": {"command": "y"}}})
    assert config.list() == ["good"] and len(config.errors) == 1
    assert "name of a server" in str(config.errors[0])


def test_command_with_spaces(tmp_path):
    program = write(tmp_path / "my tools" / "run me", "")
    assert server({"command": str(program)}).command == str(program)
    error = one({"command": "npx -y thing"}).errors[0]
    assert "put arguments in args" in str(error)


def test_what_cannot_be_served_says_so():
    config = ToolsConfig.from_dict(
        {"servers": {"s": {"type": "http", "url": "unix:///a.sock"}, "good": {"command": "y"}}}
    )
    assert config.list() == ["good"] and "Unix socket cannot be reached" in str(config.errors[0])
    assert "socat" in config.errors[0].hint
    assert "named pipe cannot be reached" in str(one({"url": "PIPE:///a"}).errors[0])
    assert one({"command": "x", "enabled": "yes", "disabled": "no"}).errors == []


def test_unknown_fields_are_warnings():
    config = one({"comand": "y", "command": "x", "wibble": 1, "description": "ok", "x-note": 1, "timout": 3})
    assert config.errors == [] and config.list() == ["s"]
    texts = {w.field: str(w) for w in config.warnings}
    assert texts.keys() == {"comand", "wibble", "timout"}
    assert "did you mean 'command'?" in texts["comand"] and "did you mean 'timeout'?" in texts["timout"]


def test_other_warnings():
    config = ToolsConfig.from_dict(
        {
            "a": {"command": "x", "timeout": 30000},
            "b": {"command": "x", "headers": {"A": SECRET}},
            "c": {"url": "http://h", "args": ["a"]},
            "d": {"command": "x", "name": "e"},
        }
    )
    assert config.errors == []
    assert [(w.server, w.field) for w in config.warnings] == [
        ("a", "timeout"),
        ("b", "headers"),
        ("c", "args"),
        ("d", "name"),
    ]
    assert "milliseconds" in str(config.warnings[0]) and SECRET not in str(config.warnings)


def test_error_text_and_pickle():
    from pathlib import Path

    error = ConfigError("bad", file=Path("f.yaml"), server="x", field="y", line=3, hint="fix it")
    assert str(error) == "f.yaml:3: server 'x', field 'y': bad. fix it"
    assert str(ConfigError("bad", file=Path("f.yaml"))) == "f.yaml: bad"
    for copied in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert str(copied) == str(error) and vars(copied) == vars(error)
    assert isinstance(error, ValueError)


# ---------------------------------------------------------------------------------------------------------------- secrets


def test_secrets_are_not_shown():
    made = ServerConfig(
        name="s",
        url=f"https://user:{SECRET}@h/mcp?api_key={SECRET}&q=shown&access_token={SECRET}",
        headers={"Authorization": f"Bearer {SECRET}", "X": SECRET},
        env={"A": SECRET},
        args=[
            "--token",
            SECRET,
            f"--api-key={SECRET}",
            f"postgres://u:{SECRET}@db/x",
            "plain",
            f"Authorization: {SECRET}",
        ],
        auth={"type": "oauth", "client_secret": SECRET},
    )
    made = made.model_copy(
        update={
            "args": [
                *made.args,
                *("--header", f"Cookie: a={SECRET}; b={SECRET}"),
                *("--auth", "--token", SECRET),
                *("--password", f"--{SECRET}"),
                f"--header=Authorization: Bearer {SECRET}",
                f"--env=API_KEY={SECRET}",
                json.dumps({"apiKey": SECRET, "url": f"http://u:{SECRET}@h/", "of": [{"auth": {"user": [SECRET]}}]}),
            ]
        }
    )
    public = made.public()
    for text in (repr(made), str(made), json.dumps(public), f"{made}", repr(list(made.__rich_repr__()))):
        assert SECRET not in text
    assert public["headers"] == {"Authorization": "***", "X": "***"} and public["env"] == {"A": "***"}
    assert public["auth"] == {"type": "oauth", "client_secret": "***"}
    assert "q=shown" in public["url"] and "plain" in public["args"] and public["name"] == "s"
    config = one({"url": "http://h", "headers": {"A": SECRET}, "note": SECRET})
    value = config.get("s")
    assert SECRET not in repr(value) + str(value) + repr(config) and value["headers"] == {"A": SECRET}


@pytest.mark.parametrize(
    "text, format_",
    [
        (f"a:\n  env: {{A: *{SECRET}}}\n", "yaml"),
        (f"a:\n  env:\n    A: '{SECRET}\n", "yaml"),
        (f"a:\n  env:\n    A: !{SECRET} b\n", "yaml"),
        (f"a:\n  env:\n    A: {SECRET}\n    A: {SECRET}2\n", "yaml"),
        (f"a:\n  env:\n    A: &x {SECRET}\n   B: {SECRET}\n", "yaml"),
        (f"a:\n  env:\n    A: %{SECRET}\n", "yaml"),
        (f'{{"a": {{"env": {{"A": "{SECRET}" "B"}}}}}}', "json"),
        (f'{{"a": {{"env": {{"A": {SECRET}}}}}}}', "json"),
        (f'{{"a": "{SECRET}', "json"),
        (f"[a.env]\nA = {SECRET}\n", "toml"),
        (f'[a.env]\nA = "{SECRET}\n', "toml"),
        (f'[a.env]\nA = "x"\nA = "{SECRET}"\n', "toml"),
    ],
)
def test_syntax_errors_quote_nothing_and_have_lines(tmp_path, text, format_, capfd):
    config = ToolsConfig(write(tmp_path / f"f.{format_}", text))
    assert len(config.errors) == 1 and config.list() == []
    assert config.errors[0].line is not None and config.errors[0].file == tmp_path / f"f.{format_}"
    assert "hunter2" not in str(config.errors[0])
    assert "hunter2" not in "".join(capfd.readouterr())
    # a file with a mistake in it is not overwritten
    assert config.set("b", {"command": "x"}) and not config.save()
    assert (tmp_path / f"f.{format_}").read_text() == text
    assert config.save(force=True) and ToolsConfig(tmp_path / f"f.{format_}").list() == ["b"]


@pytest.mark.parametrize(
    "line", ["key=x; touch f", "key=x touch f", "key=$(touch f)", "key: x; touch f", "-ckey=x; touch f"]
)
def test_masks_hide_no_commands(line):
    (shown,) = mask_args([line])
    assert "touch f" in shown
    assert "touch f" in mask_args(["-c", line])[1]
    assert mask_args([f"--{'x:' * 5000}{line}"])  # of any size


@given(st.text(), st.text(alphabet=string.ascii_letters, min_size=8))
def test_masks_hide(text, secret):
    assert secret not in mask_url(f"https://u:{secret}@h/?token={secret}#access_token={secret}")
    assert mask_args(["--password", secret + text[:3]]) == ["--password", "***"]


# ---------------------------------------------------------------------------------------------------------- interpolation


def test_interpolation(tmp_path):
    env = {"V": "val", "EMPTY": "", "NEST": "${V}"}
    scope = Scope(tmp_path, env, None, {"tok": "T"})
    for text, expected in {
        "a${V}b${env:V}": "avalbval",
        "${EMPTY}": "",
        "${EMPTY:-d}": "d",
        "${NO:-}": "",
        "${NO:-d e:-f}": "d e:-f",
        "${NO:-${V}}": "val",
        "${V:-${NO}}": "val",
        "${env:NO:-x}": "x",
        "${NEST}": "${V}",
        "$${V}": "${V}",
        "$V $ {V} ${V": "$V $ {V} ${V",
        "${workspaceFolder}/x": f"{tmp_path}/x",
        "${workspaceFolderBasename}": tmp_path.name,
        "${userHome}": os.path.expanduser("~"),
        "${input:tok}": "T",
        "": "",
    }.items():
        assert interpolate(text, scope) == expected, text
    for text, name in {
        "${NO}": "NO",
        "${env:NO}": "NO",
        "${NO:-${N2}}": "N2",
        "${input:x}": "input:x",
        "${}": "",
        "${a b}": "",
    }.items():
        with pytest.raises(Unresolved) as caught:
            interpolate(text, scope)
        assert caught.value.variable == name


@given(st.text(alphabet="${}:-aV\\ "))
def test_interpolation_ends_and_never_raises_else(text):
    from pathlib import Path

    try:
        interpolate(text, Scope(Path("/w"), {"V": "${V}"}))
    except Unresolved:
        pass


@given(st.text().filter(lambda t: "${" not in t))
def test_text_without_references_stays(text):
    from pathlib import Path

    assert interpolate(text, Scope(Path("/w"), {})) == text


def test_resolved(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.setenv("USER_WINS", "process")
    write(tmp_path / ".env", "FROM_FILE='file value'\nexport BOTH=file\nLITERAL=${TOKEN}\n# c\n")
    config = ToolsConfig(
        write(
            tmp_path / "mcp.json",
            json.dumps(
                {
                    "mcpServers": {
                        "s": {
                            "command": "${userHome}/run",
                            "args": ["${TOKEN}", "${NONE:-d}", "$${X}"],
                            "env": {"BOTH": "user", "USER_WINS": "user", "T": "${TOKEN}", "F": "${FROM_FILE}"},
                            "envFile": ".env",
                            "cwd": "sub",
                        },
                        "h": {
                            "url": "${U:-http://h/sse}",
                            "headers": {"A": "Bearer ${TOKEN}"},
                            "auth": {"type": "bearer", "token": "${TOKEN}"},
                        },
                    }
                }
            ),
        )
    )
    assert config.get_errors() == []
    before = config.servers["s"]
    made = before.resolved()
    assert made.command == os.path.expanduser("~") + "/run" and made.args == [SECRET, "d", "${X}"]
    assert made.env == {
        "FROM_FILE": "file value",
        "BOTH": "user",
        "LITERAL": "${TOKEN}",
        "USER_WINS": "user",
        "T": SECRET,
        "F": "file value",
    }
    assert made.cwd == str(tmp_path / "sub") and made.env_file == str(tmp_path / ".env")
    assert SECRET not in repr(made)
    assert made.public()["args"] == ["${TOKEN}", "${NONE:-d}", "$${X}"]
    assert before == config.servers["s"] and before.args[0] == "${TOKEN}"
    http = config.servers["h"]
    assert (http.transport, http.resolved().transport) == ("streamable_http", "sse")
    assert http.resolved().headers == {"A": f"Bearer {SECRET}"} and http.resolved().auth["token"] == SECRET
    assert config.servers["s"].resolved(environ={"TOKEN": "t2"}).args[0] == "t2"
    assert config.save() and SECRET not in (tmp_path / "mcp.json").read_text()


@pytest.mark.parametrize(
    "field, value, where",
    [
        ("command", "${NO_SUCH_VAR}", "command"),
        ("args", ["a", f"{SECRET}${{NO_SUCH_VAR}}"], "args[1]"),
        ("env", {"A": f"{SECRET}${{NO_SUCH_VAR}}"}, "env.A"),
        ("cwd", "${NO_SUCH_VAR}", "cwd"),
        ("env_file", "${NO_SUCH_VAR}", "env_file"),
        ("url", "https://u:" + SECRET + "@h/${NO_SUCH_VAR}", "url"),
        ("headers", {"A": f"{SECRET}${{NO_SUCH_VAR}}"}, "headers.A"),
    ],
)
def test_unset_variables(tmp_path, field, value, where):
    fields = {
        "url" if field in ("url", "headers") else "command": "http://h" if field == "headers" else "x",
        field: value,
    }
    config = ToolsConfig(write(tmp_path / "f.json", json.dumps({"srv": fields}, indent=1)))
    assert config.get_errors() == []
    with pytest.raises(ConfigError) as caught:
        config.servers["srv"].resolved()
    exc = caught.value
    assert (exc.server, exc.field, exc.file) == ("srv", where, tmp_path / "f.json") and exc.line >= 3
    assert "NO_SUCH_VAR" in str(exc) and SECRET not in str(exc) + repr(exc.__context__) + repr(exc.__cause__)


def test_what_comes_out_is_checked_again(monkeypatch):
    monkeypatch.setenv("BAD", SECRET + "\r\nX: y")
    for value, field in (
        ({"url": "http://h", "headers": {"A": "${BAD}"}}, "headers.A"),
        ({"url": "${BAD}"}, "url"),
        ({"command": "${BAD}"}, "command"),
    ):
        with pytest.raises(ConfigError) as caught:
            server(value).resolved()
        assert caught.value.field == field and SECRET not in str(caught.value)


def test_env_file_problems(tmp_path):
    write(tmp_path / "bad.env", f"A=1\n={SECRET}\n")
    (tmp_path / "bin.env").write_bytes(b"\xff\xfe\x00")
    for name in ("none.env", "bad.env", "bin.env", "."):
        with pytest.raises(ConfigError) as caught:
            server({"command": "x", "env_file": name}, base_dir=tmp_path).resolved()
        assert caught.value.field == "env_file" and SECRET not in str(caught.value)


def test_inputs(tmp_path):
    data = {
        "inputs": [
            {"id": "tok", "type": "promptString", "password": True},
            {"id": "dir", "type": "promptString", "default": "/d"},
            5,
        ],
        "servers": {"s": {"type": "stdio", "command": "x", "env": {"T": "${input:tok}"}, "args": ["${input:dir}"]}},
    }
    file = write(tmp_path / ".vscode" / "mcp.json", json.dumps(data))
    config = ToolsConfig(file)
    assert [i["id"] for i in config.inputs] == ["tok", "dir"]
    with pytest.raises(ConfigError, match="no value for input 'tok'"):
        config.servers["s"].resolved()
    assert config.servers["s"].resolved({"tok": SECRET}).env == {"T": SECRET}
    made = ToolsConfig(file, inputs=lambda name: SECRET if name == "tok" else None).servers["s"].resolved()
    assert made.env == {"T": SECRET} and made.args == ["/d"]
    with pytest.raises(ConfigError, match="not text"):
        config.servers["s"].resolved({"tok": 5})


@pytest.mark.parametrize("folder, expected", [("", ""), (".vscode", ""), (".cursor", ""), ("conf", "conf")])
def test_workspace_folder(tmp_path, folder, expected):
    config = ToolsConfig(write(tmp_path / folder / "mcp.json", '{"s": {"command": "${workspaceFolder}"}}'))
    assert config.servers["s"].resolved().command == str(tmp_path / expected)


def test_content_hash(monkeypatch):
    base = {"command": "x", "args": ["a"], "env": {"A": "1", "B": "2"}}
    reference = server(base).content_hash()
    assert reference == server({**base, "env": {"B": "2", "A": "1"}}).content_hash()
    assert reference == server({**base, "timeout": 5, "prefix": "p", "include": ["x"], "disabled": True}).content_hash()
    assert reference == ServerConfig(name="other", **base).content_hash()
    for change in ({"command": "y"}, {"args": []}, {"env": {}}, {"cwd": "/"}, {"env_file": "e"}, {"auth": "oauth"}):
        assert server({**base, **change}).content_hash() != reference
    with_variable = server({"command": "x", "env": {"A": "${HASHED}"}})
    monkeypatch.setenv("HASHED", "1")
    first = with_variable.resolved().content_hash()
    monkeypatch.setenv("HASHED", "2")
    assert with_variable.resolved().content_hash() != first
    assert server({"command": "x"}) != server({"command": "x", "timeout": 5}) and server(base) == server(base)


@pytest.mark.parametrize("field", [{"args": ["-c", "${A:-${input:a${b}}}"]}, {"env": {"A": "${input:a${b}}"}}])
def test_defaults_of_inputs_are_a_part_of_what_is_started(tmp_path, field):
    def written(default, other="1"):
        inputs = [{"id": "a${b}", "default": default}, {"id": "other", "default": other}]
        return write(tmp_path / "mcp.json", json.dumps({"inputs": inputs, "servers": {"a": {"command": "x", **field}}}))

    trust = Trust(tmp_path / "trust.json")
    trust.accept(written("1"))
    before = ToolsConfig(written("1")).servers["a"].content_hash()
    # what nothing refers to may change
    assert trust.is_trusted(written("1", "2"))
    assert ToolsConfig(written("1", "2")).servers["a"].content_hash() == before
    assert not trust.is_trusted(written("2"))
    assert ToolsConfig(written("2")).servers["a"].content_hash() != before


# ------------------------------------------------------------------------------------------------------ shapes and formats

SERVERS = {"a": {"command": "x", "args": ["1", "2"], "env": {"K": "v"}}, "b c": {"url": "http://h/mcp"}}
SHAPES = {
    "bare": SERVERS,
    "mcpServers": {"mcpServers": SERVERS},
    "servers": {"inputs": [], "servers": SERVERS},
    "mcp": {"other": {"x": 1}, "mcp": {"servers": SERVERS}},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("suffix", ["yaml", "yml", "json", "jsonc", "toml", "conf"])
def test_shapes_and_formats(tmp_path, shape, suffix):
    fmt = {"yml": "yaml", "jsonc": "json", "conf": "yaml"}.get(suffix, suffix)
    file = write(tmp_path / f"f.{suffix}", formats.render(SHAPES[shape], fmt))
    config = ToolsConfig(file)
    assert config.get_errors() == [] and config.list() == ["a", "b c"] and config.warnings == []
    assert config.raw == SERVERS and dict(config.get("a")) == SERVERS["a"] and config.get("zz") is None
    assert config.set("c", {"command": "new", "env": {"Q": "1"}}) and config.remove("a") and not config.remove("a")
    assert config.set("b c", {"url": "http://other/mcp", "headers": {"H": "v"}})
    assert config.save(), config.get_errors()
    again = ToolsConfig(file)
    assert again.get_errors() == [] and again.list() == ["b c", "c"]
    assert again.raw == {
        "b c": {"url": "http://other/mcp", "headers": {"H": "v"}},
        "c": {"command": "new", "env": {"Q": "1"}},
    }
    assert formats.parse(file.read_text(), fmt).data.keys() >= SHAPES[shape].keys() - {"a", "b c"}
    for name in again.list():
        assert again.remove(name)
    assert again.save() and ToolsConfig(file).list() == []
    assert again.set("z", {"command": "x"}) and again.save(), again.get_errors()
    assert ToolsConfig(file).list() == ["z"]


@pytest.mark.parametrize("source", ["yaml", "json", "toml"])
@pytest.mark.parametrize("target", ["yaml", "json", "toml"])
def test_save_in_another_format(tmp_path, source, target):
    config = ToolsConfig(write(tmp_path / f"a.{source}", formats.render(SHAPES["mcpServers"], source)))
    assert config.set("n", {"command": "y"}) and config.save(tmp_path / "new" / "deep" / f"b.{target}")
    made = ToolsConfig(tmp_path / "new" / "deep" / f"b.{target}")
    assert made.get_errors() == [] and made.raw == {**SERVERS, "n": {"command": "y"}}
    assert stat.S_IMODE((tmp_path / "new" / "deep" / f"b.{target}").stat().st_mode) == mode(0o600)
    assert config.config_file == tmp_path / f"a.{source}" and ToolsConfig(config.config_file).raw == SERVERS


@pytest.mark.parametrize(
    "name, text, format_",
    [
        ("x", '// c\n{"a": {"command": "x"},}', "json"),
        ("x", "/* c */ {a: {command: 'x'}}", "json"),
        ("x.conf", '[a]\ncommand = "x"\n', "toml"),
        ("x.conf", "a:\n  command: x\n", "yaml"),
        ("x.JSON", '{"a": {"command": "x"}}', "json"),
    ],
)
def test_sniffed(tmp_path, name, text, format_):
    config = ToolsConfig(write(tmp_path / name, text))
    assert config.list() == ["a"], config.get_errors()
    assert formats.format_of(tmp_path / name, text) == format_


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("f.yaml", b"", "empty"),
        ("f.json", b" \n", "empty"),
        ("f.json", b"// only this\n", "empty"),
        ("f.yaml", b"# only this\n", "empty"),
        ("f.yaml", b"- a\n- b\n", "must be a mapping"),
        ("f.json", b"[1]", "must be a mapping"),
        ("f.json", b"null", "empty"),
        ("f.yaml", b"just text", "must be a mapping"),
        ("f.exe", b"\x7fELF\x00\x00", "YAML"),
        ("f.json", b'{"a": "\xff"}', "UTF-8"),
        ("f.json", b'{"mcpServers": []}', "mcpServers must be a mapping"),
        ("f.yaml", b"mcp:\n  servers: 5\n", "mcp.servers must be a mapping"),
        ("f.json", b'{"name": "pkg", "scripts": {"build": "x"}}', "no servers"),
        ("f.json", b"{" * 100000, "not valid|nested"),
        ("f.json", b'{"a":' * 200 + b"1" + b"}" * 200, "nested"),
        ("f.yaml", b"[" * 3000, "nested|not valid"),
        ("f.yaml", b"a: &a {x: *a}\n", "nested"),
        (
            "f.yaml",
            b"a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + b"".join(b"%c: &%c [%s]\n" % (c + 1, c + 1, b",".join([b"*%c" % c] * 10)) for c in range(97, 105)),
            "expands",
        ),
        ("f.yaml", b"a: {command: x}\n---\nb: {command: y}\n", "not valid YAML"),
        ("f.json", b"x" * (files.MAX_BYTES + 1), "larger"),
    ],
)
def test_unusable_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    config = ToolsConfig(tmp_path / name)
    assert config.list() == [] and len(config.errors) == 1
    error = config.errors[0]
    assert isinstance(error, ConfigError) and error.server is None and error.file == tmp_path / name
    import re

    assert re.search(message, str(error)), str(error)
    assert config.raw == {}


def test_missing_files(tmp_path):
    config = ToolsConfig(tmp_path / "none.yaml")
    assert "no such file" in config.get_errors()[0]
    assert "cannot be read" in ToolsConfig(tmp_path).get_errors()[0]
    assert ToolsConfig("a\0b").get_errors()
    assert ToolsConfig(tmp_path / "none.yaml", load=False).errors == []
    empty = ToolsConfig(None)
    assert empty.errors == [] and empty.list() == []
    assert not empty.save() and "no file" in empty.get_errors()[0]
    # the missing file comes into being
    assert config.set("a", {"command": "x"}) and config.save()
    assert config.errors == [] and (tmp_path / "none.yaml").read_text() == "a:\n  command: x\n"
    new = ToolsConfig(tmp_path / "none.json")
    assert new.set("a", {"command": "x"}) and new.save()
    assert json.loads((tmp_path / "none.json").read_text()) == {"mcpServers": {"a": {"command": "x"}}}
    empty.set("q", {"command": "x"})
    assert empty.save(tmp_path / "adopted.toml") and empty.config_file == tmp_path / "adopted.toml"
    assert ToolsConfig(tmp_path / "adopted.toml").list() == ["q"]


@pytest.mark.parametrize(
    "name, text, lines",
    [
        ("f.yaml", "# c\nmcpServers:\n  good: {command: x}\n  bad:\n    command: x\n    timeout: no\n", {"timeout": 6}),
        ("f.yaml", "bad:\n  env:\n    A: [1]\n", {"env.A": 3}),
        ("f.json", '{"mcpServers": {\n"bad": {\n // c\n"command": "x",\n"args": [\n"a",\n5.5]}}}', {"args[1]": 7}),
        (
            "f.toml",
            '[mcpServers.good]\ncommand = "x"\n[mcpServers.bad]\ncommand = "x"\n\ntimeout = "no"\n',
            {"timeout": 6},
        ),
        ("f.toml", "[mcpServers]\nbad = {command = 5}\n", {"command": 2}),
    ],
)
def test_lines(tmp_path, name, text, lines):
    config = ToolsConfig(write(tmp_path / name, text))
    assert {e.field: e.line for e in config.errors} == lines
    assert f"{tmp_path / name}:{next(iter(lines.values()))}: server 'bad', field " in config.get_errors()[0]


def test_yaml_numbers_stay_as_written(tmp_path):
    config = ToolsConfig(
        write(tmp_path / "f.yaml", "s:\n  command: x\n  env: {A: 0755, B: 1.10, C: 0x1F}\n  args: [-1, 1e3]\n")
    )
    assert config.servers["s"].env == {"A": "0755", "B": "1.10", "C": "0x1F"} and config.servers["s"].args == [
        "-1",
        "1e3",
    ]


def test_yaml_anchors_and_merges(tmp_path):
    text = "x-base: &base\n  command: x\n  args: [a]\ns:\n  <<: *base\n  timeout: 5\nt:\n  <<: *base\n"
    config = ToolsConfig(write(tmp_path / "f.yaml", text))
    assert config.get_errors() == [] and config.list() == ["s", "t"] and config.servers["s"].args == ["a"]
    assert config.set("s", {**config.get("s"), "command": "y"}) and config.save(), config.get_errors()
    again = ToolsConfig(tmp_path / "f.yaml")
    assert again.servers["s"].command == "y" and again.servers["t"].command == "x"


def test_duplicate_keys_in_json(tmp_path):
    text = '{"mcpServers": {"a": {"command": "x"},\n "a": {"command": "y"}, "b": {"command": "z",\n "command": "q"}}}'
    config = ToolsConfig(write(tmp_path / "f.json", text))
    assert [(e.server, e.field, e.line) for e in config.errors] == [("a", None, 2), ("b", "command", 3)]


# ----------------------------------------------------------------------------------------------------------------- saving

YAML = """\
# at the top

mcpServers:   # all of them
  # about a
  a:
    command: x  # the command
    args:
      - one   # first
      - two
    env: {A: "1"}

  # about b
  b:
    url: "http://h/mcp"
    headers:
      # about H
      H: ${TOKEN}
other: true   # not ours
# at the end
"""

JSONC = """\
// at the top
{
    "other": true, // not ours
    "mcpServers": {
        /* about a */
        "a": {
            "command": "x", // the command
            "args": ["one", /* in between */ "two"],
            "env": {"A": "1"},
        },
        // about b
        "b": { "url": "http://h/mcp", "headers": {"H": "${TOKEN}"} } // after b
        // the last
    }
}
// at the end
"""

TOML = """\
# at the top
other = true  # not ours

# about a
[mcpServers.a]
command = "x"  # the command
args = ["one", "two"]  # arguments

[mcpServers.a.env]
A = "1"

# about b
[mcpServers.b]
url = "http://h/mcp"
# about headers
headers = {H = "${TOKEN}"}
"""
TEXTS = {"yaml": YAML, "json": JSONC, "toml": TOML}
EDITS = [
    ("nothing", lambda c: True),
    ("same", lambda c: c.set("a", c.get("a"))),
    (
        "command",
        lambda c: c.set("a", {**c.get("a"), "command": "y z: # 'q'", "type": "stdio"})
        or c.set("a", {**c.get("a"), "command": "y"}),
    ),
    ("add field", lambda c: c.set("a", {**c.get("a"), "timeout": 5})),
    ("add env", lambda c: c.set("a", {**c.get("a"), "env": {"A": "1", "B": "2"}})),
    ("argument", lambda c: c.set("a", {**c.get("a"), "args": ["one", "2"]})),
    ("last field", lambda c: c.set("b", {**c.get("b"), "timeout": 5, "exclude": ["x", "y"]})),
    ("drop field", lambda c: c.set("a", {k: v for k, v in c.get("a").items() if k != "env"})),
    ("remove b", lambda c: c.remove("b")),
    ("add c", lambda c: c.set("c", {"command": "new", "args": ["a"], "env": {"K": "# no: comment"}})),
    ("both", lambda c: c.set("c", {"command": "new"}) and c.remove("b") and c.set("d", {"url": "http://d"})),
]


def comments(text):
    import re

    return [c.strip() for c in re.findall(r"#.*|//(?!h|d).*|/\*.*?\*/", text)]


@pytest.mark.parametrize("fmt", TEXTS)
@pytest.mark.parametrize("edit", [e for _, e in EDITS], ids=[n for n, _ in EDITS])
def test_comments_and_order_stay(tmp_path, fmt, edit):
    file = write(tmp_path / f"f.{fmt}", TEXTS[fmt])
    os.chmod(file, 0o640)
    config = ToolsConfig(file)
    assert config.get_errors() == []
    assert edit(config)
    expected = config.raw
    assert config.save(), config.get_errors()
    text = file.read_text()
    again = ToolsConfig(file)
    assert again.raw == expected == config.raw and again.get_errors() == []
    inside = {"# about H", "# about headers"} if "b" not in expected else set()
    for comment in comments(TEXTS[fmt]):
        assert comment in inside or comment in text, text
    assert stat.S_IMODE(file.stat().st_mode) == mode(0o640) and os.listdir(tmp_path) == [file.name]
    if edit in (EDITS[0][1], EDITS[1][1]):
        assert text == TEXTS[fmt]
    if "b" in expected and expected["b"] == {"url": "http://h/mcp", "headers": {"H": "${TOKEN}"}}:
        # what wasn't changed is as it was, to the letter
        start = {"yaml": "  # about b", "json": "        // about b", "toml": "# about b"}[fmt]
        tail = TEXTS[fmt][TEXTS[fmt].index(start) :]
        if "c" not in expected:
            assert text.endswith(tail), text
    assert [k for k in expected if k in "ab"] == [k for k in again.raw if k in "ab"]


@pytest.mark.parametrize("fmt", ["yaml", "json"])
def test_first_server_can_go(tmp_path, fmt):
    config = ToolsConfig(write(tmp_path / f"f.{fmt}", TEXTS[fmt]))
    assert config.remove("a") and config.save(), config.get_errors()
    text = (tmp_path / f"f.{fmt}").read_text()
    assert "about b" in text and "about a" in text and "the last" in text + ("the last" if fmt == "yaml" else "")
    assert ToolsConfig(tmp_path / f"f.{fmt}").list() == ["b"]


def test_refuses_to_lose_comments(tmp_path):
    text = '{"a": {"command": "x", "args": ["1", /* why */ "2"]}}'
    config = ToolsConfig(write(tmp_path / "f.json", text))
    assert config.set("a", {"command": "x", "args": ["1"]})
    assert not config.save() and "would lose comments" in config.get_errors()[0]
    assert (tmp_path / "f.json").read_text() == text
    assert config.save(force=True) and config.errors == []
    assert ToolsConfig(tmp_path / "f.json").get("a")["args"] == ["1"]
    yaml = "a:\n  command: x\n  args:\n    - one # why\n    - two\n"
    config = ToolsConfig(write(tmp_path / "f.yaml", yaml))
    assert config.set("a", {"command": "x", "args": ["1"]})
    assert not config.save() and "would lose comments" in config.get_errors()[0]
    assert (tmp_path / "f.yaml").read_text() == yaml and config.save(force=True)


def test_save_keeps_others_changes(tmp_path):
    file = write(tmp_path / "f.yaml", "a:\n  command: x\nb:\n  command: y\n")
    config = ToolsConfig(file)
    file.write_text("# new\na:\n  command: changed\nb:\n  command: y\nz:\n  command: z\n")
    assert config.set("c", {"command": "c"}) and config.remove("b") and config.save()
    assert file.read_text() == "# new\na:\n  command: changed\nz:\n  command: z\nc:\n  command: c\n"
    assert config.list() == ["a", "z", "c"]


def test_save_details(tmp_path):
    real = tmp_path / "f.yaml"
    real.write_bytes(b"\xef\xbb\xbfa:\r\n  command: x\r\n")
    config = ToolsConfig(real)
    assert config.set("b", {"command": "y"}) and config.save()
    assert real.read_bytes() == b"a:\r\n  command: x\r\nb:\r\n  command: y\r\n"
    # an invalid server stays what it is
    bad = ToolsConfig(write(tmp_path / "bad.yaml", "bad: {timeout: 5}\na: {command: x}\n"))
    assert bad.list() == ["a"] and bad.set("b", {"command": "y"}) and bad.save()
    assert "bad: {timeout: 5}" in (tmp_path / "bad.yaml").read_text() and len(bad.errors) == 1
    # what cannot be written is an error, not an exception
    write(tmp_path / "file", "")
    assert not config.save(tmp_path / "file" / "x.yaml") and "not saved" in config.get_errors()[-1]


def test_a_link_stays_a_link_and_is_trusted_as_what_it_leads_to(tmp_path):
    real, link, trust = (
        write(tmp_path / "real" / "f.yaml", "a: {command: x}\n"),
        tmp_path / "link.yaml",
        Trust(tmp_path / "t"),
    )
    link.symlink_to(real)
    trust.accept(real)
    assert trust.is_trusted(link)
    config = ToolsConfig(link)
    assert config.set("b", {"command": "y"}) and config.save()
    assert link.is_symlink() and ToolsConfig(real).list() == ["a", "b"] and not trust.is_trusted(real)


def test_the_environment_is_never_written(tmp_path, monkeypatch):
    monkeypatch.setenv("PROCESS_SECRET", SECRET)
    config = ToolsConfig(write(tmp_path / "f.yaml", "a:\n  command: x\n  env: {T: '${PROCESS_SECRET}'}\n"))
    assert config.servers["a"].resolved().env == {"T": SECRET}
    assert config.set("b", config.servers["a"]) and config.save() and config.save(tmp_path / "g.json")
    for name in ("f.yaml", "g.json"):
        assert SECRET not in (tmp_path / name).read_text() and "${PROCESS_SECRET}" in (tmp_path / name).read_text()
    assert config.servers["b"].env == config.servers["a"].env
    # nor through what was made to be used
    assert not config.set("c", config.servers["a"].resolved()) and "is resolved" in config.get_errors()[-1]
    assert config.save() and config.list() == ["a", "b"] and SECRET not in (tmp_path / "f.yaml").read_text()


def test_fields_that_count_for_all_servers(tmp_path):
    file = tmp_path / "mcp.json"
    file.write_text('{"mcpServers": {"a": {"command": "x", "timeout": 9}}}')
    config = ToolsConfig(file)
    trusted = config.servers["a"].content_hash()
    config.override(timeout=2, connect_timeout=3)
    config.set("b", {"command": "y"})
    assert {(s.timeout, s.connect_timeout) for s in config.servers.values()} == {(2.0, 3.0)}
    assert config.servers["a"].content_hash() == trusted and config.save()
    assert config.servers["a"].timeout == 2.0 and json.loads(file.read_text())["mcpServers"]["a"]["timeout"] == 9
    assert config.load() and config.servers["a"].resolved().connect_timeout == 3.0
    for wrong in ({"timeout": -1}, {"command": 5}):
        with pytest.raises(ConfigError):
            config.override(**wrong)


def test_set_takes_server_configs_and_copies():
    config = ToolsConfig.from_dict({})
    made = ServerConfig(name="s", url="http://h/x", type="sse", timeout=5, headers={"A": "b"})
    assert config.set("s", made)
    assert config.raw == {"s": {"transport": "sse", "url": "http://h/x", "timeout": 5, "headers": {"A": "b"}}}
    value = {"command": "x", "args": ["a"]}
    assert config.set("t", value)
    value["args"].append("b")
    config.get("t")["args"].append("c")
    config.raw["t"]["args"].append("d")
    assert config.get("t") == {"command": "x", "args": ["a"]}
    assert not config.set("t", {"command": 5}) and config.get("t")["command"] == "x" and len(config.errors) == 1
    assert config.set("t", {"command": "y"}) and config.errors == []
    assert not config.set("mcpServers", {"command": "x"}) and not config.set("", {"command": "x"})
    assert not config.set("u", None)


def test_value_connection(monkeypatch):
    monkeypatch.setenv("V", "v")
    value = ToolsConfigValue({"command": "x", "args": ["${V}"]})
    assert value.connection == {"transport": "stdio", "command": "x", "args": ["v"], "env": {}}
    assert ToolsConfigValue(url="http://h/sse").connection == {"transport": "sse", "url": "http://h/sse", "headers": {}}


texts = st.text(
    alphabet=st.characters(
        codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\u2028\u2029\x85\ufeff\ufffe\uffff"
    ),
    max_size=12,
)
names = texts.filter(
    lambda t: t.strip() == t != ""
    and t.isprintable()
    and t not in ("mcpServers", "servers", "mcp", "inputs", "version", "$schema", "<<")
    and not t.startswith("x-")
)
values = st.builds(
    lambda command, args, env, extra: {
        "command": command,
        **({"args": args} if args else {}),
        **({"env": env} if env else {}),
        **extra,
    },
    st.sampled_from(["x", "run", "no", "1e3", "null", "~", "#x", "a:b", "- ", "'", '"q"']).filter(str.strip),
    st.lists(texts, max_size=3),
    st.dictionaries(st.from_regex(r"[A-Z_]{1,6}", fullmatch=True), texts, max_size=3),
    st.sampled_from([{}, {"timeout": 5}, {"disabled": True}, {"timeout": 1.5}]),
)
actions = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]) | names, st.none() | values), min_size=1, max_size=4)


@pytest.mark.parametrize("fmt", TEXTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions)
def test_any_edits_read_back(tmp_path, fmt, edits):
    file = write(tmp_path / f"f.{fmt}", TEXTS[fmt])
    config = ToolsConfig(file)
    for name, value in edits:
        if value is None:
            config.remove(name)
        else:
            config.set(name, value)
    expected = config.raw
    if config.save():
        # a comment may be lost with force only; otherwise all outside of what was removed are there
        kept = [c for c in ("at the top", "not ours", "about a", "about b") if c in TEXTS[fmt]]
        assert all(c in file.read_text() for c in kept)
    else:
        assert "comments" in config.get_errors()[-1] or fmt == "toml", config.get_errors()
        assert file.read_text() == TEXTS[fmt] and config.save(force=True), config.get_errors()
    again = ToolsConfig(file)
    assert again.raw == expected


# ------------------------------------------------------------------------------------------------------- finding, importing


def test_find(tmp_path, monkeypatch):
    pytest.importorskip("platformdirs")
    monkeypatch.delenv("MCP_FILE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    work = tmp_path / "work"
    work.mkdir()
    assert ToolsConfig.find(work) is None
    order = ["mcp.yaml", "mcp.yml", "mcp.json", "mcp.toml", ".mcp.json", ".cursor/mcp.json", ".vscode/mcp.json"]
    user = write(tmp_path / "user" / "aionest" / "mcp.yaml", "")
    if os.name == "posix" and os.uname().sysname == "Linux":
        assert ToolsConfig.find(work) == user
    for name in reversed(order):
        write(work / name, "")
        assert ToolsConfig.find(work) == work / name
    monkeypatch.chdir(work)
    assert ToolsConfig.find() == work / "mcp.yaml"
    monkeypatch.setenv("MCP_FILE", str(tmp_path / "missing.yaml"))
    assert ToolsConfig.find(work) == tmp_path / "missing.yaml"


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_known_host_files(monkeypatch, tmp_path, platform):
    monkeypatch.setattr("aionest.mcp.config.hosts.sys.platform", platform)
    monkeypatch.setenv("APPDATA", str(tmp_path / "roaming"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    found = ToolsConfig.known_host_files(tmp_path)
    others = {"Cline", "Windsurf", "Codex", "Gemini CLI", "Zed", "opencode", "Goose"}
    assert {host for host, _ in found} == {"Claude Desktop", "Claude Code", "Cursor", "VS Code", *others}
    part = {"linux": ".config/Claude", "darwin": "Application Support/Claude", "win32": "roaming/Claude"}[platform]
    assert part in found[0].path.as_posix() and found[-1].path == tmp_path / "opencode.json"


def test_import(tmp_path):
    other = write(
        tmp_path / "proj" / ".vscode" / "mcp.json",
        json.dumps(
            {
                "servers": {
                    "same": {"command": "x"},
                    "taken": {"command": "other"},
                    "new": {
                        "command": "${workspaceFolder}/run",
                        "envFile": ".env",
                        "cwd": "sub",
                        "env": {"T": "${input:tok} ${V}"},
                    },
                    "bad": {"timeout": 1},
                }
            }
        ),
    )
    config = ToolsConfig(write(tmp_path / "mcp.yaml", "same: {command: x}\ntaken: {command: mine}\n"))
    assert config.import_from(other) == ["new"]
    project = tmp_path / "proj"
    assert config.get("new") == {
        "command": f"{project}/run",
        "envFile": str(project / ".env"),
        "cwd": str(project / "sub"),
        "env": {"T": "${input:tok} ${V}"},
    }
    assert config.get("taken")["command"] == "mine"
    assert [(e.server, e.file) for e in config.errors] == [("bad", other)]
    assert sorted(w.server for w in config.warnings) == ["new", "taken"]
    assert config.save() and ToolsConfig(tmp_path / "mcp.yaml").list() == ["same", "taken", "new"]
    assert config.import_from(tmp_path / "none.json") == [] and config.errors


PASSWORD = {"id": "k", "type": "promptString", "password": True}
REGION = {"id": "r", "type": "promptString", "default": "eu"}


def vscode(path, inputs, **servers):
    return write(path, json.dumps({"inputs": inputs, "servers": servers}))


@pytest.mark.parametrize(
    "mine", ["new.json", "new.yaml", "new.toml", "there.json", "there.yaml", "there.toml", "mcp.json"]
)
def test_import_takes_inputs_along(tmp_path, mine):
    v = {"url": "http://h/${input:r}", "headers": {"A": "${input:k}"}}
    other = vscode(tmp_path / ".vscode" / "mcp.json", [PASSWORD, REGION, {"id": "unused"}], v=v)
    there = {
        "there.json": '// c\n{\n  "mcpServers": {"a": {"command": "x"}} // d\n}\n',
        "there.yaml": "# c\na:\n  command: x\n",
        "there.toml": '# c\n[mcpServers.a]\ncommand = "x"\n',
        "mcp.json": '{"mcp": {"servers": {"a": {"command": "x"}}, "inputs": [{"id": "mine"}]}}',
    }
    file = tmp_path / mine
    if mine in there:
        write(file, there[mine])
    config = ToolsConfig(file)
    assert config.import_from(other) == ["v"]
    assert config.servers["v"].resolved({"k": SECRET}).url == "http://h/eu"
    before = [{"id": "mine"}] if mine == "mcp.json" else []
    assert config.inputs == [*before, PASSWORD, REGION] and config.save(), config.errors
    again = ToolsConfig(file)
    assert again.inputs == [*before, PASSWORD, REGION] and again.get("v") == v and not again.errors
    assert again.list() == [*(["a"] if mine in there else []), "v"]
    assert again.import_from(other) == [] and again.save() and len(again.inputs) == 2 + len(before)
    if mine in there and mine != "mcp.json":
        assert comments(there[mine]) == comments(file.read_text())


def test_inputs_of_what_is_not_kept(tmp_path):
    other = vscode(
        tmp_path / "o.json", [PASSWORD, REGION], v={"command": "${input:r}"}, w={"command": "${input:r}${input:k}"}
    )
    for keep, ids in (("v", ["r"]), ("w", ["r", "k"]), (None, [])):
        config = ToolsConfig(tmp_path / f"{keep}.json", load=False)
        assert config.import_from(other) == ["v", "w"]
        for name in {"v", "w"} - {keep}:
            assert config.remove(name)
        assert config.save() and sorted(one["id"] for one in config.inputs) == sorted(ids)
        assert ("inputs" in json.loads((tmp_path / f"{keep}.json").read_text())) is bool(ids)


def test_import_mixes_no_inputs_up(tmp_path):
    other = vscode(
        tmp_path / "other.json", [PASSWORD, REGION], v={"url": "http://h/${input:r}", "headers": {"A": "$${input:r}"}},
        w={"command": "x", "env": {"A": "${input:r} ${input:k}", "B": "${input:none}"}},
    )  # fmt: skip
    us = {**REGION, "default": "us"}
    file = vscode(tmp_path / "mine.json", [us, {"id": "r-2"}], a={"command": "${input:r}", "args": ["${input:k}"]})
    config = ToolsConfig(file)
    assert config.import_from(other) == ["v", "w"] and config.save()
    assert config.inputs == [us, {"id": "r-2"}, {**REGION, "id": "r-3"}, {**PASSWORD, "id": "k-2"}]
    assert config.servers["v"].resolved().url == "http://h/eu"
    assert config.servers["v"].headers == {"A": "$${input:r}"}
    assert config.servers["a"].resolved({"k": "mine"}).command == "us"
    assert config.get("w")["env"] == {"A": "${input:r-3} ${input:k-2}", "B": "${input:none}"}
    config = ToolsConfig(file)
    config.remove("v"), config.remove("w")
    assert config.import_from(other) == ["v", "w"] and "r-4 is its r" in str(config.warnings)
    # an id that has become another one meanwhile
    config = ToolsConfig(vscode(tmp_path / "late.json", [], a={"command": "x"}))
    assert config.import_from(other) == ["v", "w"]
    vscode(tmp_path / "late.json", [us])
    assert not config.save() and "input 'r' has changed on disk" in config.get_errors()[-1]


def test_load_another_file_and_reload(tmp_path):
    first, second = write(tmp_path / "a.yaml", "a: {command: x}\n"), write(tmp_path / "b.json", '{"b": {"command": 5}}')
    config = ToolsConfig(first)
    config.set("q", {"command": "x"})
    assert config.load() and config.list() == ["a"]
    assert not config.load(second) and config.config_file == second and config.list() == []
    assert ToolsConfig.from_dict([1]).get_errors() and ToolsConfig.from_dict({"a": {"command": "x"}}).list() == ["a"]


def test_threads(tmp_path):
    file = write(tmp_path / "f.yaml", "a: {command: x}\n")
    config = ToolsConfig(file)
    failures = []

    def work(number):
        try:
            for i in range(5):
                assert config.set(f"s{number}-{i}", {"command": "x"})
                assert config.save()
                config.list(), config.raw, config.servers
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert failures == [] and len(ToolsConfig(file).list()) == 21


WRITERS = """
import os, sys
from aionest.mcp import ToolsConfig, TokenStore
from aionest.mcp.auth import Trust
folder = sys.argv[1]

def write(mark):
    store, trust = TokenStore(folder + "/tokens.json"), Trust(folder + "/trust.json")
    os.write(1, b"r")
    assert os.read(0, 1) == b"g"
    for i in range(20):
        store.set(f"{mark}{i}", {"i": i})
        config = ToolsConfig(folder + "/mcp.json")
        assert config.set(f"{mark}{i}", {"command": "x"}) and config.save(), config.errors
        trust.accept(f"{folder}/{mark}{i}.yaml")

pids = []
for mark in "abc":
    pids.append(os.fork())
    if not pids[-1]:
        write(mark)
        sys.exit()
print(*(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids))
"""


@pytest.mark.slow
def test_processes_keep_what_others_write(tmp_path):
    write(tmp_path / "mcp.json", '{"mcpServers": {}}')
    names = [f"{mark}{i}" for mark in "abc" for i in range(20)]
    for name in names:
        write(tmp_path / f"{name}.yaml", "s: {command: x}\n")
    with subprocess.Popen([sys.executable, "-c", WRITERS, str(tmp_path)], stdin=-1, stdout=-1) as writers:
        assert writers.stdout.read(3) == b"rrr"
        assert writers.communicate(b"ggg", timeout=120)[0] == b"0 0 0\n"
    store, trust = TokenStore(tmp_path / "tokens.json"), Trust(tmp_path / "trust.json")
    assert [name for name in names if store.get(name) is None] == []
    assert sorted(ToolsConfig(tmp_path / "mcp.json").list()) == sorted(names)
    assert [name for name in names if not trust.is_trusted(tmp_path / f"{name}.yaml")] == []
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_is_being_replaced_is_there(tmp_path):
    """Windows refuses to open a file in the moment in which it is replaced."""
    file = tmp_path / "tokens.json"
    writer, reader = TokenStore(file), TokenStore(file)
    writer.set("k", {"n": 0})
    writing = Thread(lambda: [writer.set("k", {"n": n}) for n in range(50)])
    found = []
    while writing.is_alive():
        found.append(reader.get("k"))
        writing.join(0.001)
    writing.result()
    assert found and None not in found


HOLDER = """
import pathlib, sys, time
from aionest.mcp.config import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_that_is_not_let_go_of(tmp_path, monkeypatch):
    file = write(tmp_path / "mcp.json", '{"mcpServers": {}}')
    config = ToolsConfig(file)
    config.set("a", {"command": "x"})
    monkeypatch.setattr(locking, "WAIT", 0.2)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(file)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline()
        assert not config.save() and "another process holds its lock" in config.get_errors()[-1]
    finally:
        holder.kill()
        holder.communicate()
    # one that died left its file, but no lock
    assert (tmp_path / ".mcp.json.lock").exists()
    assert config.save() and ToolsConfig(file).list() == ["a"]
    assert not (tmp_path / ".mcp.json.lock").exists()


# ------------------------------------------------------------------------------------------------------------------- trust


def test_trust(tmp_path):
    store = tmp_path / "state" / "aionest" / "trust.json"
    file = write(tmp_path / "mcp.yaml", f"a:\n  command: x\n  env: {{T: {SECRET}}}\n")
    trust = Trust(store)
    assert not trust.is_trusted(file) and not trust.revoke(file)
    trust.accept(file)
    assert trust.is_trusted(file) and trust.is_trusted(str(file)) and Trust(store).is_trusted(ToolsConfig(file))
    assert stat.S_IMODE(store.stat().st_mode) == mode(0o600)
    assert str(tmp_path) not in store.read_text() and SECRET not in store.read_text()
    file.write_text(f"# comment\na:\n  timeout: 5\n  env: {{T: {SECRET}}}\n  command: x\n")
    assert trust.is_trusted(file)
    for text in ("a: {command: y}\n", "a: {command: x}\n", f"b:\n  command: x\n  env: {{T: {SECRET}}}\n", "a: [", ""):
        file.write_text(text)
        assert not trust.is_trusted(file), text
    file.write_text("a: {command: x}\n")
    trust.accept(file)
    assert not trust.is_trusted(write(tmp_path / "other.yaml", "a: {command: x}\n"))
    assert trust.revoke(file) and not trust.is_trusted(file)
    with pytest.raises(ValueError):
        trust.accept(tmp_path / "none.yaml")
    trust.accept(file)
    for broken in ("", "[]", "{", '{"a": 5}'):
        store.write_text(broken)
        assert not trust.is_trusted(file)
    trust.accept(file)
    assert trust.is_trusted(file)
    config = ToolsConfig(file)
    file.write_text("a: {command: evil}\n")
    assert trust.is_trusted(config) and not trust.is_trusted(file)
    config.set("b", {"command": "z"})
    assert not trust.is_trusted(config) and not trust.revoke(ToolsConfig(None))


def test_comments_and_dangling_commas_are_read_at_once(tmp_path, monkeypatch):
    import json5

    def slow(*args, **keywords):
        raise AssertionError("the slow reader")

    monkeypatch.setattr(json5, "loads", slow)
    text = """// first, "x
    {"mcpServers": { /* , } */ "a": {"command": "x//y", "args": ["/*", ",]", "\\\"//",], }, // last,
    }, }"""
    path = tmp_path / "mcp.json"
    path.write_text(text)
    one = ToolsConfig(path).servers["a"]
    assert one.command == "x//y" and one.args == ["/*", ",]", '"//']


@pytest.mark.parametrize("text", ["{,}", '{"mcpServers": {"a": {"command": "x",, }}}', '{"mcpServers": {"a":,}}'])
def test_commas_that_stand_behind_nothing_are_an_error(tmp_path, text):
    (tmp_path / "mcp.json").write_text(text)
    assert "not valid JSON" in str(ToolsConfig(tmp_path / "mcp.json").errors)
