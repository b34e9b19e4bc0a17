"""Run it in several processes: it shows what is each process's, and what each browser's."""

import os
import sys

import streamlit as st

from aionest.streamlit import call, tools_loader

NOTES = {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}

loader = tools_loader({"notes": NOTES})  # one for each process, whichever browser comes
mine = st.session_state.setdefault("mine", [])  # one for each browser session

text = st.text_input("Note", "Feed the cat")
if st.button("Add"):
    mine.append(call(loader, "notes.add", {"text": text}).structured["id"])
there = call(loader, "notes.list").structured["notes"]
st.write(f"{len(there)} notes, {len(mine)} of them yours")
st.caption(f"process {os.getpid()}, server {loader.status['notes'].pid}")
