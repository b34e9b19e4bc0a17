"""What the SDK logs of logins, without what its caller is told anyway.

Contract: an error of ours that comes out of the SDK's flow ends the connection, whose error it is. The SDK logs it, too, with its
traceback, which goes to standard error where nobody has set logging up: that record is dropped, and no other. Where pydantic quotes an
answer that is not understood, in which there may be a token, the record goes without it.
"""

from __future__ import annotations

import logging

from pydantic import ValidationError

from ..errors import AuthError


def is_quoted(exc: BaseException | None) -> bool:
    """Does it quote an answer, in which there may be a token?"""
    return exc is not None and isinstance(exc.__cause__, ValidationError)


def about_login(exc: Exception) -> Exception:
    """What a login has failed with, as an error of a login: a key that is none, an answer with a number out of all bounds."""
    from ..sdk import briefly
    from ..sdk.line import HTTP, OAuthFlowError

    wrong = exc.__cause__
    if isinstance(exc, OAuthFlowError) and isinstance(wrong, ValidationError):
        return AuthError(f"the authorization server's answer is not understood: {briefly(wrong)}")
    known = (AuthError, OAuthFlowError, HTTP.HTTPError, OSError)
    return exc if isinstance(exc, known) else AuthError(f"the login has failed: {type(exc).__name__}: {exc}")


class _NotOurs(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        exc = record.exc_info[1] if record.exc_info else None
        if is_quoted(exc):
            record.msg, record.args, record.exc_info = f"{record.getMessage()}: an answer is not understood", (), None
        return not isinstance(exc, AuthError)


logging.getLogger("mcp.client.auth.oauth2").addFilter(_NotOurs())
