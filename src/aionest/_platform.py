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
    if "free-threading" in sys.version and not _tried_at_own_risk():
        raise ImportError(
            "aionest does not work on free-threaded CPython yet, not with the GIL on either: use the ordinary build of this version"
        )


def _tried_at_own_risk() -> bool:
    """For work on the engine: its tests crash there, now and then."""
    import os

    return os.environ.get("AIONEST_FREE_THREADED") == "1"
