"""Can this interpreter run aionest? Asked before the engine is loaded, which would say it less plainly.

Contract: ``check`` raises ImportError with one sentence, or does nothing.
Thread: the one that imports the package.
"""

from __future__ import annotations

import sys


def check() -> None:
    if sys.implementation.name != "cpython":
        raise ImportError(
            f"aionest needs CPython: it suspends C stacks, and {sys.implementation.name} has none to switch"
        )
    if sys.platform in ("emscripten", "wasi"):
        raise ImportError(
            "aionest does not work on WebAssembly (Pyodide): it suspends C stacks, which cannot be switched there"
        )
    if not getattr(sys, "_is_gil_enabled", lambda: True)() and _gil_was_refused():
        raise ImportError(
            "aionest needs the GIL, which this free-threaded Python was told to keep off: start it without PYTHON_GIL=0 and -X gil=0"
        )


def _gil_was_refused() -> bool:
    """Otherwise CPython turns it on, with a warning, when the engine is imported."""
    import os

    return sys._xoptions.get("gil", os.environ.get("PYTHON_GIL")) == "0"
