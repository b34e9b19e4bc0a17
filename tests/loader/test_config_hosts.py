"""The files of hosts that write their servers in a way of their own: read as they are, and imported."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("mcp")
pytest.importorskip("tomlkit")

from aionest.mcp import ToolsConfig

CODEX = """
model = "gpt-5.5-codex"
approval_policy = "on-request"

[mcp_servers.context7]
command = "npx"
args = ["-y", "@upstash/context7-mcp"]
env_vars = ["LOCAL_TOKEN"]
startup_timeout_sec = 20
tool_timeout_sec = 45.5
enabled_tools = ["get-library-docs"]

[mcp_servers.context7.env]
PRICE = "costs ${NOT_A_REFERENCE}"

[mcp_servers.figma]
url = "https://mcp.figma.com/mcp"
bearer_token_env_var = "FIGMA_OAUTH_TOKEN"
http_headers = { "X-Figma-Region" = "us-east-1" }
env_http_headers = { "X-User" = "FIGMA_USER" }
enabled = false

[profiles.fast]
model = "gpt-5.5-mini"
"""
GEMINI = {
    "theme": "GitHub",
    "security": {"auth": {"selectedType": "oauth-personal"}},
    "mcpServers": {
        "github": {
            "httpUrl": "https://api.example.com/mcp/",
            "url": "https://api.example.com/sse",
            "headers": {"Authorization": "Bearer $GITHUB_TOKEN"},
            "timeout": 600000,
            "trust": False,
            "excludeTools": ["delete_repo"],
        },
        "old": {"url": "https://old.example.com/events"},
        "py": {"command": "python", "args": ["-m", "srv"], "cwd": "./servers", "env": {"KEY": "${KEY}"}},
    },
}
WINDSURF = {
    "mcpServers": {
        "remote": {
            "serverUrl": "https://mcp.example.com/mcp",
            "headers": {"X-Key": "${env:KEY}"},
            "disabledTools": ["x"],
        },
        "local": {"command": "npx", "args": ["-y", "one"], "disabled": True},
    }
}
ZED = """
// Zed settings
{
  "ui_font_size": 16,
  "context_servers": {
    "mine": { "source": "custom", "command": "uvx", "args": ["srv"], "env": { "A": "b" } },
    "old": { "command": { "path": "node", "args": ["srv.js"], "env": null } },
    "ext": { "source": "extension", "settings": { "key": "secret" } },
    "far": { "url": "https://mcp.example.com/mcp", "headers": { "Authorization": "Bearer x" } },
  },
}
"""
OPENCODE = {
    "$schema": "https://opencode.ai/config.json",
    "model": "anthropic/claude",
    "mcp": {
        "everything": {
            "type": "local",
            "command": ["npx", "-y", "@modelcontextprotocol/server-everything"],
            "environment": {"TOKEN": "{env:MY_TOKEN}"},
            "enabled": True,
            "timeout": 8000,
        },
        "sentry": {"type": "remote", "url": "https://mcp.sentry.dev/mcp", "oauth": {"clientId": "c", "scope": "a b"}},
        "jira": {
            "type": "remote",
            "url": "https://j.example.com/mcp",
            "headers": {"K": "{file:~/.k}"},
            "enabled": False,
        },
    },
}
GOOSE = """
GOOSE_PROVIDER: anthropic
extensions:
  developer:
    type: builtin
    name: developer
    enabled: true
    bundled: true
    timeout: 300
  github:
    type: stdio
    name: GitHub
    cmd: npx
    args: ["-y", "@modelcontextprotocol/server-github"]
    envs: {HOST: example.com}
    env_keys: [GITHUB_PERSONAL_ACCESS_TOKEN]
    timeout: 300
    enabled: true
    description: ''
  far:
    type: streamable_http
    uri: https://mcp.example.com/mcp
    headers: {X-A: b}
    enabled: false
