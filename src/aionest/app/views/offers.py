"""Resources and prompts: look at what servers offer besides tools.

Contract: servers are asked when a page is entered and at Refresh, not at each rerun; what was read last stays until something
else is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from aionest._untrusted import for_cell, for_label, for_markdown
from aionest.app import results, state, widgets
from aionest.mcp import ToolResult, ToolsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aionest.mcp import ToolsLoader

R = TypeVar("R")


def resources() -> None:
    """Choose a resource, or write its address; read it."""
    st.title("Resources")
    loader = state.loader()
    if loader is None:
        return
    found = _asked("resources", loader, lambda: (loader.resources(), loader.resource_templates()))
    if found is None:
        return
    there, templates = found
    listed = [(server, one) for server, all_of_it in there.items() for one in all_of_it]
    shapes = [(server, str(one.get("uriTemplate", ""))) for server, all_of_it in templates.items() for one in all_of_it]
    if not listed and not shapes:
        st.info("None of the connected servers offers resources.")
        return
    by_label = {_resource(*pair): pair for pair in listed}
    label = st.selectbox(
        f"Resource ({len(by_label)})", [*by_label], None, placeholder="choose one, or write an address"
    )
    chosen = by_label.get(label or "")
    server, address = _address(sorted({*there, *templates}, key=lambda name: (not templates.get(name), name)), shapes)
    if address:
        _read(loader, server, address)
    elif chosen is not None and st.session_state.get("resource chosen") != label:
        _read(loader, chosen[0], str(chosen[1].get("uri")))
    st.session_state["resource chosen"] = label
    _shown("resource")


def prompts() -> None:
    """Choose a prompt, fill in its arguments, look at its messages."""
    st.title("Prompts")
    loader = state.loader()
    if loader is None:
        return
    found = _asked("prompts", loader, loader.prompts)
    if found is None:
        return
    listed = [(server, one) for server, all_of_it in found.items() for one in all_of_it]
    if not listed:
        st.info("None of the connected servers offers prompts.")
        return
    by_label = {_prompt(*pair): pair for pair in listed}
    label = st.selectbox(f"Prompt ({len(by_label)})", [*by_label])
    server, prompt = by_label.get(label or "", listed[0])
    st.markdown(for_markdown(prompt.get("description") or "") or "No description.")
    given = _filled(prompt, f"prompt {server} {prompt['name']}")
    if given is not None:
        _get(loader, server, str(prompt["name"]), given)
    _shown("prompt")


def _address(servers: list[str], shapes: list[tuple[str, str]]) -> tuple[str, str]:
    """A server and an address that a person has written; empty if they have not just now."""
    with st.form("address", border=True):
        server = st.selectbox("Server", servers) if len(servers) > 1 else servers[0]
        address = st.text_input("Address", placeholder=for_cell(shapes[0][1]) if shapes else "note://1")
        for owner, shape in shapes:
            st.caption(for_label(f"{owner}: {shape}", 300))
        sent = st.form_submit_button("Read")
    return str(server), address.strip() if sent else ""


def _filled(prompt: dict[str, Any], key: str) -> dict[str, str] | None:
    """The form of a prompt's arguments; what was filled in, None if it was not sent just now or something is missing."""
    wanted = prompt.get("arguments") or []
    given: dict[str, str] = {}
    with st.form(key, border=True):
        for one in wanted:
            name, text = str(one.get("name")), one.get("description")
            given[name] = st.text_input(
                for_label(f"{name} *" if one.get("required") else name),
                help=for_markdown(text) if isinstance(text, str) else None,
                placeholder="" if one.get("required") else "optional",
                key=f"{key} {name}",
            )
        sent = st.form_submit_button("Show", type="primary")
    if not sent:
        return None
    missing = [str(one["name"]) for one in wanted if one.get("required") and not given[str(one["name"])]]
    for name in missing:
        widgets.wrong(f"{name}: required.")
    return None if missing else {name: value for name, value in given.items() if value}


def _asked(what: str, loader: ToolsLoader, ask: Callable[[], R]) -> R | None:
    """What servers said when they were asked last; None after a word about an error."""
    again = st.button("Refresh", help="Ask the servers again", key=f"refresh {what}")
    if again or st.session_state.get("entered") or what not in st.session_state:
        try:
            with st.spinner("Asking the servers ..."):
                st.session_state[what] = ask()
        except ToolsError as exc:
            widgets.wrong(exc)
            return None
    found: R = st.session_state[what]
    return found


def _resource(server: str, one: dict[str, object]) -> str:
    return for_cell(f"{server} · {one.get('title') or one.get('name') or ''} · {one.get('uri', '')}")


def _prompt(server: str, one: dict[str, object]) -> str:
    title = one.get("title") or one["name"]
    return for_cell(f"{server} · {title}" + ("" if title == one["name"] else f" ({one['name']})"))


def _read(loader: ToolsLoader, server: str, address: str) -> None:
    try:
        with st.spinner("Reading ..."):
            contents = loader.read_resource(server, address)
    except ToolsError as exc:
        st.session_state["resource"] = (f"{server} · {address}", str(exc))
        return
    blocks = [{"type": "resource", "resource": one} for one in contents]
    st.session_state["resource"] = (f"{server} · {address}", [("", ToolResult(blocks, server=server))])


def _get(loader: ToolsLoader, server: str, name: str, given: dict[str, str]) -> None:
    try:
        with st.spinner("Asking ..."):
            messages = loader.get_prompt(server, name, given)
    except ToolsError as exc:
        st.session_state["prompt"] = (f"{server}.{name}", str(exc))
        return
    found = [(str(one.get("role")), ToolResult([one.get("content") or {}], server=server)) for one in messages]
    st.session_state["prompt"] = (f"{server}.{name}", found)


def _shown(what: str) -> None:
    """What was asked for last: an error's text, or results, each with who says it."""
    name, found = st.session_state.get(what, ("", []))
    if not name:
        return
    st.subheader(for_label(name, 300))
    if isinstance(found, str):
        widgets.wrong(found)
        return
    for number, (role, result) in enumerate(found):
        if role:
            st.markdown(f"**{for_label(role)}**")
        view = widgets.one_of("Show as", results.views(result), f"view {what} {number}")
        results.show_as(result, view, f"{what} {number}")
        results.show_links(result, f"{what} {number}")
