"""Values put on classes and modules, and taken back.

Contract: ``restore`` puts back exactly what ``put`` found, the newest first, also where nothing stood in the owner itself.
A function of ours that takes the place of another bears its name, module and kind, so that who looks at it (``inspect``,
``pickle``, mocks, profilers) sees what asyncio has there.
Thread: the caller's lock.
"""

from __future__ import annotations

import inspect
import sys
from asyncio import coroutines
from types import FunctionType
from typing import Any

_MISSING: Any = object()


class Patches:
    """What was put in one go, and what stood there before."""

    def __init__(self) -> None:
        self._saved: list[tuple[Any, str, Any]] = []

    def __len__(self) -> int:
        return len(self._saved)

    def __contains__(self, name: str) -> bool:
        return any(each == name for _, each, _ in self._saved)

    def put(self, owner: Any, name: str, value: Any) -> None:
        """Set it. TypeError, and nothing is noted, for an owner that cannot be changed."""
        before = vars(owner).get(name, _MISSING)
        if type(before) is FunctionType and type(value) is FunctionType:
            _disguise(value, before)
        setattr(owner, name, value)
        self._saved.append((owner, name, before))

    def restore(self, down_to: int = 0) -> None:
        """Put back what was found, but for the oldest ``down_to`` ones."""
        while len(self._saved) > down_to:
            owner, name, before = self._saved.pop()
            if before is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, before)


def _disguise(ours: FunctionType, theirs: FunctionType) -> None:
    ours.__name__, ours.__qualname__, ours.__module__ = theirs.__name__, theirs.__qualname__, theirs.__module__
    ours.__annotations__ = theirs.__annotations__
    if inspect.iscoroutinefunction(theirs) and not inspect.iscoroutinefunction(ours):
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(ours)
        else:
            ours._is_coroutine = coroutines._is_coroutine  # type: ignore[attr-defined]
