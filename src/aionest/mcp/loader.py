"""ToolsLoader: the tools of all configured servers, for synchronous and asynchronous code of any thread.

Contract
  * Sessions live on a portal (the process's own by default), each in its own owner task; they stay open across runs,
    threads and loops until ``cleanup()``, the portal's end or the interpreter's.
  * ``load`` and ``reload`` never raise for a server that fails (unless ``strict``): ``errors`` and ``status`` say why.
  * ``tools`` and ``bundles`` are replaced as a whole, never changed in place: a reader in another thread sees one state.
  * After fork() the child starts with no sessions and opens its own when asked.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import threading
import time
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import Portal, portal
from . import _compat
from ._connection import Callbacks, Connection, ServerStatus, _call_back
from .bundle import ToolsBundle
from .config import ToolsConfig
from .errors import ServerUnavailable, ToolFailed, ToolNotFound, ToolsError, UsageError
from .naming import unique_names
from .tool import Tool, ToolResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from typing_extensions import Self

_loaders: weakref.WeakSet[ToolsLoader] = weakref.WeakSet()
CACHE_SIZE = 256  # results kept of read-only tools


@dataclass(frozen=True)
class Diff:
    """What a reload did: names of servers."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


class ToolsLoader:
    """Loads MCP servers and calls their tools.

    :param tools_retriever: a registry that gets a bundle per server (``ToolsRetriever``), or None.
    :param config_file: path of the configuration; None looks in the usual places.
    :param config: a ``ToolsConfig`` or a mapping of servers, instead of a file.
    :param portal: where the sessions live; None is the process's default portal.
    :param strict: ``load`` raises the first error, after all servers have been tried.
    :param on_log: called with (server, level, data) for log messages of servers.
    :param on_progress: called with (tool name, progress, total, message) for calls that give no callback of their own.
    :param on_state: called with a ``ServerStatus`` when a server's state changes.
    :param sampling: answers a server's request for a completion: called with the SDK's request parameters; gives the text,
        a mapping with ``content``, ``model`` and ``role``, or the SDK's result.
    :param elicitation: answers a server's question to the person: called with the SDK's request parameters; gives a mapping
        of the answers (accepted), None (declined), or the SDK's result.
    :param roots: called without arguments; gives paths or ``file:`` URIs, or the SDK's result.

    Callbacks may be plain functions, which run in a thread, or coroutine functions, which run on the portal's loop.

    Thread-safety: every method, any thread. The synchronous ones must not be called on another running loop without
    ``aionest.apply()`` where blocking it matters; use the ``_async`` ones there.
    """

    def __init__(
        self,
        tools_retriever: Any = None,
        config_file: Any = None,
        *,
        config: ToolsConfig | Mapping[str, Any] | None = None,
        portal: Portal | None = None,
        strict: bool = False,
        on_log: Callable[[str, str, Any], Any] | None = None,
        on_progress: Callable[..., Any] | None = None,
        on_state: Callable[[ServerStatus], Any] | None = None,
        sampling: Callable[..., Any] | None = None,
        elicitation: Callable[..., Any] | None = None,
        roots: Callable[..., Any] | None = None,
    ) -> None:
        if config is not None and config_file is not None:
            raise UsageError("give config or config_file, not both")
        if config is None:
            config = ToolsConfig(config_file if config_file is not None else ToolsConfig.find() or "mcp.yaml")
        elif not isinstance(config, ToolsConfig):
            config = ToolsConfig.from_dict(config)
        self.config: ToolsConfig = config
        self.tools_retriever = tools_retriever
        self.strict = strict
        self.on_progress = on_progress
        self.on_state = on_state
        self._callbacks = Callbacks(on_log, sampling, elicitation, roots)
        self._portal = portal
        self._pid = os.getpid()
        self._connections: dict[str, Connection] = {}
        self._tools: dict[str, Tool] = {}
        self._by_server: dict[tuple[str, str], Tool] = {}
        self._bundles: dict[str, ToolsBundle] = {}
        self._config_errors: dict[str, str] = {}
        self._cache: dict[tuple[str, str], tuple[float, ToolResult]] = {}
        self._guard = threading.Lock()
        self._loading: Any = None  # an asyncio.Lock of the portal's loop
        self._stamp: Any = None
        self._loaded = False
        _loaders.add(self)

    # -- where things run

    @property
    def portal(self) -> Portal:
        """Where the sessions live."""
        self._check_fork()
        return self._portal if self._portal is not None else portal()

    def _check_fork(self) -> None:
        if self._pid != os.getpid():
            with self._guard:
                if self._pid == os.getpid():
                    return
                for connection in self._connections.values():
                    _close_pipes(connection)
                self._connections, self._stamp, self._loading, self._portal = {}, None, None, None
                self._pid = os.getpid()

    async def _there(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a coroutine function on the portal's loop, from whatever loop runs here."""
        home = self.portal
        try:
            running: Any = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        runner = home._runner or home._start()
        if runner.loop is running:
            return await function(*args)
        return await runner.carry_over(function(*args))

    # -- loading

    def load(self, *, progress: Callable[[ServerStatus], Any] | None = None) -> dict[str, Tool]:
        """Read the configuration and open all servers at once; the tools by name.

        It takes about as long as the slowest server. Servers that are open and unchanged are kept as they are.

        :param progress: called with a ``ServerStatus`` as servers come up or fail.
        :raises ToolsError: only with ``strict``, or for a server that the configuration requires.
        """
        self.portal.call(self._reload, progress)
        return self.tools

    async def load_async(self, *, progress: Callable[[ServerStatus], Any] | None = None) -> dict[str, Tool]:
        """``load()`` for coroutines of any loop."""
        await self._there(self._reload, progress)
        return self.tools

    def reload(self) -> Diff:
        """Make what is open agree with the configuration; servers whose settings are the same are not touched.

        :return: what was added, removed, changed, kept, and what failed.
        """
        return self.portal.call(self._reload, None)  # type: ignore[no-any-return]

    async def reload_async(self) -> Diff:
        """``reload()`` for coroutines of any loop."""
        return await self._there(self._reload, None)  # type: ignore[no-any-return]

    async def _reload(self, progress: Callable[[ServerStatus], Any] | None) -> Diff:
        if self._loading is None:
            self._loading = asyncio.Lock()
        async with self._loading:
            return await self._reload_locked(progress)

    async def _reload_locked(self, progress: Callable[[ServerStatus], Any] | None) -> Diff:
        begin = time.monotonic()
        stamp = self._file_stamp()
        if self._loaded and stamp is not None and stamp != self._stamp:
            self.config.load()
        self._stamp = stamp
        if self._loaded and any(error.server is None for error in self.config.errors):
            # the file as a whole cannot be read: what runs goes on
            self._config_errors = {"(configuration)": "; ".join(map(str, self.config.errors))}
            return Diff(kept=tuple(self._connections), seconds=time.monotonic() - begin)
        self._config_errors = {error.server or "(configuration)": str(error) for error in self.config.errors}
        wanted = dict(self.config.servers)
        added, changed, kept, old = [], [], [], []
        for name, server in wanted.items():
            current = self._connections.get(name)
            if current is None:
                added.append(name)
            elif current.config.content_hash() != server.content_hash():
                changed.append(name)
                old.append(current)
            else:
                kept.append(name)
                current.config = server  # limits and filters may differ
                continue
            self._connections[name] = Connection(server, self._callbacks, self._publish)
        removed = [name for name in self._connections if name not in wanted]
        old += [self._connections.pop(name) for name in removed]

        async def bring_up(connection: Connection) -> None:
            try:
                await connection.connect(now=True)
            except ToolsError:
                pass  # its status says it
            await self._tell(connection, progress)

        todo = [c for c in self._connections.values() if not c.config.disabled and not c.is_open]
        if todo:
            await asyncio.gather(*(bring_up(connection) for connection in todo))
        if added or changed or removed or todo or not self._loaded:
            self._publish(None)
        if old:
            await asyncio.gather(*(connection.close() for connection in old))
        self._loaded = True
        failed = [c for c in self._connections.values() if c.failure is not None]
        for connection in failed:
            if self.strict or connection.config.required:
                assert connection.failure is not None
                raise connection.failure
        if self.strict and self._config_errors:
            raise UsageError("; ".join(self._config_errors.values()))
        return Diff(
            tuple(added),
            tuple(removed),
            tuple(changed),
            tuple(kept),
            tuple(c.name for c in failed),
            time.monotonic() - begin,
        )

    def _file_stamp(self) -> tuple[int, int, int] | None:
        """What tells that the configuration's file has changed, without reading it."""
        file = self.config.config_file
        if file is None:
            return None
        try:
            stat = os.stat(file)
        except OSError:
            return (0, 0, 0)
        return (stat.st_mtime_ns, stat.st_size, stat.st_ino)

    async def _tell(self, connection: Connection, progress: Callable[[ServerStatus], Any] | None) -> None:
        for listener in (progress, self.on_state):
            if listener is not None:
                await _call_back(listener, connection.status)

    def _publish(self, _: Connection | None) -> None:
        """Make new tables of tools. In the loop's thread."""
        described = {}
        for connection in self._connections.values():
            for one in connection.tools:
                if _wanted(connection.config, one["name"]):
                    described[connection.name, one["name"]] = one
        prefixed: list[tuple[str, str]] = []
        for server, name in described:
            pair = (self._connections[server].config.prefix or server, name)
            # two servers may have been given one prefix
            prefixed.append(pair if pair not in prefixed else (f"{pair[0]}_{server}", name))
        names = unique_names(prefixed)
        tools: dict[str, Tool] = {}
        by_server: dict[tuple[str, str], Tool] = {}
        members: dict[str, dict[str, Tool]] = {name: {} for name in self._connections}
        for (server, original), prefixed_name in zip(described, prefixed):
            raw = described[server, original]
            tool = Tool(
                name=names[prefixed_name],
                server=server,
                original_name=original,
                title=raw.get("title") or (raw.get("annotations") or {}).get("title") or original,
                description=raw.get("description") or "",
                input_schema=raw.get("inputSchema") or {"type": "object"},
                output_schema=raw.get("outputSchema"),
                annotations=raw.get("annotations") or {},
                meta=raw.get("_meta") or {},
                caller=self,
            )
            tools[tool.name] = by_server[server, original] = members[server][tool.name] = tool
        bundles = {name: ToolsBundle(name, members[name]) for name in members if members[name]}
        with self._guard:
            before = self._bundles
            self._tools, self._by_server, self._bundles = tools, by_server, bundles
            self._cache.clear()
        if self.tools_retriever is not None:
            for name in before:
                self.tools_retriever.remove(name)
            self.tools_retriever.add_batch([bundle for bundle in bundles.values() if bundle.description])

    # -- what there is

    @property
    def tools(self) -> dict[str, Tool]:
        """All tools of connected servers by their unique names."""
        self._check_fork()
        return self._tools

    @property
    def bundles(self) -> dict[str, ToolsBundle]:
        """The tools of each server."""
        return self._bundles

    @property
    def tools_bundles(self) -> dict[str, set[str]]:
        """The names of each server's tools."""
        return {name: set(bundle.tools) for name, bundle in self._bundles.items()}

    @property
    def status(self) -> dict[str, ServerStatus]:
        """What is known of each server."""
        for connection in list(self._connections.values()):
            connection.status.stderr = list(connection.tail.lines)
        return {name: connection.status for name, connection in list(self._connections.items())}

    @property
    def errors(self) -> dict[str, str]:
        """Why servers are not there: those that failed, and those whose configuration is wrong."""
        failed = {name: str(c.failure) for name, c in list(self._connections.items()) if c.failure is not None}
        return {**self._config_errors, **failed}

    def find(self, name: str) -> Tool:
        """The tool of that name: ``server__tool``, ``server.tool``, ``server/tool``, or the bare name if only one has it.

        :raises ToolNotFound: there is none, or there are several.
        """
        tools = self.tools
        found = tools.get(name)
        if found is not None:
            return found
        for separator in (".", "/", "__"):
            server, _, rest = name.partition(separator)
            if rest and (server, rest) in self._by_server:
                return self._by_server[server, rest]
        bare = [tool for tool in tools.values() if tool.original_name == name]
        if len(bare) == 1:
            return bare[0]
        if bare:
            raise ToolNotFound(f"several servers have a tool {name!r}: say " + " or ".join(t.name for t in bare))
        import difflib

        near = difflib.get_close_matches(name, [*tools, *(t.original_name for t in tools.values())], 3)
        down = [f"{server} ({text.splitlines()[0]})" for server, text in self.errors.items()]
        raise ToolNotFound(
            f"no tool {name!r} is loaded"
            + (f"; did you mean {' or '.join(near)}?" if near else "")
            + (f"; servers that are not there: {', '.join(down)}" if down else "")
            + ("" if self._loaded else "; call load() first")
        )

    # -- calling

    def call(
        self,
        tool: str | Tool,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        progress: Callable[..., Any] | None = None,
        check: bool = False,
    ) -> ToolResult:
        """Call a tool and wait for its result. Any thread, with or without a loop that runs in it.

        :param tool: a tool or its name (see ``find``).
        :param arguments: checked against the tool's schema before anything is sent.
        :param timeout: seconds; ``None`` is the server's setting.
        :param progress: called with (progress, total, message).
        :param check: raise ``ToolFailed`` if the tool reports an error, instead of returning it.
        :raises UsageError: no such tool, or arguments that do not fit.
        :raises CallTimeout: no answer in time. :raises ServerLost: the server went away during the call.
        :raises ServerUnavailable: it cannot be reached. :raises AuthError: it refuses the credentials.

        Cancellation: Ctrl-C and the cancellation of a task that waits here cancel the call.
        """
        absent = self._absent(tool)
        if absent is not None:
            self.portal.call(self._awake, absent)
        one, given = self._prepare(tool, arguments)
        return self.portal.call(self._call, one, given, timeout, progress, check)  # type: ignore[no-any-return]

    async def acall(
        self,
        tool: str | Tool,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        progress: Callable[..., Any] | None = None,
        check: bool = False,
    ) -> ToolResult:
        """``call()`` for coroutines of any loop."""
        absent = self._absent(tool)
        if absent is not None:
            await self._there(self._awake, absent)
        one, given = self._prepare(tool, arguments)
        return await self._there(self._call, one, given, timeout, progress, check)  # type: ignore[no-any-return]

    def _absent(self, tool: str | Tool) -> str | None:
        """The server that a name begins with, if it has failed before any of its tools was known."""
        if isinstance(tool, Tool) or tool in self._tools:
            return None
        for separator in (".", "/", "__"):
            server, _, rest = tool.partition(separator)
            connection = self._connections.get(server) if rest else None
            if connection is not None and connection.failure is not None and not connection.tools:
                return server
        return None

    async def _awake(self, server: str) -> None:
        connection = await self._connection(server)
        await connection.connect()

    def _prepare(self, tool: str | Tool, arguments: Mapping[str, Any] | None) -> tuple[Tool, dict[str, Any]]:
        one = tool if isinstance(tool, Tool) else self.find(tool)
        given = dict(arguments or {})
        one.validate(given)
        return one, given

    async def _call(
        self,
        tool: Tool,
        arguments: dict[str, Any],
        timeout: float | None,
        progress: Callable[..., Any] | None,
        check: bool,
    ) -> ToolResult:
        connection = await self._connection(tool.server)
        ttl = connection.config.cache_ttl if tool.read_only else 0
        key = (tool.name, json.dumps(arguments, sort_keys=True, default=str)) if ttl else None
        if key is not None:
            kept = self._cache.get(key)
            if kept is not None and kept[0] > time.monotonic():
                return kept[1]
        listener = self._progress_listener(tool, progress)
        limit = connection.config.timeout if timeout is None else timeout
        begin = time.monotonic()
        with _span(tool):
            raw = await connection.request(
                lambda session: _compat.call_tool(session, tool.original_name, arguments, limit or None, listener),
                timeout=timeout,
                repeatable=tool.read_only or tool.idempotent,
                what=f"call of {tool.original_name!r}",
            )
        result = ToolResult.from_sdk(raw, server=tool.server, tool=tool.name, duration=time.monotonic() - begin)
        if key is not None and not result.is_error:
            while len(self._cache) >= CACHE_SIZE:
                self._cache.pop(next(iter(self._cache)))
            self._cache[key] = (time.monotonic() + ttl, result)
        if check and result.is_error:
            raise ToolFailed(
                f"tool {tool.name!r} failed: {result.text or 'it did not say why'}", server=tool.server, result=result
            )
        return result

    def _progress_listener(self, tool: Tool, progress: Callable[..., Any] | None) -> Any:
        if progress is None and self.on_progress is None:
            return None

        async def listen(value: float, total: float | None = None, message: str | None = None) -> None:
            if progress is not None:
                await _call_back(progress, value, total, message)
            elif self.on_progress is not None:
                await _call_back(self.on_progress, tool.name, value, total, message)

        return listen

    async def _connection(self, server: str) -> Connection:
        if server not in self._connections:
            if server not in self.config.servers:
                raise UsageError(
                    f"no server {server!r} is configured; there are: {', '.join(self.config.servers) or 'none'}"
                )
            # a child after fork(), or a server that was not loaded yet
            self._connections[server] = Connection(self.config.servers[server], self._callbacks, self._publish)
        return self._connections[server]

    # -- what else servers offer

    def resources(self, server: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Resources of one or all servers, by server."""
        return self.portal.call(self._list, server, "resources", "resources", "resources")  # type: ignore[no-any-return]

    def resource_templates(self, server: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Resource templates of one or all servers, by server."""
        return self.portal.call(self._list, server, "resource_templates", "resourceTemplates", "resources")  # type: ignore[no-any-return]

    def prompts(self, server: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Prompts of one or all servers, by server."""
        return self.portal.call(self._list, server, "prompts", "prompts", "prompts")  # type: ignore[no-any-return]

    def read_resource(self, server: str, uri: str, *, timeout: float | None = None) -> list[dict[str, Any]]:
        """The contents of a resource: blocks with ``text`` or ``blob`` (base64)."""
        return self.portal.call(self._read, server, uri, timeout)  # type: ignore[no-any-return]

    def get_prompt(self, server: str, name: str, arguments: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """The messages of a prompt."""
        return self.portal.call(self._prompt, server, name, dict(arguments or {}))  # type: ignore[no-any-return]

    def ping(self, server: str, *, timeout: float | None = None) -> float:
        """Seconds that a server takes to answer."""
        return self.portal.call(self._ping, server, timeout)  # type: ignore[no-any-return]

    def restart(self, server: str) -> ServerStatus:
        """End a server's session and open a new one."""
        return self.portal.call(self._restart, server)  # type: ignore[no-any-return]

    async def _list(self, server: str | None, what: str, name: str, capability: str) -> dict[str, list[dict[str, Any]]]:
        chosen = [await self._connection(server)] if server is not None else list(self._connections.values())
        found: dict[str, list[dict[str, Any]]] = {}
        for connection in chosen:
            if server is None and (not connection.is_open or capability not in connection.capabilities):
                continue
            found[connection.name] = await connection.request(
                lambda session: _compat.pages(session, what, name),
                timeout=None,
                repeatable=True,
                what=f"list of {what}",
            )
        return found

    async def _read(self, server: str, uri: str, timeout: float | None) -> list[dict[str, Any]]:
        connection = await self._connection(server)
        result = await connection.request(
            lambda session: _compat.read_resource(session, uri),
            timeout=timeout,
            repeatable=True,
            what="reading of a resource",
        )
        return list(result.get("contents", []))

    async def _prompt(self, server: str, name: str, arguments: dict[str, str]) -> list[dict[str, Any]]:
        connection = await self._connection(server)
        result = await connection.request(
            lambda session: session.get_prompt(name, arguments), timeout=None, repeatable=True, what=f"prompt {name!r}"
        )
        return list(_compat.dump(result).get("messages", []))

    async def _ping(self, server: str, timeout: float | None) -> float:
        return await (await self._connection(server)).ping(timeout)

    async def _restart(self, server: str) -> ServerStatus:
        old = await self._connection(server)
        await old.close()
        new = self._connections[server] = Connection(self.config.servers[server], self._callbacks, self._publish)
        new.status.connections = old.status.connections
        await new.connect(now=True)
        return new.status

    # -- the end

    def cleanup(self, *, timeout: float | None = None) -> None:
        """End all sessions and their servers. The loader may be loaded again.

        :param timeout: seconds to wait; ``None`` waits for the end of all, which is bounded by some seconds.
        """
        if self._pid != os.getpid() or not self._connections:
            return
        try:
            self.portal.call(self._cleanup, timeout=timeout)
        except ToolsError:  # pragma: no cover - close() does not raise
            pass

    async def cleanup_async(self) -> None:
        """``cleanup()`` for coroutines of any loop."""
        if self._pid == os.getpid() and self._connections:
            await self._there(self._cleanup)

    async def _cleanup(self) -> None:
        connections = list(self._connections.values())
        self._connections = {}
        self._publish(None)
        self._loaded = False
        await asyncio.gather(*(connection.close() for connection in connections))

    def __enter__(self) -> Self:
        self.load()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.cleanup()

    async def __aenter__(self) -> Self:
        await self.load_async()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.cleanup_async()

    def __repr__(self) -> str:
        states = ", ".join(f"{name}: {c.status.state}" for name, c in list(self._connections.items()))
        return f"<ToolsLoader {len(self._tools)} tools; {states or 'nothing loaded'}>"


def _wanted(config: Any, tool: str) -> bool:
    from fnmatch import fnmatchcase

    if config.include is not None and not any(fnmatchcase(tool, pattern) for pattern in config.include):
        return False
    return not any(fnmatchcase(tool, pattern) for pattern in config.exclude)


def _close_pipes(connection: Connection) -> None:
    """In the child after fork(): or the parent's servers would never see the end of their input."""
    process = connection.process
    transport = getattr(process, "_transport", None)
    for number in (0, 1, 2):
        pipe = transport.get_pipe_transport(number) if transport is not None else None
        file = getattr(pipe, "_pipe", None)
        if file is not None:
            file.close()


class _NoSpan:
    def __enter__(self) -> None: ...

    def __exit__(self, *args: object) -> None: ...


def _span(tool: Tool) -> Any:
    """An OpenTelemetry span around the call, where its API is in use."""
    import sys

    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return _NoSpan()
    tracer = trace.get_tracer("aionest.mcp")
    attributes = {"mcp.method.name": "tools/call", "gen_ai.tool.name": tool.original_name, "server.name": tool.server}
    return tracer.start_as_current_span(f"tools/call {tool.original_name}", attributes=attributes)


@atexit.register
def _at_exit() -> None:
    for loader in list(_loaders):
        try:
            loader.cleanup(timeout=10)
        except Exception as exc:  # the portal may be closed already, which has ended the sessions
            if not isinstance(exc, (ServerUnavailable, RuntimeError, TimeoutError)):
                raise
