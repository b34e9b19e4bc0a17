"""What can go wrong with a server or a call, and how it is recognised.

Contract: ``explain`` looks through exception groups, causes and contexts; it imports no HTTP library and works on errors
of both lines of the SDK. Messages never contain headers, tokens or environment values.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from .._errors import AionestError


class ToolsError(AionestError):
    """Base of all errors of ``aionest.mcp``. ``server`` is the server's name, where one is concerned."""

    code = "error"
    exit_code = 5

    def __init__(self, message: str, *, server: str | None = None) -> None:
        super().__init__(message)
        self.server = server


class UsageError(ToolsError, ValueError):
    """The call cannot be made as it was asked for: an unknown server or tool, or arguments that do not fit."""

    code = "usage"
    exit_code = 1


class ToolNotFound(UsageError, KeyError):
    """No tool of that name is loaded."""

    code = "tool_not_found"

    def __str__(self) -> str:
        return str(self.args[0])


class ServerUnavailable(ToolsError, ConnectionError):
    """The server could not be started or reached."""

    code = "unreachable"
    exit_code = 4


class ServerLost(ServerUnavailable):
    """The server went away during the call; whether the call took effect is not known."""

    code = "lost"


class CallTimeout(ToolsError, TimeoutError):
    """The server did not answer in time; whether the call took effect is not known."""

    code = "timeout"
    exit_code = 4


class AuthError(ToolsError, PermissionError):
    """The server refused the credentials, or wants some."""

    code = "auth"
    exit_code = 3


class ToolFailed(ToolsError):
    """The tool itself reported an error. ``result`` is what it gave."""

    code = "tool_error"

    def __init__(self, message: str, *, server: str | None = None, result: Any = None) -> None:
        super().__init__(message, server=server)
        self.result = result


class ProtocolError(ToolsError):
    """The server answered with a protocol error, for instance for arguments that it does not accept."""

    code = "protocol"

    def __init__(self, message: str, *, server: str | None = None, rpc_code: int | None = None) -> None:
        super().__init__(message, server=server)
        self.rpc_code = rpc_code


class ArgumentsError(UsageError):
    """The arguments do not fit the tool's schema. ``problems`` has a line for each."""

    code = "arguments"

    def __init__(self, message: str, problems: list[str], *, server: str | None = None) -> None:
        super().__init__(message, server=server)
        self.problems = problems


class ToolSchemaError(UsageError):
    """The tool's own schema is no JSON schema: its server is at fault."""

    code = "schema"


class ServerExited(ConnectionError):
    """The process behind a stdio server ended by itself, or closed a pipe that it needs."""

    def __init__(self, returncode: int | None, tail: str, pipe: str = "output") -> None:
        self.returncode = returncode
        self.tail = tail
        how = f"closed its {pipe}" if returncode is None else f"ended with exit code {returncode}"
        if returncode is not None and returncode < 0:
            how = f"was killed by signal {-returncode}"
        super().__init__(f"the server process {how}")


def copy_to_raise(error: ToolsError) -> ToolsError:
    """A copy, to be raised: an exception that is raised more than once grows a longer traceback each time."""
    fresh = copy.copy(error)
    fresh.__cause__ = error.__cause__
    return fresh


_BAD_RESULT = re.compile(
    r"(Tool .* has an output schema but did not return|Invalid structured content returned by tool|Invalid schema for tool"
    r"|Unsupported protocol version from the server)"
)
_CLOSED = {"ClosedResourceError", "BrokenResourceError", "EndOfStream"}
_LOST_CODES = {-32000}
_TIMEOUT_CODES = {408, -32001}
_SESSION_CODES = {32600, -32600}
_SESSION_WORDS = ("session terminated", "session not found", "missing session", "invalid session")
_SECRET_IN_URL = re.compile(
    r"([?&][^=&\s]*(?:key|token|secret|password|sig)[^=&\s]*=)[^&\s'\"]+|(?<=://)[^/@\s]+@", re.I
)


def flatten(exc: BaseException, but: BaseException | None = None) -> list[BaseException]:
    """All exceptions in it: parts of groups, causes and contexts, the most telling first.

    :param but: one that was handled when all began, and has nothing to do with it.
    """
    found: list[BaseException] = []
    todo: list[BaseException | None] = [exc]
    while todo:
        one = todo.pop(0)
        if one is None or one is but or one in found:
            continue
        found.append(one)
        todo.extend(getattr(one, "exceptions", ()))
        todo.extend((one.__cause__, one.__context__))
    return found


def briefly(exc: BaseException) -> str:
    """What pydantic found wrong, without what it was found in."""
    found: list[Any] = exc.errors(include_url=False, include_context=False, include_input=False)  # type: ignore[attr-defined]
    told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}".lstrip(": ") for one in found[:3]]
    return "; ".join(told) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def _is_invalid(exc: BaseException) -> bool:
    """Has the SDK not found in an answer what the protocol says?"""
    return type(exc).__name__ == "ValidationError" and type(exc).__module__.startswith("pydantic")


