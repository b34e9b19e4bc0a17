"""The app: tools, assistant, servers, sessions, about.

Contract: a Streamlit script; all state that outlives a rerun is in the cached loader or in ``st.session_state``.
"""

from __future__ import annotations

import streamlit as st

import aionest

aionest.apply()

from aionest.app import views  # noqa: E402

st.set_page_config(page_title="aionest", page_icon=":material/hub:", layout="wide")
page = st.navigation(
    [
        st.Page(views.tools, title="Tools", icon=":material/build:", default=True, url_path="tools"),
        st.Page(views.assistant, title="Assistant", icon=":material/chat:", url_path="assistant"),
        st.Page(views.servers, title="Servers", icon=":material/dns:", url_path="servers"),
        st.Page(views.sessions, title="Sessions", icon=":material/monitoring:", url_path="sessions"),
        st.Page(views.about, title="About", icon=":material/info:", url_path="about"),
    ]
)
st.session_state["entered"] = st.session_state.get("page") != page.title  # from another page, or for the first time
st.session_state["page"] = page.title
page.run()
