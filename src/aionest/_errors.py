"""Every exception class of aionest, the root first.

Contract: each class also inherits what users catch today for the same mistake (``RuntimeError``, ``TypeError``), so code
written for asyncio or nest_asyncio keeps its ``except`` clauses. The C engine raises these by name; nothing here imports
anything of aionest's, so any module may import this one.
"""

from __future__ import annotations

from asyncio import CancelledError

__all__ = ["AionestError", "ForeignLoopError", "NestedRunError", "PortalClosed", "ResourceLost"]


class AionestError(Exception):
    """The root of all exceptions that aionest defines."""


class NestedRunError(AionestError, RuntimeError):
    """Raised when a nested run cannot be started or cannot go on: no loop runs, it was stopped, or it is being closed."""


class ForeignLoopError(AionestError, TypeError, RuntimeError):
    """Raised when code would have to be suspended on an event loop that aionest does not drive, such as trio-asyncio's.

    A RuntimeError, too, as what asyncio raises there: a caller that has another way for that case goes on to take it.
    """


class ResourceLost(AionestError, RuntimeError):
    """Raised to whoever uses a hosted resource that has failed.

    ``__cause__`` is the failure itself. It may be None while the resource is still being taken down, and is filled in
    when that has ended.
    """


class PortalClosed(AionestError, RuntimeError):
    """Raised by every use of a portal that is closed, and by the calls in flight when it was closed."""


class Interrupted(CancelledError, KeyboardInterrupt):
    """What a nested run raises when Ctrl-C has cancelled the run around it.

    To the synchronous code that called it this is the ``KeyboardInterrupt`` that it would get where no loop runs; to the
    task that this code runs in it is the cancellation that it is, so the task ends as a cancelled one.
    """


for _name in __all__:
    globals()[_name].__module__ = "aionest"  # what tracebacks show, and pickles import
