"""Find a tool, fill in its form, call it, look at what it gives.

Contract: a call ends with its result, or by any rerun of the script; either is entered in the history of the browser session.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import streamlit as st

from aionest._untrusted import for_label, for_page
from aionest.app import forms, history, picker, state, widgets
from aionest.app.past import STOPPED, Past
from aionest.mcp import ToolsError

if TYPE_CHECKING:
    from aionest.mcp import Tool, ToolsLoader

DESCRIPTION = 5_000  # characters that are shown


def tools() -> None:
    """Search tools, call one, see its result."""
    st.title("Tools")
    loader = state.loader()
    if loader is None:
        return
    past: Past = st.session_state.setdefault("past", Past())
    past.stop()
    available = loader.tools
    if not available:
        st.warning("No server offers any tools. The Servers page says why.")
        return
    left, right = st.columns([2, 5], gap="medium")
    with left:
        tool = picker.pick(available, past)
    with right:
        _work(loader, past, tool)


def _work(loader: ToolsLoader, past: Past, tool: Tool) -> None:
    again, past.again = past.again, None
    _about(tool)
    with st.form(f"form {tool.name}", border=True):
        given, wrong = forms.arguments(tool, past.given.get(tool.name))
        if not tool.properties:
            st.caption("It takes no arguments.")
        submitted = st.form_submit_button("Call", type="primary")
    if again is not None:
        given, wrong = again, []
    work = st.container()
    if submitted or again is not None:
        problems = wrong or _problems(tool, given)
        if not problems:
            past.given[tool.name] = given
            with work:
                _call(loader, tool, given, past)
        for problem in problems:
            widgets.wrong(problem, work)
    history.show(loader, past)


def _about(tool: Tool) -> None:
    about = "reads only" if tool.read_only else "may change things" if tool.destructive else ""
    said = f" :gray[{about}, as its server says]" if about else ""
    st.markdown(f"**{for_label(tool.name)}** of server **{for_label(tool.server)}**{said}")
    if tool.task_support == "required":
        st.caption("Its server runs it as a task.")
    if tool.icon is not None:
        with contextlib.suppress(Exception):  # what Pillow makes of bytes that are no picture
            st.image(tool.icon[1], width=32)
    if tool.description.strip():
        st.text(for_page(tool.description.strip(), DESCRIPTION))
    else:
        st.caption("Its server gives no description.")


def _problems(tool: Tool, given: dict[str, object]) -> list[str]:
    try:
        tool.validate(given)
    except ToolsError as exc:
        return getattr(exc, "problems", None) or [str(exc)]
    return []


def _call(loader: ToolsLoader, tool: Tool, given: dict[str, object], past: Past) -> None:
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
