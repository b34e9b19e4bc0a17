"""The frames under every step of a loop, as on stock asyncio: what looks for its caller finds ``_run``, ``_run_once``, and then
whoever called ``run_forever`` (``src/core/frames.h``).

Contract: called by ``_core`` only, once for each stack that carries loops; ``carry`` returns when that stack ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def _run(carry: Callable[[], Any]) -> None:
    carry()


def _run_once(carry: Callable[[], Any]) -> None:
    _run(carry)
