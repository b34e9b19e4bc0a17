"""Small parts that several pages draw.

Contract: works on the oldest supported Streamlit; what came later is used only where it is there. Text of servers is shown as
text, by ``aionest._untrusted``: nothing of it is Markdown, and nothing of it is longer than its place.
"""

from __future__ import annotations

import functools
import inspect
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from aionest._untrusted import for_label, for_markdown, for_page

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from aionest.mcp import ServerStatus, ToolsLoader

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
_HORIZONTAL = "horizontal" in inspect.signature(st.container).parameters
# as wide as its place; the name of that has changed
STRETCH: dict[str, Any] = (
    {"width": "stretch"} if "width" in inspect.signature(st.button).parameters else {"use_container_width": True}
)
WIDE: dict[str, Any] = {} if "width" in inspect.signature(st.altair_chart).parameters else {"use_container_width": True}


@functools.cache
def style() -> str:
    """The app's own style sheet; read once, not at each rerun."""
    return Path(__file__).with_name("app.css").read_text("utf-8")


def row(columns: list[float]) -> list[DeltaGenerator]:
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


def wrong(text: object, place: DeltaGenerator | None = None) -> None:
    """An error, as it was told."""
    (st if place is None else place).error(for_markdown(text))


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


def pretty(value: object) -> str:
    """JSON for people."""
    return json.dumps(value, ensure_ascii=False, indent=1, default=str)
