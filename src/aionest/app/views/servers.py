"""The servers: their state, what they wrote, and the configuration, by forms or as text.

Contract: what a person has typed is kept until it is saved or given up, whatever is wrong with it, also over a look at another
page; a change of the file touches the servers that it changes, no others.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from aionest._untrusted import for_label, for_markdown, for_page
from aionest.app import edit, state, widgets
from aionest.mcp import ToolsConfig, ToolsError
from aionest.mcp.auth import would_start

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from aionest.mcp import Diff, ServerStatus, ToolsLoader

LINES = 200  # of stderr and log that are shown


def servers() -> None:
    """Edit the configuration; look at servers, their stderr, and restart them."""
    st.title("Servers")
    state.journal.visit()
    file = state.config_file()
    st.markdown(f"`{file}`")  # no caption, which thins out this colour too
    loader = state.loader() if file.exists() else None
    _said()
    if loader is not None:
        top = widgets.row([1.5, 1.5])
        if top[0].button("Reload", help="Read the file again; unchanged servers stay open", key="reload"):
            _apply(loader, "Read again.")
        if top[1].button("Refresh", help="Look at the servers again", key="look"):
            st.rerun()
        _list(file, loader)
    elif file.exists():
        return  # it waits to be accepted
    else:
        st.info("There are no servers yet. Add one, or import those of another program.")
    st.subheader("Add")
    with st.expander("A server", icon=":material/add:"):
        _form(file, None)
    with st.expander("From another program's file", icon=":material/download:"):
        _import(file)
    st.subheader("The file")
    with st.expander("Edit as text", icon=":material/edit:", expanded=_draft(file) is not None):
        _text(file)


# -- what was done, told at the next run


def _tell(text: str, wrong: bool = False) -> None:
    st.session_state["said"] = (text, wrong)


def _said() -> None:
    text, wrong = st.session_state.pop("said", ("", False))
    if text:
        (st.error if wrong else st.success)(for_markdown(text))


def _changes(diff: Diff) -> str:
    parts = [
        f"{what}: {', '.join(names)}"
        for what, names in (
            ("added", diff.added),
            ("changed", diff.changed),
            ("removed", diff.removed),
            ("untouched", diff.kept),
            ("failed", diff.failed),
        )
        if names
    ]
    return "; ".join(parts)


def _apply(loader: ToolsLoader, text: str) -> None:
    """Make what is open agree with the file, and say what that did."""
    before = set(loader.errors)
    try:
        with st.spinner("Applying ..."):
            diff = loader.reload()
    except ToolsError as exc:  # a server that the configuration requires
        _tell(f"{text} {exc}", wrong=True)
    else:
        told = [f"{text} {_changes(diff)}".strip()]
        touched = {*diff.added, *diff.changed, *diff.updated}
        failed = [why for name, why in loader.errors.items() if name in touched or name not in before]
        _tell("\n".join([*told, *failed]), wrong=bool(failed))
    st.rerun()


def _after(file: Path, problems: list[str], text: str) -> None:
    """The end of a change of the file: what is wrong with it, or the servers as it wants them."""
    if problems:
        for problem in problems:
            widgets.wrong(problem)
        st.caption("Nothing was saved.")
        return
    state.accept(file)
    _apply(state.ready(file), text)


# -- the list


def _list(file: Path, loader: ToolsLoader) -> None:
    for name, status in loader.status.items():
        with st.container(border=True):
            _server(file, loader, name, status)
    for name, text in loader.errors.items():
        if name in loader.status:
            continue
        with st.container(border=True):
            st.markdown(f":red[●] **{for_label(name)}** not valid")
            widgets.wrong(text)
            if name != "(configuration)":
                _ask_to_remove(name)
                _remove(file, name)
    if not loader.status and not loader.errors:
        st.info("The file has no servers.")


def _server(file: Path, loader: ToolsLoader, name: str, status: ServerStatus) -> None:
    st.markdown(widgets.state(status))
    st.caption(widgets.facts(status))
    if status.error and status.state != "connected":
        widgets.wrong(status.error)
    shown = f"edit shown {name}"
    _buttons(file, loader, name, status.state != "disabled", shown)
    if st.session_state.get(shown):
        _form(file, name)
    logged = state.journal.logs(name)
    if status.instructions:
        with st.expander("What it says of itself"):
            st.text(for_page(status.instructions, 20_000))
    if status.stderr or logged:
        with st.expander("What it wrote"):
            if status.stderr:
                st.caption("stderr")
                widgets.code("\n".join(status.stderr[-LINES:]), None)
            if logged:
                st.caption("log messages")
                lines = [f"{widgets.clock(at)} {level}: {text}" for at, level, text in logged[-LINES:]]
                widgets.code("\n".join(lines), None)


def _buttons(file: Path, loader: ToolsLoader, name: str, on: bool, shown: str) -> None:
    """The two that are used most, and a menu of the others."""
    places = widgets.row([1.2, 1.4, 1.6])
    if on and places[0].button("Test", help="Check that it responds", key=f"test {name}"):
        _test(loader, name)
    if on and places[1].button("Restart", help="Stop the server and start it again", key=f"restart {name}"):
        _restart(loader, name)
    if not on:
        _switch(file, name, on, places[0])
    with places[2].popover("More"):
        if on:
            _switch(file, name, on, st.container())
        label = "Close the form" if st.session_state.get(shown) else "Edit"
        if st.button(label, key=f"edit {name}", **widgets.STRETCH):
            st.session_state[shown] = not st.session_state.get(shown)
            st.rerun()
        _ask_to_remove(name)
    _remove(file, name)  # not in the menu, which may be closed by now


def _switch(file: Path, name: str, on: bool, place: DeltaGenerator) -> None:
    if place.button("Disable" if on else "Enable", key=f"switch {name}", **widgets.STRETCH):
        _after(file, edit.switch(file, name, not on), f"{name} is {'off' if on else 'on'}.")


def _restart(loader: ToolsLoader, name: str) -> None:
    with st.spinner(f"Restarting {for_label(name)} ..."):
        try:
            loader.restart(name)
        except ToolsError as exc:
            _tell(str(exc), wrong=True)
        else:
            _tell(f"{name} was restarted.")
    st.rerun()


def _test(loader: ToolsLoader, name: str) -> None:
    with st.spinner(f"Asking {for_label(name)} ..."):
        try:
            seconds = loader.ping(name)
        except ToolsError as exc:
            _tell(str(exc), wrong=True)
        else:
            _tell(f"{name} answered in {widgets.ms(seconds)}.")
    st.rerun()


def _ask_to_remove(name: str) -> None:
    if st.button("Remove", key=f"remove {name}", **widgets.STRETCH):
        st.session_state[f"remove asked {name}"] = True


def _remove(file: Path, name: str) -> None:
    asked = f"remove asked {name}"
    if not st.session_state.get(asked):
        return
    st.warning(f"Remove {for_label(name)} from the file?")
    yes, no = widgets.row([1.5, 1.5])
    if yes.button("Yes, remove", type="primary", key=f"remove yes {name}"):
        del st.session_state[asked]
        _after(file, edit.remove_server(file, name), f"{name} was removed.")
    if no.button("Keep it", key=f"remove no {name}"):
        del st.session_state[asked]
        st.rerun()


# -- a server's form


def _form(file: Path, name: str | None) -> None:
    """The form of a server, or of a new one."""
    config = ToolsConfig(file) if file.exists() and name is not None else ToolsConfig.from_dict({})
    now = edit.fields_of(config, name) if name is not None else edit.Fields()
    # a form that was saved is another one the next time, so that it starts anew
    key = f"form {name} {st.session_state.get(f'saved {name}', 0)}"
    kinds = [edit.PROGRAM, edit.HTTP, edit.SSE]
    kind = str(st.radio("How it is reached", kinds, kinds.index(now.kind), horizontal=True, key=f"{key} kind"))
    more = st.checkbox("More settings", key=f"{key} more")
    with st.form(key, border=False):
        called = st.text_input("Name", value=name or "", key=f"{key} name", placeholder="files")
        command = env = cwd = url = headers = ""
        if kind == edit.PROGRAM:
            command = st.text_input(
                "Command",
                value=now.command,
                key=f"{key} command",
                placeholder="npx -y @modelcontextprotocol/server-filesystem /some/folder",
                help="With its arguments, as you would type it in a terminal. ${NAME} is an environment variable.",
            )
            env = st.text_area(
                "Environment (NAME=value, one per line)",
                value=now.env,
                key=f"{key} env",
                height=80,
                help="${NAME} takes the value from the environment of this app, so that no secret is in the file.",
            )
            cwd = st.text_input("Folder", value=now.cwd, key=f"{key} cwd", placeholder="that of the file")
        else:
            url = st.text_input("Address", value=now.url, key=f"{key} url", placeholder="https://host/mcp")
            headers = st.text_area(
                "Headers (Name: value, one per line)",
                value=now.headers,
                key=f"{key} headers",
                height=80,
                help="For example Authorization: Bearer ${TOKEN}",
            )
        limits = now
        if more:
            left, right = st.columns(2)
            limits = edit.Fields(
                timeout=left.text_input("Seconds for an answer", now.timeout, key=f"{key} timeout", placeholder="60"),
                connect_timeout=right.text_input(
                    "Seconds to start", now.connect_timeout, key=f"{key} start", placeholder="30"
                ),
                prefix=st.text_input("Prefix of its tools", now.prefix, key=f"{key} prefix", placeholder="its name"),
                include=st.text_area("Only these tools (one per line)", now.include, key=f"{key} include", height=80),
                exclude=st.text_area("Not these tools (one per line)", now.exclude, key=f"{key} exclude", height=80),
            )
        sent = st.form_submit_button("Add" if name is None else "Save", type="primary")
    if not sent:
        return
    fields = dataclasses.replace(limits, kind=kind, command=command, env=env, cwd=cwd, url=url, headers=headers)
    value, problems = edit.value_of(fields, config.get(name) if name is not None else None)
    problems = problems or edit.put_server(file, called.strip(), value, name)
    if not problems:
        st.session_state[f"saved {name}"] = st.session_state.get(f"saved {name}", 0) + 1
        st.session_state.pop(f"edit shown {name}", None)
    _after(file, problems, f"{called.strip()} was saved.")


# -- import


def _import(file: Path) -> None:
    known = [host for host in ToolsConfig.known_host_files() if host.path.is_file() and not _same(host.path, file)]
    typed = st.text_input("File", key="import path", placeholder="/path/to/mcp.json")
    choices = [f"{host.host}: {host.path}" for host in known]
    chosen = st.selectbox("Found on this machine", choices, index=None, key="import known") if known else None
    sent = st.file_uploader("Or send one", ["json", "yaml", "yml", "toml"], key="import sent")
    if typed.strip():
        _choose_from(file, Path(typed.strip()).expanduser(), str(typed.strip()))
    elif chosen is not None:
        _choose_from(file, known[choices.index(chosen)].path, chosen)
    elif sent is not None:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / Path(sent.name).name
            copy.write_bytes(sent.getvalue())
            _choose_from(file, copy, sent.name)
    elif not known:
        st.caption("No file of Claude, Cursor or VS Code was found on this machine.")


def _choose_from(file: Path, source: Path, label: str) -> None:
    other = ToolsConfig(source)
    for error in other.errors:
        widgets.wrong(str(error).replace(str(source), Path(label).name))
    if not other.servers:
        if not other.errors:
            st.info("It has no servers.")
        return
    taken = ToolsConfig(file).raw if file.exists() else {}
    free = [name for name in other.servers if name not in taken]
    there = [name for name in other.servers if name in taken]
    if there:
        st.caption(f"Here already, and left as they are: {for_label(', '.join(there), 1000)}")
    if not free:
        return
    st.code("\n".join(would_start(other, free)), None, wrap_lines=True)
    names = st.multiselect("Servers", free, default=free, key=f"import names {label}")
    if st.button("Import", type="primary", disabled=not names, key="import"):
        _after(file, edit.import_servers(file, source, names), f"Imported: {', '.join(names)}.")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


# -- the text


def _draft(file: Path) -> dict[str, str] | None:
    """What was typed and not saved, with the file's text that it began with; None if nothing was."""
    draft: dict[str, str] | None = st.session_state.get("draft")
    return draft if draft is not None and draft["file"] == str(file) else None


