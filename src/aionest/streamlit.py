"""MCP tools in Streamlit apps: one loader that lives across reruns, and calls that a rerun or a stop cancels.

Contract
  * Streamlit is imported here (extra ``aionest[app]``), and nothing of it is patched.
  * A loader is opened once per process and configuration (or once per browser session) and closed when the cache lets go of
    it, the session ends, or the process exits.
  * Everything here is called on a script thread; sessions live on the process's portal.
"""

from __future__ import annotations

import concurrent.futures
import inspect
import queue
import time
from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.connections import BaseConnection

import aionest
from aionest.mcp import ToolResult, ToolsConfig, ToolsLoader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aionest.mcp import Tool

__all__ = ["MCPConnection", "call", "tools_loader"]

LOOK = 0.1  # seconds between looks at whether the script is to stop
_HAS_RELEASE = "on_release" in inspect.signature(st.cache_resource).parameters


def _key(config: Any) -> str:
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


def _open(_key: str, _config: Any, _options: dict[str, Any]) -> ToolsLoader:
    aionest.apply()
    if isinstance(_config, ToolsConfig) or (
        _config is not None and not isinstance(_config, str) and not hasattr(_config, "__fspath__")
    ):
        loader = ToolsLoader(config=_config, **_options)
    else:
        loader = ToolsLoader(config_file=_config, **_options)
    loader.load()
    return loader


def _release(loader: ToolsLoader) -> None:
    loader.cleanup(timeout=10)


def _cached(scope: str) -> Any:
    options: dict[str, Any] = {"show_spinner": "Starting MCP servers ..."}
    if _HAS_RELEASE:
        options.update(on_release=_release, scope=scope)
    return st.cache_resource(**options)


def _open_key(key: str, _config: Any, _options: dict[str, Any]) -> ToolsLoader:
    return _open(key, _config, _options)


def _open_key_session(key: str, _config: Any, _options: dict[str, Any]) -> ToolsLoader:
    return _open(key, _config, _options)


_global = _cached("global")(_open_key)
_session = _cached("session")(_open_key_session) if _HAS_RELEASE else None


def tools_loader(config: Any = None, *, scope: str = "global", **options: Any) -> ToolsLoader:
    """The loader of this configuration: opened at the first call, the same one at every rerun.

    :param config: a path, a ``ToolsConfig`` or a mapping of servers; None looks in the usual places.
    :param scope: ``"global"`` for one per process, ``"session"`` for one per browser session (Streamlit 1.53 and newer).
    :param options: of ``ToolsLoader``, used when it is opened.
    :raises RuntimeError: ``scope="session"`` on a Streamlit that has no caches per session.

    Call ``tools_loader.clear()`` to close all and open anew. Thread-safety: any script thread; reruns wait for one another.
    """
    if scope == "session":
        if _session is None:
            raise RuntimeError('scope="session" needs Streamlit 1.53 or newer')
        return _session(_key(config), config, options)  # type: ignore[no-any-return]
    if scope != "global":
        raise ValueError(f'scope is "global" or "session", not {scope!r}')
    return _global(_key(config), config, options)  # type: ignore[no-any-return]


def _clear() -> None:
    _global.clear()
    if _session is not None:
        _session.clear()


tools_loader.clear = _clear  # type: ignore[attr-defined]


def call(
    loader: ToolsLoader,
    tool: str | Tool,
    arguments: Mapping[str, Any] | None = None,
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
    one, given = loader._prepare(tool, arguments)
    steps: queue.SimpleQueue[tuple[float, float | None, str | None]] = queue.SimpleQueue()
    name = label or one.title or one.name
    slot = st.empty()
    begin = time.monotonic()

    async def step(value: float, total: float | None, message: str | None) -> None:
        steps.put((value, total, message))

    future = loader.portal.submit(loader._call, one, given, timeout, step, False)
    try:
        shown = False
        while True:
            try:
                return future.result(LOOK)
            except (TimeoutError, concurrent.futures.TimeoutError):
                if future.done():
                    return future.result()
            latest = None
            while not steps.empty():
                latest = steps.get()
            # each of these lets Streamlit stop the script here, by an exception
            if latest is not None:
                value, total, message = latest
                share = min(1.0, value / total) if total else 0.0
                slot.progress(share, text=f"{name}: {message or f'{value:g}'}")
                shown = True
            elif not shown:
                slot.caption(f"{name}: {time.monotonic() - begin:.0f} s")
            else:
                st.session_state.get("")  # nothing to show
                slot.__enter__().__exit__(None, None, None)
    except BaseException:
        if not keep_running:
            future.cancel()
        raise
    finally:
        if future.done():
            slot.empty()


class MCPConnection(BaseConnection[ToolsLoader]):
    """``st.connection("tools", type=MCPConnection, config="mcp.json")``: a loader as a Streamlit connection.

    Settings come from keyword arguments or ``[connections.NAME]`` in the secrets: ``config`` (a path) or ``servers``.
    """

    def _connect(self, **kwargs: Any) -> ToolsLoader:
        secrets = dict(self._secrets) if self._secrets else {}
        config = kwargs.pop("config", None) or secrets.get("config") or secrets.get("servers")
        if config is not None and hasattr(config, "to_dict"):
            config = config.to_dict()
        return _open("", config, kwargs)

    @property
    def loader(self) -> ToolsLoader:
        """The loader behind it."""
        return self._instance

    def tools(self) -> dict[str, Tool]:
        """All tools by name."""
        return self._instance.tools

    def call(self, tool: str | Tool, arguments: Mapping[str, Any] | None = None, **options: Any) -> ToolResult:
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
