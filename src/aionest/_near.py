"""Names that are like one that there is not, in bounded time: servers name their tools as they like."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 100  # characters of a name that is compared: each comparison takes time with the square of it


def near(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Those most like it, the most like it first."""
    if len(name) > LONGEST:
        return []
    return difflib.get_close_matches(name, dict.fromkeys(one for one in known if len(one) <= LONGEST), count)


def either(names: Iterable[str]) -> str:
    """Names to choose from, as one says them: ``a``, ``a or b``, ``a, b or c``."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


__all__ = ["either", "near"]
