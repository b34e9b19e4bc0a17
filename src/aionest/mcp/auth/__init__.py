"""What lets a server be used, and what must not be shown: logins, tokens, accepted configurations, secrets.

Contract: secrets leave this package only to the transport that sends them. ``oauth`` is imported when a server wants a login.
"""

from __future__ import annotations

from . import quiet as _quiet  # noqa: F401 - for what it does to a logger of the SDK
from .redact import Secrets, watch_logs
from .tokens import KeyringTokenStore, Store, TokenStore, chosen
from .trust import Trust, was_only_found, would_start

__all__ = [
    "KeyringTokenStore",
    "Secrets",
    "Store",
    "TokenStore",
    "Trust",
    "chosen",
    "was_only_found",
    "watch_logs",
    "would_start",
]