"""
CLINE = {
    "mcpServers": {
        "weather": {"command": "node", "args": ["w.js"], "autoApprove": ["get"], "disabled": False, "timeout": 60},
        "far": {"type": "streamableHttp", "url": "https://mcp.example.com/mcp", "headers": {"A": "b"}},
    }
}
SERVER_JSON = {
    "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
    "name": "io.github.someone/weather",
    "description": "Weather",
    "version": "1.0.2",
    "packages": [
        {
            "registryType": "npm",
            "identifier": "@someone/weather",
            "version": "1.0.2",
            "transport": {"type": "stdio"},
            "packageArguments": [
                {"type": "positional", "value": "serve"},
                {"type": "named", "name": "--region", "default": "eu"},
                {"type": "named", "name": "--config", "valueHint": "file", "isRequired": True},
                {"type": "named", "name": "--optional"},
            ],
            "environmentVariables": [
                {"name": "API_KEY", "description": "Your key", "isRequired": True, "isSecret": True},
                {"name": "LEVEL", "value": "{level}", "variables": {"level": {"default": "info"}}},
                {"name": "UNUSED"},
            ],
        }
    ],
    "remotes": [{"type": "sse", "url": "https://weather.example.com/sse"}],
}
FILES = {
    "codex": ("config.toml", CODEX),
    "gemini": (".gemini/settings.json", GEMINI),
    "windsurf": ("mcp_config.json", WINDSURF),
    "zed": ("zed/settings.json", ZED),
    "opencode": ("opencode.json", OPENCODE),
    "goose": ("goose/config.yaml", GOOSE),
    "cline": ("cline_mcp_settings.json", CLINE),
    "registry": ("server.json", SERVER_JSON),
}


def written(tmp_path, host):
    name, content = FILES[host]
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content, indent=2))
    return file


def read(tmp_path, host, *left_out):
    if host == "zed":
        pytest.importorskip("json5")
    config = ToolsConfig(written(tmp_path, host))
    assert not config.get_errors()
    assert [one.server for one in config.warnings] == [*left_out], config.warnings
    return config.servers


def test_codex(tmp_path):
    servers = read(tmp_path, "codex")
    one, far = servers["context7"], servers["figma"]
    assert (one.command, one.args) == ("npx", ["-y", "@upstash/context7-mcp"])
    assert (one.connect_timeout, one.timeout, one.include) == (20, 45.5, ["get-library-docs"])
    resolved = one.resolved(environ={})
    assert resolved.env == {"LOCAL_TOKEN": "", "PRICE": "costs ${NOT_A_REFERENCE}"}
    assert far.disabled and far.transport == "streamable_http"
    resolved = far.resolved(environ={"FIGMA_OAUTH_TOKEN": "t", "FIGMA_USER": "ada"})
    assert resolved.auth == {"type": "bearer", "token": "t"}
    assert resolved.headers == {"X-Figma-Region": "us-east-1", "X-User": "ada"}


def test_gemini(tmp_path):
    servers = read(tmp_path, "gemini")
    one = servers["github"]
    assert (one.url, one.transport, one.timeout) == ("https://api.example.com/mcp/", "streamable_http", 600)
    assert one.exclude == ["delete_repo"]
    assert one.resolved(environ={"GITHUB_TOKEN": "t"}).headers == {"Authorization": "Bearer t"}
    assert servers["old"].transport == "sse"
    resolved = servers["py"].resolved(environ={"KEY": "k"})
    assert resolved.cwd == str(tmp_path / "servers") and resolved.env == {"KEY": "k"}


def test_windsurf_and_cline(tmp_path):
    servers = read(tmp_path, "windsurf")
    assert servers["remote"].url == "https://mcp.example.com/mcp" and servers["remote"].exclude == ["x"]
    assert servers["local"].disabled
    servers = read(tmp_path, "cline")
    assert servers["weather"].timeout == 60 and servers["far"].transport == "streamable_http"


def test_the_two_urls_of_gemini_elsewhere():
    entry = {"httpUrl": "https://a.example.com/mcp", "url": "https://a.example.com/sse"}
    server = ToolsConfig.from_dict({"mcpServers": {"a": entry}}).servers["a"]
    assert (server.url, server.transport) == ("https://a.example.com/mcp", "streamable_http")


def test_zed(tmp_path):
    servers = read(tmp_path, "zed", "ext")
    assert (servers["mine"].command, servers["mine"].args, servers["mine"].env) == ("uvx", ["srv"], {"A": "b"})
    assert (servers["old"].command, servers["old"].args) == ("node", ["srv.js"])
    assert servers["far"].headers == {"Authorization": "Bearer x"}


def test_opencode(tmp_path):
    servers = read(tmp_path, "opencode", "jira")
    one = servers["everything"]
    assert (one.command, one.args, one.timeout) == ("npx", ["-y", "@modelcontextprotocol/server-everything"], 8)
    assert one.resolved(environ={"MY_TOKEN": "t"}).env == {"TOKEN": "t"}
    assert servers["sentry"].auth == {"type": "oauth", "client_id": "c", "scopes": ["a", "b"]}


def test_goose(tmp_path):
    servers = read(tmp_path, "goose", "developer")
    one, far = servers["github"], servers["far"]
    assert (one.command, one.timeout) == ("npx", 300)
    resolved = one.resolved(environ={"GITHUB_PERSONAL_ACCESS_TOKEN": "t"})
    assert resolved.env == {"GITHUB_PERSONAL_ACCESS_TOKEN": "t", "HOST": "example.com"}
    assert (far.url, far.transport, far.disabled) == ("https://mcp.example.com/mcp", "streamable_http", True)


def test_the_registrys_description(tmp_path):
    one = read(tmp_path, "registry")["weather"]
    resolved = one.resolved(inputs={"API_KEY": "k", "config": "c.toml"})
    assert resolved.command == "npx"
    assert resolved.args == ["-y", "@someone/weather@1.0.2", "serve", "--region", "eu", "--config", "c.toml"]
    assert resolved.env == {"API_KEY": "k", "LEVEL": "info"}
    asked = {one["id"]: one for one in ToolsConfig(tmp_path / "server.json").inputs}
    assert asked["API_KEY"]["password"] is True and asked["API_KEY"]["description"] == "Your key"


@pytest.mark.parametrize(
    "package, words",
    [
        ({"registryType": "pypi", "identifier": "w", "version": "2"}, ["uvx", "w==2"]),
        ({"registry_type": "pypi", "identifier": "w", "runtime_hint": "pipx"}, ["pipx", "w"]),
        (
            {"registryType": "oci", "identifier": "reg.example.com/w:1"},
            ["docker", "run", "-i", "--rm", "reg.example.com/w:1"],
        ),
        (
            {"registryType": "oci", "identifier": "reg.example.com:5000/w", "version": "2"},
            ["docker", "run", "-i", "--rm", "reg.example.com:5000/w:2"],
        ),
        ({"registryType": "pypi", "identifier": "w", "version": "latest"}, ["uvx", "w@latest"]),
    ],
)
def test_packages_of_the_registry(package, words):
    config = ToolsConfig.from_dict({"server": {"name": "a/w", "packages": [package]}, "_meta": {}})
    assert [config.servers["w"].command, *config.servers["w"].args] == words


def test_a_server_of_the_registry_that_is_only_reached_by_a_url():
    remote = {
        "type": "streamable-http",
        "url": "https://{tenant}.example.com/mcp",
        "variables": {"tenant": {"isRequired": True}},
        "headers": [{"name": "X-Key", "isRequired": True, "isSecret": True}],
    }
    one = ToolsConfig.from_dict({"name": "a/w", "packages": [{"registryType": "mcpb"}], "remotes": [remote]}).servers[
        "w"
    ]
    resolved = one.resolved(inputs={"tenant": "t", "X-Key": "k"})
    assert (resolved.url, resolved.headers) == ("https://t.example.com/mcp", {"X-Key": "k"})
    nothing = ToolsConfig.from_dict({"name": "a/w", "packages": [{"registryType": "mcpb"}]})
    assert nothing.list() == [] and "no package that can be started" in str(nothing.warnings[0])


@pytest.mark.parametrize("host", FILES)
def test_imported_servers_are_the_same(tmp_path, host):
    if host == "zed":
        pytest.importorskip("json5")
    file = written(tmp_path, host)
    before = file.read_text()
    own = ToolsConfig(tmp_path / "mcp.json", load=False)
    names = own.import_from(file)
    assert names == ToolsConfig(file).list() and own.save(), own.get_errors()
    again = ToolsConfig(tmp_path / "mcp.json")
    assert not again.get_errors() and again.list() == names
    inputs = {"API_KEY": "k", "config": "c"}
    environ = {"KEY": "k", "MY_TOKEN": "t", "GITHUB_TOKEN": "g", "FIGMA_OAUTH_TOKEN": "f", "FIGMA_USER": "u"}
    environ["GITHUB_PERSONAL_ACCESS_TOKEN"] = "p"
    for name in names:
        mine, its = (one.servers[name].resolved(inputs, environ) for one in (again, ToolsConfig(file)))
        assert mine.content_hash() == its.content_hash() and mine.timeout == its.timeout, name
    assert file.read_text() == before


@pytest.mark.parametrize("host", ["codex", "gemini", "opencode", "goose", "registry"])
def test_the_hosts_own_file_is_not_written(tmp_path, host):
    file = written(tmp_path, host)
    config, before = ToolsConfig(file), file.read_text()
    assert config.set("new", {"command": "x"}) and not config.save()
    assert "import it into another" in config.get_errors()[-1] and file.read_text() == before
    assert config.save(tmp_path / "mine.json") and "new" in ToolsConfig(tmp_path / "mine.json").list()


@pytest.mark.parametrize(
    "name", [".codex/config.toml", ".gemini/settings.json", "zed/settings.json", "goose/config.yaml"]
)
def test_settings_without_servers_are_no_error(tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir()
    file.write_text(
        {"toml": 'model = "x"\n', "json": '{"theme": "dark"}', "yaml": "model: x\n"}[name.rpartition(".")[2]]
    )
    config = ToolsConfig(file)
    assert config.list() == [] and not config.get_errors()


@pytest.mark.parametrize("value", [None, [], "x", 5, {"a": 5}, {"a": {"type": "local", "command": []}}])
@pytest.mark.parametrize("key", ["mcp_servers", "context_servers", "extensions", "mcp", "mcpServers"])
def test_nonsense_is_an_error_and_no_crash(tmp_path, key, value):
    places = {"mcp_servers": ".codex/config.toml", "mcpServers": ".gemini/settings.json"}
    file = tmp_path / places.get(key, "opencode.json" if key == "mcp" else "some.json")
    file.parent.mkdir(exist_ok=True)
    text = json.dumps({key: value})
    if file.suffix == ".toml":
        if value is None or isinstance(value, dict):
            pytest.skip("cannot be written")
        text = f"{key} = {json.dumps(value)}"
    file.write_text(text)
    assert ToolsConfig(file).list() == []


def from_text(tmp_path, name, text):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    config = ToolsConfig(path)
    assert not config.errors, config.errors
    return config


def test_codex_that_enables_nothing_and_names_its_token(tmp_path):
    text = """\ufeff[mcp_servers."a.b"]
