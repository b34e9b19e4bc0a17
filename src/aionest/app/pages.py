"""The pages.

Contract: functions without arguments that draw a page; errors of servers and tools are shown, never raised.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from aionest.app import forms
from aionest.cli import doctor
from aionest.mcp import ToolsConfig, ToolsError
from aionest.streamlit import call, tools_loader

if TYPE_CHECKING:
    from aionest.mcp import ToolResult, ToolsLoader

MARKS = {
    "connected": ":green-badge[connected]",
    "failed": ":red-badge[failed]",
    "timed out": ":red-badge[timed out]",
    "lost": ":orange-badge[lost]",
    "disabled": ":gray-badge[disabled]",
}


def _loader() -> ToolsLoader | None:
    file = ToolsConfig.find()
    if file is None or not file.exists():
        st.info("No configuration yet. Add a server on the Servers page, or start with `aionest app --config FILE`.")
        return None
    return tools_loader(str(file))


def _show_state(loader: ToolsLoader) -> None:
    for name, status in loader.status.items():
        latency = f" · {status.latency * 1e3:.0f} ms" if status.latency is not None else ""
        version = f" · {status.server} {status.version}" if status.server else ""
        st.markdown(f"{MARKS.get(status.state, status.state)} **{name}** · {status.tools} tools{version}{latency}")
        if status.error:
            st.caption(status.error)


def tools() -> None:
    """Search tools, call one, see its result."""
    st.title("Tools")
    loader = _loader()
    if loader is None:
        return
    with st.sidebar:
        st.subheader("Servers")
        _show_state(loader)
        for name, text in loader.errors.items():
            if name not in loader.status:
                st.error(text)
    available = loader.tools
    if not available:
        st.warning("No server has given any tools. The Servers page says why.")
        return
    query = st.text_input("Search", placeholder="name or what it does", key="search")
    names = list(available)
    if query:
        from aionest.mcp import ToolsRetriever

        index = ToolsRetriever()
        index.add_batch([tool for tool in available.values() if tool.description.strip()])
        names = [tool.name for _, tool in index.search(query, 50)]
        names += [name for name in available if query.lower() in name.lower() and name not in names]
        if not names:
            st.info("Nothing fits.")
            return
    chosen = st.selectbox(
        "Tool", names, format_func=lambda n: f"{available[n].server} · {available[n].title}", key="tool"
    )
    tool = available[chosen]
    st.caption(f"`{tool.name}`")
    st.markdown(tool.description or "_no description_")
    with st.form(f"form {tool.name}", border=True):
        given, problems = forms.arguments(tool)
        submitted = st.form_submit_button("Call", type="primary")
    history: list[dict[str, Any]] = st.session_state.setdefault("history", [])
    if submitted:
        if not problems:
            try:
                tool.validate(given)
            except ToolsError as exc:
                problems = getattr(exc, "problems", [str(exc)])
        for problem in problems:
            st.error(problem)
        if not problems:
            slot = st.empty()
            slot.button("Cancel", help="Stops the call")  # any click reruns the script, which ends the call
            begin = time.time()
            try:
                result = call(loader, tool, given)
            except ToolsError as exc:
                st.error(str(exc))
                history.insert(0, {"tool": tool.name, "arguments": given, "at": begin, "error": str(exc)})
            else:
                history.insert(0, {"tool": tool.name, "arguments": given, "at": begin, "result": result})
            slot.empty()
            del history[50:]
    for position, entry in enumerate(history):
        when = time.strftime("%H:%M:%S", time.localtime(entry["at"]))
        with st.expander(f"{entry['tool']} · {when}", expanded=position == 0):
            st.code(json.dumps(entry["arguments"], ensure_ascii=False), language="json")
            if "error" in entry:
                st.error(entry["error"])
            else:
                _show_result(entry["result"])


def _show_result(result: ToolResult) -> None:
    (st.error if result.is_error else st.success)(
        f"{'failed' if result.is_error else 'done'} in {result.duration * 1e3:.0f} ms"
    )
    for kind, data in result.images:
        st.image(data, caption=kind)
    text = result.text
    if text:
        try:
            value = json.loads(text)
        except ValueError:
            st.text(text)
        else:
            _show_value(value)
    if result.structured is not None:
        with st.popover("structured"):
            st.json(result.structured)


def _show_value(value: Any) -> None:
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        st.dataframe(value)
    elif isinstance(value, (dict, list)):
        st.json(value)
    else:
        st.text(str(value))


def servers() -> None:
    """Edit the configuration; look at servers, their stderr, and restart them."""
    st.title("Servers")
    file = ToolsConfig.find() or Path("mcp.json")
    st.caption(str(file))
    written = file.read_text(encoding="utf-8") if file.exists() else '{\n  "mcpServers": {}\n}\n'
    draft = st.text_area("Configuration", value=st.session_state.get("draft", written), height=260, key="editor")
    left, right = st.columns([1, 5])
    if left.button("Save", type="primary"):
        st.session_state["draft"] = draft
        problems = _save(file, draft)
        if problems:
            for problem in problems:
                st.error(problem)
            st.warning("Not saved: the file is as it was, and your text is still here.")
        else:
            st.session_state.pop("draft", None)
            loader = tools_loader(str(file))
            with st.spinner("Applying ..."):
                diff = loader.reload()
            st.success(
                f"Saved. Added: {', '.join(diff.added) or 'none'}; changed: {', '.join(diff.changed) or 'none'}; "
                f"removed: {', '.join(diff.removed) or 'none'}; untouched: {', '.join(diff.kept) or 'none'}."
            )
    if right.button("Reload"):
        tools_loader(str(file)).reload()
    if not file.exists():
        return
    loader = tools_loader(str(file))
    for name, status in loader.status.items():
        with st.container(border=True):
            first, second = st.columns([5, 1])
            first.markdown(f"{MARKS.get(status.state, status.state)} **{name}** · {status.transport}")
            if status.state != "disabled" and second.button("Restart", key=f"restart {name}"):
                try:
                    loader.restart(name)
                except ToolsError as exc:
                    st.error(str(exc))
                else:
                    st.rerun()
            if status.error:
                st.error(status.error)
            if status.stderr:
                with st.expander("stderr"):
                    st.code("\n".join(status.stderr[-100:]), language=None)
    for name, text in loader.errors.items():
        if name not in loader.status:
            st.error(text)


def _save(file: Path, text: str) -> list[str]:
    """Check the text as a configuration, then replace the file. What is wrong with it."""
    import os
    import tempfile

    folder = file.resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=file.suffix, dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        problems = [str(error).replace(name, file.name) for error in ToolsConfig(name).errors]
        if not problems:
            if file.exists():
                os.chmod(name, file.stat().st_mode & 0o777)
            os.replace(name, file)
        return problems
    finally:
        if os.path.exists(name):
            os.unlink(name)


def sessions() -> None:
    """What is open, since when, and what was called."""
    st.title("Sessions")
    loader = _loader()
    if loader is None:
        return
    rows = [
        {
            "server": s.name,
            "state": s.state,
            "pid": s.pid,
            "since": time.strftime("%H:%M:%S", time.localtime(s.since)) if s.since else "",
            "connections": s.connections,
            "calls": s.calls,
            "failed": s.failed_calls,
            "now": s.open_calls,
            "last, ms": round(s.latency * 1e3, 1) if s.latency is not None else None,
        }
        for s in loader.status.values()
    ]
    if rows:
        st.dataframe(rows, hide_index=True)
    else:
        st.info("Nothing is open.")
    if st.button("Look again"):
        st.rerun()


def about() -> None:
    """Versions and a self-test."""
    st.title("About")
    with st.spinner("Testing the engine ..."):
        report = doctor.report()
    (st.success if report["self-test"] == "ok" else st.error)(f"Self-test: {report['self-test']}")
    st.table({key: str(value) for key, value in report.items() if key != "self-test"})
