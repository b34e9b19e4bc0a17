"""Every program that the documentation shows does what it says, and so do the README's and the quickstart's."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import forked
import psutil
import pytest
import support

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = ROOT / "docs_src"

# what each prints; lines that come from several threads at once are in a set
EXPECTED = {
    "hosted/lost.py": ["told: the server went away", "raised: the server went away"],
    "hosted/steps.py": ["in kitchen", "left kitchen", "in cellar and attic", "left cellar", "left attic"],
    "portal/context.py": ["hello Ann", "Ann"],
    "portal/first.py": [
        "42", "8", "2", "[2, 4, 6]", "[0, 1, 2]", "the call did not finish within 0.05 s and was cancelled",
    ],
    "portal/from_async.py": ["False"],
    "recipes/app_session.py": [],
    "recipes/at_exit.py": ["end of the program", "BYE", "session closed"],
    "recipes/cached_property.py": ["ONE TWO", "session closed", "THREE", "session closed"],
    "recipes/celery_task.py": ["ONE", "session closed"],
    "recipes/dask_workers.py": ["Buy milk and bread", "True"],
    "recipes/django_async_view.py": ["apple: 5", "fig: 3", "plum: 4, plum: 4", "pear: 4"],
    "recipes/django_view.py": ["ONE", "session closed"],
    "recipes/flask_view.py": ["ONE TWO THREE", "session closed"],
    "recipes/notebook.py": ["ONE", "TWO THREE", "session closed"],
    "recipes/playwright_page.py": ["ONE", "['TWO', 'THREE']", "CLOSED"],
    "recipes/ray_actors.py": ["Buy milk and bread", "2"],
    "recipes/session.py": [],
    "recipes/sqlalchemy_events.py": ["apple 5 10", "fig 3 6", "6"],
    "recipes/sync_callback.py": ["ONE", "others went on", "session closed"],
    "scopes/three_runs.py": ["Buy milk and bread"],
}  # fmt: skip
NEEDS = {
    "recipes/celery_task.py": ["celery"],
    "recipes/dask_workers.py": ["distributed", "mcp"],
    "recipes/django_async_view.py": ["django"],
    "recipes/django_view.py": ["django"],
    "recipes/flask_view.py": ["flask"],
    "recipes/playwright_page.py": ["playwright"],
    "recipes/ray_actors.py": ["ray", "mcp"],
    "recipes/sqlalchemy_events.py": ["sqlalchemy", "aiosqlite"],
    "scopes/three_runs.py": ["mcp"],
}
LONG = {"recipes/playwright_page.py", "recipes/ray_actors.py"}  # they start a browser, and a node of Ray

# programs that end in an error: what it says, what cures it (a line at the top, or another program), and what is printed then
APPLY = "aionest.apply()"
ERRORS = {
    "already_running": ("RuntimeError: This event loop is already running", APPLY, "fetched"),
    "async_to_sync": (
        "RuntimeError: You cannot use AsyncToSync in the same thread as an async event loop",
        "async_to_sync_cured", "fetched",
    ),
    "await_outside_loop": (
        "aionest.NestedRunError: await_() needs a running event loop in this thread: use aionest.run() or "
        "asyncio.run() where none runs",
        "await_outside_loop_cured", "fetched",
    ),
    "bound_lock": ("is bound to a different event loop", "aionest.apply(close_loop=False)", "both done"),
    "cancel_scope": (
        "RuntimeError: Attempted to exit cancel scope in a different task than it was entered in", APPLY, "closed",
    ),
    "destroyed": ("Task was destroyed but it is pending!", "destroyed_cured", "work ended"),
    "different_loop": ("attached to a different loop", APPLY, "fetched"),
    "enter_task": ("RuntimeError: Cannot enter into task <Task pending name='Task-2'", "enter_task_cured", "fetched"),
    "future_elsewhere": (
        "belongs to a different event loop: wait for it on its own loop, for example with "
        "asyncio.run_coroutine_threadsafe()",
        "future_of_other_loop_cured", "fetched",
    ),
    "future_of_other_loop": (
        "ValueError: The future belongs to a different loop than the one specified as the loop argument",
        "future_of_other_loop_cured", "fetched",
    ),
    "loop_closed": ("RuntimeError: Event loop is closed", APPLY, "closed"),
    "loop_in_loop": ("RuntimeError: Cannot run the event loop while another loop is running", APPLY, "fetched"),
    "never_awaited": (
        "RuntimeWarning: coroutine 'on_message' was never awaited", "never_awaited_cured", "got hello",
    ),
    "no_running_loop": ("RuntimeError: no running event loop", "no_running_loop_cured", "fetched"),
    "patch_uvloop": (
        "ValueError: Can't patch loop of type <class 'uvloop.Loop'>", f"{APPLY}; aionest.install_shim()", "fetched",
    ),
    "portal_closed": ("aionest.PortalClosed: portal 'aionest-portal-1' is closed", None, ""),
    "run_in_run": ("RuntimeError: asyncio.run() cannot be called from a running event loop", APPLY, "fetched"),
    "stopped": ("aionest.NestedRunError: Event loop stopped before Future completed.", None, ""),
    "thread_without_loop": (
        "RuntimeError: There is no current event loop in thread 'ScriptRunner.scriptThread'.",
        "thread_without_loop_cured", "fetched",
    ),
    "timeout_outside_task": (
        "RuntimeError: Timeout should be used inside a task", "timeout_outside_task_cured", "fetched",
    ),
}  # fmt: skip
ERRORS_NEED = {"async_to_sync": ["asgiref"], "patch_uvloop": ["nest_asyncio", "uvloop"]}
ERRORS_SINCE = {"timeout_outside_task": (3, 11)}
ELSEWHERE = {
    "recipes/fastapi_app.py",
    "recipes/gui_callback.py",
    "recipes/pytest_fixture.py",
    "recipes/streamlit_app.py",
    "recipes/streamlit_workers.py",
}


FORKED = {"scopes/three_runs.py"}  # the SDK takes most of a second to import


@pytest.fixture(scope="session")
def fork():
    """fork(program, *arguments, cwd): a program that uses the MCP SDK or Streamlit, which are imported once for all of them."""

    def run(program, *arguments, cwd=None):
        command = [sys.executable, "-c", program, *arguments]
        return forked.PAGES.run(command, timeout=100, cwd=cwd, env={**os.environ, "PYTEST_ADDOPTS": ""})

    with forked.PAGES.there():
        yield run


@pytest.fixture(autouse=True)
def nothing_left():
    """All of it runs in processes of its own."""
    return


def run(command, **options):
    # the options of the run that this is part of are not the program's
    env = {**os.environ, "PYTHONPATH": "", "PYTEST_ADDOPTS": "", **options.pop("env", {})}
    return subprocess.run(command, capture_output=True, text=True, timeout=100, env=env, **options)


def test_no_program_is_left_out():
    there = {p.relative_to(PROGRAMS).as_posix() for p in PROGRAMS.glob("*/*.py")}
    assert {p for p in there if p.split("/")[0] in ("hosted", "portal", "recipes", "scopes")} == set(
        EXPECTED
    ) | ELSEWHERE
    cured = {cure for _, cure, _ in ERRORS.values() if cure is not None and "aionest." not in cure}
    assert {p.stem for p in PROGRAMS.glob("errors/*.py")} == {*ERRORS, *cured, "servers"}


def test_each_is_shown_in_the_documentation():
    pages = "".join(p.read_text() for p in (ROOT / "docs").glob("*.md"))
    for path in PROGRAMS.glob("*/*.py"):
        assert f"docs_src/{path.relative_to(PROGRAMS).as_posix()}" in pages, path


@contextlib.contextmanager
def node_of_ray():
    """Where one may keep its files; they and its processes are gone at the end."""
    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # short: sockets are in there
        yield {"HOME": folder, "RAY_TMPDIR": folder}
        support.eventually(
            lambda: not any(folder in " ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))
        )


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in sorted(EXPECTED)]
)
def test_program(name, request):
    for module in NEEDS.get(name, ()):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not there for this Python")
    if name == "recipes/playwright_page.py" and shutil.which("chromium") is None:
        pytest.skip("no chromium here: apt-get install chromium")
    path = PROGRAMS / name
    if name in FORKED:
        result = request.getfixturevalue("fork")(path.read_text(), cwd=path.parent)
    elif name == "recipes/ray_actors.py":
        with node_of_ray() as env:
            result = run([sys.executable, path.name], cwd=path.parent, env=env)
    else:
        result = run([sys.executable, path.name], cwd=path.parent)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout.splitlines() == EXPECTED[name]


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_error_message_and_its_cure(name):
    missing = [module for module in ERRORS_NEED.get(name, ()) if find_spec(module) is None]
    if missing or sys.version_info < ERRORS_SINCE.get(name, (3, 10)):
        pytest.skip(f"not for this Python: {', '.join(missing) or name}")
    folder = PROGRAMS / "errors"
    message, cure, printed = ERRORS[name]
    assert message in (ROOT / "docs" / "errors.md").read_text()
    failed = run([sys.executable, f"{name}.py"], cwd=folder)
    assert message in failed.stderr
    assert failed.stdout == ""
    if cure is None:
        return
    if "aionest." in cure:
        program = (folder / f"{name}.py").read_text()
        cured = run([sys.executable, "-c", f"import aionest\n{cure}\n{program}"], cwd=folder)
    else:
        cured = run([sys.executable, f"{cure}.py"], cwd=folder)
    assert (cured.returncode, cured.stdout, cured.stderr) == (0, f"{printed}\n", "")


@pytest.mark.skipif(find_spec("mcp") is None, reason="the MCP SDK is not there for this Python")
def test_error_messages_about_servers(fork):
    table = (ROOT / "docs" / "errors.md").read_text().split("| it prints |")[1]
    messages = re.findall(r"^\| `(.*?)` \|", table, re.M)
    result = fork((PROGRAMS / "errors" / "servers.py").read_text(), cwd=PROGRAMS / "errors")
    assert result.returncode == 0, result.stderr
    assert len(messages) == 8
    for message in messages:
        assert f"\n{message}" in f"\n{result.stdout}"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_fastapi_application(loop):
    for module in ("fastapi", "uvicorn", loop):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not there for this Python")
    command = [sys.executable, "-m", "uvicorn", "fastapi_app:app", "--port", "0", "--loop", loop]
    server = subprocess.Popen(
        command, cwd=PROGRAMS / "recipes", stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        address = next(m[0] for line in server.stderr if (m := re.search(r"http://127.0.0.1:\d+", line)))
        with urllib.request.urlopen(f"{address}/prices/apple", timeout=60) as answer:
            assert json.load(answer) == {"item": "apple", "price": 5}
    finally:
        server.send_signal(signal.SIGINT)
        _, rest = server.communicate(timeout=60)
    assert "Traceback" not in rest


def test_the_pytest_fixtures():
    path = PROGRAMS / "recipes" / "pytest_fixture.py"
    result = run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path.name], cwd=path.parent)
    assert result.returncode == 0, result.stdout
    assert "2 passed" in result.stdout


@pytest.mark.skipif(find_spec("pytest_asyncio") is None, reason="pytest-asyncio is not there for this Python")
def test_the_async_tests(tmp_path):
    # by a configuration of their own: this repository's keeps the plugin out
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    options = ["-q", "-c", str(tmp_path / "pytest.ini"), "-p", "no:cacheprovider", "-p", "no:langsmith_plugin"]
    result = run([sys.executable, "-m", "pytest", *options, "."], cwd=PROGRAMS / "async_tests")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 passed" in result.stdout


# what a Streamlit app writes at its second run
SHOWN = """
import sys
from streamlit.testing.v1 import AppTest
app = AppTest.from_file(sys.argv[1], default_timeout=60).run()
app.run()
assert not app.exception, app.exception
print(*(m.value for m in app.markdown))
"""


@pytest.mark.skipif(find_spec("streamlit") is None, reason="Streamlit is not there for this Python")
def test_the_streamlit_app(fork):
    result = fork(SHOWN, "streamlit_app.py", cwd=PROGRAMS / "recipes")
    assert result.returncode == 0, result.stderr
    assert "ONE" in result.stdout


WORKER = """
import sys
from streamlit.testing.v1 import AppTest

