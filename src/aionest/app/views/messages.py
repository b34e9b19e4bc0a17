"""The messages that went over the wire: by server and by what they have in them, newest first, to be looked at, copied, saved.

Contract: what is kept is bounded (``state``), and what is drawn of it, too. All of it is text of servers, and without the secrets of the
configuration; what a person has typed into a form is there as it was sent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from aionest._untrusted import for_cell, for_label
from aionest.app import state, widgets

if TYPE_CHECKING:
    from aionest.app.state import Message

ALL = "All servers"
WAYS = {"Both ways": "", "Sent": "sent", "Received": "received"}
SHOWN = 50


@dataclass
class _Line:
    """A message, and what is to be said of it."""

    message: Message
    what: str  # its method, or that of the request that it answers
    number: str
    outcome: str = ""  # of an answer
    took: float | None = None


def messages() -> None:
    """Look through the messages."""
    st.title("Messages")
    if state.loader() is None:
        return
    kept = state.journal.messages()
    places = widgets.row([1.4, 1.4, 1.6])
    places[0].button("Refresh", key="refresh messages")
    places[1].button("Clear", key="clear messages", on_click=state.journal.forget_messages)
    text = "".join(
        json.dumps({"at": one.at, "server": one.server, "way": one.way, "message": one.text}, ensure_ascii=False) + "\n"
        for one in kept
    )
    places[2].download_button(
        "Download", text.encode("utf-8", "replace"), "messages.jsonl", "application/jsonl", key="save messages"
    )
    left, middle, right = st.columns([2, 2, 3])
    servers = sorted({one.server for one in kept})
    server = left.selectbox("Server", [ALL, *servers], key="messages of", format_func=for_cell)
    way = middle.selectbox("Direction", list(WAYS), key="messages way")
    words = right.text_input("Contains", placeholder="A method, a tool, a word", key="messages with").strip().lower()
    found = [
        line
        for line in reversed(_told(kept))
        if server in (ALL, line.message.server)
        and WAYS[way or "Both ways"] in ("", line.message.way)
        and (words in line.message.text.lower() or words in line.what.lower())
    ]
    if not found:
        st.info("No message matches." if kept else "There were no messages yet.")
        return
    many = f"{len(found)} messages" if len(found) <= SHOWN else f"The last {SHOWN} of {len(found)} messages"
    st.markdown(f":gray[{many}]")
    for line in found[:SHOWN]:
        with st.expander(_label(line)):
            widgets.code(_readable(line.message.text))


def _told(kept: list[Message]) -> list[_Line]:
    """Each message with its method; answers find that of their request."""
    asked: dict[tuple[str, str, str], _Line] = {}
    found = []
    for one in kept:
        try:
            value = json.loads(one.text)
        except (ValueError, RecursionError):
            value = None
        value = value if isinstance(value, dict) else {}
        number = json.dumps(value["id"]) if "id" in value else ""
        line = _Line(one, str(value.get("method") or ""), number)
        if line.what and number:
            asked[one.server, one.way, number] = line
        elif number:
            before = asked.get((one.server, "received" if one.way == "sent" else "sent", number))
            if before is not None:
                line.what, line.took = before.what, one.at - before.message.at
            line.outcome = "error" if "error" in value else "result"
        found.append(line)
    return found


def _label(line: _Line) -> str:
    one = line.message
    arrow = ":material/north_east:" if one.way == "sent" else ":material/south_west:"
    what = for_label(line.what, 60) or ("an answer" if line.number else "no message")
    outcome = f" :{'red' if line.outcome == 'error' else 'green'}[{line.outcome}]" if line.outcome else ""
    at = f"{widgets.clock(one.at)}.{int(one.at * 1000) % 1000:03d}"
    about = [for_label(one.server), *([f"id {for_label(line.number, 20)}"] if line.number else []), at]
    if line.took is not None:
        about.append(widgets.ms(line.took))
    return f"{arrow} {one.way} **{what}**{outcome} :gray[{' · '.join(about)}]"


def _readable(text: str) -> str:
    try:
        return widgets.pretty(json.loads(text))
    except (ValueError, RecursionError):
        return text


__all__ = ["messages"]
