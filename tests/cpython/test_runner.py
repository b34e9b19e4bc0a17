"""The runner of CPython's suite, on a made-up suite whose tests fail, hang, crash and vanish on purpose.

A made-up `aionest` stands for the real one: the made-up tests ask it whether it is applied. What is under test is that
nothing can get lost: each bad thing a suite can do must come out under its own name and as exit status 1.
"""

import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from support import eventually, is_alive

HERE = Path(__file__).parent
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(HERE)
    RUN_SUITE = importlib.import_module("run_suite")
VERSION = "%d.%d" % sys.version_info[:2]
GUARD = 300  # a hang guard, not an expectation

AIONEST = """
    state = None
    def apply(close_loop=False):
        global state
        state = "apply-close" if close_loop else "apply"
    def is_applied():
        return state is not None
"""

HEADER = """
import os, sys, time, unittest
MODE = getattr(sys.modules.get("aionest"), "state", None) or "stock"
HERE = os.path.dirname(__file__)
"""


class Bench:
    """A folder with a suite in it, and the runner."""

    def __init__(self, path):
        self.path = path
        self.package = path / "madeup"
        self.package.mkdir()
        (self.package / "__init__.py").write_text("")
        (path / "aionest.py").write_text(textwrap.dedent(AIONEST))
        self.expected = path / "expected"
        self.expected.mkdir()

    def module(self, name, source):
        (self.package / f"{name}.py").write_text(HEADER + textwrap.dedent(source))

    def cases(self, name, body):
        body = textwrap.indent(textwrap.dedent(body), "    ")
        self.module(name, f"class T(unittest.TestCase):\n{body}")

    def listed(self, *lines):
        (self.expected / f"{VERSION}.txt").write_text("\n".join(lines) + "\n")

    def run(self, *arguments, mode="stock", suite="madeup", limit=60, really=False, **environment):
        """The runner's main(), here; really: as it is started by people, in an interpreter of its own."""
        out = self.path / "out.json"
        arguments = ["--suite", suite, "--mode", mode, "--json", str(out), "--expected", str(self.expected)] + [
            *("--test-timeout", str(limit)), *arguments,
        ]  # fmt: skip
        environment["PYTHONPATH"] = str(self.path)
        if really:
            command = [sys.executable, str(HERE / "run_suite.py"), *arguments]
            env = {**os.environ, **environment}
            done = subprocess.run(command, env=env, cwd=self.path, capture_output=True, text=True, timeout=GUARD)
        else:
            done = self._call(arguments, environment)
        return Ran(done, json.loads(out.read_text()) if done.returncode < 2 else None)

    def _call(self, arguments, environment):
        before = signal.getsignal(signal.SIGTERM)
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.path)
            for name, value in environment.items():
                patch.setenv(name, value)
            try:
                status = RUN_SUITE.main(arguments)
            except SystemExit as exc:
                status = exc.code
            finally:
                signal.signal(signal.SIGTERM, before)
        return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())

    def compare(self, *arguments, mode="apply", **more):
        return self.run("--compare", *arguments, mode=mode, **more)


