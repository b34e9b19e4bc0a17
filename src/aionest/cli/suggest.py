"""What was probably meant by a name that there is not."""

from __future__ import annotations

from collections.abc import Iterable

from .._near import either
from .._near import near as like


def near(name: str, known: Iterable[str]) -> list[str]:
    """Up to three of the known names that are like it, the most like it first. Upper and lower case count as one."""
    by_lower = {one.lower(): one for one in known}
    return [by_lower[one] for one in like(name.lower(), by_lower)]


def hint(name: str, known: Iterable[str]) -> str:
    """The same as the end of a message, or nothing."""
    found = near(name, known)
    return f"; did you mean {either(map(repr, found))}?" if found else ""


def no_server(name: str, known: Iterable[str]) -> str:
    """That there is no server of this name; what was meant, and which there are."""
    there = [str(one) for one in known]
    meant = hint(name, there)
    return f"no server {name!r}{meant}{' There' if meant else '; there'} are: {', '.join(there) or 'none'}"
