"""The last lines of a server's stderr.

Contract: kept in a ring buffer and given to ``logging``, without the server's secrets. Read from any thread, fed by the loop's.
"""

from __future__ import annotations

import collections
import logging

from ..._untrusted import for_log
from ..auth import Secrets


class Tail:
    """The last lines of a server's stderr.

    :param secrets: what must not be in them.
    """

    def __init__(self, server: str, lines: int = 200, secrets: Secrets | None = None) -> None:
        self.server = server
        self.secrets = Secrets() if secrets is None else secrets
        self.lines: collections.deque[str] = collections.deque(maxlen=lines)
        self.log = logging.getLogger(f"aionest.mcp.server.{server}")
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Add what came in."""
        parts = (self._rest + data).split(b"\n")
        self._rest = parts.pop()[-8192:]
        for part in parts:
            self.add(part.decode("utf-8", "replace").rstrip("\r"))

    def add(self, line: str) -> None:
        """Add one line."""
        line = self.secrets.hide(line)
        self.lines.append(line)
        self.log.debug("%s", for_log(line))

    def text(self, count: int = 15) -> str:
        """The last lines."""
        rest = [self.secrets.hide(self._rest.decode("utf-8", "replace"))] if self._rest.strip() else []
        return "\n".join([*self.lines, *rest][-count:]).strip()
