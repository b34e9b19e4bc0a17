"""Every name of the SDK that this package relies on: in which line, private or public, and what happens without it.

Contract: ``SURFACE`` is the one table. The code asks it before it uses something private (``absent``), tests compare it with
the installed SDK, ``aionest doctor`` shows it. What steps aside says so once, in the log.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass

from .line import V2, VERSION, log

NOTHING_WORKS = "nothing works: the import fails and says so"


@dataclass(frozen=True)
class Name:
    """A name of the SDK.

    :param line: 1, 2, or 0 for both.
    :param path: the module, a colon, and what is in it. An attribute that a class gives to its instances is written alike.
    :param part: what of this package relies on it.
    :param without: what happens without it.
    """

    line: int
    path: str
    part: str
    without: str

    @property
    def private(self) -> bool:
        """Is it none of the SDK's promises?"""
        return any(word.startswith("_") for word in self.path.replace(":", ".").split("."))

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


def _names(line: int, base: str, words: str, part: str, without: str) -> list[Name]:
    return [Name(line, base + word, part, without) for word in words.split()]


_SESSION = "mcp.client.session:ClientSession."
_DISPATCHER = "mcp.shared.jsonrpc_dispatcher:"
_AUTH = "mcp.client.auth:"
_SLOWER = "calls take the SDK's own path, which is several times slower"
_REFUSED = "one invalid tool description makes the SDK reject the whole list"
_SLOW_PATTERNS = "patterns in output schemas are matched by Python's re, which may never finish"
_NO_LOGIN = "servers that want a login are unavailable"
_FAILS = "that request fails"

SURFACE: tuple[Name, ...] = (
    *_names(0, "mcp:", "ClientSession types", "sessions", NOTHING_WORKS),
    *_names(
        0,
        "",
        "mcp.client.sse:sse_client mcp.client.streamable_http:streamable_http_client",
        "transports",
        NOTHING_WORKS,
    ),
    *_names(0, "mcp.shared.message:", "SessionMessage", "transports", NOTHING_WORKS),
    *_names(1, "mcp:", "McpError", "failures", NOTHING_WORKS),
    *_names(2, "mcp:", "MCPError", "failures", NOTHING_WORKS),
    *_names(0, _AUTH, "OAuthFlowError", "failures", NOTHING_WORKS),
    *_names(0, _SESSION, "initialize list_tools call_tool", "sessions", NOTHING_WORKS),
    *_names(
        0,
        _SESSION,
        "list_resources list_resource_templates list_prompts get_prompt read_resource send_ping",
        "requests",
        _FAILS,
    ),
    *_names(
        0,
        "mcp.types:",
        "Implementation Tool TextContent ErrorData CallToolResult ListToolsResult",
        "sessions",
        NOTHING_WORKS,
    ),
    *_names(0, "mcp.types:", "PaginatedRequestParams", "requests", "only the first page of a list can be read"),
    *_names(
        0,
        "mcp.types:",
        "CreateMessageResult ElicitResult ListRootsResult",
        "callbacks",
        "a callback must give the SDK's result",
    ),
    *_names(1, "mcp.types:", "JSONRPCMessage JSONRPCError", "transports", NOTHING_WORKS),
    *_names(2, "mcp.types:", "jsonrpc_message_adapter", "transports", NOTHING_WORKS),
    *_names(
        1,
        "mcp.types:",
        "CancelledNotification CancelledNotificationParams ClientNotification",
        "cancellation",
        "the server is not told that a call was cancelled",
    ),
    *_names(
        1, _SESSION, "send_notification _request_id", "cancellation", "the server is not told that a call was cancelled"
    ),
    *_names(2, "mcp.types:", "InputRequiredResult", "questions", "a call whose result is a question fails"),
    *_names(2, "mcp.client.session:", "ClientRequestContext", "questions", "a call whose result is a question fails"),
    *_names(2, _SESSION, "dispatch_input_request", "questions", "a call whose result is a question fails"),
    *_names(2, _SESSION, "discover protocol_version discover_result initialize_result", "sessions", NOTHING_WORKS),
    *_names(2, "mcp.client._probe:", "negotiate_auto", "probe", "servers that know no handshake need protocol: modern"),
    *_names(
        2,
        "mcp.client.subscriptions:",
        "listen SubscriptionLost",
        "changes",
        "changes of tools are not noticed without a handshake",
    ),
    # the lists as they are
    *_names(0, "mcp.types:", "ListToolsRequest", "lists", _REFUSED),
    *_names(1, "mcp.types:", "ClientRequest Result", "lists", _REFUSED),
    *_names(1, _SESSION, "send_request _tool_output_schemas", "lists", _REFUSED),
    *_names(2, _SESSION, "_dispatcher _stamp _absorb_tool_listing", "lists", _REFUSED),
    # results: their type, and the patterns in their schemas
    *_names(2, _SESSION, "_dispatcher", "results", "a result that does not say that it is complete is refused"),
    *_names(2, _SESSION, "_output_schema_validator _tool_output_validators", "patterns", _SLOW_PATTERNS),
    *_names(1, _SESSION, "_validate_tool_result _tool_output_schemas", "patterns", _SLOW_PATTERNS),
    *_names(2, _SESSION, "send_discover adopt", "probe", "a server that ignores server/discover takes ten seconds"),
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
    *_names(1, "mcp.types:", "CallToolRequest CallToolRequestParams", "shortcut", _SLOWER),
    *_names(
        0, "mcp.client.streamable_http:StreamableHTTPTransport.", "_handle_post_request", "shortcut over HTTP", _SLOWER
    ),
    *_names(2, "mcp.shared.message:", "ClientMessageMetadata", "shortcut", _SLOWER),
    *_names(
        1,
        _SESSION,
        "_request_id _response_streams _progress_callbacks _session_read_timeout_seconds _validate_tool_result",
        "shortcut",
        _SLOWER,
    ),
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
        "the HTTP library's default holds for redirects",
    ),
    *_names(0, _AUTH, "OAuthClientProvider", "login", _NO_LOGIN),
    *_names(
        0,
        "mcp.shared.auth:",
        "OAuthToken OAuthMetadata OAuthClientMetadata OAuthClientInformationFull",
        "login",
        _NO_LOGIN,
    ),
    *_names(2, "mcp.shared.auth:", "AuthorizationCodeResult", "login", _NO_LOGIN),
    *_names(
        0,
        "mcp.client.auth.extensions.client_credentials:",
        "ClientCredentialsOAuthProvider",
        "login of machines",
        "servers with client_credentials are unavailable",
    ),
    *_names(
        2,
        "mcp.client.auth.extensions.identity_assertion:",
        "IdentityAssertionOAuthProvider IdentityAssertionOAuthProvider._build_token_request",
        "login of organisations",
        "servers with identity_assertion are unavailable",
    ),
    *_names(
        0,
        _AUTH + "OAuthClientProvider.",
        "_initialize context _refresh_token _handle_refresh_response _exchange_token_authorization_code",
        "kept logins",
        "a token is asked for again in each process",
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
    """For people: what of the table the installed SDK lacks, and what that means. ``SDK`` says which it is."""
    names = of_line()
    private = sum(name.private for name in names)
    found = {"SDK": f"{VERSION}; {len(names)} names are relied on, {private} of them private"}
    for name in names:
        if not name.is_there():
            found[f"lacks {name.path}"] = name.without
    return found


__all__ = ["SURFACE", "Name", "absent", "of_line", "report", "step_aside", "steps_aside"]
