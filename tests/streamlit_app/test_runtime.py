"""aionest under a real Streamlit server, visited over its websocket: who sees what, what a rerun stops, what is closed when."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import support
from support import eventually

support.needs("streamlit", "mcp", "websockets")

ROOT = Path(__file__).parent.parent.parent
BARE = ROOT / "examples" / "servers" / "bare.py"
BAD_WORDS = ("Traceback", "cancel scope", "CancelledError", "was never awaited", "was destroyed", "RuntimeError")
pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore"), pytest.mark.long]

specification = importlib.util.spec_from_file_location("streamlit_session", ROOT / "tools" / "streamlit_session.py")
sessions = importlib.util.module_from_spec(specification)
specification.loader.exec_module(sessions)
Session = sessions.Session


class Site:
    """A running script."""

    def __init__(self, server, folder):
        self.server, self.port, self.folder = server, server.port, folder

    def pids(self):
        file = self.folder / "pids"
        return [int(n) for n in file.read_text().split()] if file.exists() else []


@pytest.fixture
def site(tmp_path, is_alive):
    """Runs a script; at the end its log is clean and no server is left."""
    started = []

    def site(script, *options):
        args = [str(BARE), "--pid-file", str(tmp_path / "pids")]
        file = {"mcpServers": {"one": {"command": sys.executable, "args": args}}}
        (tmp_path / "mcp.json").write_text(json.dumps(file))
        (tmp_path / "app.py").write_text(textwrap.dedent(script))
        server = sessions.Server(["streamlit", "run", "app.py", *options], tmp_path, {"HOME": str(tmp_path)})
        started.append(server)
        server.wait()
        return Site(server, tmp_path)

    yield site
    for server in started:
        log = server.stop(limit=120)
        assert not [word for word in BAD_WORDS if word in log], log
        one = Site(server, tmp_path)
        eventually(lambda: not [pid for pid in one.pids() if is_alive(pid)], "a server is left")


def test_each_session_sees_what_it_wrote_itself(site):
    running = site("""
        import asyncio, sys, threading
        import streamlit as st
        import aionest
        aionest.apply()
        name = st.query_params["name"]

        async def part(n):
            for _ in range(10):
                st.write(f"{name} {n}")
                await asyncio.sleep(0.002)

        async def main():
            st.write(f"{name} thread {threading.current_thread() is threading.main_thread()}")
            await asyncio.gather(part(1), part(2))

        asyncio.run(main())
        st.session_state["runs"] = st.session_state.get("runs", 0) + 1
        st.write(f"{name} {st.session_state['runs']} runs")
    """)
    failures = []

    def visit(name):
        try:
            with Session(running.port, f"name={name}") as session:
                for number in range(1, 6):
                    texts = session.run()
                    assert not session.errors, session.errors
                    assert len(texts) == 22 and all(text.startswith(f"{name} ") for text in texts), texts
                    assert texts[-1] == f"{name} {number} runs"
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=visit, args=(f"visitor{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


CALLS = """
    import time
    import streamlit as st
    from aionest.streamlit import call, stream, tools_loader
    loader = tools_loader("mcp.json")
    if st.button("Long"):
        st.write("calling")
        call(loader, "one.sleep", {"seconds": 600})
    if st.button("Keep"):
        st.write("calling")
        call(loader, "one.sleep", {"seconds": 3}, keep_running=True)
    if st.button("Steps"):
        st.write(str(call(loader, "one.progress", {"steps": 5, "delay": 0.3})))
    if st.button("Stream"):
        st.write_stream(stream(loader, "one.progress", {"steps": 3, "delay": 0.3}))
    if st.button("Long stream"):
        st.write("calling")
        st.write_stream(stream(loader, "one.sleep", {"seconds": 600}))
    if st.button("Await"):
        from aionest import portal
        import asyncio
        async def wait():
            st.write("calling")
            await asyncio.sleep(0.01)
            st.write("awaited")
        portal().call(wait)
    if st.button("Clear"):
        tools_loader.clear()
        st.stop()
    if st.button("Clear all"):
        st.cache_resource.clear()
        st.stop()
    status = loader.status["one"]
    st.write(f"open {status.open_calls} calls {status.calls} cancelled {loader.call('one.cancellations')}")
