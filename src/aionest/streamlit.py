"""MCP tools in Streamlit apps: one loader that lives across reruns, and calls that a rerun or a stop cancels.

Contract
  * Streamlit is imported here (extra ``aionest[app]``), and nothing of it is patched.
  * A loader is opened once per process and configuration (or once per browser session) and closed when the cache lets go of
    it, the session ends, or the process exits.
  * Everything here is called on a script thread; sessions live on the process's portal.
"""

from __future__ import annotations

import concurrent.futures
import queue
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.connections import BaseConnection

import aionest
from aionest._untrusted import for_label, for_stream
from aionest.mcp import Tool, ToolResult, ToolsConfig, ToolsLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    Configuration = ToolsConfig | Mapping[str, object] | str | Path | None

    from streamlit.delta_generator import DeltaGenerator

__all__ = ["LOOK", "MCPConnection", "Work", "call", "stream", "tools_loader"]

#: Seconds between looks at whether the script is to stop.
LOOK = 0.1


def _key(config: Configuration) -> str:
    if isinstance(config, ToolsConfig):
        return str(config.config_file.resolve()) if config.config_file is not None else f"object {id(config)}"
    if config is None:
        found = ToolsConfig.find()
        return str(found.resolve()) if found is not None else ""
    if isinstance(config, str) or hasattr(config, "__fspath__"):
        import os

        return os.path.abspath(config)
    import hashlib
    import json

    # hashed: the key must not carry the secrets of a configuration
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()


def _new(config: Configuration, options: dict[str, Any]) -> ToolsLoader:
    aionest.apply()
    return ToolsLoader(config=config, **options)


class _Held:
    """What the caches keep in a loader's place. When they let go of it, whichever way, the loader is closed."""

    def __init__(self, loader: ToolsLoader) -> None:
        self._loader = loader
        self._guard = threading.Lock()
        self._opening: concurrent.futures.Future[object] | None = None
        # not at exit: the loader itself sees to that
        weakref.finalize(self, _release, loader).atexit = False

    def loader(self) -> ToolsLoader:
        """The loader, open. The first script that wants it opens it; until it is, all of them wait, and show how far that is.

        A script that is stopped stops waiting; the loader is opened nevertheless. What has failed is tried again by the next one.
        """
        with self._guard:
            opening = self._opening
            if opening is None or (opening.done() and (opening.cancelled() or opening.exception() is not None)):
                opening = self._opening = self._loader.portal.submit(self._loader.load_async)
        slot = (
            st.empty()
        )  # in every run of the script: what comes after it stays in its place, and keeps its state in the browser
        if not opening.done():
            try:
                with slot.container(), st.spinner("Starting MCP servers ..."):
                    _watch(self._loader, opening, st.empty())
            finally:
                slot.empty()
        opening.result()
        return self._loader


def _watch(loader: ToolsLoader, opening: concurrent.futures.Future[object], place: DeltaGenerator) -> None:
    """Show the state of each server until all are there or have failed."""
    shown = ""
    while not opening.done():
        states = [
            f":{'gray' if one.state == 'connecting' else 'green' if one.state == 'connected' else 'red'}[\u25cf]"
            f" {for_label(one.name)} {one.state}"
            for one in loader.status.values()
        ]
        if "  \n".join(states) != shown:
            shown = "  \n".join(states)
            place.markdown(shown)
        concurrent.futures.wait([opening], LOOK)
        st.session_state.get("aionest look")  # any access is a point where a script may be stopped


def _release(loader: ToolsLoader) -> None:
    # in a thread: the last reference may be dropped anywhere, on the portal's own loop too
    threading.Thread(target=_close, args=(loader,), name="aionest-release", daemon=True).start()


def _close(loader: ToolsLoader) -> None:
    try:
        loader.cleanup(timeout=10)
    except (RuntimeError, TimeoutError):
        pass  # the portal is closed already, which has ended the sessions


