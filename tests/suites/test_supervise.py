"""The runner of suites, on a made-up suite whose tests fail, hang, crash, warn and leak with a made-up aionest applied.

Nothing may get lost: each bad thing must come out under its own name, and the tests after it are run all the same.
"""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from pathlib import Path

import pytest
from support import eventually, is_alive

sys.path.insert(0, str(Path(__file__).parents[2]))

from tools.suites import compare, supervise

# of plugins that are here by chance: they take most of the time
PLAIN = [
    word
    for name in ("xdist", "langsmith_plugin", "hypothesispytest", "anyio", "asyncio")
    for word in ("-p", f"no:{name}")
]
APPLIED = "import sys; ON = getattr(sys.modules.get('aionest'), 'on', False)\n"


@pytest.fixture
def bench(tmp_path):
    package = tmp_path / "aionest_alone" / "aionest"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("on = False\ndef apply():\n    global on\n    on = True\n")
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")

    class Bench:
        def file(self, name, body):
            (folder / name).write_text(APPLIED + textwrap.dedent(body))

        def setup(self, **more):
            more.setdefault("test_limit", 6)
            return supervise.Setup(
                sys.executable,
                folder,
                PLAIN,
                {},
                package.parent,
                **more,
            )

        def run(self, apply, only=None, **more):
            return supervise.run(self.setup(**more), apply, only)

        def judge(self, **more):
            setup = self.setup(**more)
            stock, ours = supervise.run(setup, False), supervise.run(setup, True)
            return compare.judge(stock, ours, {}, [], lambda apply, keys: supervise.run(setup, apply, keys))

    return Bench()


def outcomes(side):
    return {k.split("::")[-1]: o.outcome for k, o in side.outcomes.items()}


def test_each_outcome_has_its_name_and_a_reason(bench):
    bench.file(
        "test_all.py",
        """
        import pytest
        def test_pass(): assert ON
        def test_fail(): assert not ON, "words"
        @pytest.fixture
        def broken(): raise ValueError("set-up")
        def test_error(broken): pass
        def test_skip(): pytest.skip("why")
        @pytest.mark.xfail
        def test_xfail(): assert 0
        @pytest.mark.parametrize("x", [object(), object()], ids=repr)
        def test_address(x): pass
        """,
    )
    side = bench.run(True)
    found = outcomes(side)
    assert [
        found[f"test_{n}"] for n in ("pass", "fail", "error", "skip", "xfail")
    ] == "pass fail error skip xfail".split()
    assert [k for k in found if "address" in k] == [
        "test_address[<object object at 0x>]",
        "test_address[<object object at 0x>]#2",
    ]
    assert "words" in side.outcomes["test_all.py::test_fail"].text
    assert side.children == 1 and side.left
    assert supervise.Side.from_json(side.to_json()) == side


def test_a_hang_is_named_with_its_stacks_and_the_rest_is_run(bench):
    bench.file(
        "test_hang.py",
        """
        import time
        def test_before(): pass
        def test_hang():
            while ON: time.sleep(1)
        def test_after(): pass
        """,
    )
    side = bench.run(True)
    assert outcomes(side) == {"test_before": "pass", "test_hang": "hang", "test_after": "pass"}
    assert "in test_hang" in side.outcomes["test_hang.py::test_hang"].text
    assert side.children == 2


def test_a_crash_is_named_and_the_rest_is_run(bench):
    bench.file(
        "test_crash.py",
        """
        import os, signal
        def test_crash():
            if ON: os.kill(os.getpid(), signal.SIGSEGV)
        def test_exit():
            if ON: os._exit(0)
        def test_after(): pass
        """,
    )
    assert outcomes(bench.run(True)) == {"test_crash": "crash", "test_exit": "crash", "test_after": "pass"}
    assert outcomes(bench.run(False)) == {"test_crash": "pass", "test_exit": "pass", "test_after": "pass"}


def test_a_crash_after_the_last_test_is_not_lost(bench):
    bench.file(
        "test_exit.py",
        """
        import atexit, os
        def test_ok():
            if ON: atexit.register(os.abort)
        """,
    )
    assert outcomes(bench.run(True)) == {"test_ok": "pass", ":exit": "crash"}
    assert list(bench.judge().new) == [":exit"]


