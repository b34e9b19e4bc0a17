"""The list of tools beside the form: searched by name, title and what a tool does, grouped by server.

Contract: what is chosen stays chosen whatever is searched for. A list of buttons, of which each says itself what it does: no
widget has a value that could come to the browser after the person's next choice, and take it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from aionest._untrusted import for_cell, for_label
from aionest.app import widgets
from aionest.mcp import ToolsRetriever

if TYPE_CHECKING:
    from aionest.app.past import Past
    from aionest.mcp import Tool

ALL = "All servers"
MOST = 100  # that are drawn; the others are found by searching
TITLE = 60
HEIGHT = 560
# names at the left, one below the other, the chosen one marked; on a phone the list leaves room for the form
_STYLE = """<style>
[class*="st-key-pick-"] button { justify-content: flex-start; border-color: transparent; min-height: 2rem; padding: 0.2rem 0.6rem; }
[class*="st-key-pick-"] button, [class*="st-key-pick-"] button * { text-align: left; justify-content: flex-start; }
[class*="st-key-pick-"] button > div { width: 100%; }
[class*="st-key-pick-"] button span { white-space: nowrap; }
[class*="st-key-pick-"] button[kind="secondary"]:not(:hover):not(:focus-visible) { background: transparent; }
[class*="st-key-pick-"] button[kind="primary"] { background: rgba(128, 128, 144, 0.2); color: inherit; font-weight: 600; }
.st-key-tool-list, .st-key-tool-list [data-testid="stVerticalBlock"] { gap: 0.1rem; }
@media (max-width: 640px) { .st-key-tool-list, .st-key-tool-list [height], div:has(> .st-key-tool-list) { max-height: 15rem; } }
</style>"""


def pick(available: dict[str, Tool], past: Past) -> Tool:
    """Draw the list; the tool that is chosen, at first the first one."""
    query = st.text_input("Search", placeholder="A name, or what it should do", key="search").strip()
    servers = sorted({tool.server for tool in available.values()})
    server = ALL
    if len(servers) > 1:
        if st.session_state.get("server", ALL) not in [ALL, *servers]:
            st.session_state["server"] = ALL
        server = str(st.selectbox("Server", [ALL, *servers], key="server", format_func=for_cell))
    found = [tool for tool in available.values() if server in (ALL, tool.server)]
    found = _fitting(found, query, past) if query else found
    if past.tool not in available:
        past.tool = (found or list(available.values()))[0].name
    many = f"{len(found)} of {len(available)} tools" if len(found) != len(available) else f"{len(found)} tools"
    # no caption: its grey is too light to be read easily
    st.markdown(f":gray[{many}]" if found else "No tool matches. Try fewer or other words.")
    st.html(_STYLE)
    if found:
        with st.container(height=HEIGHT, key="tool list", border=False):
            _drawn(found[:MOST], past)
            if len(found) > MOST:
                st.caption(f"{len(found) - MOST} more: search for them.")
    return available[past.tool]


def badges(tool: Tool) -> str:
    """What its server says of it that one wants to know before a call."""
    if tool.read_only:
        return ":green-background[read-only]"
    if tool.annotations.get("destructiveHint") is True:
        return ":red-background[destructive]"
    return ""


def _drawn(tools: list[Tool], past: Past) -> None:
    groups: dict[str, list[Tool]] = {}
    for tool in tools:
        groups.setdefault(tool.server, []).append(tool)
    for server, members in groups.items():
        st.markdown(f":gray[**{for_label(server)}**]")
        for tool in members:
            st.button(
                _label(tool),
                key=f"pick {tool.name}",
                type="primary" if tool.name == past.tool else "secondary",
                on_click=_picked,
                args=(past, tool.name),
                **widgets.STRETCH,
            )


def _picked(past: Past, name: str) -> None:
    past.tool = name


def _label(tool: Tool) -> str:
    """Its title, and its name where that is another; the list finds both."""
    said = for_label(tool.title or tool.original_name, TITLE)
    name = "" if tool.title in ("", tool.original_name) else f" ({for_label(tool.original_name, TITLE)})"
    return f"{said}{name} {badges(tool)}".strip()


def _fitting(tools: list[Tool], query: str, past: Past) -> list[Tool]:
    """Those whose name or title has the words in it, then those that do something like it."""
    by_name = {tool.name: tool for tool in tools}
    low = query.lower()
    exact = [name for name, tool in by_name.items() if low in name.lower() or low in tool.title.lower()]
    best = [tool.name for _, tool in _index(tools, past).search(query, 50)]
    return [by_name[name] for name in dict.fromkeys([*exact, *best])]


def _index(tools: list[Tool], past: Past) -> ToolsRetriever:
    """Of these tools; made anew only when they are others."""
    known = past.index
    if known is None or known[0] != tools:
        made = ToolsRetriever()
        made.add_batch([tool for tool in tools if tool.description.strip()])
        known = past.index = (tools, made)
    return known[1]


__all__ = ["ALL", "badges", "pick"]
