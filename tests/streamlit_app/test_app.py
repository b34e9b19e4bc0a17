"""The Streamlit parts: the app by Streamlit's own test driver, and a real server process that is started and stopped."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import forked
import pytest
import support
from servers import SERVER
from support import eventually, free_port

support.needs("streamlit", "mcp", "typer")

ROOT = Path(__file__).parent.parent.parent
BAD_WORDS = ("Traceback", "cancel scope", "CancelledError", "was never awaited", "was destroyed", "RuntimeError")


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "mcp.json"
    pids = tmp_path / "pids"
    servers = {n: {"command": sys.executable, "args": [str(SERVER), "--pid-file", str(pids)]} for n in ("one", "two")}
    servers["bad"] = {"command": "no-such-command"}
    file.write_text(json.dumps({"mcpServers": servers}))
    return file


def drive(config, body, really=False):
    """Run a program with the app under Streamlit's test driver in a process of its own; really: in a new interpreter."""
    program = """
        import aionest.app, os, warnings
        from pathlib import Path
        from streamlit.testing.v1 import AppTest
        app = AppTest.from_file(str(Path(aionest.app.__file__).parent / "main.py"), default_timeout=60).run()
        assert not app.exception, app.exception
    """
    program = textwrap.dedent(program) + textwrap.dedent(body)
    env = {**os.environ, "MCP_FILE": str(config), "HOME": str(config.parent)}
    command = [sys.executable, "-c", program]
    if really:
        r = subprocess.run(command, capture_output=True, text=True, timeout=115, env=env, check=False)
    else:
        r = forked.PAGES.run(command, timeout=115, env=env)
    assert r.returncode == 0, r.stdout + r.stderr
    assert not [word for word in BAD_WORDS if word in r.stderr], r.stderr
    for pid in (config.parent / "pids").read_text().split():
        assert not os.path.exists(f"/proc/{pid}"), "a server is left"
    return r.stdout


def test_a_tool_is_called_from_its_form(config):
    output = drive(
        config,
        """
        app.button(key="pick one__add").click().run()
        app.number_input(key="one__add/a").set_value(4.0)
        next(b for b in app.button if b.label == "Call").click().run()
        assert not app.exception and not app.error, (app.exception, app.error)
        print(app.json[0].value)
        for _ in range(20):
            app.run()
        assert not app.exception
        """,
        really=True,
    )
    assert json.loads(output) == {"sum": 5.0}


def test_wrong_arguments_and_failing_tools_are_shown(config):
    output = drive(
        config,
        """
        app.button(key="pick two__add").click().run()
        next(b for b in app.button if b.label == "Call").click().run()
        assert not app.exception
        print([e.value for e in app.error])
        app.button(key="pick two__fail").click().run()
        next(b for b in app.button if b.label == "Call").click().run()
        assert not app.exception and not app.error
        assert any("Failed in" in m.value for m in app.markdown)
        print([c.value for c in app.code])
        """,
    )
    wrong, code = output.splitlines()
    assert "a: missing" in wrong and "it failed" in code


@pytest.mark.slow
def test_other_pages(config):
    output = drive(
        config,
        """
        for page in ("servers", "sessions", "about"):
            one = AppTest.from_string(f"import aionest; aionest.apply(); from aionest.app import views; views.{page}()", default_timeout=60).run()
            assert not one.exception, one.exception
            print(one.title[0].value)
        """,
    )
    assert output.split() == ["Servers", "Sessions", "About"]


def test_a_bad_edit_loses_nothing(config):
    before = config.read_text()
    drive(
        config,
        """
        page = AppTest.from_string("import aionest; aionest.apply(); from aionest.app import views; views.servers()", default_timeout=60).run()
        page.text_area(key="editor 1").set_value('{"mcpServers": {"one": {"args": 5}}}').run()
        next(b for b in page.button if b.label == "Save").click().run()
        assert not page.exception and page.error and page.warning
        assert "args" in page.text_area(key="editor 1").value
        """,
    )
    assert config.read_text() == before


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
        self.client = MultiServerMCPClient({{"one": {{"command": sys.executable, "args": [{server!r}], "transport": "stdio"}}}})
        self.context = self.client.session("one")
        self.session = await self.context.__aenter__()
    def call(self, text):
        return asyncio.run(self.call_async(text))
    async def call_async(self, text):
        return (await self.session.call_tool("echo", {{"text": text}})).content[0].text
    def cleanup(self):
        asyncio.run(self.context.__aexit__(None, None, None))

@st.cache_resource
def loader():
    one = Loader().load()
    atexit.register(one.cleanup)
    return one

st.write("said " + asyncio.run(asyncio.wait_for(loader().call_async("hello"), 10)))
"""

DRIVER = """
import sys
from streamlit.testing.v1 import AppTest
app = AppTest.from_file(sys.argv[1], default_timeout=60)
for _ in range(5):
    app.run()
    print([e.message for e in app.exception], [m.value for m in app.markdown])
"""


def usual_app(tmp_path, apply):
    file = tmp_path / "usual.py"
    file.write_text(USUAL_APP.format(apply=apply, server=str(SERVER)))
    return forked.PAGES.run([sys.executable, "-c", DRIVER, str(file)], timeout=120, cwd=tmp_path)


def test_an_unmodified_app_of_the_usual_form_works_with_the_one_line(tmp_path):
    support.needs("langchain_mcp_adapters")
    r = usual_app(tmp_path, "import aionest; aionest.apply(shared=True)")
    assert r.returncode == 0 and r.stdout == "[] ['said hello']\n" * 5, r
    assert not [word for word in BAD_WORDS if word in r.stderr], r.stderr


@pytest.mark.slow
def test_the_same_app_without_it_fails(tmp_path):
    """A test of the test above."""
    support.needs("langchain_mcp_adapters")
    r = usual_app(tmp_path, "")
    assert r.stdout != "[] ['said hello']\n" * 5 or [word for word in BAD_WORDS if word in r.stderr], r


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_app_starts_and_stops_cleanly(config, number):
    port = free_port()
    command = [sys.executable, "-m", "aionest", "app", "--config", str(config), "--server.port", str(port)]
    command += ["--server.headless", "true", "--browser.gatherUsageStats", "false"]
    env = {**os.environ, "HOME": str(config.parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as process:

        def is_healthy():
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/_stcore/health")
                status = connection.getresponse().status
                connection.close()
            except OSError:
                return False
            return status == 200

        eventually(is_healthy, every=0.1)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert not [word for word in BAD_WORDS if word in output], output
