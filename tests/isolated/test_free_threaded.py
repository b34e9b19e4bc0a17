"""A free-threaded Python: the engine needs the GIL, and says so at import."""

from __future__ import annotations

import sysconfig

import pytest

if not sysconfig.get_config_var("Py_GIL_DISABLED"):
    pytest.skip("this Python is not free-threaded", allow_module_level=True)

PROGRAM = """
import sys
{before}
print(sys._is_gil_enabled())
import aionest
print(sys._is_gil_enabled(), aionest.is_applied())
"""
OURS = "RuntimeWarning: The global interpreter lock (GIL) has been enabled to load module 'aionest._core'"


def test_the_import_turns_the_gil_on_and_one_warning_says_so(child):
    done = child(PROGRAM.format(before=""), env={"PYTHON_GIL": ""})
    assert (done.returncode, done.stdout) == (0, "False\nTrue False\n"), done.stderr
    assert done.stderr.count("RuntimeWarning") == 1 and OURS in done.stderr, done.stderr


def test_where_it_is_on_nothing_is_said(child):
    done = child(PROGRAM.format(before=""), env={"PYTHON_GIL": "1"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\nTrue False\n", "")


@pytest.mark.parametrize("before", ["", "import warnings; warnings.simplefilter('ignore'); import greenlet"])
def test_where_that_is_forbidden_the_import_fails(child, before):
    """Also if another module that needs the GIL was let in before."""
    done = child(PROGRAM.format(before=before), env={"PYTHON_GIL": "0"})
    assert done.returncode == 1 and done.stdout == "False\n"
    assert done.stderr.splitlines()[-1] == (
        "ImportError: aionest needs the GIL, which this free-threaded Python was told to do without: start it without "
        "PYTHON_GIL=0 and -X gil=0"
    )


def test_threads_that_nest_at_once(child):
    """With the GIL on again: each has its own loop, and all of them hand work to each other."""
    done = child(
        """
        import asyncio, sys, threading, warnings
        warnings.simplefilter("ignore")
        import aionest
        aionest.apply()
        assert sys._is_gil_enabled()

        async def leaf(n):
            await asyncio.sleep(0)
            return n

        async def main(n):
            for i in range(200):
                assert asyncio.run(leaf(n + i)) == n + i
            return n

        results = []
        threads = [threading.Thread(target=lambda n=n: results.append(asyncio.run(main(n)))) for n in range(8)]
        for one in threads: one.start()
        for one in threads: one.join()
        print(sorted(results))
        """
    )
    assert (done.returncode, done.stdout) == (0, "[0, 1, 2, 3, 4, 5, 6, 7]\n"), done.stderr