class Ran:
    def __init__(self, done, found):
        self.status, self.output, self.errors, self.found = done.returncode, done.stdout, done.stderr, found

    @property
    def totals(self):
        match = re.fullmatch(r"(\d+) passed, (\d+) failed, (\d+) skipped", self.output.splitlines()[-1])
        assert match, self.output
        return tuple(map(int, match.groups()))

    def module(self, name):
        return self.found["modules"][f"madeup.{name}"]

    def outcomes(self, name):
        return {self._short(k, name): v["outcome"] for k, v in self.module(name)["outcomes"].items()}

    def verdict(self, name, kind):
        return {self._short(k, name) for k in self.module(name)["verdict"][kind]}

    def text(self, name, short):
        return next(
            "\n".join(v["texts"]) for k, v in self.module(name)["outcomes"].items() if self._short(k, name) == short
        )

    @staticmethod
    def _short(key, name):
        return key.replace(f"madeup.{name}.T.", "").replace(f"madeup.{name}", name)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_every_outcome_of_unittest_comes_out_under_its_own_name(bench):
    bench.cases(
        "test_kinds",
        """
        def test_pass(self): pass
        def test_fail(self): self.assertEqual(1, 2)
        def test_error(self): raise KeyError("odd")
        def test_skip(self): self.skipTest("not today")
        @unittest.skip("never")
        def test_skip_by_mark(self): pass
        @unittest.expectedFailure
        def test_xfail(self): self.fail("known")
        @unittest.expectedFailure
        def test_uxsuccess(self): pass
        def test_subtests(self):
            for n in range(4):
                with self.subTest(n=n):
                    self.assertNotIn(n, (1, 3))
        def test_skipped_subtest(self):
            with self.subTest(n=1):
                self.skipTest("this one")
        def test_fails_and_errors(self):
            self.addCleanup(lambda: 1 / 0)
            self.fail("first")
        def test_errors_and_fails(self):
            self.addCleanup(self.fail, "last")
            1 / 0
        """,
    )
    ran = bench.run(really=True)
    assert ran.outcomes("test_kinds") == {
        "test_pass": "pass",
        "test_fail": "fail",
        "test_error": "error",
        "test_skip": "skip",
        "test_skip_by_mark": "skip",
        "test_xfail": "xfail",
        "test_uxsuccess": "uxsuccess",
        "test_subtests": "fail",
        "test_skipped_subtest": "pass",
        "test_fails_and_errors": "error",
        "test_errors_and_fails": "error",
    }
    assert "n=1" in ran.text("test_kinds", "test_subtests") and "n=3" in ran.text("test_kinds", "test_subtests")
    assert "KeyError: 'odd'" in ran.text("test_kinds", "test_error")
    assert "first" in ran.text("test_kinds", "test_fails_and_errors")
    assert "ZeroDivisionError" in ran.text("test_kinds", "test_fails_and_errors")
    assert ran.totals == (3, 6, 2)
    assert ran.status == 1


def test_a_suite_without_failures_has_status_0(bench):
    bench.cases("test_fine", "def test_one(self): pass\ndef test_two(self): pass")
    ran = bench.run()
    assert (ran.status, ran.totals) == (0, (2, 0, 0))


def test_a_hang_is_named_shows_where_and_the_others_still_run(bench):
    bench.cases(
        "test_hang",
        """
        def test_1(self): pass
        def test_2_hangs(self):
            import subprocess
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
            with open(os.path.join(HERE, "pid"), "w") as file:
                file.write(str(child.pid))
            self.sits_here()
        def sits_here(self): time.sleep(1000)
        def test_3(self): pass
        def test_4_fails(self): self.fail()
        """,
    )
    ran = bench.run(limit=5)
    assert ran.outcomes("test_hang") == {
        "test_1": "pass",
        "test_2_hangs": "hang",
        "test_3": "pass",
        "test_4_fails": "fail",
    }
    assert "sits_here" in ran.text("test_hang", "test_2_hangs")
    assert (ran.status, ran.totals) == (1, (2, 2, 0))
    left = int((bench.package / "pid").read_text())
    eventually(lambda: not is_alive(left), "what the hanging test started is still there")


def test_nothing_outlives_a_run_that_is_ended_from_outside(bench):
    bench.cases(
        "test_hang",
        """
        def test_1(self):
            with open(os.path.join(HERE, "half"), "w") as file:
                file.write(str(os.getpid()))
            os.rename(os.path.join(HERE, "half"), os.path.join(HERE, "pid"))
            time.sleep(1000)
        """,
    )
    bench.cases("test_later", "def test_1(self): open(os.path.join(HERE, 'later'), 'w').close()")
    command = [sys.executable, str(HERE / "run_suite.py"), "--suite", "madeup", "--mode", "stock", "-j", "1"]
    output = (bench.path / "output").open("w+")
    environment = dict(os.environ, PYTHONPATH=str(bench.path))
    with output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as runner:
        pid_file = bench.package / "pid"
        eventually(lambda: pid_file.exists() or runner.poll() is not None)
        assert runner.poll() is None, (bench.path / "output").read_text()
        runner.terminate()
        assert runner.wait(GUARD) == 143, (bench.path / "output").read_text()
    eventually(lambda: not is_alive(int(pid_file.read_text())))
    assert not (bench.package / "later").exists()