"""


def numbers(texts):
    words = texts[-1].split()
    return {words[n]: int(words[n + 1]) for n in (0, 2, 4)}


@pytest.mark.parametrize("how", ["rerun", "stop", "the browser leaves"])
@pytest.mark.parametrize("button", ["Long", "Long stream"])
def test_a_call_ends_with_its_script(site, how, button):
    running = site(CALLS)
    with Session(running.port) as other:
        other.run()
        with Session(running.port) as session:
            session.run()
            session.send(button)
            session.finish(until="calling")
            eventually(lambda: numbers(other.run())["open"] == 1, "the call does not begin")
            if how == "rerun":
                session.send()
                session.finish()
            elif how == "stop":
                session.send(stop=True)
            else:
                session.close()
            seen = {}

            def stopped():
                seen.update(numbers(other.run()))
                return seen["cancelled"] == 1 and seen["open"] == 0

            eventually(stopped, seen)  # the server was told
            assert not other.errors
    assert len(running.pids()) == 1


def test_a_call_goes_on_when_asked_to(site):
    running = site(CALLS)
    with Session(running.port) as other, Session(running.port) as session:
        other.run()
        calls = numbers(session.run())["calls"]
        session.send("Keep")
        session.finish(until="calling")
        eventually(lambda: numbers(other.run())["open"] == 1, "the call does not begin")
        found = numbers(session.run())
        assert found["cancelled"] == 0
        eventually(lambda: numbers(session.run())["open"] == 0, "the call does not end")
        found = numbers(session.run())
        assert found["cancelled"] == 0 and found["calls"] > calls + 1
        assert not session.errors


def test_results_and_progress_arrive_while_a_call_runs(site):
    running = site(CALLS)
    with Session(running.port) as session:
        session.run()
        texts = session.run("Steps")
        assert "done" in texts, texts
        texts = session.run("Stream")
        streamed = [text for text in texts if "step" in text]
        # it grows: the first step was shown before the last one was there
        assert "step 3" not in streamed[0] and "step 1" in streamed[0], texts
        assert "step 3" in streamed[-1] and any("done" in text for text in texts), texts
        assert "awaited" in session.run("Await")
        assert not session.errors


@pytest.mark.parametrize("button", ["Clear", "Clear all"])
def test_clearing_the_cache_closes_the_loader(site, button, is_alive):
    running = site(CALLS)
    with Session(running.port) as session:
        for _ in range(5):
            session.run()
        assert len(running.pids()) == 1
        session.run(button)
        session.run()
        assert len(running.pids()) == 2
        eventually(lambda: not is_alive(running.pids()[0]), "the old server is left")
        assert is_alive(running.pids()[1]) and not session.errors


def test_a_loader_of_a_session_ends_with_it(site, is_alive):
    running = site("""
        import streamlit as st
        from aionest.streamlit import tools_loader
        loader = tools_loader("mcp.json", scope="session")
        st.write(f"pid {loader.call('one.pid')}")
        if st.button("Forget"):
            st.session_state.clear()
    """)
    with Session(running.port) as first, Session(running.port) as second:
        # the first runs write how far the servers are, too
        texts = [one.run()[-1:] for one in (first, second, first, second)]
        assert texts[0] == texts[2] and texts[1] == texts[3] and texts[0] != texts[1], texts
        mine = int(texts[0][0].split()[1])
        first.run("Forget")  # as Streamlit does with the state of a session that has ended
        eventually(lambda: not is_alive(mine), "the server of a session that is over is left")
        assert second.run() == texts[1]
        assert first.run() != texts[0]


def test_fragments_and_connections(site):
    running = site("""
        import streamlit as st
        from aionest.streamlit import MCPConnection, call
        connection = st.connection("tools", type=MCPConnection, config="mcp.json")
        st.write(f"{len(connection.tools())} tools")

        @st.fragment
        def part():
            if st.button("In part"):
                st.write("part: " + str(call(connection.loader, "one.echo", {"text": "hello"})))

        part()
        if st.button("Reset"):
            connection.reset()
    """)
    with Session(running.port) as session:
        shown = session.run()
        assert re.fullmatch(r"[1-9]\d* tools", *shown)
        assert session.run("In part") == ["part: hello"]  # only the fragment ran
        session.run("Reset")
        assert session.run() == shown
        assert not session.errors and len(running.pids()) == 2


STREAM = """
    import streamlit as st
    from aionest.streamlit import stream, tools_loader
    loader = tools_loader("mcp.json")
    text = "**bold** [a](http://evil.example)\\n\\n    indented <b>"
    for raw in (False, True):
        found = []
        def keep(pieces):
            result = yield from pieces
            found.append(result.text)
        st.write_stream(keep(stream(loader, "one.echo", {"text": text}, markdown=raw)))
        assert found == [text], found
    st.write("over")
"""


def test_what_a_server_streams_is_text(site):
    running = site(STREAM)
    with Session(running.port) as session:
        texts = session.run()
    assert not session.errors, session.errors
    assert "**bold** [a](http://evil.example)\n\n    indented <b>" in texts
    plain = next(one for one in texts if "bold" in one)
    assert r"\*\*bold\*\*" in plain and r"\[a\]" in plain and "\n" + "\u00a0" * 4 + r"indented \<b\>" in plain, plain
    assert r"](" not in plain.replace("\\]", "") and "://" not in plain
    assert texts[-1] == "over"
