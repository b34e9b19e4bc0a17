"""What is known of a server.

Contract: plain data; others get copies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from .. import html


class State(str, Enum):
    """What a server is just now. Compares, prints and is shown as its text."""

    DISABLED = "disabled"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    LOST = "lost"
    CLOSED = "closed"

    __str__ = str.__str__

    def __repr__(self) -> str:  # a function: tools that show signatures look for one on an enum
        return str.__repr__(self)

    __format__ = str.__format__  # type: ignore[assignment]


@dataclass
class ServerStatus:
    """What is known of a server. ``state`` is one of disabled, connecting, connected, failed, timed out, lost and closed."""

    name: str
    transport: str
    state: State = State.CLOSED
    error: str | None = None
    error_code: str | None = None
    server: str | None = None
    version: str | None = None
    protocol: str | None = None
    pid: int | None = None
    since: float | None = None  # seconds since the epoch
    connect_seconds: float | None = None
    latency: float | None = None  # seconds, of the last call
    tools: int = 0
    calls: int = 0
    failed_calls: int = 0
    open_calls: int = 0
    connections: int = 0
    stderr: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # tools that are described wrongly
    instructions: str | None = None  # how its tools are meant to be used, for a model or a person

    def _repr_html_(self) -> str:
        return html.servers([self], {})