def test_a_crash_is_named_with_its_signal_and_the_others_still_run(bench):
    bench.cases(
        "test_crash",
        """
        def test_1(self): pass
        def test_2_crashes(self): self.falls_here()
        def falls_here(self):
            import faulthandler
            faulthandler._sigsegv()
        def test_3(self): pass
        def test_4_leaves(self): os._exit(7)
        def test_5(self): pass
        """,
    )
    ran = bench.run()
    assert ran.outcomes("test_crash") == {
        "test_1": "pass",
        "test_2_crashes": "crash",
        "test_3": "pass",
        "test_4_leaves": "crash",
        "test_5": "pass",
    }
    assert "SIGSEGV" in ran.text("test_crash", "test_2_crashes")
    assert "falls_here" in ran.text("test_crash", "test_2_crashes")
    assert "status 7" in ran.text("test_crash", "test_4_leaves")
    assert (ran.status, ran.totals) == (1, (3, 2, 0))


def test_an_exception_that_breaks_off_unittest_itself_is_an_error_of_its_test(bench):
    bench.cases(
        "test_interrupt",
        """
        def test_1(self): pass
        def test_2_interrupts(self): raise KeyboardInterrupt("not caught")
        def test_3(self): pass
        """,
    )
    ran = bench.run()
    assert ran.outcomes("test_interrupt") == {"test_1": "pass", "test_2_interrupts": "error", "test_3": "pass"}
    assert "not caught" in ran.text("test_interrupt", "test_2_interrupts")
    assert (ran.status, ran.totals) == (1, (2, 1, 0))


def test_fixtures_that_fail_skip_or_hang_settle_the_tests_that_they_keep_from_starting(bench):
    bench.module(
        "test_fixtures",
        """
        class Fails(unittest.TestCase):
            @classmethod
            def setUpClass(cls): raise OSError("no port")
            def test_1(self): pass
            def test_2(self): pass
        class Skips(unittest.TestCase):
            @classmethod
            def setUpClass(cls): raise unittest.SkipTest("no ipv6")
            def test_1(self): pass
        class Good(unittest.TestCase):
            def test_1(self): pass
        class TearsDown(unittest.TestCase):
            @classmethod
            def tearDownClass(cls): raise OSError("still open")
            def test_1(self): pass
        class XHangs(unittest.TestCase):
            @classmethod
            def setUpClass(cls): time.sleep(1000)
            def test_1(self): pass
        class YAfter(unittest.TestCase):
            def test_1(self): pass
        """,
    )
    ran = bench.run(limit=5)
    outcomes = {k.replace("test_fixtures.", ""): v for k, v in ran.outcomes("test_fixtures").items()}
    assert outcomes == {
        "Fails.test_1": "error",
        "Fails.test_2": "error",
        "Skips.test_1": "skip",
        "Good.test_1": "pass",
        "TearsDown.test_1": "pass",
        "tearDownClass (TearsDown)": "error",
        "XHangs.test_1": "hang",
        "YAfter.test_1": "pass",
    }
    assert (ran.status, ran.totals) == (1, (3, 4, 1))