def visit(app):
    app.run()
    assert not app.exception, app.exception
    print(app.markdown[0].value)

one, other = (AppTest.from_file(sys.argv[1], default_timeout=60) for _ in range(2))
visit(one)
one.button[0].click()
visit(one)
visit(other)
assert one.caption[0].value == other.caption[0].value
print(one.caption[0].value.split()[-1])
"""


@pytest.mark.skipif(
    find_spec("streamlit") is None or find_spec("mcp") is None, reason="Streamlit or the MCP SDK is not there"
)
def test_streamlit_workers_share_nothing_and_the_browsers_of_one_share_its_server(fork):
    results = [fork(WORKER, str(PROGRAMS / "recipes" / "streamlit_workers.py")) for _ in range(2)]
    for result in results:
        assert result.returncode == 0, result.stderr
        *shown, server = result.stdout.splitlines()
        assert shown == ["3 notes, 0 of them yours", "4 notes, 1 of them yours", "4 notes, 0 of them yours"]
        support.eventually(lambda pid=int(server): not support.is_alive(pid), "a worker's server is left")


@pytest.mark.skipif(
    find_spec("_tkinter") is None or not (os.environ.get("DISPLAY") or shutil.which("xvfb-run")),
    reason="no tkinter, or neither a display nor xvfb-run",
)
def test_the_gui():
    program = """
