"""What notebooks show of results, tools, servers and errors.

Contract: pure functions of plain data. All that servers say is escaped, and shortened where it is long; nothing of it is markup,
a script, or an address that is loaded by itself. No style but what follows the notebook's own.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import ToolsError
    from .session.status import ServerStatus
    from .tools import Tool, ToolResult

from .._untrusted import for_html

LARGEST = 5 << 20  # bytes of a picture or a sound
_GOOD, _BAD, _DIM = "color: #2e7d32", "color: #c62828", "opacity: 0.65"
_MEDIA = re.compile(r"(image|audio)/[\w.+-]{1,60}")


def block(value: object) -> str:
    """A text of several lines."""
    return f'<pre style="white-space: pre-wrap; margin: 0.3em 0">{for_html(value)}</pre>'


def mark(good: bool | None, text: object) -> str:
    """A word about the state of something, green, red or dim; the word itself tells it without colours, too."""
    style = _DIM if good is None else _GOOD if good else _BAD
    return f'<span style="{style}">\u25cf {for_html(text)}</span>'


def dim(text: object) -> str:
    """What matters less."""
    return f'<span style="{_DIM}">{for_html(text)}</span>'


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its cells are HTML."""
    head = "".join(f'<th style="text-align: left">{for_html(one)}</th>' for one in titles)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align: left; vertical-align: top">{one}</td>' for one in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def media(kind: object, data: object) -> str | None:
    """A picture or a sound; None if it is none, or too large."""
    if not isinstance(kind, str) or not isinstance(data, str) or len(data) > LARGEST * 4 // 3:
        return None
    found = _MEDIA.fullmatch(kind)
    try:
        decoded = base64.b64decode("".join(data.split()), validate=True)
    except ValueError:
        return None
    if found is None or not decoded:
        return None
    source = f"data:{kind};base64,{base64.b64encode(decoded).decode()}"
    if found[1] == "image":
        return f'<img src="{source}" alt="{escape(kind)}" style="max-width: 100%">'
    return f'<audio controls src="{source}"></audio>'


def icon(kind: str, data: bytes) -> str:
    """A small picture, which came with what it stands for."""
    source = f"data:{escape(kind)};base64,{base64.b64encode(data).decode()}"
    return f'<img src="{source}" alt="" style="height: 1.2em; max-width: 3em">'


def content_block(one: dict[str, object]) -> str:
    """A block of a result."""
    kind, inner = one.get("type"), one.get("resource")
    if kind == "text":
        return block(one.get("text", ""))
    if kind in ("image", "audio"):
        return media(one.get("mimeType"), one.get("data")) or dim(f"[{kind} {one.get('mimeType')}, not shown]")
    if kind == "resource" and isinstance(inner, dict):
        shown = block(inner["text"]) if "text" in inner else media(inner.get("mimeType"), inner.get("blob"))
        return f"<div>{dim(inner.get('uri', ''))}</div>{shown or dim(inner.get('mimeType') or 'binary')}"
    if kind == "resource_link":
        about = [one[key] for key in ("title", "name", "mimeType", "description") if one.get(key)]
        said = " \u00b7 ".join(dict.fromkeys(map(str, about)))
        return f"<div>{for_html(said)} <code>{for_html(one.get('uri', ''))}</code></div>"
    return dim(f"[{kind}]")


def result(one: ToolResult) -> str:
    """A ToolResult."""
    where = f" {dim(one.tool)}" if one.tool else ""
    took = f" in {one.duration * 1e3:.0f} ms" if one.duration else ""
    parts = [f"<div>{mark(not one.is_error, 'failed' if one.is_error else 'done')}{took}{where}</div>"]
    parts += [content_block(each) for each in one.content]
    if one.structured is not None and not any(each.get("type") == "text" for each in one.content):
        parts.append(block(json.dumps(one.structured, ensure_ascii=False, indent=1, default=str)))
    return "".join(parts)


def tool(one: Tool) -> str:
    """A Tool."""
    hints = (
        [] if one.annotations.get("readOnlyHint") is None else ["read-only" if one.read_only else "may change things"]
    )
    hints += ["runs as a task"] if one.task_support == "required" else []
    picture = f"{icon(*one.icon)} " if one.icon is not None else ""
    parts = [
        f"<div>{picture}<b>{for_html(one.title)}</b> <code>{for_html(one.name)}</code> {dim(', '.join(hints))}</div>"
    ]
    if one.description:
        parts.append(block(one.description))
    rows = []
    for name, schema in one.properties.items():
        known = schema if isinstance(schema, dict) else {}
        kind = known.get("type") or ("one of " + ", ".join(map(str, known["enum"])) if "enum" in known else "any")
        needed = "required" if name in one.required else ""
        rows.append(
            [f"<code>{for_html(name)}</code>", for_html(kind), for_html(needed), for_html(known.get("description", ""))]
        )
    return "".join(parts) + (table(["argument", "type", "", ""], rows) if rows else dim("no arguments"))


def servers(statuses: Iterable[ServerStatus], errors: dict[str, str]) -> str:
    """A table of servers; those that are known by their errors only stand at its end."""
    rows, named = [], set()
    for one in statuses:
        named.add(one.name)
        good = {"connected": True, "disabled": None, "closed": None, "connecting": None}.get(str(one.state), False)
        what = " ".join(filter(None, (one.server, one.version)))
        told = for_html(what) if good is not False else for_html(one.error or "")
        tools = for_html(one.tools or "")
        rows.append([for_html(one.name), mark(good, one.state), for_html(one.transport), tools, told])
    rows += [
        [for_html(name), mark(False, "not valid"), "", "", for_html(why)]
        for name, why in errors.items()
        if name not in named
    ]
    return table(["server", "state", "transport", "tools", ""], rows) if rows else dim("no servers")


def error(one: ToolsError) -> str:
    """A ToolsError."""
    where = f" {dim(one.server)}" if one.server else ""
    return f"<div>{mark(False, f'{type(one).__name__}, {one.code}')}{where}</div>{block(one)}"
