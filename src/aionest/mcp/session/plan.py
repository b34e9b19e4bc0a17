"""What a reload has to do, and what it has done: what is wanted against what is there.

Contract: ``plan`` is pure; it looks, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..config import ServerConfig
    from .connection import Connection


@dataclass(frozen=True)
class Diff:
    """What a reload did: names of servers. True if there was anything to do.

    ``changed`` servers have got a new session. ``kept`` ones have the session that they had; those of them that are in
    ``updated`` have other limits, filters or names of tools than before. ``failed`` ones are unavailable.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.updated)


@dataclass
class Plan:
    """What is to be done. Names of servers."""

    wanted: Mapping[str, ServerConfig]
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)  # they want another session
    kept: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)  # of those that are kept
    removed: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)  # of those that are kept: closed, and to be waited for
    woken: list[str] = field(default_factory=list)  # of those that are kept: closed, and nobody waits

    @property
    def is_change(self) -> bool:
        """Are the tables of tools others afterwards?"""
        return bool(self.added or self.changed or self.removed or self.updated)


def plan(wanted: Mapping[str, ServerConfig], current: Mapping[str, Connection], everything: bool) -> Plan:
    """What it takes to have what is wanted.

    :param everything: also those that have failed before are waited for.
    """
    made = Plan(wanted)
    for name, server in wanted.items():
        there = current.get(name)
        if there is None:
            made.added.append(name)
        elif there.settings_changed(server) or there.config.disabled != server.disabled:
            made.changed.append(name)
        else:
            made.kept.append(name)
            if there.config is not server and there.config != server:
                made.updated.append(name)
            if not there.is_open and not server.disabled:
                # one that was not tried is such as of a loop that is gone
                (made.opened if everything or there.untried else made.woken).append(name)
    made.removed = [name for name in current if name not in wanted]
    return made


__all__ = ["Diff", "Plan", "plan"]
