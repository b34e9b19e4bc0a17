"""How help looks: usage, explanations, commands, arguments, options, examples.

Contract: only the standard library. As wide as the terminal, 80 columns where there is none.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Entries = Sequence[tuple[str, str]]  # names with what is to be said of them

_TEXT = 30  # the column where explanations begin
_NARROW = 16  # columns that a text needs, to be folded


def width() -> int:
    """Columns for a text."""
    if sys.stdout.isatty():
        columns = shutil.get_terminal_size().columns
    else:
        given = os.environ.get("COLUMNS", "")
        columns = int(given) if given.isdecimal() else 80
    return max(40, min(columns, 120))


def page(
    path: str, about: str, commands: Entries, arguments: Entries, options: Entries, examples: Sequence[str] = ()
) -> str:
    """The help of a command.

    :param path: how it is called, as it was typed.
    """
    columns = width()

    def wrap(text: str, first: str = "", rest: str = "") -> str:
        return "\n".join(_folded(text, columns, first, rest))

    usage = " ".join([path, *(["COMMAND"] if commands else [])])
    usage += "".join(f" {name}" for name, _ in arguments) + (" [OPTIONS]" if options else "")
    parts = [wrap(usage, "Usage: ", "       ")]
    paragraphs = textwrap.dedent(about).strip().split("\n\n")
    parts += [wrap(" ".join(one.split()).replace("``", "`")) for one in paragraphs if one]
    for title, entries in (("Commands", commands), ("Arguments", arguments), ("Options", options)):
        shown = [(name, text.replace("``", "`")) for name, text in entries if text]
        if shown:
            parts.append(f"{title}:\n{listed(shown)}")
    if examples:
        title = "Examples" if len(examples) > 1 else "Example"
        parts.append("\n".join([f"{title}:", *(f"  {line.strip()}" for line in examples)]))
    return "\n\n".join(parts) + "\n"


def _folded(text: str, columns: int, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(
        text, columns, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False, break_long_words=False
    )


def listed(entries: Entries) -> str:
    """A line or more for each; those whose names are long begin below them."""
    columns = width()
    at = min(max(len(one) for one, _ in entries) + 4, _TEXT)
    lines = []
    for name, text in entries:
        fits = len(name) + 4 <= at
        lines += [] if fits else [f"  {name}"]
        lines += _folded(text, columns, f"  {name}".ljust(at) if fits else " " * at, " " * at)
    return "\n".join(lines)


def pairs(rows: Entries) -> list[str]:
    """Lines of two columns. On a terminal what is longer goes on below, but for what has no blank to break at."""
    at = max(len(name) for name, _ in rows) + 2
    columns = width() if sys.stdout.isatty() else None
    lines = []
    for name, text in rows:
        folded = [text]
        if columns is not None and at + _NARROW < columns:
            parts = [_folded(part, columns - at) for part in text.splitlines()]
            folded = [line for part in parts for line in part] or [""]
        lines += [_bold(f"{name:{at}}") + folded[0], *(" " * at + line for line in folded[1:])]
    return lines


def _bold(text: str) -> str:
    """On terminals that surely know how."""
    knows = sys.platform != "win32" and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return f"\x1b[1m{text}\x1b[m" if knows and not os.environ.get("NO_COLOR") else text
