"""What a browser session did on the page of tools: the calls that are over, and what was given to each tool last.

Contract: bounded; any thread. Draws nothing.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aionest.app.asking import Running
    from aionest.mcp import Tool, ToolResult, ToolsRetriever

HISTORY = 50  # calls that a browser session keeps
STOPPED = "Stopped before there was a result."


@dataclass
class Entry:
    """A call that is over."""

    number: int
    tool: Tool
    arguments: dict[str, object]
    result: ToolResult | None = None
    error: str = ""
    at: float = field(default_factory=time.time)
    took: float = 0.0  # seconds

    @property
    def outcome(self) -> str:
        """Done, failed or stopped."""
        if self.result is not None:
            return "failed" if self.result.is_error else "done"
        return "stopped" if self.error == STOPPED else "failed"

    @property
    def given(self) -> str:
        """The arguments, on a line."""
        return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in self.arguments.items())


@dataclass
class Past:
    """What a browser session did here; survives the way to other pages and back.

    Streamlit starts the next run of the script while the one before is still being stopped: the new run itself enters the
    call that it ends, so that it can show it, and what the old one does afterwards counts no more. A call whose server waits for an
    answer is not ended by that.
    """

    entries: list[Entry] = field(default_factory=list)
    given: dict[str, dict[str, object]] = field(default_factory=dict)  # by tool, the last arguments
    tool: str = ""
    held: Running | None = None  # the call that runs, or waits for an answer
    again: dict[str, object] | None = None  # what the tool is to be called with in this run of the script, by no form
    index: tuple[list[Tool], ToolsRetriever] | None = None  # of the tools that were searched last
    _made: int = 0
    _running: Entry | None = None
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def begin(self, tool: Tool, given: dict[str, object]) -> Entry:
        """A call begins."""
        with self._guard:
            self._made += 1
            self._running = Entry(self._made, tool, given)
            return self._running

    def finish(self, entry: Entry, result: ToolResult | None = None, error: str = "") -> None:
        """A call is over, with a result or an error; counts only if it has not been stopped before."""
        with self._guard:
            if self._running is not entry:
                return
            self._running = None
            entry.result, entry.error = result, error
            entry.took = result.duration if result is not None else time.time() - entry.at
            self.entries.insert(0, entry)
            del self.entries[HISTORY:]

    @property
    def running(self) -> Entry | None:
        """The call that is not over."""
        return self._running

    def stop(self) -> None:
        """End the call that is not over."""
        entry, held, self.held = self._running, self.held, None
        if held is not None:
            held.end()
        if entry is not None:
            self.finish(entry, error=STOPPED)


__all__ = ["STOPPED", "Entry", "Past"]
