"""What a server asks amid a call, drawn: the pages of whoever called.

Contract: all of it is the server's own text, and shown as that. What was answered is checked against the question's schema first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from aionest._untrusted import for_label, for_page
from aionest.app import forms, widgets
from aionest.mcp import ToolsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aionest.app.asking import Question
    from aionest.mcp import Tool

LONGEST = 5_000  # characters that are shown


def ask(question: Question, cancel: Callable[[], None]) -> None:
    """Show it; when the person has decided, the script runs again.

    :param cancel: ends the call that it is asked amid.
    """
    server = for_label(question.server)
    asks = "asks for a model's answer, which you can write yourself" if question.kind == "sampling" else "asks you"
    with st.form(f"question {question.number}", border=True):
        st.markdown(f"**{server}** {asks}:")
        st.text(for_page(question.text, LONGEST))
        given: dict[str, object] | str = {}
        wrong: list[str] = []
        if question.url:
            st.markdown(":gray[The server asks you to open this URL. Check it first.]")
            widgets.code(question.url, None)
        elif question.kind == "sampling":
            given = st.text_area("Answer", key=f"answer {question.number}", height=120)
        else:
            given, wrong = forms.arguments(question.form)
        places = widgets.row([1.5, 1.5, 1.5])
        answered = places[0].form_submit_button("I have opened it" if question.url else "Answer", type="primary")
        declined = places[1].form_submit_button("Decline")
        cancelled = places[2].form_submit_button("Cancel the call")
    if cancelled:
        cancel()
        st.rerun()
    if declined:
        question.answer(None)
        st.rerun()
    if answered:
        found = wrong or (problems(question.form, given) if isinstance(given, dict) else [])
        for problem in found:
            widgets.wrong(problem)
        if not found:
            question.answer(given)
            st.rerun()


def problems(tool: Tool, given: dict[str, object]) -> list[str]:
    """What does not fit its schema."""
    try:
        tool.validate(given)
    except ToolsError as exc:
        return getattr(exc, "problems", None) or [str(exc)]
    return []
