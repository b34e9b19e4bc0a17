"""What the app knows besides its pages: the configuration's file, the loader, every call that was made, and by whom.

Contract: the journal is one per process, bounded, and may be used from any thread; a browser session counts as there as long as
Streamlit keeps its state. Nothing here draws, but for ``loader()``, which says what is in the way when there is none.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import sys
import threading
import time
import weakref
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from aionest.app import asking
from aionest.mcp import ToolsConfig, ToolsError
from aionest.mcp.auth import Trust, would_start
from aionest.streamlit import tools_loader

if TYPE_CHECKING:
    from aionest.mcp import Tool, ToolsLoader

KEPT = 1000  # calls, log lines and messages of the process


@dataclass
class Call:
    """A call of a tool. Times are seconds since the epoch; ``outcome`` is running, done, failed or stopped."""

    tool: str
    server: str
    by: str
    page: str
    begin: float
    end: float | None = None
    outcome: str = "running"
    error: str = ""


@dataclass
class Message:
    """What was sent to a server, or came from it."""

    at: float  # seconds since the epoch
    server: str
    way: str  # sent or received
    text: str


@dataclass(eq=False)
class Visitor:
    """A browser session, which is there as long as something holds this object: its ``st.session_state``."""

    name: str
    since: float = field(default_factory=time.time)
    last: float = 0.0


class Journal:
    """The calls of all browser sessions, what servers logged, and what went over the wire."""

    def __init__(self) -> None:
        self._guard = threading.RLock()  # a finalizer may end a call amid it
        self._calls: deque[Call] = deque(maxlen=KEPT)
        self._logs: deque[tuple[float, str, str, str]] = deque(maxlen=KEPT)
        self._messages: deque[Message] = deque(maxlen=KEPT)
        self._visitors: weakref.WeakSet[Visitor] = weakref.WeakSet()
        self._numbers = itertools.count(1)
        self._counts: Counter[tuple[str, str, str]] = Counter()  # of all, also those that are kept no more

    def visit(self) -> Visitor:
        """The browser session of this script run."""
        visitor: Visitor | None = st.session_state.get("visitor")
        if visitor is None:
            with self._guard:
                visitor = Visitor(f"browser {next(self._numbers)}")
                self._visitors.add(visitor)
            st.session_state["visitor"] = visitor
        visitor.last = time.time()
        return visitor

    def visitors(self) -> list[Visitor]:
        """Who is there, first come first."""
        with self._guard:
            return sorted(self._visitors, key=lambda one: one.since)

    def calls(self) -> list[Call]:
        """The calls, oldest first."""
        with self._guard:
            return list(self._calls)

    def count(self, outcome: str = "", *, server: str | None = None, by: str | None = None) -> int:
        """How many calls there were: all, or those that ended so (or are running), at a server, by a browser."""
        with self._guard:
            return sum(
                number
                for (one, who, how), number in self._counts.items()
                if outcome in ("", how) and server in (None, one) and by in (None, who)
            )

    def log(self, server: str, level: str, data: object) -> None:
        """A server's log message."""
        text = data if isinstance(data, str) else repr(data)
        with self._guard:
            self._logs.append((time.time(), server, level, text[:2000]))

    def logs(self, server: str) -> list[tuple[float, str, str]]:
        """A server's log messages, oldest first: time, level, text."""
        with self._guard:
            return [(at, level, text) for at, name, level, text in self._logs if name == server]

    def message(self, server: str, way: str, text: str) -> None:
        """A message went over the wire."""
        with self._guard:
            self._messages.append(Message(time.time(), server, way, text))

    def messages(self) -> list[Message]:
        """The messages, oldest first."""
        with self._guard:
            return list(self._messages)

    def forget_messages(self) -> None:
        """Those before were looked at."""
        with self._guard:
            self._messages.clear()

    def begin(self, tool: Tool, page: str) -> Call:
        """A call begins."""
        one = Call(tool.name, tool.server, self.visit().name, page, time.time())
        with self._guard:
            self._calls.append(one)
            self._counts[one.server, one.by, "running"] += 1
        return one

    def end(self, one: Call, outcome: str, error: str = "") -> None:
        """It has ended so, if it has not ended before."""
        with self._guard:
            if one.end is not None:
                return
            one.outcome, one.error, one.end = outcome, error[:2000], time.time()
            self._counts[one.server, one.by, "running"] -= 1
            self._counts[one.server, one.by, outcome] += 1


journal = Journal()


def begin(loader: ToolsLoader, tool: Tool, arguments: dict[str, object], page: str) -> asking.Running:
    """Call a tool, and enter it in the journal, with what becomes of it.

    :raises ToolsError: it cannot be called.
    """
    one = journal.begin(tool, page)
    try:
        return asking.Running(loader, tool, arguments, functools.partial(journal.end, one))
    except ToolsError as exc:
        journal.end(one, "failed", str(exc))
        raise


# -- the configuration


def _argument() -> str | None:
    """``--config FILE`` behind ``streamlit run main.py --``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    return parser.parse_known_args(sys.argv[1:])[0].config  # type: ignore[no-any-return]


def config_file() -> Path:
    """The file of the configuration, which need not exist: named, found in the usual places, or mcp.json here."""
    named = _argument()
    return Path(named) if named else ToolsConfig.find() or Path("mcp.json")


def accepted(file: Path) -> bool:
    """Was the file named when the app was started, or accepted by a person? Others start nothing."""
    if _argument() or os.environ.get("MCP_FILE"):
        return True
    return Trust().is_trusted(file)


def accept(file: Path) -> None:
    """The file may start servers from now on."""
    if not (_argument() or os.environ.get("MCP_FILE")):
        Trust().accept(file)


def ready(file: Path) -> ToolsLoader:
    """The loader of a file; the first time it opens all servers."""
    loader = tools_loader(
        str(file),
        on_log=journal.log,
        on_message=journal.message,
        elicitation=asking.desk.elicitation,
        sampling=asking.desk.sampling,
    )
    _opened["last"] = loader
    return loader


def opened() -> ToolsLoader | None:
    """The loader if it is there already; nothing is started for it."""
    return _opened.get("last")


_opened: weakref.WeakValueDictionary[str, ToolsLoader] = weakref.WeakValueDictionary()


def loader() -> ToolsLoader | None:
    """The loader, or None after a word about what is in the way."""
    journal.visit()
    file = config_file()
    if not file.exists():
        st.info("There are no servers yet. Add one by hand, or import those of another program, on the Servers page.")
        return None
    if not accepted(file):
        config = ToolsConfig(file)
        st.warning(
            f"`{file}` was found in this folder. It has not been used before, so none of its servers has been started."
        )
        if config.servers:
            st.markdown("It would start or connect to:")
            st.code("\n".join(would_start(config)), language=None, wrap_lines=True)
        if st.button("Use it", type="primary", key="accept"):
            try:
                accept(file)
            except (OSError, ValueError) as exc:
                st.error(f"This decision could not be saved: {exc}")
            else:
                st.rerun()
        return None
    return ready(file)
