"""Values put on classes and modules, and taken back.

Contract: ``restore`` puts back exactly what ``put`` found, the newest first, also where nothing stood in the owner itself.
Thread: the caller's lock.
"""

from __future__ import annotations

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
