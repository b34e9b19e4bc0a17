"""What is installed, and whether the engine works here."""

from __future__ import annotations

import os
import threading

import streamlit as st

import aionest
from aionest._untrusted import for_label
from aionest.app import state
from aionest.cli import doctor


@st.cache_data(show_spinner="Testing the engine ...")
def _report() -> dict[str, str]:
    """The doctor's report; the self-test starts a process, so not at each rerun."""
    report = doctor.report(mcp=True)
    said = {key: "not installed" if report[key] == "-" else value for key, value in doctor.rows(report)}
    return {key: "nothing" if value == "-" else value for key, value in said.items()}  # a table draws a dash as a list


def about() -> None:
    """Versions and a self-test."""
    st.title("About")
    st.markdown(
        "MCP servers that are opened once and stay open across reruns and browsers, on one loop of their own. "
        "The same loader works in scripts and notebooks: `aionest.mcp.ToolsLoader`."
    )
    if st.button("Test again", key="test again"):
        _report.clear()  # type: ignore[attr-defined]
    try:
        report = _report()
    except Exception as exc:  # no process can be started, or it hangs
        st.error(f"The self-test could not be run: {exc}")
        return
    if report["self-test"] == "ok":
        st.success("The engine works here: runs nest, and the portal answers.", icon=":material/check:")
    else:
        st.error(f"The self-test failed:\n\n{report['self-test']}")
    left, right = st.columns(2)
    with left:
        st.subheader("Versions")
        st.table({"version": {key: value for key, value in report.items() if key != "self-test"}})
    with right:
        st.subheader("This process")
        here = {
            "applied": "yes" if aionest.is_applied() else "no",
            "configuration": for_label(state.config_file(), 1000),
            "process id": str(os.getpid()),
            "threads": str(threading.active_count()),
            "browser sessions": str(len(state.journal.visitors())),
        }
        st.table({"value": here})
