"""The app in Chromium: a person's way through it, many reruns, several browsers, a killed server, the end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest
import support
from app_browser import PAGES, PATIENCE, SERVER, choose, entry, go, menu, opened, press, said, settled, shoot, started
from support import eventually

support.needs("streamlit", "mcp", "playwright")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(900),
    pytest.mark.long,
]


@pytest.fixture(autouse=True)
def nothing_left():
    """The browser of this module keeps threads and descriptors; servers are looked at in ``started``."""
    return


# -- the app


really_started = pytest.mark.parametrize("really", [True], ids=["command"])


@really_started
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_persons_way_through_the_app(browser, app, stop):
    tab = opened(browser, app)
    choose(tab, "two · echo")
    tab.get_by_role("textbox", name="text *").fill("hello there")
    press(tab, "Call")
    said(tab, "Done in")
    said(tab, "hello there")
    shoot(tab, "tools")
    for page in PAGES[1:]:
        go(tab, page)
        shoot(tab, page)
    go(tab, "tools")
    said(tab, "Done in")  # the history is still there, and what was typed
    field = tab.get_by_role("textbox", name="text *")
    eventually(lambda: field.input_value() == "hello there", "what was typed is lost")
    assert len(app.pids()) == 2  # opened once, whatever was rerun
    tab.context.close()


@pytest.mark.parametrize("look", ["dark", "narrow"])
def test_each_page_in_the_dark_and_on_a_narrow_screen(browser, app, look):
    options = {"color_scheme": "dark"} if look == "dark" else {"viewport": {"width": 390, "height": 844}}
    for page in PAGES:
        tab = opened(browser, app, page, **options)
        if page in ("tools", "servers"):
            tab.get_by_text("one").first.wait_for(state="attached")
        shoot(tab, f"{page}-{look}")
        beyond = "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
        assert tab.evaluate(beyond) <= 0, page
        back = tab.get_by_test_id("stApp").evaluate("e => getComputedStyle(e).backgroundColor")
        light = sum(int(n) for n in back[back.index("(") + 1 : -1].split(",")[:3]) > 3 * 128
        assert light == (look == "narrow"), back
        tab.context.close()


def test_the_keyboard_is_enough(browser, app):
    tab = opened(browser, app)
    choose(tab, "one · pid")
    tab.get_by_role("textbox", name="Search").focus()
    for _ in range(60):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.innerText") == "Call":
            break
    tab.keyboard.press("Enter")
    said(tab, "Done in")
    tab.get_by_test_id("stCode").get_by_text(str(app.pids()[0])).or_(
        tab.get_by_test_id("stCode").get_by_text(str(app.pids()[1]))
    ).wait_for()
    tab.context.close()


def test_a_storm_of_reruns_and_several_browsers(browser, app):
    """50 reruns in two browsers while a call of a third runs, and calls of their own afterwards."""
    first, second, third = (opened(browser, app) for _ in range(3))
    choose(third, "one · progress")
    third.get_by_label("steps *").fill("100")
    third.get_by_label("delay").fill("0.1")
    press(third, "Call")
    third.get_by_role("button", name="Cancel", exact=True).wait_for()
    for n in range(25):
        for tab in (first, second):
            tab.get_by_role("textbox", name="Search").fill("echo" if n % 2 else "pid")
            tab.keyboard.press("Enter")
    for tab, text in ((first, "from the first"), (second, "from the second")):
        tab.get_by_role("textbox", name="Search").fill("")
        tab.keyboard.press("Enter")
        choose(tab, "two · echo")
        tab.get_by_role("textbox", name="text *").fill(text)
        press(tab, "Call")
    for tab, text, other in (
        (first, "from the first", "from the second"),
        (second, "from the second", "from the first"),
    ):
        said(tab, "Done in")
        said(tab, text)
        settled(tab)
        assert tab.get_by_text(other).count() == 0
    said(third, "Done in")
    settled(third)
    assert third.get_by_text("from the").count() == 0
    go(first, "sessions")
    said(first, "Browsers")
    assert len(app.pids()) == 2
    for tab in (first, second, third):
        tab.context.close()


def test_calls_are_stopped_by_cancel_and_by_reruns(browser, app):
    tab = opened(browser, app)
    choose(tab, "one · sleep")
    tab.get_by_label("seconds *").fill("600")
    press(tab, "Call")
    tab.get_by_role("button", name="Cancel", exact=True).click()
    said(tab, "Stopped before there was a result.")
    press(tab, "Call")
    tab.get_by_role("button", name="Cancel", exact=True).wait_for()
    tab.get_by_role("textbox", name="Search").fill("sleep")
    tab.keyboard.press("Enter")
    tab.get_by_role("button", name="Cancel", exact=True).wait_for(state="detached")
    settled(tab)
    tab.get_by_role("textbox", name="Search").fill("")
    tab.keyboard.press("Enter")
    choose(tab, "one · cancellations")
    press(tab, "Call")
    said(tab, "Done in")
    tab.get_by_test_id("stCode").get_by_text("2", exact=True).wait_for()  # the server was told of both
    tab.context.close()


@really_started
def test_the_app_ends_cleanly_while_a_call_runs(browser, app):
    tab = opened(browser, app)
    choose(tab, "one · sleep")
    tab.get_by_label("seconds *").fill("600")
    press(tab, "Call")
    tab.get_by_role("button", name="Cancel", exact=True).wait_for()
    # the fixture ends the app now
    tab.context.close()


def test_a_killed_server_comes_back(browser, app):
    tab = opened(browser, app)
    choose(tab, "one · pid")
    press(tab, "Call")
    said(tab, "Done in")
    for pid in app.pids():
        os.kill(pid, signal.SIGKILL)
    press(tab, "Call")
    eventually(lambda: len(app.pids()) >= 3, "no new server")
    tab.get_by_text(str(app.pids()[2])).first.wait_for()
    tab.context.close()


def test_servers_are_added_changed_and_removed(browser, app):
    tab = opened(browser, app, "servers")
    before = app.pids()
    tab.get_by_text("A server", exact=True).click()
    tab.get_by_role("textbox", name="Name", exact=True).fill("two")
    new = entry(app.config.parent)
    tab.get_by_role("textbox", name="Command").fill(f"{new['command']} {' '.join(new['args'])}")
    press(tab, "Add")
    said(tab, "there is a server 'two' already")
    settled(tab)
    assert new["command"] in tab.get_by_role("textbox", name="Command").input_value()  # nothing typed is lost
    tab.get_by_role("textbox", name="Name", exact=True).fill("three")
    press(tab, "Add")
    said(tab, "untouched: one, two")
    assert json.loads(app.config.read_text())["mcpServers"]["three"] == new
    eventually(lambda: len(app.pids()) == 3, "the new server is not there")
    assert app.pids()[:2] == before  # the others were not touched
    settled(tab)
    menu(tab, 2, "Disable")
    said(tab, "three is off.")
    assert json.loads(app.config.read_text())["mcpServers"]["three"]["disabled"] is True
    settled(tab)
    tab.get_by_role("button", name="Test", exact=True).first.click()
    said(tab, "one answered in")
    settled(tab)
    tab.get_by_role("button", name="Restart", exact=True).first.click()
    said(tab, "one was restarted.")
    eventually(lambda: len(app.pids()) == 4, "not restarted")
    settled(tab)
    menu(tab, 2, "Remove")
    press(tab, "Yes, remove")
    said(tab, "three was removed.")
    assert list(json.loads(app.config.read_text())["mcpServers"]) == ["one", "two"]
    tab.context.close()


def test_a_bad_edit_of_the_text_is_not_saved_and_not_lost(browser, app):
    tab = opened(browser, app, "servers")
    before, pids = app.config.read_text(), app.pids()
    tab.get_by_text("Edit as text").click()
    editor = tab.get_by_role("textbox", name="Configuration")
    editor.fill(before.replace('"command"', '"comand"', 1))
    editor.press("Control+Enter")
    said(tab, "Not saved yet: it is not valid.")
    press(tab, "Save")
    said(tab, "Not saved: the file is as it was")
    assert app.config.read_text() == before
    go(tab, "about")
    go(tab, "servers")
    editor = tab.get_by_role("textbox", name="Configuration")
    eventually(lambda: '"comand"' in editor.input_value(), "what was typed is lost")
    good = json.loads(before)
    del good["mcpServers"]["two"]
    editor = tab.get_by_role("textbox", name="Configuration")
    editor.fill(json.dumps(good))
    editor.press("Control+Enter")
    said(tab, "Not saved yet.")
    press(tab, "Save")
    said(tab, "removed: two; untouched: one")
    assert json.loads(app.config.read_text()) == good and app.pids() == pids
    tab.context.close()


def test_without_servers_each_page_says_what_to_do(browser, tmp_path, is_alive):
    with started(tmp_path, is_alive, sys.executable, "-m", "aionest", "app") as app:
        for page, text in (("tools", "There are no servers yet"), ("sessions", "There are no servers yet")):
            tab = opened(browser, app, page)
            said(tab, text)
            shoot(tab, f"{page}-empty")
            tab.context.close()
        tab = opened(browser, app, "servers")
        said(tab, "There are no servers yet")
        shoot(tab, "servers-empty")
        # another program's file: looked at, then taken
        other = tmp_path / "other.json"
        other.write_text(json.dumps({"mcpServers": {"mine": entry(tmp_path), "not-this": {"command": "no-such"}}}))
        tab.get_by_text("From another program's file").click()
        tab.get_by_role("textbox", name="File").fill(str(other))
        tab.get_by_role("textbox", name="File").press("Enter")
        tab.get_by_role("combobox", name="Servers").wait_for()
        settled(tab)
        tab.get_by_role("button", name="Import", exact=True).wait_for()
        tab.get_by_role("combobox", name="Servers").click()
        tab.keyboard.press("Backspace")  # takes the last one out
        tab.keyboard.press("Tab")
        tab.get_by_text("not-this", exact=True).wait_for(state="detached")
        press(tab, "Import")
        said(tab, "Imported: mine.")
        assert list(json.loads((tmp_path / "mcp.json").read_text())["mcpServers"]) == ["mine"]
        go(tab, "tools")
        tab.locator(".st-key-tool-list").wait_for()
        tab.context.close()


def test_a_file_that_was_found_starts_nothing_until_accepted(browser, tmp_path, is_alive):
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"one": entry(tmp_path)}}))
    with started(tmp_path, is_alive, sys.executable, "-m", "aionest", "app") as app:
        tab = opened(browser, app)
        said(tab, "none of its servers has been started")
        assert app.pids() == []
        press(tab, "Use it")
        tab.locator(".st-key-tool-list").wait_for()
        assert len(app.pids()) == 1
        tab.context.close()


# -- an app of the usual form

USUAL_APP = """
import asyncio, atexit, sys
import streamlit as st
{apply}
from langchain_mcp_adapters.client import MultiServerMCPClient

