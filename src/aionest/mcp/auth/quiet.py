"""What the SDK logs of logins, without what its caller is told anyway.

Contract: an error of ours that comes out of the SDK's flow ends the connection, whose error it is. The SDK logs it, too, with its
traceback, which goes to standard error where nobody has set logging up: that record is dropped, and no other.
"""

from __future__ import annotations

import logging

from ..errors import AuthError


class _NotOurs(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], AuthError))


logging.getLogger("mcp.client.auth.oauth2").addFilter(_NotOurs())
