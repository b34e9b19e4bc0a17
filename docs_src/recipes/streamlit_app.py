"""Streamlit: a session shared by all browser sessions and script runs, and st.* inside coroutines."""

import streamlit as st
from session import open_session

import aionest


@st.cache_resource(on_release=lambda held: held.close())
def session():
    return aionest.portal().enter(open_session())


async def show_answer(ask, word):
    with st.spinner("asking"):
        st.write(await ask(word))  # to the page of the user whose script run this is


word = st.text_input("Word", "one")
held = session()
held.call(show_answer, held.value.ask, word, timeout=10)
