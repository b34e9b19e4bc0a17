"""Every name of the SDK that this package relies on: in which line, and what happens without it.

Contract: ``SURFACE`` is the one table. The code asks it before it uses something private (``absent``), tests compare it with
the installed SDK, ``aionest doctor`` shows it. What steps aside says so once, in the log.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass

from .line import V2, VERSION, log

NOTHING_WORKS = "nothing works: the import fails, and names it"


@dataclass(frozen=True)
class Name:
    """A name of the SDK.

    :param line: 1, 2, or 0 for both.
    :param path: the module, a colon, and what is in it. An attribute that a class gives to its instances is written alike.
    :param part: what of this package relies on it.
    :param without: what happens without it.
    :param newer: the line's first releases are without it, and nothing is wrong with them.
    """

    line: int
    path: str
    part: str
    without: str
    newer: bool = False

    @property
    def attribute(self) -> str:
        """Its last part."""
        return self.path.replace(":", ".").rpartition(".")[2]

    def is_there(self) -> bool:
        """Does the installed SDK have it?"""
        module, _, inner = self.path.partition(":")
        try:
            home = importlib.import_module(module)
        except ImportError:
            return False
        found: object = home
        *outer, last = inner.split(".")
        for word in outer:
            found = getattr(found, word, None)
        return hasattr(found, last) or (inspect.isclass(found) and _is_given(found, last))


def _is_given(cls: type, name: str) -> bool:
    """Does a class give its instances an attribute of that name?"""
    if name in getattr(cls, "__annotations__", ()):
        return True
    for base in cls.__mro__:
        try:
            if f"self.{name}" in inspect.getsource(base):
                return True
        except (OSError, TypeError):  # no source is installed, or it is built in
            continue
    return False


def _names(line: int, base: str, words: str, part: str, without: str, newer: bool = False) -> list[Name]:
    return [Name(line, base + word, part, without, newer) for word in words.split()]


_SESSION = "mcp.client.session:ClientSession."
_HTTP = "mcp.client.streamable_http:"
_DISPATCHER = "mcp.shared.jsonrpc_dispatcher:"
_AUTH = "mcp.client.auth:"
_CONTEXT = "mcp.client.auth.oauth2:OAuthContext."
_MACHINES = "mcp.client.auth.extensions.client_credentials:"
_IDENTITY = "mcp.client.auth.extensions.identity_assertion:IdentityAssertionOAuthProvider"
_NO_SERVER = "no server can be connected to"
_NO_CALLS = "calls of tools fail"
_SLOWER = "calls take the SDK's own path, which is several times slower"
_REFUSED = "one invalid tool description makes the SDK reject the whole list"
_NO_TASKS = "tools that their server runs as tasks fail"
_SLOW_PATTERNS = "patterns in output schemas are matched by Python's re, which may never finish"
_NOT_TOLD = "the server is not told that a call was cancelled"
_UNASKED = "a call whose result is a question fails"
_UNNOTICED = "changes of tools are not noticed without a handshake"
_LATE = "a server that takes the handshake amiss, as it was slow to answer what it speaks, cannot be connected to"
_NO_LOGIN = "servers that want a login are unavailable"
_NO_RENEWAL = "a login that has expired cannot be renewed, and requests fail"
_ITS_OWN_WAY = "how a client says who it is, is up to the SDK, whatever the configuration has"
_NO_MACHINES = "servers with client_credentials are unavailable"
_NO_KEY = "private keys are of no use: servers that want a signed assertion are unavailable"
_NO_IDENTITY = "servers with identity_assertion are unavailable"
_FAILS = "that request fails"

SURFACE: tuple[Name, ...] = (
    *_names(0, "mcp:", "ClientSession types", "sessions", NOTHING_WORKS),
    *_names(0, "", f"mcp.client.sse:sse_client {_HTTP}streamable_http_client", "transports", NOTHING_WORKS),
    *_names(0, "mcp.shared.message:", "SessionMessage", "transports", NOTHING_WORKS),
    *_names(1, "mcp:", "McpError", "failures", NOTHING_WORKS),
    *_names(2, "mcp:", "MCPError", "failures", NOTHING_WORKS),
    *_names(0, _AUTH, "OAuthFlowError", "failures", NOTHING_WORKS),
    *_names(0, _SESSION, "initialize list_tools", "sessions", _NO_SERVER),
    *_names(0, _SESSION, "call_tool", "calls", _NO_CALLS),
    *_names(
        0,
        _SESSION,
        "list_resources list_resource_templates list_prompts get_prompt read_resource send_ping",
        "requests",
        _FAILS,
    ),
    *_names(0, "mcp.types:", "Implementation", "sessions", _NO_SERVER),
    *_names(0, "mcp.types:", "TextContent CallToolResult", "calls", _NO_CALLS),
    *_names(0, "mcp.types:", "PaginatedRequestParams", "requests", "a list of more than one page cannot be read"),
    *_names(0, "mcp.types:", "ErrorData", "callbacks", "a callback cannot decline what a server asks for"),
    *_names(
        0,
        "mcp.types:",
        "CreateMessageResult ElicitResult ListRootsResult",
        "callbacks",
        "that question of a server is answered with an error",
    ),
    *_names(1, "mcp.types:", "JSONRPCMessage", "transports", _NO_SERVER),
    *_names(1, "mcp.types:", "JSONRPCError JSONRPCResponse ContentBlock", "shortcut", NOTHING_WORKS),
    *_names(1, _HTTP, "StreamableHTTPTransport", "shortcut", NOTHING_WORKS),
    *_names(2, "mcp.types:", "jsonrpc_message_adapter", "transports", _NO_SERVER),
    *_names(
        1,
        "mcp.types:",
        "CancelledNotification CancelledNotificationParams ClientNotification",
        "cancellation",
        _NOT_TOLD,
    ),
    *_names(1, _SESSION, "send_notification _request_id", "cancellation", _NOT_TOLD),
    *_names(2, "mcp.types:", "InputRequiredResult", "questions", "calls, resources and prompts fail"),
    *_names(2, "mcp.client.session:", "ClientRequestContext", "questions", _UNASKED),
    *_names(2, _SESSION, "dispatch_input_request", "questions", _UNASKED),
    *_names(2, _SESSION, "protocol_version discover_result", "sessions", _NO_SERVER),
    *_names(2, _SESSION, "discover", "sessions", "servers that know no handshake cannot be connected to"),
    *_names(2, _SESSION, "initialize_result", "sessions", "servers that know the handshake only need protocol: legacy"),
    *_names(2, "mcp.client._probe:", "negotiate_auto", "probe", "servers that know no handshake need protocol: modern"),
    *_names(2, "mcp.client.subscriptions:", "listen SubscriptionLost", "changes", _UNNOTICED),
    # the lists as they are
    *_names(0, "mcp.types:", "ListToolsRequest ListToolsResult Tool", "lists", _REFUSED),
    *_names(1, "mcp.types:", "ClientRequest Result", "lists", _REFUSED),
    *_names(1, _SESSION, "send_request _tool_output_schemas", "lists", _REFUSED),
    *_names(2, _SESSION, "_dispatcher _stamp _absorb_tool_listing", "lists", _REFUSED),
    # requests that the SDK has no method for
    *_names(1, "mcp.types:", "Request Result", "tasks", _NO_TASKS),
    *_names(1, _SESSION, "send_request", "tasks", _NO_TASKS),
    *_names(2, _SESSION, "_dispatcher _stamp", "tasks", _NO_TASKS),
    # results: their type, and the patterns in their schemas
    *_names(2, _SESSION, "_dispatcher", "results", "a result that does not say that it is complete is refused"),
    *_names(2, _SESSION, "_output_schema_validator _tool_output_validators", "patterns", _SLOW_PATTERNS),
    *_names(1, _SESSION, "_validate_tool_result _tool_output_schemas", "patterns", _SLOW_PATTERNS),
    *_names(
        1,
        "mcp.types:",
        "ResourceLink EmbeddedResource",
        "addresses",
        "a result with an address that is no URL fails, when the call has had its effect",
    ),
    *_names(2, _SESSION, "send_discover", "probe", "a server that ignores server/discover takes ten seconds"),
    *_names(2, _SESSION, "adopt", "probe", _LATE),
    *_names(2, "mcp.types:", "DiscoverResult", "probe", _LATE),
    # 1.x answers a server's questions before it reads on
    *_names(
        1,
        _SESSION,
        "_received_request _task_group",
        "answers beside",
        "while a callback answers the server, nothing else of that server is read",
    ),
    # 1.x does not notice that a stream has ended without the answer
    *_names(
        1,
        _SESSION,
        "_response_streams",
        "dropped streams",
        "a call whose stream ends without an answer waits for its deadline",
    ),
    # calls past the SDK's models and streams
    *_names(
        1,
        "mcp.types:",
        "CallToolRequest CallToolRequestParams",
        "shortcut",
        "a call whose arguments are no JSON fails without saying what is wrong with them",
    ),
    *_names(0, _HTTP + "StreamableHTTPTransport.", "_handle_post_request", "shortcut over HTTP", _SLOWER),
    *_names(2, _HTTP, "StreamableHTTPTransport", "shortcut", _SLOWER),
    *_names(2, "mcp.shared.message:", "ClientMessageMetadata", "shortcut", _SLOWER),
    *_names(
        1,
        _SESSION,
        "_request_id _response_streams _progress_callbacks _session_read_timeout_seconds _validate_tool_result",
        "shortcut",
        _SLOWER,
    ),
    *_names(
        1,
        _SESSION,
        "_response_routers",
        "routers of answers",
        "what somebody has added to a session to take answers does not see those of calls",
    ),
    *_names(2, "mcp.shared:", "jsonrpc_dispatcher", "shortcut", _SLOWER),
    *_names(2, _DISPATCHER, "JSONRPCDispatcher MCPError inject_trace_context CONNECTION_CLOSED", "shortcut", _SLOWER),
    *_names(
        2,
        _DISPATCHER + "JSONRPCDispatcher.",
        "send_raw_request _allocate_id _final_write _cancel_outbound _pending _running _closed",
        "shortcut",
        _SLOWER,
    ),
    *_names(
        2,
        _DISPATCHER + "JSONRPCDispatcher.",
        "_next_id",
        "answers without a number",
        "an answer with a number that was never given waits for the deadline; one to a notification fails a request",
    ),
    # HTTP
    *_names(
        0,
        "mcp.shared._httpx_utils:",
        "create_mcp_http_client",
        "redirects",
        "redirects are not followed",
    ),
    *_names(
        0,
        "mcp.shared._httpx_utils:",
        "next_request_within_origin",
        "redirects",
        "it is not told why a redirect is not followed",
        newer=True,
    ),
    # logins
    *_names(0, _AUTH, "OAuthClientProvider", "login", _NO_LOGIN),
    *_names(
        0,
        "mcp.shared.auth:",
        "OAuthToken OAuthMetadata OAuthClientMetadata OAuthClientInformationFull",
        "login",
        _NO_LOGIN,
    ),
    *_names(2, "mcp.shared.auth:", "AuthorizationCodeResult", "login", _NO_LOGIN),
    *_names(0, _AUTH + "OAuthClientProvider.", "_initialized _initialize context", "login", _NO_LOGIN),
    *_names(
        0, _CONTEXT, "current_tokens is_token_valid can_refresh_token client_info oauth_metadata", "login", _NO_LOGIN
    ),
    *_names(
        0,
        _CONTEXT,
        "token_expiry_time",
        "kept logins",
        "a token of an earlier run is used until the server refuses it",
    ),
    *_names(0, _CONTEXT, "protocol_version", "kept logins", "servers may refuse to renew a login"),
    *_names(0, _AUTH + "OAuthClientProvider.", "_refresh_token _handle_refresh_response", "kept logins", _NO_RENEWAL),
    *_names(0, _AUTH + "OAuthClientProvider.", "_exchange_token_authorization_code", "login", _ITS_OWN_WAY),
    *_names(0, _MACHINES, "ClientCredentialsOAuthProvider", "login of machines", _NO_MACHINES),
    *_names(
        0,
        _MACHINES,
        "ClientCredentialsOAuthProvider._exchange_token_client_credentials",
        "login of machines",
        _ITS_OWN_WAY,
    ),
    *_names(0, _MACHINES, "PrivateKeyJWTOAuthProvider SignedJWTParameters", "login of machines", _NO_KEY),
    Name(2, _IDENTITY, "login of organisations", _NO_IDENTITY),
    *_names(2, _IDENTITY, "._initialized ._tokens ._expiry", "login of organisations", _NO_IDENTITY),
    *_names(
        2,
        _IDENTITY,
        "._build_token_request",
        "login of organisations",
        "servers with identity_assertion and no client_secret are unavailable",
    ),
)


def of_line() -> list[Name]:
    """The names that matter here."""
    return [name for name in SURFACE if name.line in (0, 2 if V2 else 1)]


def absent(part: str, *instances: object) -> list[Name]:
    """What a part relies on that these instances of the SDK's classes don't have.

    :param instances: for names in classes; each is asked for those of its own class.
    """
    found = []
    for name in of_line():
        outer = name.path.partition(":")[2].rpartition(".")[0]
        if name.part != part or not outer:
            continue
        for instance in instances:
            its = any(cls.__name__ == outer for cls in type(instance).__mro__)
            if its and not hasattr(instance, name.attribute):
                found.append(name)
    return found


_told: set[tuple[str, str]] = set()


def step_aside(part: str, why: str) -> None:
    """Say, once, that a part leaves its work to the SDK."""
    if (part, why) not in _told:
        _told.add((part, why))
        without = next((name.without for name in of_line() if name.part == part), "")
        log.info("MCP SDK %s: the %s steps aside (%s): %s", VERSION, part, why, without)


def steps_aside(part: str, *instances: object) -> bool:
    """Does a part leave its work to the SDK, for want of a name? Says so, once."""
    lacking = absent(part, *instances)
    if lacking:
        step_aside(part, f"no {lacking[0].attribute}")
    return bool(lacking)


def report() -> dict[str, str]:
    """For people: what of the names that are relied on the installed SDK lacks, and what happens without each.

    ``SDK`` says which it is, and how many are missing; the others are ``lacks`` with the name.
    """
    names = of_line()
    lacking: dict[str, list[str]] = {}
    for name in names:
        if not name.newer and not name.is_there():
            lacking.setdefault(f"lacks {name.path}", []).append(name.without)
    relied = f"{len({name.path for name in names})} names that aionest relies on"
    said = f"{len(lacking)} of {relied} are missing" if lacking else f"all {relied} are there"
    return {"SDK": f"{VERSION}: {said}", **{path: "; ".join(dict.fromkeys(why)) for path, why in lacking.items()}}


__all__ = ["SURFACE", "Name", "absent", "of_line", "report", "step_aside", "steps_aside"]
