"""An app whose servers start once, for all reruns and browsers."""

import sys

import streamlit as st

from aionest.streamlit import call, stream, tools_loader

NOTES = {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}  # comes with the package

loader = tools_loader({"notes": NOTES})  # or a file: tools_loader("mcp.json")
st.write(call(loader, "notes.read", {"id": 1}).text)
st.write_stream(stream(loader, "notes.words", {"delay": 0.1}))
