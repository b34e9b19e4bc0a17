"""Small parts that several pages draw.

Contract: works on the oldest supported Streamlit; what came later is used only where it is there. Text of servers and models is
never taken for a page's own markup where it could load anything.
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

if TYPE_CHECKING:
    from aionest.mcp import ServerStatus, ToolResult

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
LONGEST = 100_000  # characters of a result that are drawn; all of it can be downloaded
ROWS = 5_000
_HORIZONTAL = "horizontal" in inspect.signature(st.container).parameters
WIDE: dict[str, Any] = {} if "width" in inspect.signature(st.altair_chart).parameters else {"use_container_width": True}
_MARKDOWN = re.compile(r"(?m)^(#{1,6} \S|[-*] \S|\d+\. \S|```|> \S|\|.+\|$)|\*\*\S[^*\n]*\*\*|\[[^\]\n]+\]\(https?://")


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


def plain(text: str) -> str:
    """Text that ``st.markdown`` shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~$:-])", r"\\\1", text)


def harmless(text: str) -> str:
    """Markdown of others: no images, whose addresses could carry what was said to anybody's server."""
    return text.replace("![", "!\u200b[")


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
    return f":{color}[●] **{plain(status.name)}** {status.state}"


def brief(status: ServerStatus) -> str:
    """What there is to know of a connected server, in a few words: its version, its tools, how fast it answers."""
    if status.state != "connected":
        return ""
    found = [f"{plain(status.server)} {plain(status.version or '')}".strip()] if status.server else []
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


def code(text: str, language: str | None = "json") -> None:
    """A block of text that wraps, with a button that copies it."""
    st.code(text, language=language, wrap_lines=True)


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
        return [{str(k): v if isinstance(v, (str, int, float, bool)) or v is None else pretty(v) for k, v in one.items()}
                for one in value[:ROWS]]  # fmt: skip
    return None


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
        markdown = value is None and _MARKDOWN.search(result.text) is not None
        found += ["Markdown", "Text"] if markdown else ["Text", "Markdown"]
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
    _links(result, key)


def _image(kind: str, data: bytes, key: str) -> None:
    """A picture, and a button for its file."""
    try:
        st.image(data, caption=kind)
    except Exception as exc:  # what Pillow makes of bytes that it does not take; a browser may well
        found = next((one for one, start in _PICTURES.items() if re.match(start, data, re.S)), None)
        if found is None:
            st.error(f"An image ({plain(kind)}) cannot be shown: {plain(str(exc))}")
        else:
            st.image(f"data:{found};base64,{base64.b64encode(data).decode()}", caption=kind)
    ending = mimetypes.guess_extension(kind) or ".bin"
    st.download_button("Download", data, f"image{ending}", kind, key=f"picture {key}", icon=":material/download:")


def _links(result: ToolResult, key: str) -> None:
    """What a result refers to, and files in it that are no text and no picture: no view has them."""
    for number, block in enumerate(result.content):
        kind, inner = block.get("type"), block.get("resource")
        if kind == "resource_link":
            about = [str(block[one]) for one in ("title", "name", "mimeType", "description") if block.get(one)]
            st.markdown(f":material/link: {plain(' · '.join(dict.fromkeys(about)))}")
            code(str(block.get("uri", "")), None)
        elif kind == "resource" and isinstance(inner, dict) and isinstance(inner.get("blob"), str):
            media = str(inner.get("mimeType") or "application/octet-stream")
            try:
                data = base64.b64decode("".join(inner["blob"].split()), validate=True)
            except ValueError:
                st.error(f"A file ({plain(media)}) cannot be decoded.")
                continue
            name = str(inner.get("uri", "")).rpartition("/")[2] or "file"
            st.download_button(f"Download {plain(name)}", data, name, media, key=f"file {key} {number}")


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
                st.audio(base64.b64decode(block.get("data") or ""), format=block.get("mimeType") or "audio/wav")
    elif view == "Table":
        st.dataframe(rows(_parsed(result)), hide_index=True)
    elif view == "JSON":
        st.json(_parsed(result), expanded=2)
    elif view == "Markdown":
        st.markdown(harmless(result.text[:LONGEST]))
    elif view == "Text":
        code(result.text[:LONGEST], None)
        if len(result.text) > LONGEST:
            st.caption(f"{len(result.text) - LONGEST} more characters are not shown.")
            st.download_button("Download all of it", result.text, "result.txt", key=f"download {key}")
    else:
        code(pretty(result.to_json())[:LONGEST])
