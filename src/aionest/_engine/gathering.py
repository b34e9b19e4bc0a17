"""``asyncio.gather()`` amid which other tasks have run.

gather() takes for granted that nothing runs while it is called: what a child that is done meanwhile calls back is counted, and
else forgotten, since there is no future yet to tell. A finalizer that nests just then, or an eager child that nests in its
first step, puts the stack to sleep there, and the loop goes on.

Contract: ``make`` stands in for ``_GatheringFuture.__init__``, which is all that gather() calls between its children and its end.
First it tells the children's callback of the future, as gather() does when it has it, so none is forgotten from then on: a
finalizer may nest behind any line of it, and behind the last one before gather() goes on. Then it makes up for the calls that
came before, if the stack has been asleep.
Thread: the loop's.
"""

from __future__ import annotations

import sys
from asyncio import tasks
from typing import Any

from .. import _core

gathering_future: Any = tasks._GatheringFuture  # type: ignore[attr-defined]
_init: Any = gathering_future.__base__.__init__
_CODE = tasks.gather.__code__
_CALLBACK: Any = next((c for c in _CODE.co_consts if getattr(c, "co_name", "") == "_done_callback"), None)
_VARIABLES: tuple[str, ...] = getattr(_CALLBACK, "co_freevars", ())
_KNOWN = frozenset(("children", "nfinished", "nfuts", "outer", "return_exceptions")).issubset(_VARIABLES)
_OUTER = _VARIABLES.index("outer") if _KNOWN else -1


def make(self: Any, children: Any, *, loop: Any) -> None:
    assert loop is not None
    _init(self, loop=loop)
    self._children = children
    self._cancel_requested = False
    if _KNOWN and _core.gather_known(self, children, loop, _CALLBACK, _OUTER):
        _make_up(self, sys._getframe(1))


def _make_up(outer: Any, frame: Any) -> None:
    callback = frame.f_locals.get("_done_callback") if frame.f_code is _CODE else None
    if callback is None:
        return
    cells = dict(zip(_VARIABLES, callback.__closure__))
    cells["outer"].cell_contents = outer
    children, finished = cells["children"].cell_contents, cells["nfinished"]
    if finished.cell_contents == 0 or outer.done():
        return
    first = None
    if not cells["return_exceptions"].cell_contents:
        first = next((child for child in children if child.done() and _failed(child)), None)
    if first is None and finished.cell_contents == cells["nfuts"].cell_contents:
        first = children[-1]
    if first is not None:
        finished.cell_contents -= 1  # it is counted already, or will be once more when that does not matter
        callback(first)


def _failed(future: Any) -> bool:
    return future.cancelled() or future.exception() is not None
