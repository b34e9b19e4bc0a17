"""Notebooks that nbclient runs with a real kernel: bars while servers start and tools work, and the recipe of the documentation."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import support

support.needs("nbclient", "ipykernel", "mcp")

pytestmark = pytest.mark.slow
WIDGETS = importlib.util.find_spec("ipywidgets") is not None

BEGIN = """
import sys
{hide}
from aionest.mcp import ToolsLoader, notebook
servers = {{"notes": {{"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}}, "bad": {{"command": "no-such"}}}}
loader = ToolsLoader(servers, **notebook.progress())
loader.load();
"""
CALL = "loader.call('notes.words').text"
END = "loader.cleanup()"


def notebook(hide=""):
    return executed([BEGIN.format(hide=hide), CALL, CALL, END])


def executed(cells):
    runner = Path(__file__).with_name("run_notebook.py")
    r = subprocess.run([sys.executable, runner], input=json.dumps(cells), capture_output=True, text=True, timeout=110)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout.splitlines()[-1])


@pytest.mark.timeout(120)
def test_lines_of_text():
    shown = notebook("sys.modules['ipywidgets'] = None")
    lines = [one["text/plain"] for cell in shown["outputs"] for one in cell if "\u2588" in one.get("text/plain", "")]
    assert re.fullmatch("servers \u2588{24} 2/2 (notes connected|bad failed)", lines[0]), lines
    assert lines[1:] == ["notes__words " + "\u2588" * 24 + " 3/3 note 3"] * 2, lines  # each call has its own


@pytest.mark.skipif(not WIDGETS, reason="ipywidgets is not there for this Python")
@pytest.mark.timeout(120)
def test_widgets():
    shown = notebook()
    bars = [one for one in shown["widgets"] if one.get("_model_name") == "FloatProgressModel"]
    assert [one["value"] for one in bars] == [1.0] * 3
    said = [one["value"] for one in shown["widgets"] if one.get("_model_name") == "LabelModel"]
    assert said.count("3/3 note 3") == 2 and "servers" in said, said


PLAIN = """
import sys
import aionest.mcp.notebook
assert aionest.mcp.notebook.progress() == {}
assert "IPython" not in sys.modules and "ipywidgets" not in sys.modules
"""


def test_nothing_is_shown_where_there_is_no_notebook():
    r = subprocess.run([sys.executable, "-c", PLAIN], capture_output=True, text=True, timeout=100)
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "")


def test_what_servers_say_is_a_line_of_text(monkeypatch):
    from aionest.mcp import notebook

    drawn = []

    class Bar:
        def __init__(self, name):
            self.name = name

        def draw(self, value, total, text):
            drawn.append((self.name, value, total, text))

    monkeypatch.setattr(notebook, "_bar", Bar)
    shown = notebook._Shown()
    for value in range(1000):
        shown.step("tool\x1b[2J" + "x" * 100, value, 1000, "a\nb\x1b[2J\u202e" + "y" * 1000)
    shown.step("tool\x1b[2J" + "x" * 100, 1000, 1000, None)
    assert drawn[-1][1:] == (1000, 1000, "") and len(drawn) < 900  # not each step is drawn, the last one is
    for name, _, _, text in drawn:
        assert len(name) < 100 and len(text) < 200 and not set("\x1b\u202e\n") & set(name + text)


@pytest.mark.timeout(120)
def test_the_recipe_for_jupyter():
    folder = Path(__file__).parent.parent.parent / "docs_src" / "recipes"
    cells = (folder / "notebook.py").read_text().split("# %%\n")[1:]
    shown = executed([f"import os; os.chdir({str(folder)!r})", *cells])["outputs"][1:]
    texts = ["".join(one.get("text") or "" for one in cell).split() for cell in shown]
    # what the portal's thread prints at the end belongs, for newer kernels, to the cell that started it, which is over
    assert texts[:3] == [[], ["ONE"], ["TWO", "THREE"]] and texts[3] in ([], ["session", "closed"]), texts
