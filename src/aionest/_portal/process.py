"""All portals of the process: their end at interpreter exit, and what becomes of them in a child after fork().

Contract
  * At exit all portals are closed, after the main thread's own loop, whose tasks may use them, and after those exit handlers
    that were registered after aionest was imported (``_engine.closing``).
  * After fork() a child's portals are as if never used, or closed.
Thread: ``_at_exit`` the main one; ``_after_fork`` the child's only one.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

from .._engine import closing
from .runner import runners

if TYPE_CHECKING:
    from .portal import Portal

EXIT_GRACE = 10.0  # seconds that interpreter exit waits for a portal to let go of the next thing
portals: weakref.WeakSet[Portal] = weakref.WeakSet()
exiting = False  # portals are being closed for good


def _at_exit() -> None:
    global exiting
    exiting = True
    for runner in reversed(list(runners)):
        left = runner.load()
        while not runner.close(EXIT_GRACE):
            before, left = left, runner.load()
            if left >= before:
                message = f"Portal {runner.name!r} did not end within {EXIT_GRACE:g} s of interpreter exit"
                runner.report(message, TimeoutError())
                break


def _after_fork() -> None:
    for runner in list(runners):
        runner.forget()
    runners.clear()
    for each in list(portals):
        each._lock = threading.Lock()
        each._runner = None


closing.at_exit.append(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