def test_a_process_that_does_not_exit_as_it_should_is_a_failure(bench):
    bench.cases(
        "test_dies",
        "def test_1(self): import atexit; atexit.register(os._exit, 5)",
    )
    bench.cases(
        "test_stays",
        "def test_1(self): import threading; threading.Thread(target=time.sleep, args=(1000,)).start()",
    )
    ran = bench.run(limit=5)
    assert ran.outcomes("test_dies") == {"test_1": "pass", "test_dies:exit": "crash"}
    assert ran.outcomes("test_stays") == {"test_1": "pass", "test_stays:exit": "hang"}
    assert (ran.status, ran.totals) == (1, (2, 2, 0))


def test_a_module_that_skips_itself_counts_as_one_skip(bench):
    bench.module("test_elsewhere", "raise unittest.SkipTest('elsewhere only')")
    bench.cases("test_fine", "def test_one(self): pass")
    ran = bench.compare()
    assert (ran.status, ran.totals) == (0, (1, 0, 1))
    assert ran.module("test_elsewhere")["skipped"] == "elsewhere only"


def test_a_module_that_skips_itself_only_with_aionest_fails(bench):
    bench.cases("test_shy", "def test_one(self): pass\nif MODE != 'stock': raise unittest.SkipTest('shy')")
    ran = bench.compare()
    assert (ran.status, ran.totals) == (1, (0, 1, 1))
    assert "not on stock" in ran.output


def test_tests_that_are_loaded_but_never_started_fail_the_run(bench):
    bench.module(
        "test_lossy",
        """
        class T(unittest.TestCase):
            def test_1(self): pass
            def test_2(self): pass
        class Lossy(unittest.TestSuite):
            def run(self, result, debug=False):
                for test in list(self)[:1]:
                    test(result)
                return result
        def load_tests(loader, tests, pattern):
            return Lossy([T("test_1"), T("test_2")])
        """,
    )
    ran = bench.run()
    assert ran.outcomes("test_lossy") == {"test_1": "pass", "test_2": "lost"}
    assert ran.status == 1 and "never started" in ran.output


def test_a_test_that_is_skipped_without_being_started_is_a_skip(bench):
    bench.module(
        "test_unstarted",
        """
        class T(unittest.TestCase):
            def test_1(self): pass
            def run(self, result):
                result.addSkip(self, "as unittest of 3.12.1 does for a class that is skipped")
                result.stopTest(self)
        """,
    )
    ran = bench.compare()
    assert ran.outcomes("test_unstarted") == {"test_1": "skip"}
    assert (ran.status, ran.totals) == (0, (0, 0, 1))


def test_a_module_that_loads_fewer_tests_with_aionest_fails_the_run(bench):
    bench.module(
        "test_shrinks",
        """
        class T(unittest.TestCase):
            def test_1(self): pass
            if MODE == "stock":
                def test_2(self): pass
        """,
    )
    ran = bench.compare()
    assert ran.status == 1 and ran.totals[1] >= 1
    assert "loads other tests than the discovery found: madeup.test_shrinks.T.test_2" in ran.output


def test_a_module_that_cannot_be_loaded_with_aionest_fails_the_run(bench):
    bench.cases("test_breaks", "def test_one(self): pass\nif MODE != 'stock': 1 / 0")
    ran = bench.compare()
    assert ran.status == 1 and "cannot be loaded, 1 tests not run" in ran.output
    assert "ZeroDivisionError" in ran.output


def test_the_same_test_id_twice_is_two_tests(bench):
    bench.module(
        "test_twice",
        """
        class T(unittest.TestCase):
            count = 0
            def test_1(self):
                T.count += 1
                self.assertEqual(T.count, 1)
        Alias = T
        """,
    )
    ran = bench.run()
    assert ran.outcomes("test_twice") == {"test_1": "pass", "test_1#2": "fail"}


def test_a_module_that_takes_too_long_is_cut_off_and_the_rest_is_named(bench):
    bench.cases(
        "test_slow",
        """
        def test_1(self): pass
        def test_2(self): time.sleep(1000)
        def test_3(self): pass
        """,
    )
    ran = bench.run("--timeout", "5")
    assert ran.outcomes("test_slow") == {"test_1": "pass", "test_2": "hang", "test_3": "lost"}
    assert ran.status == 1 and "1 tests not run within 5 s" in ran.output


