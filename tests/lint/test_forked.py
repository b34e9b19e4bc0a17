"""What is forked is a program like any other: tests of the helper that tests of commands and pages start theirs with."""

from __future__ import annotations

import os
import sys

import forked
import pytest
from support import GUARD, Thread, is_alive

pytestmark = pytest.mark.skipif(not forked.FORKS, reason="this system has no pidfd: all programs are really started")


@pytest.fixture(scope="module", params=["whole", "quick"])
def server(request):
    server = forked.Server("json.tool", quick=request.param == "quick")
    with server.there():
        yield server


def run(server, program, *args, **options):
    return server.run([sys.executable, "-c", program, *args], timeout=GUARD, **options)


def test_it_has_its_own_arguments_input_environment_folder_and_session(server, tmp_path):
    program = """if True:
        import os, sys
        print(sys.argv[1:], input(), os.environ["MINE"], "PWD" in os.environ, os.getcwd(), sys.path[0] == "", __name__)
        print(os.getsid(0) == os.getpid(), os.getppid() == int(sys.argv[1]), file=sys.stderr)
    """
    env = {**{k: v for k, v in os.environ.items() if k.startswith(("PYTHON", "LC_", "LANG"))}, "MINE": "1"}
    r = run(server, program, str(server._process.pid), input="typed\n", env=env, cwd=tmp_path)
    assert r.stdout == f"['{server._process.pid}'] typed 1 False {tmp_path} True __main__\n"
    assert (r.returncode, r.stderr) == (0, "True True\n")


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("import atexit; atexit.register(print, 'last'); print('first')", 0, ["first", "last"]),
        ("import sys; sys.exit(7)", 7, []),
        ("import sys; sys.exit(-1)", 255, []),
        ("import sys; sys.exit()", 0, []),
        ("import sys; sys.exit('said')", 1, []),
        ("import threading, time; threading.Thread(target=lambda: (time.sleep(0.1), print('waited for'))).start()", 0, ["waited for"]),
        ("1 / 0", 1, []),
        ("raise KeyboardInterrupt", -2, []),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9, []),
    ],
)  # fmt: skip
def test_it_ends_as_an_interpreter_ends(server, program, code, said):
    r = run(server, program)
    assert (r.returncode, r.stdout.splitlines()) == (code, said), r


def test_a_module_is_run_as_a_program(server):
    command = [sys.executable, "-m", "json.tool", "--compact"]
    for typed, code, said in (("[1, 2]", 0, "[1,2]\n"), ("[", 1, "")):
        r = server.run(command, input=typed, timeout=GUARD)
        assert (r.returncode, r.stdout) == (code, said), r


def test_what_it_has_left_is_told(server):
    program = """if True:
        import asyncio, warnings
        warnings.simplefilter("always")
        class Left:
            def __del__(self):
                print("dropped")
        one, other, file = Left(), Left(), open("/dev/null")
        other.cycle = other
        asyncio.sleep(1)
        coroutine = asyncio.sleep(1)
    """
    r = run(server, program)
    assert (r.returncode, r.stdout.split()) == (0, ["dropped"] * 2), r
    assert "unclosed file" in r.stderr and r.stderr.count("was never awaited") == 2, r


def test_an_output_that_is_closed_is_told_as_ever(server):
    r = run(server, "import os, sys; print('x'); os.dup2(os.open('/dev/full', os.O_WRONLY), 1)")
    assert r.returncode == 120 and "No space left" in r.stderr, r


def test_only_libraries_are_imported_ahead(server):
    program = "import sys; print(*sys.modules)"
    found = set(run(server, program).stdout.split())
    assert "json.tool" in found and not [name for name in found if name.partition(".")[0] == "aionest"]
    for one in (forked.COMMANDS, forked.PAGES):
        assert not [name for name in one._modules if name.startswith("aionest")]


def test_what_pages_import_leaves_no_thread_that_a_fork_would_miss():
    if not forked.PAGES.can_fork():
        pytest.skip("a library of the app's is not there for this Python")
    with forked.PAGES.there():
        assert forked.PAGES._forks


def test_what_an_interpreter_reads_at_its_start_gets_a_new_one(server):
    program = "import sys; print(sys.stdout.encoding, 'json.tool' in sys.modules)"
    r = run(server, program, env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert r.stdout.split() in (["iso8859-1", "False"], ["latin-1", "False"]), r


@pytest.mark.parametrize(
    "library",
    [
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "import tempfile; FOLDER = tempfile.TemporaryDirectory()",
    ],
)
def test_where_a_library_cannot_be_shared_programs_are_really_started(tmp_path, monkeypatch, library):
    (tmp_path / "unshared.py").write_text(library)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = forked.Server("unshared")
    with server.there():
        r = run(server, "import os, sys; print('unshared' in sys.modules, os.getppid())")
    assert r.stdout == f"False {os.getpid()}\n", r


def test_where_a_library_is_missing_programs_are_really_started():
    server = forked.Server("json.tool", "there_is_no_such_library")
    for _ in range(2):
        assert run(server, "import os; print(os.getppid())").stdout == f"{os.getpid()}\n"
    assert server._process is None


def test_the_server_ends_with_who_asked_for_it():
    server = forked.Server()
    with server.there():
        pid = server._process.pid
        assert run(server, "print(1)").stdout == "1\n"
    assert not is_alive(pid)


def test_workers_share_one_that_ends_with_the_last_of_them(monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", f"test-{os.getpid()}")
    one, other, later = (forked.Server("json.tool", shared=True) for _ in range(3))
    parent = "import os, sys; print(os.getppid(), 'json.tool' in sys.modules)"
    with other.there():
        with one.there(), one.there():
            pass  # did not start it, so there is nothing to wait for
        begins = other._process.pid
        one.start()
        assert run(one, parent).stdout == run(other, parent).stdout == f"{begins} True\n"
        files = other._files
        ends = Thread(other.close)
        assert run(one, parent).stdout == f"{begins} True\n"
        one.close()
        ends.result()
        assert not is_alive(begins) and not [file for file in files if os.path.exists(file)]
        with later.there():
            assert run(later, parent).stdout == f"{later._process.pid} True\n"
