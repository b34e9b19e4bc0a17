"""The programs that the documentation shows do what it says. Each runs in an interpreter of its own, from its folder."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent / "docs_src"
GUARD = 90

# program -> (what it needs, its output)
PROGRAMS = {
    "hosted/lost.py": (None, "told: the server went away\nraised: the server went away\n"),
    "hosted/steps.py": (None, "in kitchen\nleft kitchen\nin cellar and attic\nleft cellar\nleft attic\n"),
    "portal/context.py": (None, "hello Ann\nAnn\n"),
    "portal/first.py": (
        None,
        "42\n8\n2\n[2, 4, 6]\n[0, 1, 2]\nthe call was not done within 0.05 s and was cancelled\n",
    ),
    "portal/from_async.py": (None, "False\n"),
    "recipes/at_exit.py": (None, "end of the program\nBYE\nsession closed\n"),
    "recipes/cached_property.py": (None, "ONE TWO\nsession closed\nTHREE\nsession closed\n"),
    "recipes/celery_task.py": ("celery", "ONE\nsession closed\n"),
    "recipes/django_view.py": ("django", "ONE\nsession closed\n"),
    "recipes/flask_view.py": ("flask", "ONE TWO THREE\nsession closed\n"),
    "recipes/notebook.py": (None, "ONE\nTWO THREE\nsession closed\n"),
    "recipes/sync_callback.py": (None, "ONE\nothers went on\nsession closed\n"),
}
PARTS = {"recipes/session.py", "recipes/app_session.py"}  # imported by the others
BY_OTHER_MEANS = {"recipes/gui_callback.py", "recipes/pytest_fixture.py", "recipes/streamlit_app.py"}


def run(*command, folder):
    return subprocess.run(command, capture_output=True, text=True, timeout=GUARD, cwd=ROOT / folder)


def need(module):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name):
    needs, output = PROGRAMS[name]
    if needs is not None:
        need(needs)
    folder, file = name.split("/")
    r = run(sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", file, folder=folder)
    errors = re.sub(r"(?m)^Executing .* took [0-9.]+ seconds\n", "", r.stderr)
    assert (r.returncode, r.stdout, errors) == (0, output, ""), r


def test_pytest_fixture():
    options = ("-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", ".")
    r = run(sys.executable, "-m", "pytest", *options, "pytest_fixture.py", folder="recipes")
    assert r.returncode == 0 and "2 passed" in r.stdout, r


def test_gui_callback():
    need("tkinter")
    if shutil.which("xvfb-run") is None:
        pytest.skip("no display, and no xvfb-run to make one")
    program = """
import time, tkinter
from gui_callback import build
root = tkinter.Tk()
entry, button, label = build(root)
entry.insert(0, "one")
button.invoke()
assert label.cget("text") == ""  # the callback has returned at once
end = time.monotonic() + 60
while not label.cget("text") and time.monotonic() < end:
    root.update()
    time.sleep(0.01)
print(label.cget("text"))
root.destroy()
"""
    r = run("xvfb-run", "-a", sys.executable, "-c", program, folder="recipes")
    assert (r.returncode, r.stdout) == (0, "ONE\nsession closed\n"), r


def test_streamlit_app():
    need("streamlit")
    program = """
from streamlit.testing.v1 import AppTest
app = AppTest.from_file("streamlit_app.py", default_timeout=60)
app.run()
assert not app.exception, app.exception
app.text_input[0].set_value("two").run()
assert not app.exception, app.exception
print([m.value for m in app.markdown])
"""
    r = run(sys.executable, "-c", program, folder="recipes")
    assert r.returncode == 0 and "['TWO']" in r.stdout, r


def test_every_program_is_listed():
    there = {str(p.relative_to(ROOT)) for p in ROOT.glob("*/*.py")}
    assert there == {*PROGRAMS, *PARTS, *BY_OTHER_MEANS}