import tkinter, gui_callback
root = tkinter.Tk()
entry, button, label = gui_callback.build(root)
entry.insert(0, "one")
button.invoke()
for _ in range(1000):
    root.update()
    if label["text"]:
        break
    root.after(10)
print(label["text"])
root.destroy()
"""
    command = [] if os.environ.get("DISPLAY") else ["xvfb-run", "-a"]
    result = run([*command, sys.executable, "-c", program], cwd=PROGRAMS / "recipes")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["ONE", "session", "closed"]


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/quickstart.md"])
def test_the_first_example(page):
    block = re.search(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S).group(1)
    result = run([sys.executable, "-X", "dev", "-c", block])
    assert (result.returncode, result.stdout, support.SLOW.sub("", result.stderr)) == (0, "works\n", "")


@pytest.mark.skipif(find_spec("mcp") is None, reason="the MCP SDK is not there for this Python")
@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_example_with_tools(page, fork):
    block = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)[1]
    # that of the README as whoever pastes it has it
    result = run([sys.executable, "-c", block]) if page == "README.md" else fork(block)
    assert (result.returncode, result.stdout, result.stderr) == (0, "Buy milk and bread\n", "")


@pytest.mark.skipif(find_spec("streamlit") is None, reason="Streamlit is not there for this Python")
def test_the_example_with_streamlit(tmp_path, fork):
    app = tmp_path / "app.py"
    app.write_text(re.findall(r"```python\n(.*?)```", (ROOT / "docs/index.md").read_text(), re.S)[2])
    result = fork(SHOWN, app.name, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "Buy milk and bread\n"


def test_the_order_of_nested_runs():
    """That each returns when it is done is for tests/core to say; here, that the program is one and prints all three."""
    result = run([sys.executable, "order.py"], cwd=PROGRAMS / "why")
    assert (result.returncode, result.stderr) == (0, "")
    delays = re.findall(r"^(0\.\d) returns after \d+\.\d s$", result.stdout, re.M)
    assert sorted(delays) == ["0.1", "0.2", "0.3"], result.stdout


def test_programs_about_tools_need_nothing_of_this_repository():
    for path in (PROGRAMS / "mcp").glob("*.py"):
        assert "__file__" not in path.read_text(), path
