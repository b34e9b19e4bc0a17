"""What the SDK logs of logins, without what its caller is told anyway.

Contract: an error of ours that comes out of the SDK's flow ends the connection, whose error it is. The SDK logs it, too, with its
traceback, which goes to standard error where nobody has set logging up: that record is dropped, and no other. Where pydantic quotes an
answer that is not understood, in which there may be a token, the record goes without it.
"""

from __future__ import annotations

import logging

from pydantic import ValidationError

from ..._untrusted import for_log
from ..errors import AuthError, ToolsError

MOST_SAID = 500  # characters of what an authorization server says


def _quoted(exc: BaseException | None) -> ValidationError | None:
    """What it quotes an answer of, in which there may be a token."""
    found = None if exc is None else exc.__cause__ or exc.__context__
    return found if isinstance(found, ValidationError) else None


def is_quoted(exc: BaseException | None) -> bool:
    """Does it quote an answer, in which there may be a token?"""
    return _quoted(exc) is not None


def about_login(exc: Exception, server: str) -> Exception:
    """What a login has failed with, as an error of a login: a key that is none, an answer with a number out of all bounds."""
    from ..sdk import briefly
    from ..sdk.line import HTTP, OAuthFlowError

    if isinstance(exc, ToolsError):
        if exc.server is not None:
            return exc
        return type(exc)(f"server {server!r}: {exc}", server=server)
    wrong = _quoted(exc)
    if isinstance(exc, OAuthFlowError):
        if wrong is None and len(str(exc)) <= MOST_SAID:
            return exc
        said = for_log(exc, MOST_SAID) if wrong is None else f"its response is invalid: {briefly(wrong)}"
    elif isinstance(exc, OverflowError):
        said = "its token has an invalid lifetime (expires_in)"
    elif isinstance(exc, (HTTP.HTTPError, OSError)):
        return exc
    else:
        return AuthError(f"server {server!r}: login failed: {type(exc).__name__}: {exc}", server=server)
    return AuthError(f"server {server!r}: login at its authorization server failed: {said}", server=server)


class _NotOurs(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        exc = record.exc_info[1] if record.exc_info else None
        if is_quoted(exc):
            record.msg, record.args, record.exc_info = f"{record.getMessage()}: an answer is not understood", (), None
        return not isinstance(exc, AuthError)


logging.getLogger("mcp.client.auth.oauth2").addFilter(_NotOurs())