def test_a_failure_with_aionest_only_is_ours(bench):
    bench.cases(
        "test_cmp",
        """
        def test_ours(self): self.assertEqual(MODE, "stock")
        def test_fails_anyway(self): self.fail("anyway")
        def test_fine(self): pass
        """,
    )
    ran = bench.compare()
    assert ran.verdict("test_cmp", "ours") == {"test_ours"}
    assert ran.verdict("test_cmp", "stock") == {"test_fails_anyway"}
    assert (ran.status, ran.totals) == (1, (1, 1, 1))
    assert "FAILED madeup.test_cmp.T.test_ours" in ran.output


def test_failures_that_stock_has_too_do_not_fail_the_run(bench):
    bench.cases("test_cmp", "def test_1(self): self.fail('anyway')\ndef test_2(self): os.abort()")
    ran = bench.compare()
    assert ran.verdict("test_cmp", "stock") == {"test_1", "test_2"}
    assert (ran.status, ran.totals) == (0, (0, 0, 2))


COUNTING = """
    def test_counts(self):
        with open(os.path.join(HERE, f"runs-{{MODE}}"), "a+") as file:
            file.write("x")
            file.seek(0)
            number = len(file.read())
        self.assertFalse({fails}, f"run {{number}}")
"""


@pytest.mark.parametrize("times", [1, 2])
def test_a_failure_that_does_not_come_back_is_flaky_and_named(bench, times):
    bench.cases("test_cmp", COUNTING.format(fails=f"number <= {times}"))
    ran = bench.compare()
    assert ran.verdict("test_cmp", "flaky") == {"test_counts"}
    assert (ran.status, ran.totals) == (0, (1, 0, 0))
    assert re.search(r"flaky: madeup\.test_cmp\.T\.test_counts: .*run 1", ran.output)


def test_a_failure_that_stock_has_only_now_and_then_is_ours(bench):
    bench.cases("test_cmp", COUNTING.format(fails="MODE != 'stock' or number == 1"))
    ran = bench.compare()
    assert ran.verdict("test_cmp", "ours") == {"test_counts"}
    assert ran.status == 1


def test_a_failure_in_company_only_is_not_taken_for_a_flaky_one(bench):
    body = """
        def test_1(self): T.spoilt = {spoils}
        def test_2(self): self.assertFalse(getattr(T, "spoilt", False))
    """
    bench.cases("test_ours", body.format(spoils="MODE != 'stock'"))
    bench.cases("test_anyway", body.format(spoils="True"))
    ran = bench.compare()
    assert ran.verdict("test_ours", "ours") == {"test_2"}
    assert ran.verdict("test_anyway", "stock") == {"test_2"}
    assert (ran.status, ran.totals) == (1, (2, 1, 1))


def test_a_bad_exit_is_compared_with_stock_too(bench):
    body = "def test_1(self):\n    if {when}: import atexit; atexit.register(os._exit, 5)"
    bench.cases("test_ours", body.format(when="MODE != 'stock'"))
    bench.cases("test_anyway", body.format(when="True"))
    ran = bench.compare()
    assert ran.verdict("test_ours", "ours") == {"test_ours:exit"}
    assert ran.verdict("test_anyway", "stock") == {"test_anyway:exit"}
    assert ran.status == 1


def test_a_skip_with_aionest_only_is_ours(bench):
    bench.cases(
        "test_cmp",
        """
        def test_everywhere(self): self.skipTest("no")
        def test_ours(self):
            if MODE != "stock": self.skipTest("cannot do this")
        """,
    )
    ran = bench.compare()
    assert ran.verdict("test_cmp", "ours") == {"test_ours"}
    assert (ran.status, ran.totals) == (1, (0, 1, 1))


