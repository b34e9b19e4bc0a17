"""Every program that portal.md, hosted.md and recipes.md show, run as it stands; the pages show nothing else."""

import ast
import asyncio
import os
import re
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest

GUARD = 120
ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "docs_src"
PAGES = [ROOT / "docs" / name for name in ("portal.md", "hosted.md", "recipes.md")]

OUTPUT = {
    "portal/first.py": """
        42
        8
        2
        [2, 4, 6]
        [0, 1, 2]
        the call was not done within 0.05 s and was cancelled
    """,
    "portal/context.py": """
        hello Ann
        Ann
    """,
    "portal/from_async.py": "False",
    "hosted/steps.py": """
        in kitchen
        left kitchen
        in cellar and attic
        left cellar
        left attic
    """,
    "hosted/lost.py": """
        told: the server went away
        raised: the server went away
    """,
    "recipes/flask_view.py": """
        ONE TWO THREE
        session closed
    """,
    "recipes/django_view.py": """
        ONE
        session closed
    """,
    "recipes/celery_task.py": """
        ONE
        session closed
    """,
    "recipes/cached_property.py": """
        ONE TWO
        session closed
        THREE
        session closed
    """,
    "recipes/sync_callback.py": """
        ONE
        others went on
        session closed
    """,
    "recipes/at_exit.py": """
        end of the program
        BYE
        session closed
    """,
}
NEEDS = {"flask_view.py": "flask", "django_view.py": "django", "celery_task.py": "celery"}
# shown, and tested below in another way
OTHERWISE = {
    "recipes/session.py",
    "recipes/app_session.py",
    "recipes/pytest_fixture.py",
    "recipes/notebook.py",
    "recipes/gui_callback.py",
    "recipes/streamlit_app.py",
}


def run(*command):
    path = [*filter(None, [os.environ.get("PYTHONPATH")]), str(PROGRAMS / "recipes")]
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=GUARD,
        cwd=PROGRAMS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}\n---\n{done.stderr}"
    return [line.strip() for line in done.stdout.strip().split("\n")]


@pytest.mark.parametrize("name", OUTPUT)
def test_the_program_prints_what_it_should(name):
    if (needed := NEEDS.get(Path(name).name)) is not None:
        pytest.importorskip(needed)
    assert run(str(PROGRAMS / name)) == [line.strip() for line in OUTPUT[name].strip().split("\n")]


def test_every_program_is_on_a_page_and_every_page_shows_programs_that_are_tested():
    shown = set()
    for page in PAGES:
        text = page.read_text()
        names = re.findall(r"^```\{literalinclude\} \.\./docs_src/(\S+)$", text, re.MULTILINE)
        assert names
        assert "```python" not in text, f"{page.name}: code belongs into docs_src, where it is run"
        shown.update(names)
    parts = [path for part in ("portal", "hosted", "recipes") for path in (PROGRAMS / part).glob("*.py")]
    there = {str(path.relative_to(PROGRAMS)) for path in parts}
    assert shown == there
    assert set(OUTPUT) | OTHERWISE == there


@pytest.fixture
def on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(PROGRAMS / "recipes"))
    yield
    import aionest

    aionest.portal().close()
    for name in ("session", "app_session", "gui_callback"):
        sys.modules.pop(name, None)


def test_the_pytest_fixture_works():
    program = str(PROGRAMS / "recipes/pytest_fixture.py")
    lines = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(PROGRAMS), program)
    assert any(line.startswith("2 passed") for line in lines), lines


def test_the_notebooks_cells_work_while_a_loop_runs(on_path, capsys):
    source = (PROGRAMS / "recipes/notebook.py").read_text()
    cells = source.split("# %%\n")[1:]
    assert len(cells) == 4

    async def kernel():
        namespace, ticks = {}, []

        async def tick():
            while True:
                ticks.append(1)
                await asyncio.sleep(0)

        ticker = asyncio.get_running_loop().create_task(tick())
        for cell in cells:
            ast.parse(cell)
            before = len(ticks)
            exec(cell, namespace)
            if "held" in cell:
                assert len(ticks) > before
            await asyncio.sleep(0)
        ticker.cancel()

    loop = asyncio.SelectorEventLoop()
    loop.run_until_complete(kernel())
    loop.close()
    assert capsys.readouterr().out.split("\n") == ["ONE", "TWO THREE", "session closed", ""]


def test_the_gui_callback_works_with_a_window_that_is_made_of_paper(on_path, monkeypatch):
    class Widget:
        def __init__(self, root, **options):
            self.options = options

        def get(self):
            return "one"

        def config(self, **options):
            self.options.update(options)

        def pack(self):
            pass

    class Root:
        def __init__(self):
            self.later = []

        def after(self, delay, function, *args):
            self.later.append((function, args))

    monkeypatch.setitem(
        sys.modules, "tkinter", types.SimpleNamespace(Entry=Widget, Label=Widget, Button=Widget, Tk=Root)
    )
    import gui_callback
    from app_session import session

    root = Root()
    _, button, label = gui_callback.build(root)
    button.options["command"]()
    deadline = time.monotonic() + GUARD
    while "text" not in label.options and time.monotonic() < deadline:
        for function, args in root.later[:]:
            root.later.remove((function, args))
            function(*args)
        time.sleep(0.001)
    assert label.options["text"] == "ONE"
    session().close()


def test_the_sessions_of_many_threads_are_one(on_path, capsys):
    from app_session import ask, session

    answers, threads = [], []
    for n in range(16):
        threads.append(threading.Thread(target=lambda n=n: answers.append(ask(f"w{n}"))))
        threads[-1].start()
    for thread in threads:
        thread.join(GUARD)
    assert sorted(answers) == sorted(f"W{n}" for n in range(16))
    first = session()
    first.close()
    assert ask("again") == "AGAIN"
    assert session() is not first
    session().close()
    assert capsys.readouterr().out == "session closed\n" * 2


def test_the_streamlit_app_works():
    testing = pytest.importorskip("streamlit.testing.v1")
    import streamlit as st

    import aionest

    sys.path.insert(0, str(PROGRAMS / "recipes"))
    try:
        app = testing.AppTest.from_file(str(PROGRAMS / "recipes/streamlit_app.py"), default_timeout=GUARD)
        app.run()
        assert not app.exception
        assert [m.value for m in app.markdown] == ["ONE"]
        app.text_input[0].set_value("two").run()
        assert [m.value for m in app.markdown] == ["TWO"]
    finally:
        sys.path.remove(str(PROGRAMS / "recipes"))
        st.cache_resource.clear()
        aionest.portal().close()
        sys.modules.pop("session", None)
