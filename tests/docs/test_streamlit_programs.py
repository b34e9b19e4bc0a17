"""The programs of the page about Streamlit, each on a real server of it, visited by two browsers."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import support

support.needs("streamlit", "mcp", "websockets")

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = ROOT / "docs_src" / "streamlit"
SHOWN = {
    "existing_app": ["Buy milk and bread"],
    "new_app": ["Buy milk and bread", "14 words"],
    "report": ["working ...", "done"],
}
BAD_WORDS = ("Traceback", "cancel scope", "was never awaited", "was destroyed", "RuntimeError")

# of newer websockets, in streamlit_session
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning")]


@pytest.fixture(autouse=True)
def nothing_left():
    """All of it runs in processes of its own."""
    return


def visited(program, folder):
    """What four runs in two browsers show, what goes wrong in them, and the server's log."""
    path = ROOT / "tools" / "streamlit_session.py"
    specification = importlib.util.spec_from_file_location("streamlit_session", path)
    streamlit_session = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(streamlit_session)
    (folder / "app.py").write_text(program)
    server = streamlit_session.Server(["streamlit", "run", "app.py"], folder, {"PYTHONPATH": "", "HOME": str(folder)})
    shown, errors = [], []
    with server:
        for _ in range(2):
            with streamlit_session.Session(server.port) as session:
                shown += [[text.replace("\u200b", "") for text in session.run()] for _ in range(2)]
                errors += session.errors
        log = server.stop()
    return shown, errors, log


@pytest.mark.parametrize("name", SHOWN)
def test_a_program(name, tmp_path):
    shown, errors, log = visited((PROGRAMS / f"{name}.py").read_text(), tmp_path)
    assert errors == [] and not [word for word in BAD_WORDS if word in log], log
    assert len(shown) == 4
    for texts in shown:
        for text in SHOWN[name]:
            assert text in "\n".join(texts), texts


def test_the_existing_app_fails_without_its_new_line(tmp_path):
    program = (PROGRAMS / "existing_app.py").read_text()
    without, many = re.subn(r"^aionest\.apply\(\).*$", "", program, flags=re.M)
    assert many == 1
    shown, errors, _ = visited(without.replace("timeout=10", "timeout=1"), tmp_path)
    assert errors, shown


def test_no_program_is_left_out():
    assert {path.stem for path in PROGRAMS.glob("*.py")} == set(SHOWN)