class Loader:
    def load(self):
        asyncio.run(self.load_async())
        return self
    async def load_async(self):
        args = [{server!r}, "--pid-file", {pids!r}]
        self.client = MultiServerMCPClient({{"one": {{"command": sys.executable, "args": args, "transport": "stdio"}}}})
        self.context = self.client.session("one")
        self.session = await self.context.__aenter__()
    async def call_async(self, text):
        return (await self.session.call_tool("echo", {{"text": text}})).content[0].text
    def cleanup(self):
        asyncio.run(self.context.__aexit__(None, None, None))

@st.cache_resource
def loader():
    one = Loader().load()
    atexit.register(one.cleanup)
    return one

st.title("Usual")
st.write("said " + asyncio.run(asyncio.wait_for(loader().call_async("hello"), 10)))
st.button("Again")
"""


def usual(browser, tmp_path, is_alive, apply):
    """Five reruns in each of two browsers; what is wrong, if anything."""
    file = tmp_path / "usual.py"
    file.write_text(USUAL_APP.format(apply=apply, server=str(SERVER), pids=str(tmp_path / "pids")))
    problems = []
    try:
        command = [sys.executable, "-m", "streamlit", "run", str(file)]
        with started(tmp_path, is_alive, *command, wait=120 if "aionest" in apply else 30) as app:
            for _ in range(2):
                tab = browser.new_context().new_page()
                tab.set_default_timeout(PATIENCE)
                tab.goto(app.address)
                for _ in range(5):
                    tab.get_by_role("heading", name="Usual").wait_for()
                    settled(tab)
                    if tab.get_by_text("said hello").count() != 1 or tab.get_by_test_id("stException").count():
                        problems.append("the page shows an error")
                        break
                    press(tab, "Again")
                tab.context.close()
            if len(app.pids()) != 1:
                problems.append(f"{len(app.pids())} servers")
    except (AssertionError, subprocess.TimeoutExpired) as exc:
        problems.append(f"at the end: {exc}")
        for pid in [int(n) for n in (tmp_path / "pids").read_text().split()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return problems


def test_an_unmodified_app_of_the_usual_form_works_with_the_one_line(browser, tmp_path, is_alive):
    support.needs("langchain_mcp_adapters")
    assert usual(browser, tmp_path, is_alive, "import aionest; aionest.apply()") == []


@pytest.mark.parametrize("apply", ["", "import nest_asyncio; nest_asyncio.apply()"])
def test_the_same_app_without_it_fails(browser, tmp_path, is_alive, apply):
    """A test of the test above."""
    support.needs("langchain_mcp_adapters")
    if apply:
        pytest.importorskip("nest_asyncio")
    assert usual(browser, tmp_path, is_alive, apply)
