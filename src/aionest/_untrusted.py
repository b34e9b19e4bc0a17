"""Text of others - of MCP servers, models, programs - where people see it: one function for each kind of place.

Contract
  * What comes out has no control characters but tabs and ends of lines, none that change the direction of writing or hide, and no
    lone surrogates: each is shown as U+FFFD. So no terminal takes it for a command or a link, and no line hides another.
  * It is no longer than the place takes; what was cut is told by how much.
  * ``for_markdown`` and ``for_label`` mean nothing but their letters where Markdown is drawn: no emphasis, links, addresses that
    become links, images, icons, colours, formulas, HTML.

Pure functions. What is not text is turned into text.
"""

from __future__ import annotations

import json
import re
from html import escape

TERMINAL = 1_000_000  # characters, of each place
LOG = 2_000
PAGE = 100_000
NOTEBOOK = 20_000
MARKDOWN = 4_000
LABEL = 120
CELL = 500  # of a table

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_MARKS = re.compile(r"([\\`*_{}\[\]<>#+!|~$&=-])")
# addresses and names of icons, which become links and pictures though their marks are escaped
_ADDRESS = re.compile(r"(?<=:)(?=[\w+/-])|(?<=www)(?=\.)|(?<=@)(?=\w)", re.IGNORECASE)

# what makes links, pictures and HTML of Markdown; and entities, as they could stand for any of it
_LIVE = re.compile(r"(?<=[\]!<])(?=[\[(:\w/?!])|(?<=&)(?=[#\w])")


def _seen(text: object) -> str:
    return _UNSEEN.sub("\ufffd", str(text).replace("\r\n", "\n"))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}\u2026 ({len(text) - limit} more characters)"


def _line(text: object, limit: int) -> str:
    return _cut(" ".join(_seen(str(text)[: 2 * limit]).split()) + str(text)[2 * limit :], limit)


def for_terminal(text: object, limit: int = TERMINAL) -> str:
    """For a terminal, and the text of errors: with its lines."""
    return _cut(_seen(text), limit)


def for_log(text: object, limit: int = LOG) -> str:
    """For a log: one line."""
    return _line(text, limit)


def for_cell(text: object, limit: int = CELL) -> str:
    """For a cell of a table, an option of a list: one line, where no Markdown is drawn."""
    return _line(text, limit)


def for_page(text: object, limit: int = PAGE) -> str:
    """For a block of plain text: with its lines."""
    return _cut(_seen(text), limit)


def for_json(text: str) -> str:
    """For a line of JSON that a terminal may show: the same value, written with escapes."""
    return _UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text)


def for_html(text: object, limit: int = NOTEBOOK) -> str:
    """For HTML: no markup."""
    return escape(_cut(_seen(text), limit))


def _escaped(text: str) -> str:
    return _MARKS.sub(r"\\\1", _ADDRESS.sub("\u200b", text))


def for_markdown(text: object, limit: int = MARKDOWN) -> str:
    """For where Markdown is drawn: with its lines."""
    lines = [_escaped(line.strip()) for line in _cut(_seen(text), limit).split("\n")]
    # a number and a dot, say, begin a list; so does nothing that an invisible letter stands before
    return "  \n".join(f"\u200b{line}" if line[:1].isdigit() else line for line in lines if line)


def for_stream(text: object, limit: int = PAGE) -> str:
    """For where Markdown is drawn while it comes: with its lines, the empty ones too, and what they are indented by."""
    lines = _cut(_seen(text), limit).expandtabs(4).split("\n")
    return "  \n".join(
        "\u00a0" * (len(one) - len(one.lstrip(" "))) + for_markdown(one, limit) or "\u200b" for one in lines
    )


def for_document(text: object, limit: int = PAGE) -> str:
    """For where a person wants to see it as the Markdown that it is: headings, lists, tables, emphasis, code.

    Pictures, links, addresses, HTML, formulas, icons and colours stand there as they are written.
    """
    shown = _ADDRESS.sub("\u200b", _LIVE.sub("\u200b", _cut(_seen(text), limit)))
    return shown.replace("$", "&#36;")


def for_label(text: object, limit: int = LABEL) -> str:
    """For a label: one line, where Markdown is drawn."""
    return for_markdown(_line(text, limit))


__all__ = [
    "for_cell",
    "for_document",
    "for_html",
    "for_json",
    "for_label",
    "for_log",
    "for_markdown",
    "for_page",
    "for_stream",
    "for_terminal",
]
