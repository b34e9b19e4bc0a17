"""Find a tool, fill in its form, call it, look at what it gives.

Contract: a call ends with its result, or by any rerun of the script; either is entered in the history of the browser session. While its
server waits for an answer it lives on, until that is given, or *Cancel* or another call ends it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
from typing import TYPE_CHECKING

import streamlit as st

from aionest._untrusted import for_label, for_page
from aionest.app import asking, forms, history, picker, questions, state, widgets
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
    if past.held is None or past.held.followed:
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
        problems = wrong or questions.problems(tool, given)
        if not problems:
            past.given[tool.name] = given
            past.stop()
            with work:
                _begin(loader, tool, given, past)
        for problem in problems:
            widgets.wrong(problem, work)
    if past.held is not None:
        with work:
            _go_on(past, past.held)
    history.show(loader, past)


def _about(tool: Tool) -> None:
    about = "read-only" if tool.read_only else "may change things" if tool.destructive else ""
    said = f" :gray[{about}, according to its server]" if about else ""
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


def _begin(loader: ToolsLoader, tool: Tool, given: dict[str, object], past: Past) -> None:
    entry = past.begin(tool, given)
    try:
        past.held = state.begin(loader, tool, given, "Tools")
    except ToolsError as exc:
        past.finish(entry, error=str(exc))


def _go_on(past: Past, held: asking.Running) -> None:
    """Wait for a call until it is over, or its server wants an answer."""
    entry = past.running
    question = held.question()
    if question is None:
        held.followed = True
        slot, progress = st.empty(), st.empty()
        slot.button("Cancel", key="cancel")  # any click reruns the script, which ends the call
        try:
            over = held.work.follow(progress, until=held.question)
        except BaseException:  # the script is being stopped
            held.end()
            if entry is not None:
                past.finish(entry, error=STOPPED)
            raise
        held.followed = False
        slot.empty()
        progress.empty()
        question = None if over else held.question()
        if not over and question is None:  # withdrawn, or answered by another browser
            st.rerun()
    if question is not None:
        questions.ask(question, past.stop)
        return
    past.held = None
    held.end()
    if entry is not None:
        try:
            past.finish(entry, held.work.future.result())
        except ToolsError as exc:
            past.finish(entry, error=str(exc))
        except concurrent.futures.CancelledError:  # by a later run of the script, or together with its server
            past.finish(entry, error=STOPPED)
