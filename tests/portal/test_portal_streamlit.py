"""Streamlit: st.* inside coroutines, with the real thing where it is installed, and the rules it relies on without."""

import asyncio
import sys
import threading
import types

import pytest

from aionest import Portal, portal
from aionest._portal import script_run

GUARD = 60
NAME = "streamlit_script_run_ctx"


async def seen():
    await asyncio.sleep(0)
    own = getattr(threading.current_thread(), NAME)
    inner = await asyncio.get_running_loop().create_task(seen_by_a_task())
    assert inner == own
    return own


async def seen_by_a_task():
    await asyncio.sleep(0)
    return getattr(threading.current_thread(), NAME)


@pytest.fixture
def loaded(monkeypatch):
    """As if Streamlit was imported, with a runtime that may exist."""
    runtime = types.ModuleType("streamlit.runtime")
    runtime.exists = lambda: runtime.there
    runtime.there = True
    monkeypatch.setitem(sys.modules, "streamlit", types.ModuleType("streamlit"))
    monkeypatch.setitem(sys.modules, "streamlit.runtime", runtime)
    return runtime


def in_session(number, function):
    setattr(threading.current_thread(), NAME, number)
    return function()


def test_each_call_works_for_the_script_run_of_its_caller(loaded, start):
    with Portal() as p:

        def use():
            return [p.call(seen), p.run(seen()), p.submit(seen).result(GUARD)]

        calls = [start(in_session, n, use) for n in range(20)]
        for n, call in enumerate(calls):
            assert call.result() == [n, n, n]
        assert p.call(seen) is None


def test_nested_calls_and_resources_keep_the_script_run(loaded, start):
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def resource():
        yield await seen()

    with Portal() as p:

        async def outer():
            await asyncio.sleep(0)
            return p.call(seen), p.submit(seen).result(GUARD)

        async def numbers():
            yield await seen()

        def use():
            with p.enter(resource()) as value:
                return p.call(outer), value, list(p.iterate(numbers()))

        assert start(in_session, 7, use).result() == ((7, 7), 7, [7])


def test_a_coroutine_may_attach_a_script_run_to_itself(loaded):
    async def attach():
        setattr(threading.current_thread(), NAME, "mine")
        await asyncio.sleep(0)
        mine = getattr(threading.current_thread(), NAME)
        delattr(threading.current_thread(), NAME)
        return mine, getattr(threading.current_thread(), NAME)

    with Portal() as p:
        assert p.call(attach) == ("mine", None)
        assert p.call(seen) is None


def test_sharing_is_the_default_where_the_runtime_runs(loaded, monkeypatch):
    assert script_run.shared_default() is True
    loaded.there = False
    assert script_run.shared_default() is False
    loaded.exists = lambda: 1 / 0
    assert script_run.shared_default() is False
    del loaded.exists
    assert script_run.shared_default() is False
    monkeypatch.delitem(sys.modules, "streamlit.runtime")
    assert script_run.shared_default() is False


def test_streamlit_is_not_imported(child):
    child("portal().call(asyncio.sleep, 0); assert not [m for m in sys.modules if m.startswith('streamlit')]")


APP = """
import asyncio
import streamlit as st
from contextlib import asynccontextmanager
from aionest import portal
from aionest._portal.script_run import shared_default

@asynccontextmanager
async def session():
    yield {"calls": 0}

@st.cache_resource(on_release=lambda held: held.close())
def held():
    return portal().enter(session())

async def work(name):
    held().value["calls"] += 1
    st.write(f"hello {name}")
    await asyncio.sleep(0)
    st.session_state["seen"] = name
    with st.container():
        await asyncio.gather(*(part(n) for n in range(3)))

async def part(n):
    await asyncio.sleep(0)
    st.text(f"part {n}")

name = st.text_input("name", "nobody")
with st.sidebar:
    portal().call(work, name)
st.text(f"calls {held().value['calls']}")
st.text(f"shared {shared_default()}")
if st.button("stop"):
    async def stop():
        st.stop()
    portal().call(stop)
    st.text("never")
st.text("end")
"""


def test_a_real_app(tmp_path):
    testing = pytest.importorskip("streamlit.testing.v1")
    import streamlit as st

    script = tmp_path / "app.py"
    script.write_text(APP)
    try:
        one, two = (testing.AppTest.from_file(str(script), default_timeout=GUARD) for _ in range(2))
        one.run()
        two.run()
        assert not one.exception
        assert [m.value for m in one.sidebar.markdown] == ["hello nobody"]
        assert [t.value for t in one.sidebar.text] == ["part 0", "part 1", "part 2"]
        assert [t.value for t in one.main.text] == ["calls 1", "shared True", "end"]
        assert [t.value for t in two.main.text] == ["calls 2", "shared True", "end"]
        one.text_input[0].set_value("Ann").run()
        two.text_input[0].set_value("Bob").run()
        assert [m.value for m in one.sidebar.markdown] == ["hello Ann"]
        assert [m.value for m in two.sidebar.markdown] == ["hello Bob"]
        assert one.session_state["seen"] == "Ann"
        assert two.session_state["seen"] == "Bob"
        one.button[0].click().run()
        assert not one.exception
        assert "never" not in [t.value for t in one.text]
        assert "end" not in [t.value for t in one.text]
    finally:
        st.cache_resource.clear()
        portal().close(timeout=GUARD)
