"""Find a tool, fill in its form, call it, look at what it gives.

Contract: a call ends with its result, or by any rerun of the script; either is entered in the history of the browser session.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import streamlit as st

from aionest._untrusted import for_cell, for_label, for_page
from aionest.app import forms, state, widgets
from aionest.mcp import ToolsError, ToolsRetriever

if TYPE_CHECKING:
    from aionest.mcp import Tool, ToolResult, ToolsLoader

HISTORY = 50  # calls that a browser session keeps
DESCRIPTION = 5_000  # characters that are shown
TITLE = 100
ALL = "All servers"
STOPPED = "Stopped before there was a result."


@dataclass
class Entry:
    """A call that is over."""

    number: int
    tool: Tool
    arguments: dict[str, Any]
    result: ToolResult | None = None
    error: str = ""
    at: float = field(default_factory=time.time)


@dataclass
class Past:
    """What a browser session did here; survives the way to other pages and back.

    Streamlit starts the next run of the script while the one before is still being stopped: the new run itself enters the
    call that it ends, so that it can show it, and what the old one does afterwards counts no more.
    """

    entries: list[Entry] = field(default_factory=list)
    given: dict[str, dict[str, Any]] = field(default_factory=dict)  # by tool, the last arguments
    tool: str = ""
    chosen: int = 0  # how often the tool was chosen by other means than the list of tools
    starts: dict[str, str] = field(default_factory=dict)  # by list of tools, what it began with
    _made: int = 0
    _running: Entry | None = None
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def begin(self, tool: Tool, given: dict[str, Any]) -> Entry:
        """A call begins."""
        with self._guard:
            self._made += 1
            self._running = Entry(self._made, tool, given)
            return self._running

    def finish(self, entry: Entry, result: ToolResult | None = None, error: str = "") -> None:
        """A call is over, with a result or an error; counts only if it has not been stopped before."""
        with self._guard:
            if self._running is not entry:
                return
            self._running = None
            entry.result, entry.error = result, error
            self.entries.insert(0, entry)
            del self.entries[HISTORY:]

    def stop(self) -> None:
        """A run of the script begins: a call of the one before is being stopped."""
        entry = self._running
        if entry is not None:
            self.finish(entry, error=STOPPED)


def tools() -> None:
    """Search tools, call one, see its result."""
    st.title("Tools")
    loader = state.loader()
    if loader is None:
        return
    past: Past = st.session_state.setdefault("past", Past())
    past.stop()
    _work(loader, past)


def _work(loader: ToolsLoader, past: Past) -> None:
    available = loader.tools
    if not available:
        st.warning("No server gives any tools. The Servers page says why.")
        return
    tool = _chosen(available, past)
    if tool is None:
        return
    about = "reads only" if tool.read_only else "may change things" if tool.destructive else ""
    said = f" :gray[{about}, as its server says]" if about else ""
    st.markdown(f"**{for_label(tool.name)}** of server **{for_label(tool.server)}**{said}")
    if tool.task_support == "required":
        st.caption("Its server wants it to be called as a task, which is not supported here.")
    if tool.icon is not None:
        with contextlib.suppress(Exception):  # what Pillow makes of bytes that are no picture
            st.image(tool.icon[1], width=32)
    if tool.description.strip():
        st.text(for_page(tool.description.strip(), DESCRIPTION))
    else:
        st.caption("Its server says nothing of it.")
    problems: list[str] = []
    with st.form(f"form {tool.name}", border=True):
        given, wrong = forms.arguments(tool, past.given.get(tool.name))
        if not tool.properties:
            st.caption("It takes no arguments.")
        submitted = st.form_submit_button("Call", type="primary")
    work = st.container()
    if submitted:
        problems = wrong or _problems(tool, given)
        if not problems:
            past.given[tool.name] = given
            with work:
                _call(loader, tool, given, past)
        for problem in problems:
            widgets.wrong(problem, work)
    _history(past, available)


def _chosen(available: dict[str, Tool], past: Past) -> Tool | None:
    """Search and choice; None if nothing fits."""
    servers = sorted({tool.server for tool in available.values()})
    left, right = st.columns([3, 1]) if len(servers) > 1 else (st.container(), None)
    query = left.text_input("Search", placeholder="A name, or what it should do", key="search").strip()
    server = ALL
    if right is not None:
        if st.session_state.get("server", ALL) not in [ALL, *servers]:
            st.session_state["server"] = ALL
        server = str(right.selectbox("Server", [ALL, *servers], key="server"))
    names = [name for name, tool in available.items() if server in (ALL, tool.server)]
    if query:
        index = ToolsRetriever()
        index.add_batch([available[name] for name in names if available[name].description.strip()])
        best = [tool.name for _, tool in index.search(query, 50)]
        low = query.lower()
        exact = [name for name in names if low in name.lower() or low in available[name].title.lower()]
        names = list(dict.fromkeys([*exact, *best]))
    if not names:
        st.info("No tool fits. Try fewer or other words.")
        return None
    # Each choice of tools is a list of its own: were it one whose value is set when a search leaves the chosen tool out, that
    # could come to the browser after the person's next choice, and take it back.
    key = f"tool {past.chosen} {hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]}"
    if key not in st.session_state or past.starts.get(key) not in names:
        past.starts.pop(key, None)
        past.starts[key] = past.tool if past.tool in names else names[0]
        while len(past.starts) > HISTORY:
            del past.starts[next(iter(past.starts))]
    name: str | None = st.selectbox(
        f"Tool ({len(names)})" if len(names) != len(available) else "Tool",
        names,
        names.index(past.starts[key]),
        format_func=lambda n: _label(available[n]),
        key=key,
    )
    found = name or names[0]
    past.tool = found
    return available[found]


def _label(tool: Tool) -> str:
    """A tool in the list, which finds what is written there: its server, its title, and its name where that is another."""
    name = "" if tool.title == tool.original_name else f" ({for_cell(tool.original_name, TITLE)})"
    return f"{for_cell(tool.server)} · {for_cell(tool.title, TITLE)}{name}"


def _problems(tool: Tool, given: dict[str, Any]) -> list[str]:
    try:
        tool.validate(given)
    except ToolsError as exc:
        return getattr(exc, "problems", None) or [str(exc)]
    return []


def _call(loader: ToolsLoader, tool: Tool, given: dict[str, Any], past: Past) -> None:
    slot = st.empty()
    slot.button("Cancel", key="cancel")  # any click reruns the script, which ends the call
    entry = past.begin(tool, given)
    try:
        past.finish(entry, state.run(loader, tool, given, "Tools"))
    except ToolsError as exc:
        past.finish(entry, error=str(exc))
    except BaseException:  # the script is being stopped
        past.finish(entry, error=STOPPED)
        raise
    slot.empty()


def _history(past: Past, available: dict[str, Tool]) -> None:
    if not past.entries:
        return
    # what stands below the form is of this tool; what others gave is further down
    current = past.entries[0] if past.entries[0].tool.name == past.tool else None
    if current is not None:
        st.subheader("Result")
        _entry(past, current, False)
    earlier = past.entries[1:] if current is not None else past.entries
    if earlier:
        st.subheader("Earlier")
        for entry in earlier:
            mark = ":red[●]" if entry.error or (entry.result and entry.result.is_error) else ":green[●]"
            with st.expander(f"{mark} {for_label(entry.tool.name)} :gray[{widgets.clock(entry.at)}]"):
                _entry(past, entry, True)
    if st.button("Clear", key="clear history"):
        past.entries.clear()
        st.rerun()


def _entry(past: Past, entry: Entry, whole: bool) -> None:
    """A call that is over; ``whole`` if the form above does not show what it was called with."""
    st.caption(f"{for_label(entry.tool.name)} · {widgets.clock(entry.at)}")
    if whole and entry.arguments:
        widgets.code(widgets.pretty(entry.arguments))
    if entry.result is not None:
        widgets.show_result(entry.result, str(entry.number))
    else:
        widgets.wrong(entry.error)
    if whole:
        st.button("Use again", key=f"again {entry.number}", on_click=_again, args=(past, entry))


def _again(past: Past, entry: Entry) -> None:
    """A callback: the form as it was for that call."""
    st.session_state["search"] = ""
    st.session_state["server"] = ALL
    past.tool = entry.tool.name
    past.chosen += 1
    forms.fill(entry.tool, entry.arguments)
