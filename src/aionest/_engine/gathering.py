"""``asyncio.gather()`` amid which other tasks have run.

gather() takes for granted that nothing runs while it is called: what a child that is done meanwhile calls back is counted, and
else forgotten, since there is no future yet to tell. A finalizer that nests just then, or an eager child that nests in its
first step, puts the stack to sleep there, and the loop goes on.

Contract: ``make`` stands in for ``_GatheringFuture.__init__``, which is all that gather() calls between its children and its end.
Where the stack has not been asleep it does the same at the same cost; else it makes up for the calls that came too early.
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
_CELLS = frozenset(("children", "nfinished", "nfuts", "outer", "return_exceptions"))


def make(self: Any, children: Any, *, loop: Any) -> None:
    assert loop is not None
    _init(self, loop=loop)
    self._children = children
    self._cancel_requested = False
    if _core.has_slept():
        _make_up(self, sys._getframe(1))


def _make_up(outer: Any, frame: Any) -> None:
    callback = frame.f_locals.get("_done_callback") if frame.f_code is _CODE else None
    if callback is None:
        return
    cells = dict(zip(callback.__code__.co_freevars, callback.__closure__))
    if not cells.keys() >= _CELLS or cells["nfinished"].cell_contents == 0:
        return
    children, finished = cells["children"].cell_contents, cells["nfinished"]
    cells["outer"].cell_contents = outer  # as gather() is about to do
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