command = "x"
env_vars = ["ONE", { name = "TWO", source = "local" }]
enabled_tools = []
required = true
[mcp_servers.web]
url = "https://x.example.com/mcp"
bearer_token = "${literal}"
"""
    servers = from_text(tmp_path, ".codex/config.toml", text).servers
    one, web = servers["a.b"], servers["web"]
    assert one.exclude == ["*"] and one.required and set(one.env) == {"ONE", "TWO"}
    assert web.resolved(environ={}).auth == {"type": "bearer", "token": "${literal}"}


@pytest.mark.parametrize(
    "choice",
    [
        {"mcp": {"allowed": ["a", "b"], "excluded": ["b"]}},
        {"allowMCPServers": ["a"]},
        {"excludeMCPServers": ["b", "c"]},
    ],
)
def test_gemini_that_starts_only_some(tmp_path, choice):
    oauth = {"enabled": True, "clientId": "c", "clientSecret": "$S", "scopes": ["s"]}
    entries = {"a": {"httpUrl": "https://x.example.com", "oauth": oauth}, "b": {"command": "x"}, "c": {"command": "y"}}
    servers = from_text(tmp_path, ".gemini/settings.json", json.dumps({**choice, "mcpServers": entries})).servers
    assert [name for name, one in servers.items() if not one.disabled] == ["a"]
    login = {"type": "oauth", "client_id": "c", "client_secret": "s", "scopes": ["s"]}
    assert servers["a"].resolved(environ={"S": "s"}).auth == login


def test_opencode_that_only_changes_what_is_described_elsewhere(tmp_path):
    text = """{ // comment
    "mcp": { "here": { "type": "local", "command": ["x"], }, "elsewhere": { "enabled": false } }, }"""
    config = from_text(tmp_path, "opencode.jsonc", text)
    assert list(config.servers) == ["here"] and "elsewhere" in str(config.warnings)


def test_cline_that_names_the_transport_otherwise(tmp_path):
    entries = {"a": {"url": "https://x.example.com/events", "transportType": "sse"}}
    config = from_text(tmp_path, "cline_mcp_settings.json", json.dumps({"mcpServers": entries}))
    assert config.servers["a"].transport == "sse" and not config.warnings


def test_continue_has_a_list(tmp_path):
    text = """name: mine
