"""Small parts that several pages draw.

Contract: works on the oldest supported Streamlit; what came later is used only where it is there. Text of servers is shown as
text, by ``aionest._untrusted``: nothing of it is Markdown, and nothing of it is longer than its place.
"""

from __future__ import annotations

import base64
import inspect
import json
import mimetypes
import re
import time
from typing import TYPE_CHECKING, Any

import streamlit as st

from aionest._untrusted import for_cell, for_label, for_markdown, for_page

if TYPE_CHECKING:
    from aionest.mcp import ServerStatus, ToolResult, ToolsLoader

COLORS = {
    "connected": "green",
    "connecting": "blue",
    "failed": "red",
    "timed out": "red",
    "not valid": "red",
    "lost": "orange",
    "disabled": "gray",
    "closed": "gray",
}
CELL = 2_000  # characters of a cell
LONGEST = 100_000  # characters of a result that are drawn; all of it can be downloaded
ROWS = 5_000
_HORIZONTAL = "horizontal" in inspect.signature(st.container).parameters
WIDE: dict[str, Any] = {} if "width" in inspect.signature(st.altair_chart).parameters else {"use_container_width": True}


def row(columns: list[float]) -> list[Any]:
    """Places side by side for buttons: as wide as they need where Streamlit can do that, else columns of these shares."""
    if _HORIZONTAL:
        return [st.container(horizontal=True)] * len(columns)
    return list(st.columns([*columns, max(1.0, 8 - sum(columns))]))[: len(columns)]


def one_of(label: str, options: list[str], key: str) -> str:
    """A choice of a few, the first one at the start."""
    if not _HORIZONTAL:  # Streamlit's test driver cannot handle the other kind before that
        return str(st.radio(label, options, key=key, horizontal=True, label_visibility="collapsed"))
    chosen = st.segmented_control(label, options, default=options[0], key=key, label_visibility="collapsed")
    return str(chosen or options[0])


def harmless(text: str) -> str:
    """A model's Markdown: no images, whose addresses could carry what was said to anybody's server."""
    return text.replace("![", "!\u200b[")


def wrong(text: object, place: Any = st) -> None:
    """An error, as it was told."""
    place.error(for_markdown(text))


def ms(seconds: float | None) -> str:
    """A time for people."""
    if seconds is None:
        return ""
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def clock(at: float | None) -> str:
    """The time of the day."""
    return time.strftime("%H:%M:%S", time.localtime(at)) if at else ""


def state(status: ServerStatus) -> str:
    """A server's state and name as markdown."""
    color = COLORS.get(status.state, "gray")
    return f":{color}[●] **{for_label(status.name)}** {status.state}"


def brief(status: ServerStatus) -> str:
    """What there is to know of a connected server, in a few words: its version, its tools, how fast it answers."""
    if status.state != "connected":
        return ""
    found = [for_label(f"{status.server} {status.version or ''}".strip())] if status.server else []
    found.append(f"{status.tools} tool{'s' * (status.tools != 1)}")
    if status.latency is not None:
        found.append(ms(status.latency))
    return " · ".join(found)


def facts(status: ServerStatus) -> str:
    """What there is to know of a server besides its state, in a line."""
    found = [status.transport]
    if status.state == "connected":
        found.append(brief(status))
        if status.connect_seconds is not None:
            found.append(f"ready in {ms(status.connect_seconds)}")
        if status.pid:
            found.append(f"pid {status.pid}")
    return " · ".join(found)


def show_servers(loader: ToolsLoader) -> None:
    """The state of each server, for the sidebar."""
    st.caption("Servers")
    for status in loader.status.values():
        lines = [state(status), f":gray[{brief(status)}]" if brief(status) else ""]
        if status.error and status.state != "connected":
            lines.append(f":red[{for_label(status.error, 200)}]")
        st.markdown("  \n".join(line for line in lines if line))
    for name, text in loader.errors.items():
        if name not in loader.status:
            wrong(text)


def code(text: str, language: str | None = "json") -> None:
    """A block of text that wraps, with a button that copies it."""
    st.code(for_page(text), language=language, wrap_lines=True)


def pretty(value: Any) -> str:
    """JSON for people."""
    return json.dumps(value, ensure_ascii=False, indent=1, default=str)


# -- results


def _parsed(result: ToolResult) -> Any:
    """The value of a result that has one: its structured part, or a text that is JSON; else None."""
    if result.structured is not None:
        return result.structured
    try:
        value = json.loads(result.text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, (dict, list)) else None


def rows(value: Any) -> list[dict[str, Any]] | None:
    """The rows of a value that is a table: a list of mappings, itself or as the only part of a mapping."""
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        # Arrow wants one type in a column, and has none for mappings of any shape
        return [{for_cell(k): _cell(v) for k, v in one.items()} for one in value[:ROWS]]
    return None


def _cell(value: Any) -> Any:
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
        st.dataframe(rows(_parsed(result)), hide_index=True)
    elif view == "JSON":
        value = _parsed(result)
        text = pretty(value)
        if len(text) > LONGEST or for_page(text) != text:
            code(text)
        else:
            st.json(value, expanded=2)
    elif view == "Text":
        code(result.text, None)
        if len(result.text) > LONGEST:
            st.caption(f"{len(result.text) - LONGEST} more characters are not shown.")
            st.download_button("Download all of it", result.text, "result.txt", key=f"download {key}")
    else:
        code(pretty(result.to_json()))


def _audio(block: dict[str, Any]) -> None:
    kind = _media(str(block.get("mimeType") or "audio/wav"))
    try:
        data = base64.b64decode(block.get("data") or "")
    except (ValueError, TypeError) as exc:
        wrong(f"A sound ({kind}) cannot be played: {for_cell(exc)}")
        return
    st.audio(data, format=kind)


def _media(kind: str) -> str:
    """A media type, if it is one."""
    return kind if re.fullmatch(r"\w+/[\w.+-]{1,80}", kind) else "application/octet-stream"
