"""The app: tools, resources, prompts, messages, assistant, servers, sessions, about; and the states of the servers beside each page.

Contract: a Streamlit script; all state that outlives a rerun is in the cached loader or in ``st.session_state``.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

import aionest

aionest.apply()

from aionest.app import state, views, widgets  # noqa: E402

page = st.navigation(
    [
        st.Page(views.tools, title="Tools", icon=":material/build:", default=True, url_path="tools"),
        st.Page(views.resources, title="Resources", icon=":material/description:", url_path="resources"),
        st.Page(views.prompts, title="Prompts", icon=":material/format_quote:", url_path="prompts"),
        st.Page(views.messages, title="Messages", icon=":material/swap_vert:", url_path="messages"),
        st.Page(views.assistant, title="Assistant", icon=":material/chat:", url_path="assistant"),
        st.Page(views.servers, title="Servers", icon=":material/dns:", url_path="servers"),
        st.Page(views.sessions, title="Sessions", icon=":material/monitoring:", url_path="sessions"),
        st.Page(views.about, title="About", icon=":material/info:", url_path="about"),
    ]
)
st.set_page_config(page_title=f"{page.title} · aionest", page_icon=":material/hub:", layout="wide")
st.logo(str(Path(__file__).with_name("logo.svg")))
# in the sidebar the element itself takes no room of the page
st.sidebar.html(f"<style>{widgets.style()}</style>")
st.session_state["entered"] = st.session_state.get("page") != page.title  # from another page, or for the first time
st.session_state["page"] = page.title
page.run()
opened = state.opened()
if opened is not None:
    with st.sidebar:  # last, so that it tells of what the page has done, too
        widgets.show_servers(opened)