def test_aionest_must_still_be_applied_when_the_tests_are_over(bench):
    bench.cases("test_cmp", "def test_1(self):\n    if MODE != 'stock': sys.modules['aionest'].state = None")
    ran = bench.compare()
    assert ran.status == 1 and "aionest was no longer applied" in ran.output


NESTING = """
    def test_nesting(self): self.assertEqual(MODE, "stock", "nesting went through")
    def test_closes(self): self.assertIn(MODE, ("stock", "apply-close"), "loop is open")
"""
REFUSAL = "refusal | madeup.test_cmp.T.test_nesting | nesting went through | asserts that it is refused"


@pytest.mark.parametrize("mode", ["apply", "apply-close"])
def test_listed_failures_do_not_fail_the_run_in_either_mode(bench, mode):
    bench.cases("test_cmp", NESTING.splitlines()[1])
    bench.listed("# comment", "", REFUSAL)
    ran = bench.compare(mode=mode)
    assert ran.verdict("test_cmp", "listed") == {"test_nesting"}
    assert (ran.status, ran.totals) == (0, (0, 0, 1))


def test_the_modes_are_told_apart(bench):
    bench.cases("test_cmp", NESTING)
    bench.listed(REFUSAL)
    assert bench.compare().verdict("test_cmp", "ours") == {"test_closes"}
    ran = bench.compare(mode="apply-close")
    assert (ran.status, ran.totals) == (0, (1, 0, 1))


def test_a_listed_failure_does_not_hide_another_one_of_the_same_test(bench):
    bench.cases(
        "test_cmp",
        """
        def tearDown(self): self.assertNotEqual(MODE, "apply", "loop is open")
        def test_closes(self): self.assertEqual(MODE, "stock", "something else")
        """,
    )
    bench.listed("refusal | madeup.test_cmp.T.test_closes | loop is open | asserts that it is refused")
    ran = bench.compare()
    assert ran.verdict("test_cmp", "ours") == {"test_closes"}
    assert ran.status == 1 and "in another way" in ran.output


def test_a_test_that_is_listed_as_hanging_takes_little_time_and_holds_up_no_other(bench):
    bench.cases("test_cmp", "def test_1(self):\n    if MODE != 'stock': time.sleep(1000)\ndef test_2(self): pass")
    bench.listed("refusal | madeup.test_cmp.T.test_1 | [hang] | asserts that it is refused")
    begin = time.monotonic()
    ran = bench.compare("--timeout", str(GUARD), limit=GUARD)
    assert ran.verdict("test_cmp", "listed") == {"test_1"}
    assert (ran.status, ran.totals) == (0, (1, 0, 1))
    assert time.monotonic() - begin < GUARD / 2
    bench.cases("test_cmp", "def test_1(self): pass")
    ran = bench.compare()
    assert ran.status == 1 and "take it off the list" in ran.output


@pytest.mark.parametrize(
    "line, complaint",
    [
        (REFUSAL.replace("went through", "did no harm"), "in another way than the list says"),
        ("refusal | madeup.test_cmp.T.test_fine | x | y", "take it off the list"),
        ("refusal | madeup.test_cmp.T.test_gone | x | y", "there is no such test"),
        ("refusal | madeup.test_gone.T.test_1 | x | y", "there is no such module"),
    ],
)
def test_a_line_that_is_no_longer_true_fails_the_run(bench, line, complaint):
    bench.cases("test_cmp", NESTING.splitlines()[1] + "\n    def test_fine(self): pass\n")
    bench.listed(*{REFUSAL.split("|")[1]: REFUSAL, line.split("|")[1]: line}.values())
    ran = bench.compare()
    assert ran.status == 1 and complaint in ran.output and ran.totals[1] == 1


@pytest.mark.parametrize(
    "line", ["nonsense", "known | a.b.c | x | y", "refusal | a.b.c |  | y", f"{REFUSAL}\n{REFUSAL}"]
)
def test_a_list_that_cannot_be_read_is_refused(bench, line):
    bench.cases("test_cmp", NESTING)
    bench.listed(line)
    ran = bench.compare()
    assert ran.status == 2 and f"{VERSION}.txt:" in ran.errors


