"""The app in Chromium: a person's way through it, many reruns, two browsers, a killed server, the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("streamlit")
pytest.importorskip("mcp")
sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium"),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(240),
    pytest.mark.long,
]

SERVER = Path(__file__).parent.parent.parent / "examples" / "servers" / "bare.py"
SHOTS = Path(os.environ.get("AIONEST_SCREENSHOTS") or "/nonexistent")
BAD_WORDS = ("Traceback", "cancel scope", "CancelledError", "was never awaited", "was destroyed", "RuntimeError")


@pytest.fixture
def app(tmp_path, is_alive):
    """A running app: its process, address and configuration. Stopped by SIGTERM; then its log must be clean."""
    pids = tmp_path / "pids"
    config = tmp_path / "mcp.json"
    one = {"command": sys.executable, "args": [str(SERVER), "--pid-file", str(pids)]}
    config.write_text(json.dumps({"mcpServers": {"one": one, "two": one}}, indent=1))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [sys.executable, "-m", "aionest", "app", "--config", str(config), "--server.port", str(port)]
    command += ["--server.headless", "true", "--browser.gatherUsageStats", "false"]
    log = (tmp_path / "log").open("w+")
    env = {**os.environ, "HOME": str(tmp_path)}
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.1)
    process.address = f"http://127.0.0.1:{port}"
    process.pids = lambda: [int(n) for n in pids.read_text().split()]
    process.config = config
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    log.seek(0)
    text = log.read()
    log.close()
    assert not [word for word in BAD_WORDS if word in text], text
    end = time.monotonic() + 15
    while any(is_alive(n) for n in process.pids()) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [n for n in process.pids() if is_alive(n)]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(autouse=True)
def nothing_left():
    """The browser of this module keeps threads and descriptors; servers are looked at in ``app``."""
    return


def opened(browser, app, page="tools"):
    tab = browser.new_page()
    tab.set_default_timeout(60_000)
    tab.goto(app.address if page == "tools" else f"{app.address}/{page}")
    tab.get_by_role("heading", name=page.capitalize()).wait_for()
    return tab


def shoot(tab, name):
    if SHOTS.is_dir():
        tab.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def settled(tab):
    """Wait until the page is connected and no script runs, by Streamlit's own marks."""
    mark = '[data-testid="stApp"][data-test-script-state="notRunning"][data-test-connection-state="CONNECTED"]'
    tab.locator(mark).wait_for(state="attached")


def choose(tab, title):
    """Type a tool's name into the list and take it. The list draws only what is in sight, so typing is needed."""
    box = tab.get_by_role("combobox", name="Tool")
    option = tab.get_by_role("option", name=title, exact=True)
    for attempt in range(10):
        settled(tab)
        box.click()
        box.fill(title)
        try:
            option.click(timeout=10_000)
            break
        except sync_api.TimeoutError:  # a rerun has drawn the list anew while it was open
            if attempt == 9:
                raise
            tab.keyboard.press("Escape")
    # the form of the tool before stays until the script has come by, and what is typed into it then is lost
    tab.get_by_text(title.replace(" · ", "__"), exact=True).first.wait_for()
    settled(tab)


def test_a_persons_way_through_the_app(browser, app):
    tab = opened(browser, app)
    choose(tab, "one · echo")
    tab.get_by_role("textbox", name="text *").fill("hello there")
    tab.get_by_role("button", name="Call").click()
    tab.get_by_text("done in").first.wait_for()
    assert tab.get_by_text("hello there").count() >= 1
    shoot(tab, "tools")
    for page in ("servers", "sessions", "about"):
        other = opened(browser, app, page)
        other.get_by_text("one").first.wait_for(state="attached")
        shoot(other, page)
        other.close()
    assert len(app.pids()) == 2  # opened once, whatever was rerun
    tab.close()


def test_a_storm_of_reruns_and_two_browsers(browser, app):
    first, second = opened(browser, app), opened(browser, app)
    for n in range(25):
        for tab in (first, second):
            tab.get_by_role("textbox", name="Search").fill("echo" if n % 2 else "pid")
            tab.keyboard.press("Enter")
    for tab, text in ((first, "from the first"), (second, "from the second")):
        tab.reload()
        tab.get_by_role("heading", name="Tools").wait_for()
        tab.get_by_role("combobox", name="Tool").wait_for()
        choose(tab, "two · echo")
        tab.get_by_role("textbox", name="text *").fill(text)
        tab.get_by_role("button", name="Call").click()
    for tab, text, other in (
        (first, "from the first", "from the second"),
        (second, "from the second", "from the first"),
    ):
        tab.get_by_text("done in").first.wait_for()
        assert tab.get_by_text(text).count() >= 1
        assert tab.get_by_text(other).count() == 0
        tab.close()
    assert len(app.pids()) == 2


def test_a_killed_server_comes_back(browser, app):
    tab = opened(browser, app)
    choose(tab, "one · pid")
    tab.get_by_role("button", name="Call").click()
    tab.get_by_text("done in").first.wait_for()
    for pid in app.pids():
        os.kill(pid, signal.SIGKILL)
    tab.get_by_role("button", name="Call").click()
    end = time.monotonic() + 30
    while len(app.pids()) < 3 and time.monotonic() < end:
        time.sleep(0.1)
    tab.get_by_text(str(app.pids()[-1])).first.wait_for()
    tab.close()
