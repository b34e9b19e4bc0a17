"""Programs that drive the app's pages are forked, see ``forked``; those of ``test_recipes`` and some others are really started.
What the tests in Chromium share is in ``app_browser``."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import textwrap

import app_browser
import forked
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session", autouse=True)
def forked_pages():
    with forked.PAGES.there():
        yield


@pytest.fixture
def driver(tmp_path):
    """Makes what runs programs that drive pages, each after the same beginning, with these servers in a configuration of its own."""

    def make(servers, begin):
        (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": servers}))

        def run(body):
            env = {**os.environ, "MCP_FILE": str(tmp_path / "mcp.json"), "HOME": str(tmp_path)}
            program = textwrap.dedent(begin) + textwrap.dedent(body)
            done = forked.PAGES.run([sys.executable, "-c", program], timeout=115, env=env)
            assert done.returncode == 0, done.stdout + done.stderr
            return done

        return run

    return make


@pytest.fixture
def stop():
    """What ends the app."""
    return signal.SIGTERM


@pytest.fixture
def really():
    """Is the app started by its command?"""
    return False


@pytest.fixture
def app(tmp_path, is_alive, stop, really):
    """The app with two servers."""
    with app_browser.app_with_two_servers(tmp_path, is_alive, stop, really) as app:
        yield app


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with app_browser.chromium_at(CHROMIUM) as chromium:
        yield chromium


@pytest.fixture
def browser(chromium):
    """Its pages are closed after the test."""
    yield chromium
    app_browser.leave(chromium, os.environ["PYTEST_CURRENT_TEST"].split("::")[1].split(" ")[0])
