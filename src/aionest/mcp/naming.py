"""Names of tools that are unique, stable and fit what language models accept.

Contract: a pure function. A tool's name depends on its server and its own name alone, unless two would be the same.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_BAD = re.compile(r"[^A-Za-z0-9_-]")


def _digest(server: str, tool: str) -> str:
    return hashlib.sha256(f"{len(server)}:{server}:{tool}".encode()).hexdigest()[:8]


def unique_names(pairs: Iterable[tuple[str, str]], *, max_length: int = 64) -> dict[tuple[str, str], str]:
    """A name ``server__tool`` for each (server, tool): letters, digits, ``_`` and ``-`` only, no two alike.

    One that is too long, or lost characters, or would be another's, gets a hash of the whole at its end.

    :param max_length: the longest name, at least 16.
    """
    wanted: dict[tuple[str, str], str] = {}
    uses: dict[str, int] = {}
    for server, tool in dict.fromkeys(pairs):
        plain = f"{server}__{tool}"
        name = _BAD.sub("_", plain)
        if name != plain or len(name) > max_length:
            name = f"{name[: max_length - 9]}_{_digest(server, tool)}"
        wanted[server, tool] = name
        uses[name] = uses.get(name, 0) + 1
    names: dict[tuple[str, str], str] = {}
    taken: set[str] = {name for name, count in uses.items() if count == 1}
    for (server, tool), name in sorted(wanted.items()):
        if uses[name] > 1:
            number = 0
            base = name[: max_length - 9]
            name = f"{base}_{_digest(server, tool)}"
            while name in taken:
                number += 1
                name = f"{base}_{_digest(server, f'{tool}:{number}')}"
            taken.add(name)
        names[server, tool] = name
    return names
