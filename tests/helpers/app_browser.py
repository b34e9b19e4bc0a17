"""The app, or another Streamlit script, in a process of its own, and Chromium that looks at it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import forked
from servers import SERVER
from support import eventually, listens

SHOTS = Path(os.environ.get("AIONEST_SCREENSHOTS") or "/nonexistent")
BAD_WORDS = ("Traceback", "cancel scope", "CancelledError", "was never awaited", "was destroyed", "RuntimeError")
PAGES = ("tools", "resources", "prompts", "messages", "assistant", "servers", "sessions", "about")
PATIENCE = 60_000  # ms; machines may be slow


class App:
    """A running app: its process, address, configuration and the processes of its servers."""

    def __init__(self, folder, process, port, log):
        self.process, self.log = process, log
        self.address = f"http://127.0.0.1:{port}"
        self.config = folder / "mcp.json"
        self.pid_file = folder / "pids"

    def pids(self):
        return [int(n) for n in self.pid_file.read_text().split()] if self.pid_file.exists() else []


def entry(folder):
    return {"command": sys.executable, "args": [str(SERVER), "--pid-file", str(folder / "pids")]}


@contextlib.contextmanager
def started(folder, is_alive, *command, stop=signal.SIGTERM, wait=120, forked_with=None):
    """A Streamlit server. Stopped by a signal; then its log must be clean and no server of it left.

    forked_with: variables of a program that is forked, with its libraries there already.
    """
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    options = ["--server.port", str(port), "--server.headless", "true", "--browser.gatherUsageStats", "false"]
    env = {**os.environ, "HOME": str(folder)}
    env.pop("MCP_FILE", None)
    with (folder / "log").open("w+") as log, open(os.devnull) as nothing:
        if forked_with is None:
            process = subprocess.Popen([*command, *options], stdout=log, stderr=subprocess.STDOUT, env=env, cwd=folder)
        else:
            streams = {"stdin": nothing, "stdout": log, "stderr": log}
            process = forked.PAGES.popen([*command, *options], **streams, env={**env, **forked_with}, cwd=folder)
        app = App(folder, process, port, log)
        try:
            eventually(lambda: process.poll() is not None or listens(port), "the app does not listen", timeout=120)
            yield app
            process.send_signal(stop)
            process.wait(wait)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            log.seek(0)
            app.text = log.read()
    assert not [word for word in BAD_WORDS if word in app.text], app.text
    eventually(lambda: not any(is_alive(n) for n in app.pids()), "a server is left")


@contextlib.contextmanager
def app_with_two_servers(folder, is_alive, stop=signal.SIGTERM, really=True):
    """really: by its command. Else what that becomes is forked, without the second that Streamlit takes to import."""
    config = folder / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"one": entry(folder), "two": entry(folder)}}, indent=1))
    if really:
        command, forked_with = ["aionest", "app", "--config", str(config)], None
    else:
        from aionest.cli.streamlit import DEFAULTS

        command = ["aionest.app", *(f"--{name}={value}" for name, value in DEFAULTS.items())]
        forked_with = {"MCP_FILE": str(config)}
    with started(folder, is_alive, sys.executable, "-m", *command, stop=stop, forked_with=forked_with) as app:
        yield app


@contextlib.contextmanager
def chromium_at(path):
    from playwright import sync_api

    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def leave(chromium, test):
    """Close all pages; those that are still there, since the test failed, are kept with the screenshots."""
    for number, context in enumerate(chromium.contexts):
        for tab in context.pages:
            shoot(tab, f"left-{test}-{number}")
        context.close()


def opened(browser, app, page="tools", **options):
    tab = browser.new_context(**options).new_page()
    tab.set_default_timeout(PATIENCE)
    tab.goto(app.address if page == "tools" else f"{app.address}/{page}")
    tab.get_by_role("heading", name=page.capitalize(), exact=True).wait_for()
    settled(tab)
    if tab.get_by_role("dialog").count():  # the oldest Streamlit says of each page's own address that there is none
        tab.keyboard.press("Escape")
        tab.get_by_role("dialog").wait_for(state="detached")
    return tab


def settled(tab):
    """Wait until the page is connected and no script runs, by Streamlit's own marks."""
    mark = '[data-testid="stApp"][data-test-script-state="notRunning"][data-test-connection-state="CONNECTED"]'
    tab.locator(mark).wait_for(state="attached")


def shoot(tab, name):
    if SHOTS.is_dir():
        tab.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")
        tab.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def choose(tab, title):
    """Take a tool of the list: "server · name"."""
    name = title.replace(" · ", "__")
    settled(tab)
    tab.locator(f".st-key-pick-{name} button").click()
    # the form of the tool before stays until the script has come by, and what is typed into it then is lost
    tab.get_by_text(f"{name} of server").first.wait_for()
    settled(tab)


def press(tab, name):
    settled(tab)
    tab.get_by_role("button", name=name, exact=True).first.click()


def menu(tab, number, name):
    """Take an entry of a server's menu, which may be open still."""
    settled(tab)
    found = tab.get_by_role("button", name=name, exact=True)
    if not found.last.is_visible():
        tab.get_by_role("button", name="More", exact=True).nth(number).click()
    found.last.click()
    settled(tab)
    tab.keyboard.press("Escape")


def go(tab, page):
    """To another page, in the same browser session."""
    settled(tab)
    tab.get_by_test_id("stSidebarNav").get_by_text(page.capitalize(), exact=True).click()
    tab.get_by_role("heading", name=page.capitalize(), exact=True).wait_for()
    settled(tab)


def said(tab, text):
    tab.get_by_text(text).first.wait_for()
