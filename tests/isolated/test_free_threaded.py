"""A free-threaded Python: the package says at import that it does not work there, and has loaded nothing by then."""

from __future__ import annotations

import sysconfig

import pytest

if not sysconfig.get_config_var("Py_GIL_DISABLED"):
    pytest.skip("this Python is not free-threaded", allow_module_level=True)

PROGRAM = """
import sys
before = sys._is_gil_enabled()
try:
    import aionest
except ImportError as exc:
    print(exc)
print(sys._is_gil_enabled() is before, "greenlet" in sys.modules)
"""
SENTENCE = "aionest does not work on free-threaded CPython yet, not with the GIL on either: use the ordinary build of this version"


@pytest.mark.parametrize("gil", ["", "0", "1"])
def test_the_import_says_so(child, gil):
    done = child(PROGRAM, env={"PYTHON_GIL": gil, "AIONEST_FREE_THREADED": ""})
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{SENTENCE}\nTrue False\n", "")


def test_who_works_on_it_can_try(child):
    done = child(
        """
        import asyncio, sys, warnings
        warnings.simplefilter("ignore")  # CPython says that it turns the GIL on
        import aionest
        aionest.apply()
        assert sys._is_gil_enabled()

        async def main():
            return asyncio.run(asyncio.sleep(0, "nested"))

        print(asyncio.run(main()))
        """,
        env={"AIONEST_FREE_THREADED": "1", "PYTHON_GIL": ""},
    )
    assert (done.returncode, done.stdout) == (0, "nested\n"), done.stderr
