"""What calls have given: the last one of the tool that is chosen, and those before, each to be run again, exported, compared.

Contract: draws what ``past`` has; what a button asks for is noted there by callbacks, before the page is drawn anew.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import streamlit as st

from aionest._untrusted import for_cell, for_label
from aionest.app import export, forms, picker, results, state, widgets

if TYPE_CHECKING:
    from aionest.app.past import Entry, Past
    from aionest.mcp import Tool, ToolsLoader

SHOWN = 10  # earlier calls that are drawn before somebody asks for all
COLORS = {"done": "green", "failed": "red", "stopped": "gray"}


def show(loader: ToolsLoader, past: Past) -> None:
    """The result of the tool that is chosen, then the calls before."""
    if not past.entries:
        return
    # what stands below the form is of this tool; what others gave is further down
    current = past.entries[0] if past.entries[0].tool.name == past.tool else None
    if current is not None:
        st.subheader("Result")
        _result(current)
        _buttons(loader, past, current)
    earlier = past.entries[1:] if current is not None else past.entries
    if not earlier:
        return
    st.subheader("Earlier")
    everything = bool(st.session_state.get("all earlier"))
    for entry in earlier if everything else earlier[:SHOWN]:
        with st.expander(_line(entry)):
            if entry.arguments:
                widgets.code(widgets.pretty(entry.arguments))
            _result(entry)
            _buttons(loader, past, entry)
    places = widgets.row([1.6, 1.6])
    if len(earlier) > SHOWN and not everything:
        places[0].button(f"Show all {len(earlier)}", key="all earlier asked", on_click=_show_all)
    places[1].button("Clear", key="clear history", on_click=past.entries.clear)


def _show_all() -> None:
    st.session_state["all earlier"] = True


def _line(entry: Entry) -> str:
    """A call on a line: its outcome, the tool, what it was called with, when, and how long it took."""
    given = f" {for_label(entry.given, 60)}" if entry.arguments else ""
    about = f"{widgets.clock(entry.at)} · {widgets.ms(entry.took)}"
    color = COLORS[entry.outcome]
    return f":{color}[● {entry.outcome}] **{for_label(entry.tool.name)}**{given} :gray[{about}]"


def _result(entry: Entry) -> None:
    if entry.result is not None:
        results.show_result(entry.result, str(entry.number))
    else:
        widgets.wrong(entry.error)


def _buttons(loader: ToolsLoader, past: Past, entry: Entry) -> None:
    n = entry.number
    places = widgets.row([1.3, 1.2, 1.3, 1.5])
    there = loader.tools.get(entry.tool.name)
    if there is not None:
        places[0].button("Run again", key=f"run {n}", on_click=_again, args=(past, there, entry, True))
        places[1].button("Use again", key=f"again {n}", on_click=_again, args=(past, there, entry, False))
    with places[2].popover("Export"):
        _export(loader, entry)
    others = [one for one in past.entries if one is not entry and one.result is not None]
    if entry.result is not None and others:
        with places[3].popover("Compare"):
            _compare(entry, others)


def _again(past: Past, tool: Tool, entry: Entry, now: bool) -> None:
    """A callback: the form as it was for that call, which is made once more, or may be changed first."""
    st.session_state["search"] = ""
    st.session_state["server"] = picker.ALL
    past.tool = tool.name
    forms.fill(tool, entry.arguments)
    if now:
        past.again = entry.arguments


def _export(loader: ToolsLoader, entry: Entry) -> None:
    file = str(state.config_file().absolute())
    ways = {
        "Python": (export.as_python(entry.tool, entry.arguments, file), "python"),
        "Command line": (export.as_command(entry.tool, entry.arguments, file), "bash"),
    }
    server = loader.config.servers.get(entry.tool.server)
    curl = export.as_curl(entry.tool, entry.arguments, server) if server is not None else None
    if curl is not None:
        ways["curl"] = (curl, "bash")
    for name, (text, language) in ways.items():
        st.caption(name)
        widgets.code(text, language)


def _compare(entry: Entry, others: list[Entry]) -> None:
    """What is different from another call: what they were called with, and what they gave."""
    # those of the same tool first: the others are rarely meant
    others = sorted(others, key=lambda one: one.tool.name != entry.tool.name)
    by_label = {
        for_cell(f"{one.tool.name} {one.given} · {widgets.clock(one.at)} · {one.number}", 100): one for one in others
    }
    label = st.selectbox("With", list(by_label), key=f"compare {entry.number}")
    other = by_label.get(label or "", others[0])
    assert entry.result is not None and other.result is not None
    pieces = {
        "Arguments": (widgets.pretty(other.arguments), widgets.pretty(entry.arguments)),
        "Result": (results.text_to_compare(other.result), results.text_to_compare(entry.result)),
    }
    for name, (before, after) in pieces.items():
        st.caption(name)
        if before == after:
            st.text("The same.")
        else:
            widgets.code(difference(before, after), "diff")


def difference(before: str, after: str) -> str:
    """What a text has that the one before has not, and the other way round, by lines; of long ones the beginning."""
    most = results.LONGEST // 10  # comparing takes longer than reading
    lines = difflib.unified_diff(
        before[:most].splitlines(), after[:most].splitlines(), "before", "after", lineterm="", n=2
    )
    found = "\n".join(lines)
    if len(before) > most or len(after) > most:
        found += f"\n(only the first {most} characters were compared)"
    return found


__all__ = ["difference", "show"]