schema: v1
mcpServers:
  - name: SQLite   # with its name in it
    command: npx
    args: [-y, sqlite]
    env: { KEY: "${{ secrets.KEY }}" }
    connectionTimeout: 1500
  - name: web
    type: streamable-http
    url: https://x.example.com
    apiKey: s3cret
    requestOptions: { headers: { X-A: b } }
  - name: web
    command: other
  - command: nameless
  - 5
"""
    config = from_text(tmp_path, "config.yaml", text)
    one, web = config.servers["SQLite"], config.servers["web"]
    assert one.resolved(environ={"KEY": "k"}).env == {"KEY": "k"} and one.connect_timeout == 1.5
    assert web.headers == {"X-A": "b"} and web.auth == {"type": "bearer", "token": "s3cret"}
    assert [warning.server for warning in config.warnings] == ["mcpServers[2]", "mcpServers[3]", "mcpServers[4]"]
    assert not config.save() and "Continue" in config.get_errors()[-1]


def test_librechat_counts_milliseconds(tmp_path):
    text = """version: 1.2.1
mcpServers:
  web: { type: streamable-http, url: "https://x.example.com", timeout: 45000, initTimeout: 10000, chatMenu: false,
         headers: { Authorization: "Bearer ${TOKEN}" }, oauth: { client_id: c, scope: "a b" } }
  here: { command: npx, args: [-y, x], iconPath: /a.svg, stderr: inherit }