@st.cache_resource(show_spinner=False)
def _of_process(key: str, _config: Configuration, _options: dict[str, Any]) -> _Held:
    return _Held(_new(_config, _options))


def _of_session(key: str, config: Configuration, options: dict[str, Any]) -> _Held:
    """As ``_of_process``, kept with the state of the browser session, which Streamlit drops when that ends."""
    name = "aionest tools loaders"
    kept: dict[str, _Held] = st.session_state.setdefault(name, {})
    if key not in kept:
        kept[key] = _Held(_new(config, options))
    return kept[key]


def tools_loader(config: Configuration = None, *, scope: str = "global", **options: Any) -> ToolsLoader:
    """The loader of this configuration: opened at the first call, the same one at every rerun.

    :param config: a path, a ``ToolsConfig`` or a mapping of servers; None looks in the usual places.
    :param scope: ``"global"`` for one per process, ``"session"`` for one per browser session.
    :param options: of ``ToolsLoader``, used when it is opened.
    :raises ValueError: no such scope.

    It is closed when the cache is cleared (``tools_loader.clear()`` or ``st.cache_resource.clear()``), when the browser session
    ends if it is that one's, and when the process does. Thread-safety: any script thread; reruns wait for one another.
    """
    if scope not in ("global", "session"):
        raise ValueError(f'scope must be "global" or "session", not {scope!r}')
    held: _Held = (_of_process if scope == "global" else _of_session)(_key(config), config, options)
    return held.loader()


def _clear() -> None:
    """Close the loaders of the process, and those of the browser session that asks; the next use opens new ones."""
    _of_process.clear()
    if "aionest tools loaders" in st.session_state:
        del st.session_state["aionest tools loaders"]


tools_loader.clear = _clear  # type: ignore[attr-defined]


def call(
    loader: ToolsLoader,
    tool: str | Tool,
    arguments: Mapping[str, object] | None = None,
    *,
    timeout: float | None = None,
    label: str | None = None,
    keep_running: bool = False,
) -> ToolResult:
    """Call a tool, show its progress, and stop it when the script is stopped or rerun.

    :param timeout: seconds; None is the server's setting.
    :param label: text beside the progress.
    :param keep_running: let the call go on in the background when the script stops.

    Raises what ``ToolsLoader.call`` raises. Thread-safety: script threads.
    """
    work = Work(loader, tool, arguments, timeout)
    slot = st.empty()
    ended = False
    try:
        work.follow(slot, label)
        ended = True
        return work.future.result()
    finally:
        if not ended and not keep_running:
            work.future.cancel()
        if ended:
            slot.empty()


def stream(
    loader: ToolsLoader,
    tool: str | Tool,
    arguments: Mapping[str, object] | None = None,
    *,
    timeout: float | None = None,
    markdown: bool = False,
) -> Generator[str, None, ToolResult]:
    """Call a tool, and give what it says on the way and in the end, as it comes: for ``st.write_stream``.

    Each message of the tool's progress is a paragraph of its own, the text of the result is the last. The ``ToolResult`` is
    what the generator returns. Closing it, and a stop or a rerun of the script, cancels the call.

    ``st.write_stream`` draws Markdown, and this is text of a server: it is escaped, so that it means its letters and nothing else.

    :param timeout: seconds; None is the server's setting.
    :param markdown: leave the text as it is. Only for servers that you trust: it may have links and pictures, whose addresses tell
        whoever owns them that, and from where, the page was looked at.

    Raises what ``ToolsLoader.call`` raises, at the first step. Thread-safety: script threads, one at a time.
    """
    work = Work(loader, tool, arguments, timeout)
    shown = str if markdown else for_stream
    try:
        done = False
        while not done:
            done = work.wait()
            while not work.steps.empty():
                message = work.steps.get()[2]
                if message:
                    yield f"{shown(message)}\n\n"
        result = work.future.result()
        yield shown(str(result))
        return result
    finally:
        work.future.cancel()