def test_a_suite_that_takes_too_long_names_what_it_did_not_run(bench):
    bench.file(
        "test_slow.py",
        """
        import time
        def test_a(): time.sleep(0)
        def test_b(): time.sleep(600)
        def test_c(): pass
        """,
    )
    found = outcomes(bench.run(False, limit=15, test_limit=600))
    assert found["test_b"] == "late" and found["test_c"] == "late"


def test_a_file_that_cannot_be_collected_is_a_difference(bench):
    bench.file("test_a.py", "assert not ON\ndef test_a(): pass")
    bench.file("test_b.py", "def test_b(): pass")
    verdict = bench.judge()
    assert set(verdict.new) == {"test_a.py::test_a", "test_a.py:collect"}


def test_only_what_is_asked_for_is_run(bench):
    bench.file("test_a.py", "def test_a(): pass\ndef test_b(): pass")
    assert outcomes(bench.run(False, ["test_a.py::test_b"])) == {"test_b": "pass"}
    assert supervise.collect(bench.setup()) == ["test_a.py::test_a", "test_a.py::test_b"]


def test_what_pytests_own_options_leave_out_is_not_asked_for(bench):
    bench.file("test_a.py", "def test_a(): pass\ndef test_b(): pass")
    setup = dataclasses.replace(bench.setup(), args=[*PLAIN, "-k", "not test_b"])
    asked = supervise.collect(setup)
    assert asked == ["test_a.py::test_a"]
    assert outcomes(supervise.run(setup, False, asked)) == {"test_a": "pass"}


def test_the_whole_judgement(bench):
    bench.file(
        "test_mix.py",
        """
        import gc, logging, threading, warnings
        kept = []
        def test_good(): pass
        def test_both(): assert 0
        def test_worse(): assert not ON
        def test_warns():
            if ON: warnings.warn("only with aionest 7")
            warnings.warn("everywhere 7")
        def test_logs():
            if ON: logging.getLogger("asyncio").error("Task was destroyed")
        def test_leaks():
            if ON:
                event = threading.Event()
                threading.Thread(target=event.wait, daemon=True, name="left").start()
                kept.append(open("/proc/self/stat"))
        """,
    )
    verdict = bench.judge()
    assert verdict.new == {"test_mix.py::test_worse": "pass on stock, fail with aionest"}
    assert not verdict.unsteady and not verdict.problems
    told = "\n".join(verdict.noise)
    assert "only with aionest" in told and "Task was destroyed" in told and "everywhere" not in told
    assert "threads: left" in told and "descriptors (file)" in told
    assert len(verdict.noise) == 4


def test_a_test_that_fails_once_is_unsteady(bench, tmp_path):
    bench.file(
        "test_once.py",
        f"""
        import pathlib
        def test_once():
            mark = pathlib.Path({str(tmp_path / "mark")!r})
            if ON and not mark.exists():
                mark.touch()
                assert 0
        """,
    )
    verdict = bench.judge()
    assert list(verdict.unsteady) == ["test_once.py::test_once"] and verdict.good


def test_children_of_a_test_have_it_applied_where_the_manifest_says_so(bench):
    bench.file(
        "test_child.py",
        """
        import subprocess, sys
        def test_child():
            code = "import sys; print(getattr(sys.modules.get('aionest'), 'on', False))"
            print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True))
            assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == str(ON)
        """,
    )
    assert outcomes(bench.run(True, everywhere=True)) == {"test_child": "pass"}
    assert outcomes(bench.run(True)) == {"test_child": "fail"}


def test_what_a_hanging_test_started_is_ended(bench, tmp_path):
    pid_file = tmp_path / "pid"
    bench.file(
        "test_child.py",
        f"""
        import subprocess, time
        def test_child():
            child = subprocess.Popen(["sleep", "600"])
            open({str(pid_file)!r}, "w").write(str(child.pid))
            time.sleep(600)
        """,
    )
    assert outcomes(bench.run(False, test_limit=3)) == {"test_child": "hang"}
    pid = int(pid_file.read_text())
    eventually(lambda: not is_alive(pid), "what it started goes on")