# a file's text has letters of one width, and lines as they are
_CODE = """<style>.st-key-KEY textarea { font-family: "Source Code Pro", monospace; white-space: pre; overflow-x: auto; }</style>"""


def _complain(place: DeltaGenerator, problems: list[str], said: str) -> None:
    """All that is wrong with the text, in one list."""
    if problems:
        place.error("\n".join(f"- {for_label(one, 1000)}" for one in problems))
        place.warning(said)
    else:
        place.caption(said)


def _text(file: Path) -> None:
    try:
        written = edit.read(file)
    except (OSError, UnicodeDecodeError) as exc:
        widgets.wrong(f"The file cannot be read: {exc}")
        return
    draft = _draft(file)
    # a field of a new name wherever its text comes from elsewhere than the keyboard: its state is dropped when another page is
    # looked at, and setting it at each run would take back what is being typed
    number, start = st.session_state.get("editing", (0, ""))
    if (
        st.session_state.get("entered")
        or f"editor {number}" not in st.session_state
        or (draft is None and start != written)
    ):
        number, start = number + 1, written if draft is None else draft["text"]
        st.session_state["editing"] = (number, start)
    key = f"editor {number}"

    def typed() -> None:
        now = st.session_state[key]
        base = draft["base"] if draft is not None else written
        st.session_state["draft"] = {"file": str(file), "text": now, "base": base} if now != base else None

    above = st.container()  # what is wrong: it would be out of sight below
    st.markdown(_CODE.replace("KEY", key.replace(" ", "-")), unsafe_allow_html=True)
    text = st.text_area(
        "Configuration", value=start, height=320, key=key, on_change=typed, label_visibility="collapsed"
    )
    places = widgets.row([1.2, 1.8])
    save = places[0].button("Save", type="primary", key="save")
    if places[1].button("Undo changes", key="undo", disabled=draft is None):
        st.session_state["draft"] = None
        st.session_state["editing"] = (number + 1, "")
        st.rerun()
    if draft is None:
        if save:
            st.caption("Nothing was changed.")
        return
    if draft["base"] != written:
        st.warning("The file has changed since you began. Saving overwrites that change.")
    if not save:
        problems = edit.check(file, text)
        _complain(above, problems, f"Not saved yet{': it is not valid.' if problems else '.'}")
        return
    try:
        problems = edit.write(file, text)
    except (OSError, UnicodeEncodeError) as exc:
        problems = [f"The file cannot be written: {exc}"]
    if problems:
        _complain(above, problems, "Not saved: the file is as it was, and your text is still here.")
        return
    st.session_state["draft"] = None
    _after(file, [], "Saved.")