"""
    config = from_text(tmp_path, "librechat.yaml", text)
    web = config.servers["web"]
    assert (web.timeout, web.connect_timeout) == (45, 10)
    assert web.auth == {"type": "oauth", "client_id": "c", "scopes": ["a", "b"]}
    assert not config.warnings


def test_jetbrains_says_headers_and_folders_otherwise(tmp_path):
    asked = {"headers": {"Authorization": "Bearer x"}}
    entries = {"web": {"url": "https://x.example.com", "requestInit": asked}, "here": {"command": "x"}}
    entries["here"]["workingDirectory"] = "/srv"
    config = from_text(tmp_path, "mcp.json", json.dumps({"mcpServers": entries}))
    assert config.servers["web"].headers == asked["headers"] and config.servers["here"].cwd == "/srv"
    assert not config.warnings


@pytest.mark.parametrize("name", [".gemini/settings.json", "zed/settings.json", "opencode.json"])
def test_milliseconds_in_quotes(tmp_path, name):
    key = {"zed": "context_servers", "opencode.json": "mcp"}.get(name.partition("/")[0], "mcpServers")
    entry = {"url": "https://x.example.com", "timeout": "30000", **({"type": "remote"} if key == "mcp" else {})}
    assert from_text(tmp_path, name, json.dumps({key: {"a": entry}})).servers["a"].timeout == 30


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ('command = "x"\ntool_timeout_sec = -1', "tool_timeout_sec"),
        ('command = "x"\nstartup_timeout_sec = "soon"', "startup_timeout_sec"),
        ('command = "x"\nenabled_tools = 5', "enabled_tools"),
        ('url = "https://x.example.com"\nhttp_headers = { A = true }', "http_headers.A"),
        ('url = "https://x.example.com"\nbearer_token_env_var = ""', "bearer_token_env_var"),
        ('command = "x"\nenabled = "maybe"', "enabled"),
    ],
)
def test_errors_have_the_hosts_own_names(tmp_path, fields, told):
    path = tmp_path / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text(f"[mcp_servers.a]\n{fields}\n")
    (error,) = ToolsConfig(path).get_errors()
    line = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if told.split(".")[0] in text)
    assert str(path) in error and "server 'a'" in error and f"'{told}" in error and f":{line}:" in error


def test_a_kind_of_server_that_is_not_known_is_one_error(tmp_path):
    config = ToolsConfig.from_dict({"a": {"type": "ws", "url": "wss://x.example.com"}})
    (error,) = config.get_errors()
    assert "'type'" in error


@pytest.mark.parametrize("identifier", [None, 5, ""])
def test_a_package_of_the_registry_without_a_name_is_left_out(tmp_path, identifier):
    """``npx -y None`` would be run, which anybody may have published."""
    package = {"registryType": "npm", "identifier": identifier, "version": "1"}
    config = from_text(tmp_path, "server.json", json.dumps({"name": "io.x/srv", "packages": [package]}))
    assert not config.servers and "no package" in str(config.warnings[0])


def test_arguments_of_the_registry_are_as_json_writes_them(tmp_path):
    described = [{"type": "named", "name": "--all", "default": False}, {"type": "named", "name": "--most", "value": 5}]
    package = {"registryType": "npm", "identifier": "a", "packageArguments": described}
    config = from_text(tmp_path, "server.json", json.dumps({"name": "io.x/srv", "packages": [package]}))
    assert config.servers["srv"].args == ["-y", "a", "--all", "false", "--most", "5"]
