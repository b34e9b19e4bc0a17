"""The documented programs for Streamlit and for one session of a whole process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import support

support.needs("streamlit")

pytestmark = pytest.mark.slow

RECIPES = Path(__file__).parent.parent.parent / "docs_src" / "recipes"


def run(program):
    r = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=RECIPES,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(RECIPES), os.environ.get("PYTHONPATH", "")])},
    )
    assert r.returncode == 0 and "Traceback" not in r.stderr, r.stdout + r.stderr
    return r.stdout


def test_the_streamlit_recipe():
    output = run("""
        from streamlit.testing.v1 import AppTest
        app = AppTest.from_file("streamlit_app.py", default_timeout=60)
        for word in ("one", "two", "three"):
            app.run()
            app.text_input[0].set_value(word).run()
            assert not app.exception, app.exception
            print([m.value for m in app.markdown])
    """)
    lines = output.splitlines()
    assert lines[:3] == ["['ONE']", "['TWO']", "['THREE']"] and lines[3:] == ["session closed"], output


def test_the_session_of_a_process():
    output = run("""
        import threading
        import app_session
        found = []
        def work(n):
            for _ in range(5):
                found.append(app_session.ask(f"word{n}"))
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()
        first = app_session.session()
        first.close()
        found.append(app_session.ask("again"))
        assert app_session.session() is not first
        print(len(found), sorted(set(map(str, found))))
    """)
    assert output.splitlines() == [
        "session closed",
        "21 ['AGAIN', 'WORD0', 'WORD1', 'WORD2', 'WORD3']",
        "session closed",
    ]
