"""What commands print: consoles, JSON documents, tables, and errors as texts.

Contract: nothing but JSON goes to standard output under ``--json``; what is for people's eyes while they wait goes to standard
error, and only if that is a terminal. On a terminal a table is folded to its width, elsewhere each row is a line, as long as it
is; what one copies (names, addresses) is never cut. The MCP SDK is not imported here.
"""

from __future__ import annotations

import codecs
import json
import math
import sys
import traceback
from typing import TYPE_CHECKING, Protocol

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table

from aionest._untrusted import for_cell, for_json, for_terminal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TextIO, TypeGuard

    from rich.console import ConsoleOptions, RenderableType

    Styles = Mapping[int, dict[str, str]]  # by column, how its cells are shown, by their text


class Told(Protocol):
    """An error whose text is for people."""

    code: str
    exit_code: int
    server: str | None


class _Console(Console):
    """What others have written comes out as letters only, however it is printed."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for one in super().render(renderable, options):
            yield one if one.control else Segment(for_terminal(one.text), one.style)


_WIDE = 200  # columns where nobody looks
_READABLE = 16  # columns that a text needs at least, to be folded in a table
out = _Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
err = _Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _WIDE)
STYLE = {"connected": "green", "failed": "red", "timed out": "red", "lost": "red", "disabled": "dim"}


class State:
    """Of this process."""

    json = False
    verbose = False


class Refused(Exception):
    """What a person asked for cannot be done; for commands that do without the MCP SDK, and so without its errors."""

    code = "usage"
    exit_code = 1
    server = None


def is_told(exc: BaseException) -> TypeGuard[Told]:
    """Is it an error whose text is for people, with a ``code``, an ``exit_code`` and a ``server``?"""
    errors = sys.modules.get("aionest.mcp.errors")  # who has not imported it cannot have raised its errors
    return isinstance(exc, Refused if errors is None else (Refused, errors.ToolsError))


def show_json(value: object) -> None:
    """The document of a command."""
    write_json(value, sys.stdout)


def write_json(value: object, file: TextIO) -> None:
    """One line of JSON, whatever the file's encoding. NaN and infinities, which JSON does not have, become null."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:
        value = _finite(value)
        text = json.dumps(value, ensure_ascii=False, default=str)
    text = for_json(text)
    try:
        # readers expect UTF-8; and lone surrogates, which may come out of a server's JSON, are in no encoding
        text.encode("utf-8" if codecs.lookup(file.encoding or "utf-8").name == "utf-8" else "ascii")
    except UnicodeEncodeError:
        text = json.dumps(value, default=str)
    file.write(text + "\n")


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, (list, tuple)) else value


def error_json(exc: BaseException) -> dict[str, object]:
    """An error as it is documented."""
    code, server = (exc.code, exc.server) if is_told(exc) else ("error", None)
    return {"error": {"code": code, "message": error_text(exc), "server": server}}


def error_text(exc: BaseException) -> str:
    """What an error says; of one that nobody has thought of, also what it is."""
    if is_told(exc):
        return str(exc)
    errors = sys.modules.get("aionest.mcp.errors")
    text = errors.clean(exc) if errors is not None else str(exc)
    return f"{type(exc).__name__}: {text}".removesuffix(": ")


def show_traceback(exc: BaseException) -> None:
    """With ``-v``, where an error comes from that nobody has thought of. It never has values of variables."""
    if State.verbose and not is_told(exc):
        text = "".join(traceback.format_exception(type(exc), exc, exc.__traceback__))
        err.print(text, markup=False, emoji=False, soft_wrap=True)


def show_data(text: str) -> None:
    """What a server gave: to a terminal as letters only, else as it is."""
    if out.is_terminal:
        out.print(text, markup=False, emoji=False, soft_wrap=True)
    else:
        sys.stdout.write(f"{text}\n")


def is_interactive() -> bool:
    """May a person be asked?"""
    return not State.json and sys.stdin.isatty() and err.is_terminal


def show_rows(
    titles: Sequence[str], rows: Sequence[Sequence[str]], *, whole: int = 1, styles: Styles | None = None
) -> None:
    """Rows with titles.

    :param whole: so many of the first columns are never folded: they are for copying.
    :param styles: how to show the cells of a column, by their text, by column.
    """
    styles = styles or {}
    # a table's rows are lines: what a cell has of line ends would break them
    texts = [[for_cell(cell) for cell in row] for row in rows]
    widths = [max(cell_len(row[n]) for row in [titles, *texts]) for n in range(len(titles))]
    if not out.is_terminal:
        for row in [titles, *texts]:
            cells = [cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths)]
            out.print("  ".join(cells).rstrip(), markup=False, emoji=False, soft_wrap=True)
        return
    needed = sum(widths[:whole]) + sum(min(width, _READABLE) for width in widths[whole:]) + 3 * len(titles) + 1
    if needed > out.width:
        _show_stacked(titles, texts, styles)
        return
    table = Table()
    for number, title in enumerate(titles):
        table.add_column(title, no_wrap=number < whole, overflow="fold")
    for row in texts:
        table.add_row(*(_styled(cell, styles.get(number)) for number, cell in enumerate(row)))
    out.print(table)


def _show_stacked(titles: Sequence[str], rows: Sequence[Sequence[str]], styles: Styles) -> None:
    """For a narrow terminal: a row's first cell on a line of its own, the others below."""
    for row in rows:
        out.print(f"[bold]{escape(row[0])}[/]", soft_wrap=True, emoji=False)
        for number, (title, cell) in enumerate(zip(titles, row)):
            if number and cell:
                out.print(f"  [dim]{title}:[/] {_styled(cell, styles.get(number))}", soft_wrap=True, emoji=False)


def _styled(cell: str, styles: dict[str, str] | None) -> str:
    style = (styles or {}).get(cell)
    return f"[{style}]{escape(cell)}[/]" if style else escape(cell)


def show_nothing(text: str) -> None:
    """That an answer is empty, and what might help; standard output stays empty."""
    err.print(text, style="dim" if err.is_terminal else "", markup=False, emoji=False, soft_wrap=True)
