"""What a failure is, told by its class; and the error to raise for it.

Contract: ``classify`` looks through exception groups, causes and contexts, and asks ``isinstance`` of the classes of Python, anyio,
pydantic, the SDK and its HTTP library; it reads no text. Messages never contain headers, tokens or environment values.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from enum import Enum

import anyio
from pydantic import ValidationError

from ..errors import (
    AuthError,
    CallTimeout,
    NotSent,
    ProtocolError,
    Refused,
    ServerExited,
    ServerLost,
    ServerUnavailable,
    ToolsError,
    Unanswerable,
    clean,
    flatten,
    with_stderr,
)
from .line import HTTP, OAuthFlowError, SDKError


class Failure(Enum):
    """What kind of failure something is."""

    AUTH = "credentials are wanted or refused"
    HTTP = "another HTTP status that says no"
    DNS = "the host's name is not known"
    REFUSED = "no connection"
    COMMAND = "the command cannot be started"
    EXITED = "the server process has ended"
    UNSENT = "the request was not sent"
    SESSION = "the server does not know the session"
    TIMEOUT = "no answer in time"
    LOST = "the connection has ended"
    RPC = "an answer that is an error, or violates the protocol"
    OTHER = "something else"


MOVED = -32097  # of our own: the server redirects to where its credentials are not for
_LOST_CODES = {-32000}
_TIMEOUT_CODES = {408, -32001}
_CLOSED = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, ConnectionError)


# codes that the SDK or this package gives to what no server has said; a server that says one itself is answering
OWN_CODES = {*_LOST_CODES, *_TIMEOUT_CODES, MOVED}
SAID = "aionest/said"  # around the data of an error that the server has sent itself


def is_said(error: object) -> bool:
    """Has the server itself sent this error?"""
    data = getattr(error, "data", None)
    return isinstance(data, dict) and SAID in data


def briefly(exc: ValidationError, kind: str = "") -> str:
    """What pydantic found wrong, without what it was found in.

    :param kind: the one of several models that is meant; what is wrong with it as another is of no interest.
    """
    found = exc.errors(include_url=False, include_context=False, include_input=False)
    meant = [{**one, "loc": one["loc"][1:]} for one in found if one["loc"][:1] == (kind,)]
    found = meant or found  # type: ignore[assignment]
    told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}".lstrip(": ") for one in found[:3]]
    return "; ".join(told) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def status_of(exc: BaseException) -> int | None:
    """The HTTP status that an exception tells of."""
    if isinstance(exc, Refused):
        return exc.status
    return int(exc.response.status_code) if isinstance(exc, HTTP.HTTPStatusError) else None


def rpc_code(exc: BaseException) -> int | None:
    """The JSON-RPC code of an SDK error, of either line."""
    return int(exc.error.code) if isinstance(exc, SDKError) else None


def _by_transport(exc: BaseException) -> Failure | None:
    """What HTTP and the process tell: it says more than what they ended in."""
    status = status_of(exc)
    if status is not None:
        return Failure.AUTH if status in (401, 403) else Failure.SESSION if status == 404 else Failure.HTTP
    if isinstance(exc, OAuthFlowError):
        return Failure.AUTH
    if isinstance(exc, (HTTP.ConnectError, HTTP.ConnectTimeout, ConnectionRefusedError)):
        unknown = any(isinstance(one, socket.gaierror) for one in flatten(exc))
        return Failure.DNS if unknown else Failure.REFUSED
    if isinstance(exc, HTTP.TimeoutException):
        return Failure.TIMEOUT
    if isinstance(exc, (HTTP.ReadError, HTTP.WriteError, HTTP.RemoteProtocolError)):
        return Failure.LOST
    if isinstance(exc, (FileNotFoundError, PermissionError, NotADirectoryError)):
        return Failure.COMMAND
    return Failure.EXITED if isinstance(exc, ServerExited) else None


def _by_request(exc: BaseException) -> Failure | None:
    if isinstance(exc, NotSent):
        return Failure.UNSENT
    return Failure.RPC if isinstance(exc, Unanswerable) else None


def _by_code(exc: BaseException) -> Failure | None:
    code = rpc_code(exc)
    if code is None:
        return None
    if isinstance(exc, SDKError) and is_said(exc.error):
        return Failure.RPC
    if code == MOVED:
        return Failure.HTTP
    return Failure.TIMEOUT if code in _TIMEOUT_CODES else Failure.LOST if code in _LOST_CODES else Failure.RPC


def _by_end(exc: BaseException) -> Failure | None:
    if isinstance(exc, ValidationError):
        return Failure.RPC
    if isinstance(exc, _CLOSED):
        return Failure.LOST
    return Failure.TIMEOUT if isinstance(exc, TimeoutError) else None


_LOOKS: tuple[Callable[[BaseException], Failure | None], ...] = (_by_transport, _by_request, _by_code, _by_end)


def classify(exc: BaseException, but: BaseException | None = None) -> tuple[Failure, BaseException]:
    """What a failure is, and which part of it says so.

    :param but: one that was handled when all began, and has nothing to do with it.
    """
    parts = flatten(exc, but)
    for look in _LOOKS:
        for part in parts:
            found = look(part)
            if found is not None:
                return found, part
    # what groups hold says more than that they hold it
    return Failure.OTHER, next((part for part in parts if not getattr(part, "exceptions", ())), exc)


def explain(exc: BaseException, server: str, tail: str = "", but: BaseException | None = None) -> ToolsError:
    """The error to raise for a failure of a server: what happened, the end of its stderr, and what to do."""
    for one in flatten(exc, but):
        if isinstance(one, ToolsError):
            return one
    failure, part = classify(exc, but)
    made = _EXPLANATIONS[failure](part, f"server {server!r}", with_stderr("", tail))
    made.server = server
    return made


def _command(part: BaseException, server: str, said: str) -> ToolsError:
    path, why = getattr(part, "filename", None), getattr(part, "strerror", None) or part
    return ServerUnavailable(f"{server}: cannot start {str(path)!r}: {why}. Is it installed, and on PATH?")


def _auth(part: BaseException, server: str, said: str) -> ToolsError:
    status = status_of(part)
    why = f"HTTP {status}" if status else clean(part)
    return AuthError(f"{server} refused the request ({why}): check its headers or its auth setting")


def _http(part: BaseException, server: str, said: str) -> ToolsError:
    if isinstance(part, SDKError):
        return ServerUnavailable(f"{server}: {clean(part.error.message)}")
    status = status_of(part)
    hints = {404: "is its url right?", 429: "too many requests; try again later"}
    hint = (isinstance(part, Refused) and part.hint) or hints.get(status or 0, "the server failed")
    return ServerUnavailable(f"{server} answered HTTP {status}: {hint}")


def _dns(part: BaseException, server: str, said: str) -> ToolsError:
    return ServerUnavailable(f"{server}: the host name in its url cannot be resolved ({clean(part)})")


def _no_connection(part: BaseException, server: str, said: str) -> ToolsError:
    return ServerUnavailable(
        f"{server}: no connection ({clean(part) or 'refused'}). Is it running, and is its url right?"
    )


def _timeout(part: BaseException, server: str, said: str) -> ToolsError:
    return CallTimeout(f"{server} did not answer in time{said}")


def _lost(part: BaseException, server: str, said: str) -> ToolsError:
    return ServerLost(f"{server}: the connection was lost ({clean(part) or type(part).__name__}){said}")


def _rpc(part: BaseException, server: str, said: str) -> ToolsError:
    if isinstance(part, ValidationError):
        return ProtocolError(f"{server}: its answer violates the protocol: {briefly(part)}")
    message = part.error.message if isinstance(part, SDKError) else part
    return ProtocolError(f"{server}: {clean(message)}", rpc_code=rpc_code(part))


def _exited(part: BaseException, server: str, said: str) -> ToolsError:
    return ServerUnavailable(f"{server}: {part}{said}")


def _other(part: BaseException, server: str, said: str) -> ToolsError:
    return ServerUnavailable(f"{server}: {type(part).__name__}: {clean(part)}{said}")


_EXPLANATIONS: dict[Failure, Callable[[BaseException, str, str], ToolsError]] = {
    Failure.AUTH: _auth,
    Failure.HTTP: _http,
    Failure.SESSION: _http,
    Failure.DNS: _dns,
    Failure.REFUSED: _no_connection,
    Failure.COMMAND: _command,
    Failure.EXITED: _exited,
    Failure.UNSENT: _lost,
    Failure.TIMEOUT: _timeout,
    Failure.LOST: _lost,
    Failure.RPC: _rpc,
    Failure.OTHER: _other,
}

__all__ = ["Failure", "briefly", "classify", "explain", "rpc_code", "status_of"]
