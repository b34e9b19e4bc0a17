"""Names of tools that are unique, stable and fit what language models accept.

Contract: a pure function. With a prefix, a name depends on its server and its own tool alone, so servers that come and go
never rename another's; only if two hashes are the same does the order of the alphabet decide.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BAD = re.compile(r"[^A-Za-z0-9_-]")
_HASHED = re.compile(r"_[0-9a-f]{8}\Z")
_SEPARATORS = {"server__tool": "__", "server_tool": "_", "server-tool": "-", "tool": "__"}
_SHORTEST = 16


def splits(name: str) -> Iterator[tuple[str, str]]:
    """All pairs of a server and a tool that a name as people write it may mean: ``server.tool``, ``server/tool``, ``server__tool``.

    Servers' names may have these separators themselves.
    """
    for separator in (".", "/", "__"):
        at = name.find(separator)
        while at >= 0:
            server, tool = name[:at], name[at + len(separator) :]
            if server and tool:
                yield server, tool
            at = name.find(separator, at + 1)


def _digest(server: str, tool: str, number: int = 0) -> str:
    # lone surrogates can come out of JSON
    whole = f"{len(server)}:{server}:{tool}:{number}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(whole).hexdigest()[:8]


def _hashed(stem: str, server: str, tool: str, max_length: int, number: int = 0) -> str:
    return f"{_BAD.sub('_', stem)[: max_length - 9]}_{_digest(server, tool, number)}"


def _prefixed(server: str, tool: str, separator: str, max_length: int) -> str:
    """The plain name if it can be no other's: fits, lost nothing, comes apart one way only, does not look like a hashed one."""
    plain = f"{server}{separator}{tool}"
    fits = len(plain) <= max_length and not _BAD.search(plain) and not _HASHED.search(plain)
    if fits and plain.find(separator) == len(server):
        return plain
    return _hashed(plain, server, tool, max_length)


def unique_names(
    pairs: Iterable[tuple[str, str]], style: str = "server__tool", *, max_length: int = 64
) -> dict[tuple[str, str], str]:
    """A name for each (server, tool): letters, digits, ``_`` and ``-`` only, no two alike.

    One that is too long, would lose characters or could be read as another pair's gets a hash of the whole at its end.

    :param style: ``server__tool``, ``server_tool``, ``server-tool``; or ``tool``, where tools of the same name still get their
        servers' (so that a server which is added can rename another's).
    :param max_length: the longest name, at least 16.
    :raises ValueError: no such style, or a length below 16.
    """
    if style not in _SEPARATORS:
        raise ValueError(f"no style {style!r}; there are: {', '.join(_SEPARATORS)}")
    if max_length < _SHORTEST:
        raise ValueError(f"max_length must be at least {_SHORTEST}, not {max_length}")
    separator = _SEPARATORS[style]
    order = list(dict.fromkeys(pairs))
    wanted = {(server, tool): _prefixed(server, tool, separator, max_length) for server, tool in order}
    if style == "tool":
        bare: dict[str, list[tuple[str, str]]] = {}
        for server, tool in order:
            bare.setdefault(tool, []).append((server, tool))
        prefixed = set(wanted.values())
        for tool, owners in bare.items():
            fits = tool and len(tool) <= max_length and not _BAD.search(tool) and not _HASHED.search(tool)
            if len(owners) == 1 and fits and tool not in prefixed:
                wanted[owners[0]] = tool
    names: dict[tuple[str, str], str] = {}
    taken: set[str] = set()
    for server, tool in sorted(wanted):
        name, number = wanted[server, tool], 0
        while name in taken:
            number += 1
            name = _hashed(f"{server}{separator}{tool}", server, tool, max_length, number)
        taken.add(name)
        names[server, tool] = name
    return {pair: names[pair] for pair in order}
