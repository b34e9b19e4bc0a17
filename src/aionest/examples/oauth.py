"""An MCP server over streamable HTTP behind OAuth, and its authorization server, standard library only.

Usage: python -m aionest.examples.oauth PORT [--seconds N] [--client ID:SECRET] [--refuse]

It prints its port once it listens. Requests to /mcp need a bearer token, which lives N seconds (3600). Clients register
themselves, or are the one that is named; people are not asked, /authorize sends the browser straight back. Tools: ``echo``
(text), ``requests`` (how many there were to each path of the authorization server), ``expire`` (all access tokens, now).
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import http.server
import json
import secrets
import threading
import time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

options = argparse.Namespace(port=0, seconds=3600.0, client="", refuse=False)
LEEWAY = 60  # seconds that a token is good for beyond what is said, as the way here may be slow

clients: dict[str, dict[str, Any]] = {}
codes: dict[str, dict[str, Any]] = {}
tokens: dict[str, float] = {}  # when they expire
refreshes: set[str] = set()
seen: dict[str, int] = {}
lock = threading.Lock()

TOOLS = [
    {"name": "echo", "description": "Give the text back", "inputSchema": {"type": "object"}},
    {"name": "requests", "description": "Requests by path", "inputSchema": {"type": "object"}},
    {"name": "expire", "description": "No access token is good any more", "inputSchema": {"type": "object"}},
]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Nothing: standard error is for people."""

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]

    def reply(self, status: int, value: Any = None, **headers: str) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, one in headers.items():
            self.send_header(name.replace("_", "-"), one)
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def count(self, path: str) -> None:
        with lock:
            seen[path] = seen.get(path, 0) + 1

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith("/.well-known/oauth-protected-resource"):
            return self.reply(200, {"resource": f"{self.base}/mcp", "authorization_servers": [self.base]})
        if parts.path.startswith("/.well-known/"):
            found = {
                "issuer": self.base,
                "authorization_endpoint": f"{self.base}/authorize",
                "token_endpoint": f"{self.base}/token",
                "registration_endpoint": f"{self.base}/register",
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none", "client_secret_post", "client_secret_basic"],
            }
            return self.reply(200, found)
        if parts.path == "/authorize":
            self.count(parts.path)
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            answer = {"state": asked.get("state", "")}
            if options.refuse:
                answer["error"] = "access_denied"
            elif asked.get("redirect_uri") not in clients.get(asked.get("client_id", ""), {}).get("redirect_uris", []):
                return self.reply(400, {"error": "invalid_request"})
            else:
                answer["code"] = secrets.token_urlsafe()
                codes[answer["code"]] = asked
            return self.reply(302, Location=f"{asked['redirect_uri']}?{urlencode(answer)}")
        return self.reply(405)

    def do_DELETE(self) -> None:
        self.reply(200)

    def do_POST(self) -> None:
        body = self.body()
        if self.path == "/register":
            self.count(self.path)
            made = {**json.loads(body), "client_id": secrets.token_urlsafe()}
            clients[made["client_id"]] = made
            return self.reply(201, made)
        if self.path == "/token":
            self.count(self.path)
            return self.token({name: values[0] for name, values in parse_qs(body.decode()).items()})
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if tokens.get(token, 0) < time.time():
            where = f'Bearer resource_metadata="{self.base}/.well-known/oauth-protected-resource"'
            return self.reply(401, {"error": "invalid_token"}, WWW_Authenticate=where)
        return self.mcp(json.loads(body))

    def token(self, asked: dict[str, Any]) -> None:
        kind = asked.get("grant_type")
        if self.headers.get("Authorization", "").startswith("Basic "):
            pair = base64.b64decode(self.headers["Authorization"][6:]).decode()
            asked["client_id"], _, asked["client_secret"] = pair.partition(":")
        client = clients.get(asked.get("client_id", ""), {})
        good = bool(client) and client.get("client_secret") == asked.get("client_secret")
        if kind == "authorization_code":
            given = codes.pop(asked.get("code", ""), {})
            challenge = base64.urlsafe_b64encode(hashlib.sha256(asked["code_verifier"].encode()).digest()).rstrip(b"=")
            good = good and given.get("code_challenge") == challenge.decode()
        elif kind == "refresh_token":
            good = good and asked.get("refresh_token") in refreshes
        elif kind != "client_credentials":
            good = False
        if not good:
            return self.reply(400, {"error": "invalid_grant"})
        token, refresh = "access-" + secrets.token_urlsafe(), "refresh-" + secrets.token_urlsafe()
        tokens[token] = time.time() + options.seconds + LEEWAY
        found = {"access_token": token, "token_type": "Bearer", "expires_in": int(options.seconds)}
        if kind != "client_credentials":
            refreshes.add(refresh)
            found["refresh_token"] = refresh
        return self.reply(200, found)

    def mcp(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if "id" not in message:
            return self.reply(202)
        result: dict[str, Any] = {}
        if method == "initialize":
            result = {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "behind-oauth", "version": "1"},
            }
        elif method == "tools/list":
            result = {"tools": TOOLS}
        elif method == "tools/call":
            name = message["params"]["name"]
            if name == "expire":
                tokens.clear()
            text = (
                json.dumps(seen) if name == "requests" else (message["params"].get("arguments") or {}).get("text", "")
            )
            result = {"content": [{"type": "text", "text": text}]}
        return self.reply(200, {"jsonrpc": "2.0", "id": message["id"], "result": result})


def main() -> None:
    """Serve until this process is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--client", default="")
    parser.add_argument("--refuse", action="store_true", help="refuse every login")
    parser.parse_args(namespace=options)
    if options.client:
        number, _, secret = options.client.partition(":")
        clients[number] = {"client_id": number, "client_secret": secret}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