def test_a_suite_that_is_not_there_or_cannot_be_loaded_is_refused(bench):
    assert bench.run(suite="nosuchsuite").status == 2
    bench.module("test_broken", "1 / 0")
    ran = bench.run()
    assert ran.status == 2 and "ZeroDivisionError" in ran.errors


def test_modules_are_chosen_by_name_and_an_unknown_name_is_refused(bench):
    for name in ("test_one", "test_two", "test_three"):
        bench.cases(name, "def test_1(self): pass")
    bench.listed("refusal | madeup.test_one.T.test_gone | x | y")  # of no concern unless test_one is run
    ran = bench.compare("--modules", "two", "madeup.test_thr*")
    assert sorted(ran.found["modules"]) == ["madeup.test_three", "madeup.test_two"]
    assert (ran.status, ran.totals) == (0, (2, 0, 0))
    ran = bench.run("--modules", "four")
    assert ran.status == 2 and "no module is called 'four'" in ran.errors


def test_exceptions_that_python_can_only_print_are_noted_with_their_test(bench):
    bench.cases(
        "test_notes",
        """
        def test_1(self): pass
        def test_2(self):
            class Odd:
                def __del__(self): raise OSError("in del")
            Odd()
        def test_3(self):
            import threading
            thread = threading.Thread(target=lambda: 1 / 0)
            thread.start()
            thread.join()
        """,
    )
    notes = bench.run().module("test_notes")["notes"]
    assert [(n["test"].rpartition(".")[2], n["kind"]) for n in notes] == [
        ("test_2", "unraisable"),
        ("test_3", "thread"),
    ]
    assert "in del" in notes[0]["text"]


def test_the_child_has_the_surroundings_of_python_m_test(bench):
    pytest.importorskip("test.support", reason="this Python comes without its test package")
    bench.cases(
        "test_surroundings",
        """
        def test_no_resources(self):
            from test import support
            self.assertFalse(support.is_resource_enabled("network"))
        def test_sigint(self):
            import signal
            self.assertIs(signal.getsignal(signal.SIGINT), signal.default_int_handler)
        def test_cwd_is_empty(self):
            self.assertEqual(os.listdir(), [])
        def test_no_folder_of_the_runner(self):
            self.assertNotIn("supervise.py", [f for p in sys.path if os.path.isdir(p) for f in os.listdir(p)])
        def test_no_warning_options(self):
            self.assertEqual(sys.warnoptions, [])
        """,
    )
    ran = bench.run(PYTHONWARNINGS="error")
    assert set(ran.outcomes("test_surroundings").values()) == {"pass"}, ran.output


def test_a_fork_that_goes_on_running_tests_says_nothing(bench):
    bench.cases(
        "test_fork",
        """
        @classmethod
        def tearDownClass(cls):
            os.close(cls.parents_end)  # lets the fork go on, when all of our own tests are over
            os.waitpid(cls.fork, 0)
        def test_1(self):
            forks_end, T.parents_end = os.pipe()
            T.fork = os.fork()
            if not T.fork:
                os.close(T.parents_end)
                os.read(forks_end, 1)
                T.tearDownClass = classmethod(lambda cls: None)
                self.fail("in the fork")
        def test_2(self):
            self.assertTrue(T.fork, "in the fork")
        """,
    )
    ran = bench.run()
    assert ran.outcomes("test_fork") == {"test_1": "pass", "test_2": "pass"}


def test_the_real_suite_is_found_and_run(bench):
    pytest.importorskip("test.test_asyncio", reason="this Python comes without its test package")
    ran = bench.run("--modules", "pep492", "protocols", suite="test.test_asyncio", really=True)
    assert ran.status == 0, ran.output
    assert ran.totals[0] >= 10