class Work:
    """A call that runs on the portal while a script waits for it: what ``call`` and ``stream`` are made of.

    It begins at once. :attr:`future` has the result, and cancels the call.

    :param tool: its name, or itself.
    :param arguments: None for none.
    :param timeout: as in :meth:`aionest.mcp.ToolsLoader.call`.
    """

    def __init__(
        self, loader: ToolsLoader, tool: str | Tool, arguments: Mapping[str, object] | None, timeout: float | None
    ) -> None:
        self.tool = tool if isinstance(tool, Tool) else loader.find(tool)
        self.begin = time.monotonic()
        self.steps: queue.SimpleQueue[tuple[float, float | None, str | None]] = queue.SimpleQueue()

        async def step(value: float, total: float | None, message: str | None) -> None:
            self.steps.put((value, total, message))

        self.future: concurrent.futures.Future[ToolResult] = loader.submit(
            self.tool, arguments, timeout=timeout, progress=step
        )

    def wait(self) -> bool:
        """Wait for a moment; whether the call is over. Here Streamlit stops the script, if it is to, by an exception."""
        concurrent.futures.wait([self.future], LOOK)
        if self.future.done():
            return True
        st.session_state.get("aionest look")  # any access is a point where a script may be stopped
        return False

    def follow(self, slot: DeltaGenerator, label: str | None = None, until: Callable[[], object] = bool) -> bool:
        """Show how far it is until it is over, or ``until()`` is true; whether it is over."""
        name = label or for_label(self.tool.title or self.tool.name)
        shown = ""
        while not self.wait():
            if until():
                return False
            latest = self.latest()
            if latest is not None:
                value, total, message = latest
                share = max(0.0, min(1.0, value / total)) if total else 0.0
                slot.progress(share, text=f"{name}: {for_label(message or f'{value:g}', 200)}")
                shown = "progress"
            elif shown != "progress" and f"{time.monotonic() - self.begin:.0f}" != shown:
                shown = f"{time.monotonic() - self.begin:.0f}"
                slot.caption(f"{name}: {shown} s")
        return True

    def latest(self) -> tuple[float, float | None, str | None] | None:
        """The newest step of its progress since the last look."""
        found = None
        while not self.steps.empty():
            found = self.steps.get()
        return found


class MCPConnection(BaseConnection[ToolsLoader]):
    """``st.connection("tools", type=MCPConnection, config="mcp.json")``: a loader as a Streamlit connection.

    Settings come from keyword arguments or ``[connections.NAME]`` in the secrets: ``config`` (a path) or ``servers``.
    """

    def _connect(self, **kwargs: Any) -> ToolsLoader:
        secrets = dict(self._secrets) if self._secrets else {}
        config = kwargs.pop("config", None) or secrets.get("config") or secrets.get("servers")
        if config is not None and hasattr(config, "to_dict"):
            config = config.to_dict()
        loader = _new(config, kwargs)
        loader.load()
        weakref.finalize(self, _release, loader).atexit = False  # older versions forget connections without a word
        return loader

    @property
    def loader(self) -> ToolsLoader:
        """The loader behind it."""
        return self._instance

    def tools(self) -> dict[str, Tool]:
        """All tools by name."""
        return self._instance.tools

    def call(self, tool: str | Tool, arguments: Mapping[str, object] | None = None, **options: Any) -> ToolResult:
        """Call a tool; see ``aionest.streamlit.call``."""
        return call(self._instance, tool, arguments, **options)

    def reset(self) -> None:
        """Close the sessions; the next use opens new ones."""
        loader = self._raw_instance
        super().reset()
        if loader is not None:
            loader.cleanup(timeout=10)

    def close(self) -> None:
        """Close the sessions."""
        loader = self._raw_instance
        if loader is not None:
            loader.cleanup(timeout=10)