def clean(text: object) -> str:
    """Text without credentials in URLs."""
    return _SECRET_IN_URL.sub(lambda m: (m.group(1) or "") + "***" + ("@" if m.group(1) is None else ""), str(text))


def rpc_code(exc: BaseException) -> int | None:
    """The JSON-RPC code of an SDK error, of either line."""
    if type(exc).__name__ in ("McpError", "MCPError"):
        return int(getattr(getattr(exc, "error", None), "code", 0))
    return None


def kind(exc: BaseException, but: BaseException | None = None) -> tuple[str, BaseException]:
    """What it is (auth, http, dns, refused, command, exited, unsent, session, timeout, lost, rpc, other) and which part says so."""
    for one in flatten(exc, but):
        status = getattr(getattr(one, "response", None), "status_code", None)
        if isinstance(status, int):
            return ("auth" if status in (401, 403) else "session" if status == 404 else "http"), one
        name = type(one).__name__
        if name.startswith("OAuth"):
            return "auth", one
        if name in ("ConnectError", "ConnectTimeout") or isinstance(one, ConnectionRefusedError):
            text = str(one).lower()
            dns = "name or service" in text or "nodename" in text or "getaddrinfo" in text or "name resolution" in text
            return ("dns" if dns else "refused"), one
        if name in ("ReadTimeout", "PoolTimeout", "WriteTimeout"):
            return "timeout", one
        if name in ("ReadError", "WriteError", "RemoteProtocolError", "ConnectionClosed"):
            return "lost", one
        if isinstance(one, (FileNotFoundError, PermissionError, NotADirectoryError)):
            return "command", one
        if isinstance(one, ServerExited):
            return "exited", one
    for one in flatten(exc, but):
        if type(one).__name__ == "NotSent":
            return "unsent", one
        if type(one).__name__ == "Unanswerable" or (isinstance(one, RuntimeError) and _BAD_RESULT.match(str(one))):
            return "rpc", one
    for one in flatten(exc, but):
        code = rpc_code(one)
        if code is None:
            continue
        text = str(getattr(getattr(one, "error", None), "message", one)).lower()
        if code in _TIMEOUT_CODES:
            return "timeout", one
        if code in _LOST_CODES:
            return "lost", one
        if code in _SESSION_CODES and any(words in text for words in _SESSION_WORDS):
            return "session", one
        return "rpc", one
    for one in flatten(exc, but):
        if _is_invalid(one):
            return "rpc", one
        if type(one).__name__ in _CLOSED or isinstance(one, ConnectionError):
            return "lost", one
        if isinstance(one, TimeoutError):
            return "timeout", one
    return "other", exc


def explain(exc: BaseException, server: str, tail: str = "", but: BaseException | None = None) -> ToolsError:
    """The error to raise for a failure of a server: what happened, the end of its stderr, and what to do."""
    for one in flatten(exc, but):
        if isinstance(one, ToolsError):
            return one
    what, part = kind(exc, but)
    said = f". Its stderr ends with:\n{tail}" if tail else ""
    if what == "command":
        path = getattr(part, "filename", None)
        return ServerUnavailable(
            f"server {server!r}: cannot start {str(path)!r}: {getattr(part, 'strerror', None) or part}. Is it installed, and on PATH?",
            server=server,
        )
    if what == "exited":
        return ServerUnavailable(f"server {server!r}: {part}{said}", server=server)
    if what == "auth":
        status = getattr(getattr(part, "response", None), "status_code", "")
        return AuthError(
            f"server {server!r} refused the request{f' (HTTP {status})' if status else f' ({clean(part)})'}: check its headers "
            "or its auth setting",
            server=server,
        )
    if what in ("http", "session") and hasattr(part, "response"):
        status = part.response.status_code
        hint = "is its url right?" if status == 404 else "the server has a problem"
        return ServerUnavailable(f"server {server!r} answered HTTP {status}: {hint}", server=server)
    if what == "dns":
        return ServerUnavailable(
            f"server {server!r}: the host name in its url is not known ({clean(part)})", server=server
        )
    if what == "refused":
        return ServerUnavailable(
            f"server {server!r}: no connection ({clean(part) or 'refused'}). Does it run, and is its url right?",
            server=server,
        )
    if what == "timeout":
        return CallTimeout(f"server {server!r} did not answer in time{said}", server=server)
    if what in ("lost", "session", "unsent"):
        return ServerLost(
            f"server {server!r}: the connection was lost ({clean(part) or type(part).__name__}){said}", server=server
        )
    if what == "rpc" and _is_invalid(part):
        return ProtocolError(
            f"server {server!r}: its answer is not what the protocol says: {briefly(part)}", server=server
        )
    if what == "rpc":
        error = getattr(part, "error", None)
        return ProtocolError(
            f"server {server!r}: {clean(getattr(error, 'message', part))}",
            server=server,
            rpc_code=getattr(error, "code", None),
        )
    return ServerUnavailable(f"server {server!r}: {type(part).__name__}: {clean(part)}{said}", server=server)
