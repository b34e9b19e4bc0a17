"""What a call gave, in the ways in which it can be shown: table, JSON, text, Markdown, pictures, sounds, as it came; and files of it.

Contract: all of it is a server's, and bounded. Nothing of it is Markdown but where a person has asked for that view, which has
no pictures, links or HTML.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import mimetypes
import re
from typing import TYPE_CHECKING

import streamlit as st

from aionest._untrusted import for_cell, for_document, for_label, for_page
from aionest.app.widgets import code, ms, one_of, pretty, wrong

if TYPE_CHECKING:
    from aionest.mcp import ToolResult

CELL = 2_000  # characters of a cell
LONGEST = 100_000  # characters of a result that are drawn; all of it can be downloaded
ROWS = 5_000
_MARKDOWN = re.compile(r"^(#{1,6} |\s*[-*] |\s*\d+\. |\|.*\||```)|\*\*\S", re.MULTILINE)


def _parsed(result: ToolResult) -> object:
    """The value of a result that has one: its structured part, or a text that is JSON; else None."""
    if result.structured is not None:
        return result.structured
    try:
        value = json.loads(result.text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, (dict, list)) else None


def rows(value: object) -> list[dict[str, object]] | None:
    """The rows of a value that is a table: a list of mappings, itself or as the only part of a mapping."""
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        # Arrow wants one type in a column, and has none for mappings of any shape
        return [{for_cell(k): _cell(v) for k, v in one.items()} for one in value[:ROWS]]
    return None


def _cell(value: object) -> object:
    if isinstance(value, (int, float, bool)) or value is None:
        return value
    return for_cell(value if isinstance(value, str) else pretty(value), CELL)


def views(result: ToolResult) -> list[str]:
    """The ways in which a result can be shown, the best one first."""
    value = _parsed(result)
    found = ["Images"] if result.images else []
    if any(block.get("type") == "audio" for block in result.content):
        found.append("Audio")
    if rows(value) is not None:
        found.append("Table")
    if value is not None:
        found.append("JSON")
    if result.text:
        found.append("Text")
        if value is None and _MARKDOWN.search(result.text[:LONGEST]):
            found.append("Markdown")
    # a structured part that only says what the text says too
    if result.text and isinstance(value, dict) and set(value) == {"result"} and rows(value) is None:
        found.remove("JSON")
        found.append("JSON")
    return [*found, "Raw"]


def show_result(result: ToolResult, key: str) -> None:
    """A result, and a choice of how it is shown."""
    possible = views(result)
    line = f"{'Failed' if result.is_error else 'Done'} in {ms(result.duration)}"
    st.markdown(f":{'red' if result.is_error else 'green'}[●] {line}")
    show_as(result, one_of("Show as", possible, f"view {key}"), key)
    show_links(result, key)


def _image(kind: str, data: bytes, key: str) -> None:
    """A picture, and a button for its file."""
    try:
        st.image(data, caption=for_label(kind))
    except Exception as exc:  # what Pillow makes of bytes that it does not take; a browser may well
        found = next((one for one, start in _PICTURES.items() if re.match(start, data, re.S)), None)
        if found is None:
            wrong(f"An image ({for_cell(kind)}) cannot be shown: {for_cell(exc)}")
        else:
            st.image(f"data:{found};base64,{base64.b64encode(data).decode()}", caption=for_label(kind))
    ending = mimetypes.guess_extension(kind) or ".bin"
    st.download_button(
        "Download", data, f"image{ending}", _media(kind), key=f"picture {key}", icon=":material/download:"
    )


def show_links(result: ToolResult, key: str) -> None:
    """What a result refers to, and files in it that are no text and no picture: no view has them."""
    for number, block in enumerate(result.content):
        kind, inner = block.get("type"), block.get("resource")
        if kind == "resource_link":
            about = [str(block[one]) for one in ("title", "name", "mimeType", "description") if block.get(one)]
            st.markdown(f":material/link: {for_label(' · '.join(dict.fromkeys(about)), CELL)}")
            code(str(block.get("uri", "")), None)
        elif kind == "resource" and isinstance(inner, dict) and isinstance(inner.get("blob"), str):
            media = _media(str(inner.get("mimeType") or ""))
            try:
                data = base64.b64decode("".join(inner["blob"].split()), validate=True)
            except ValueError:
                wrong(f"A file ({media}) cannot be decoded.")
                continue
            name = re.sub(r"[^\w.-]+", "_", str(inner.get("uri", "")).rpartition("/")[2])[-100:] or "file"
            st.download_button(f"Download {for_label(name)}", data, name, media, key=f"file {key} {number}")


# what pictures begin with that browsers show
_PICTURES = {
    "image/png": rb"\x89PNG\r\n\x1a\n",
    "image/jpeg": rb"\xff\xd8\xff",
    "image/gif": rb"GIF8[79]a",
    "image/webp": rb"RIFF....WEBP",
    "image/avif": rb"....ftypavi[fs]",
    "image/bmp": rb"BM....\x00\x00\x00\x00",
    "image/svg+xml": rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg[\s>]",
}


def show_as(result: ToolResult, view: str, key: str) -> None:
    """A result in one of its views."""
    if view == "Images":
        for number, (kind, data) in enumerate(result.images):
            _image(kind, data, f"{key} {number}")
    elif view == "Audio":
        for block in result.content:
            if block.get("type") == "audio":
                _audio(block)
    elif view == "Table":
        found = rows(_parsed(result)) or []
        st.dataframe(found, hide_index=True)
        _file("CSV", as_csv(found), "result.csv", "text/csv", key)
    elif view == "JSON":
        value = _parsed(result)
        text = pretty(value)
        if len(text) > LONGEST or for_page(text) != text:
            code(text)
        else:
            st.json(value, expanded=2)
        _file("JSON", text, "result.json", "application/json", key)
    elif view == "Markdown":
        st.caption(f"Written by {for_label(result.server or 'the server')}; pictures and links are shown as text.")
        with st.container(border=True):
            st.markdown(for_document(result.text, LONGEST))
    elif view == "Text":
        code(result.text, None)
        if len(result.text) > LONGEST:
            st.caption(f"{len(result.text) - LONGEST} more characters are not shown.")
            _file("all of it", result.text, "result.txt", "text/plain", key)
    else:
        text = pretty(result.to_json())
        code(text)
        _file("JSON", text, "result.json", "application/json", f"{key} raw")


def _file(what: str, text: str, name: str, media: str, key: str) -> None:
    data = text.encode("utf-8", "replace")  # lone surrogates are no text
    st.download_button(f"Download {what}", data, name, media, key=f"{what} {key}", icon=":material/download:")


def as_csv(found: list[dict[str, object]]) -> str:
    """A table's file. What a spreadsheet would take for a formula begins with an apostrophe."""
    file = io.StringIO()
    names = list(dict.fromkeys(name for one in found for name in one))
    lines = csv.writer(file)
    lines.writerow([_unformulated(name) for name in names])
    lines.writerows([_unformulated(one.get(name)) for name in names] for one in found)
    return file.getvalue()


def _unformulated(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def text_to_compare(result: ToolResult) -> str:
    """What two results are compared by: their values where they have some, else their texts."""
    value = _parsed(result)
    return pretty(value) if value is not None else result.text or pretty(result.content)


def _audio(block: dict[str, object]) -> None:
    kind = _media(str(block.get("mimeType") or "audio/wav"))
    try:
        data = base64.b64decode(str(block.get("data") or ""))
    except (ValueError, TypeError) as exc:
        wrong(f"A sound ({kind}) cannot be played: {for_cell(exc)}")
        return
    st.audio(data, format=kind)


def _media(kind: str) -> str:
    """A media type, if it is one."""
    return kind if re.fullmatch(r"\w{1,40}/[\w.+-]{1,80}", kind, re.ASCII) else "application/octet-stream"
