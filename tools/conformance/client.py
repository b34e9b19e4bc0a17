"""A client for the official conformance suite: drives ``ToolsLoader``, or the command line, through one scenario.

The suite starts it with the server's URL as the last argument, the scenario's name in MCP_CONFORMANCE_SCENARIO and what else the
scenario needs in MCP_CONFORMANCE_CONTEXT. How one uses a server is the same in all scenarios: connect, look at what there is, call.

Contract
  * The last line of its output says whether all went as it has to in this scenario: "as expected", or what did not. Where a
    server has to be refused, ``REFUSED`` has the words of the error that has to come; any other error, and none, is wrong.
  * The settings are those of a person who has what the scenario gives: nothing of the flow is done here.

Usage: client.py loader|cli URL
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

SCENARIO = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
CONTEXT: dict[str, Any] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
ARGUMENTS: dict[str, dict[str, Any]] = {"add_numbers": {"a": 5, "b": 3}, "valid_tool": {"region": "eu"}}
STUCK = 110  # seconds after which it says where it is, and ends; less than the suite's patience
METADATA_URL = "https://conformance-test.local/client-metadata.json"

# the error that a scenario is about, as a regular expression
REFUSED = {
    "auth/resource-mismatch": "resource .* does not match expected",
    "auth/iss-supported-missing": "missing iss parameter",
    "auth/iss-wrong-issuer": "iss mismatch",
    "auth/iss-unexpected": "iss mismatch",
    "auth/iss-normalized": "iss mismatch",
    "auth/metadata-issuer-mismatch": "metadata issuer mismatch",
    "auth/scope-retry-limit": r"HTTP 403\b",
}


class Wrong(Exception):
    """What has come is not what has to come."""


def auth() -> Any:
    """The auth setting that a person would write for the scenario."""
    client = {"client_id": CONTEXT.get("client_id")}
    if "private_key_pem" in CONTEXT:
        key = {"private_key": CONTEXT["private_key_pem"], "signing_algorithm": CONTEXT["signing_algorithm"]}
        return {"type": "client_credentials", **client, **key}
    if "idp_id_token" in CONTEXT:
        return {
            "type": "identity_assertion",
            **client,
            "client_secret": CONTEXT["client_secret"],
            "issuer": CONTEXT.get("issuer") or CONTEXT.get("auth_issuer") or _issuer(sys.argv[-1]),
            "id_token": CONTEXT["idp_id_token"],
            "idp_token_endpoint": CONTEXT["idp_token_endpoint"],
            "idp_client_id": CONTEXT["idp_client_id"],
        }
    if "valid_jwt" in CONTEXT:
        token = {"issuer": _issuer(sys.argv[-1]), "assertion": CONTEXT["valid_jwt"]}
        return {"type": "identity_assertion", **client, **token}
    if SCENARIO.startswith("auth/client-credentials"):
        return {"type": "client_credentials", **client, "client_secret": CONTEXT["client_secret"]}
    if "client_secret" in CONTEXT:
        issuer = {"issuer": CONTEXT["issuer"]} if "issuer" in CONTEXT else {}
        return {"type": "oauth", **client, "client_secret": CONTEXT["client_secret"], **issuer}
    return {"type": "oauth", "client_metadata_url": METADATA_URL}


def _issuer(url: str) -> str:
    """The authorization server that the resource names: for the enterprise's scenario, which leaves that to the person."""
    base, _, path = url.partition("//")[2].partition("/")
    with urllib.request.urlopen(f"http://{base}/.well-known/oauth-protected-resource/{path}") as answer:
        return str(json.load(answer)["authorization_servers"][0])


def settings(url: str) -> dict[str, Any]:
    one: dict[str, Any] = {"url": url, "timeout": 20, "connect_timeout": 25}
    return {"server": {**one, "auth": auth()} if SCENARIO.startswith("auth/") else one}


def log_in(url: str) -> None:
    """What a person does in a browser: the server's page leads back by itself."""
    urllib.request.urlopen(url, timeout=20).close()


def calls(tools: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What is to be called, by original names."""
    if "toolCalls" in CONTEXT:
        return [(one["name"], one["arguments"]) for one in CONTEXT["toolCalls"]]
    if SCENARIO.startswith("json-schema-2020"):
        echo = next(name for name in tools if "echo" in name)
        focal = next(name for name in tools if name != echo)
        return [(echo, {"schema": tools[focal]})]
    if SCENARIO.startswith("auth/"):
        return [(name, {}) for name in list(tools)[:1]]
    if SCENARIO == "json-schema-ref-no-deref":
        return []
    return [(name, ARGUMENTS.get(name, {})) for name in tools]


def said(*words: Any) -> None:
    print(*words, file=sys.stderr, flush=True)


def with_loader(url: str) -> None:
    from aionest.mcp import TokenStore, ToolsLoader

    with tempfile.TemporaryDirectory() as folder:
        store = TokenStore(Path(folder) / "tokens.json")
        options: dict[str, Any] = {
            "authorize": log_in,
            "tokens": store,
            "elicitation": lambda params: {},
            "strict": True,
        }
        with ToolsLoader(settings(url), **options) as loader:
            said(loader.status["server"].protocol, sorted(loader.tools))
            tools = {tool.original_name: tool for tool in loader.tools.values()}
            for name, arguments in calls({name: tool.input_schema for name, tool in tools.items()}):
                said(name, loader.call(tools[name], arguments).text[:200])
            for found in loader.resources().get("server", [])[:1]:
                loader.read_resource("server", found["uri"])
            for found in loader.prompts().get("server", [])[:1]:
                loader.get_prompt("server", found["name"])


def with_cli(url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mcp.json"
        file.write_text(json.dumps({"mcpServers": settings(url)}), "utf-8")
        browser = Path(folder) / "browser"
        browser.write_text(f"#!{sys.executable}\nimport sys, urllib.request\nurllib.request.urlopen(sys.argv[1])\n")
        browser.chmod(0o755)
        places = dict.fromkeys(("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), folder)
        environ = {**os.environ, "BROWSER": f"{browser} %s", **places}

        def run(*words: str) -> str:
            command = [sys.executable, "-m", "aionest", "mcp", *words, "-c", str(file)]
            done = subprocess.run(command, env=environ, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            said(words, done.returncode, done.stdout[-400:], done.stderr[-400:])
            if done.returncode:
                raise Wrong(f"{words[0]}: {done.stderr}")
            return done.stdout

        if SCENARIO.startswith("auth/") and auth()["type"] == "oauth":
            run("login", "server")
        found = json.loads(run("tools", "--json"))
        found = found["tools"] if isinstance(found, dict) else found
        for name, arguments in calls({one["tool"]: one["inputSchema"] for one in found}):
            run("call", f"server.{name}", "--args", json.dumps(arguments), "--json")


def main() -> int:
    faulthandler.dump_traceback_later(STUCK, exit=True)
    wanted = REFUSED.get(SCENARIO)
    try:
        {"loader": with_loader, "cli": with_cli}[sys.argv[1]](sys.argv[-1])
    except Exception as exc:
        error = " ".join(f"{type(exc).__name__}: {exc}".split())
        good = wanted is not None and re.search(wanted, error, re.IGNORECASE) is not None
        print(f"as expected: {error}" if good else f"{f'not /{wanted}/ but ' if wanted else ''}{error}")
        return 1
    print("as expected" if wanted is None else f"no error, where one with /{wanted}/ has to come")
    return 0 if wanted is None else 1


if __name__ == "__main__":
    sys.exit(main())
