"""Bars in a notebook, while servers start and tools work.

    from aionest.mcp import ToolsLoader, notebook

    loader = ToolsLoader("mcp.json", **notebook.progress())

Contract: ipywidgets' bars where that is installed, else lines of text that are replaced. Where no kernel of IPython runs, nothing is shown
and nothing imported. What servers say is text, and one line of it. Any thread; a bar is drawn at most twenty times a second.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

from .._untrusted import for_cell

if TYPE_CHECKING:
    from collections.abc import Callable

    from .session.status import ServerStatus

__all__ = ["progress"]

PAUSE = 0.05  # seconds between two pictures of a bar
WIDTH = 24  # characters of a bar of text
NAME, SAID = 60, 120  # characters that are shown


def progress() -> dict[str, Callable[..., object]]:
    """Options for ``ToolsLoader`` that show in a notebook how far its servers and calls are; none where there is no notebook."""
    if not _in_notebook():
        return {}
    shown = _Shown()
    return {"on_state": shown.state, "on_progress": shown.step}


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


class _Bar(Protocol):
    """What is drawn."""

    def draw(self, value: float, total: float | None, text: str) -> None:
        """Draw it anew."""


class _TextBar:
    """A line of text, which is replaced."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._place: object = None

    def draw(self, value: float, total: float | None, text: str) -> None:
        from IPython.display import display

        filled = round(WIDTH * max(0.0, min(1.0, value / total))) if total else 0
        many = f"{value:g}/{total:g}" if total else f"{value:g}"
        bar = "\u2588" * filled + "\u2591" * (WIDTH - filled)
        line = f"{self._name} {bar} {many} {text}".rstrip()
        if self._place is None:
            self._place = display({"text/plain": line}, raw=True, display_id=True)
        else:
            self._place.update({"text/plain": line}, raw=True)  # type: ignore[attr-defined]


class _WidgetBar:
    """A bar of ipywidgets."""

    def __init__(self, name: str) -> None:
        from ipywidgets import FloatProgress, HBox, Label

        self._name, self._bar, self._said = Label(name), FloatProgress(min=0.0, max=1.0), Label()
        self._all = HBox([self._name, self._bar, self._said])
        self._there = False

    def draw(self, value: float, total: float | None, text: str) -> None:
        from IPython.display import display

        self._bar.value = max(0.0, min(1.0, value / total)) if total else 0.0
        self._said.value = f"{value:g}/{total:g} {text}" if total else f"{value:g} {text}"
        if not self._there:
            self._there = True
            display(self._all)


def _bar(name: str) -> _Bar:
    try:
        return _WidgetBar(name)
    except ImportError:
        return _TextBar(name)


class _Line:
    """A bar with what it has to show."""

    def __init__(self, name: str) -> None:
        self._bar = _bar(for_cell(name, NAME))
        self._drawn = 0.0
        self.value = 0.0

    def show(self, value: float, total: float | None, text: object) -> None:
        self.value = value
        over = total is not None and value >= total
        if over or time.monotonic() - self._drawn >= PAUSE:
            self._drawn = time.monotonic()
            self._bar.draw(value, total, for_cell(text, SAID))


class _Shown:
    """The bars of a loader: one for its servers, one for each tool that works."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._states: dict[str, str] = {}
        self._servers: _Line | None = None
        self._tools: dict[str, _Line] = {}

    def state(self, status: ServerStatus) -> None:
        """A server is in another state."""
        with self._guard:
            starting = status.state == "connecting"
            if self._servers is None and not starting:
                return  # it was closed, or lost; nobody waits
            if self._servers is None:
                self._servers, self._states = _Line("servers"), {}
            self._states[status.name] = status.state
            there = sum(state != "connecting" for state in self._states.values())
            self._servers.show(there, len(self._states), f"{status.name} {status.state}")
            if there == len(self._states):
                self._servers = None  # the next start has a bar of its own

    def step(self, tool: str, value: float, total: float | None, message: str | None) -> None:
        """A tool is so far."""
        with self._guard:
            line = self._tools.get(tool)
            if line is None or value < line.value:  # another call
                line = self._tools[tool] = _Line(tool)
            line.show(value, total, message or "")
            if total is not None and value >= total:
                del self._tools[tool]
