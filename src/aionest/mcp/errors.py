"""What can go wrong with a server or a call.

Contract: classes, and what helps to raise and to read them. No HTTP library and nothing of the SDK is imported. Messages never
contain headers, tokens or environment values.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, TypeVar

import anyio

from .._errors import AionestError
from .._untrusted import for_log, for_terminal
from . import html

if TYPE_CHECKING:
    from .tools import ToolResult


class ToolsError(AionestError):
    """Base of all errors of ``aionest.mcp``. ``server`` is the server's name, where one is concerned."""

    code = "error"
    exit_code = 5

    def __init__(self, message: str, *, server: str | None = None) -> None:
        super().__init__(for_terminal(message))  # it may quote the server, and ends up in a traceback
        self.server = server

    def _repr_html_(self) -> str:
        return html.error(self)


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

    def __init__(self, message: str, *, server: str | None = None, result: ToolResult | None = None) -> None:
        super().__init__(message, server=server)
        self.result = result


class ProtocolError(ToolsError):
    """The server answered with a protocol error, for instance for arguments that it does not accept."""

    code = "protocol"

    def __init__(self, message: str, *, server: str | None = None, rpc_code: int | None = None) -> None:
        super().__init__(message, server=server)
        self.rpc_code = rpc_code


class MessageTooLong(ProtocolError):
    """The server's message was longer than its configuration allows."""


class ArgumentsError(UsageError):
    """The arguments do not fit the tool's schema. ``problems`` has a line for each."""

    code = "arguments"

    def __init__(self, message: str, problems: list[str], *, server: str | None = None) -> None:
        super().__init__(message, server=server)
        self.problems = problems


class ToolSchemaError(UsageError):
    """The tool's own schema is not a JSON schema: its server is at fault."""

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


class NotSent(anyio.BrokenResourceError):  # type: ignore[misc]
    """The message certainly did not reach the server: it may be sent to another one."""


class Refused(Exception):
    """An answer with an HTTP status that says no."""

    def __init__(self, status: int, hint: str = "") -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.hint = hint


class Unanswerable(Exception):
    """The server wants what this client doesn't give, or has answered what the SDK doesn't take."""


_STDERR = ". Its stderr ends with:\n"


def with_stderr(text: str, tail: str) -> str:
    """What happened to a server, and the end of its stderr, if there is any."""
    return f"{text}{_STDERR}{tail}" if tail else text


def with_advice(text: str, advice: str) -> str:
    """What happened to a server, and what follows from it, in front of the end of its stderr."""
    said, mark, tail = text.partition(_STDERR)
    return f"{said.rstrip('.?')}. {advice}{mark}{tail}"


def in_a_line(text: str) -> str:
    """What happened to a server in one line: of its stderr, the last words."""
    said, _, tail = text.partition(_STDERR)
    last = next((line.strip() for line in reversed(tail.splitlines()) if line.strip()), "")
    return ": ".join(part for part in (for_log(said), last) if part)


def copy_to_raise(error: ToolsError) -> ToolsError:
    """A copy, to be raised: an exception that is raised more than once grows a longer traceback each time."""
    fresh = copy.copy(error)
    fresh.__cause__ = error.__cause__
    return fresh


E = TypeVar("E", bound=BaseException)


def caused(error: E, exc: BaseException | None) -> E:
    """An error, to be raised, with what it came from; who follows that is not led in circles."""
    if error not in flatten(exc):
        error.__cause__ = exc
    error.__suppress_context__ = True
    return error


_SECRET_IN_URL = re.compile(
    r"([?&][^=&\s]*(?:key|token|secret|password|sig)[^=&\s]*=)[^&\s'\"]+|(?<=://)[^/@\s]+@", re.I
)


def flatten(exc: BaseException | None, but: BaseException | None = None) -> list[BaseException]:
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


def clean(text: object) -> str:
    """Text without credentials in URLs."""
    return _SECRET_IN_URL.sub(lambda m: (m.group(1) or "") + "***" + ("@" if m.group(1) is None else ""), str(text))


__all__ = [
    "ArgumentsError",
    "AuthError",
    "CallTimeout",
    "MessageTooLong",
    "NotSent",
    "ProtocolError",
    "Refused",
    "ServerExited",
    "ServerLost",
    "ServerUnavailable",
    "ToolFailed",
    "ToolNotFound",
    "ToolSchemaError",
    "ToolsError",
    "Unanswerable",
    "UsageError",
    "caused",
    "clean",
    "copy_to_raise",
    "flatten",
    "in_a_line",
    "with_advice",
    "with_stderr",
]
