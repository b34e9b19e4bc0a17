"""ToolsLoader: the tools of all configured servers, for synchronous and asynchronous code of any thread.

Contract
  * Sessions live on a portal (the process's own by default), each in its own owner task; they stay open across runs,
    threads and loops until ``cleanup()``, the portal's end or the interpreter's.
  * ``load`` and ``reload`` never raise for a server that fails (unless ``strict``): ``errors`` and ``status`` say why.
  * ``tools`` and ``bundles`` are replaced as a whole, never changed in place: a reader in another thread sees one state.
  * A reload opens what is new first, then exchanges the tables, then leaves what was replaced to the calls under way. It waits for
    new and changed servers only; those that failed before are tried again in the background, with growing pauses.
  * A configuration that was only found in the working directory starts nothing until it was accepted.
  * After fork() the child starts with no sessions and opens its own when asked.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import json
import os
import threading
import time
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import Portal, portal
from . import sdk
from ._threads import in_own_thread
from .auth import Trust, chosen, was_only_found
from .config import ToolsConfig, stamp_of
from .errors import ServerUnavailable, ToolFailed, ToolNotFound, ToolsError, UsageError, copy_to_raise
from .session import callbacks
from .session.callbacks import Callbacks, Notifier, call_back, log
from .session.connection import Connection, Replaced
from .session.status import ServerStatus, State
from .session.tracing import span
from .tools import Tool, ToolResult, ToolsBundle, splits, unique_names

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from types import TracebackType

    from typing_extensions import Self

_loaders: weakref.WeakSet[ToolsLoader] = weakref.WeakSet()
FEED = 60.0  # seconds that a load waits for the retriever
CACHE_SIZE = 256  # results kept of read-only tools
_RESOURCES = ("resources", "resources", "resources")  # method of the session, field of its result, capability
_TEMPLATES = ("resource_templates", "resourceTemplates", "resources")
_PROMPTS = ("prompts", "prompts", "prompts")


@dataclass(frozen=True)
class Diff:
    """What a reload did: names of servers. True if there was anything to do.

    ``changed`` servers have got a new session. ``kept`` ones have the session that they had; those of them that are in
    ``updated`` have other limits, filters or names of tools than before. ``failed`` ones are not there.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.updated)


class ToolsLoader:
    """Loads MCP servers and calls their tools.

    :param tools_retriever: a registry that gets a bundle per server (``ToolsRetriever``), or None. What others have put into it
        is never removed or replaced; ``errors`` tells which servers have no entry for that.
    :param config_file: path of the configuration; None looks in the usual places. What is found in the working directory
        starts nothing until it was accepted (``aionest mcp check --yes``, or ``Trust().accept(path)``): name it instead.
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
    :param authorize: has a person open a URL to log in, for servers with OAuth (``webbrowser.open``). Without it a server that
        wants a login is not there, and its error says so.
    :param tokens: where OAuth tokens are kept; a ``TokenStore`` or ``KeyringTokenStore``; a file in the user's state folder
        unless given, or what the environment variable ``AIONEST_TOKENS`` names (``keyring``, or a file).
    :param inputs: values for ``${input:id}`` of the configuration: a mapping, or a function of the id.
    :param servers: names of the servers to open; None is all of the configuration.

    Callbacks may be plain functions, which run in a thread, or coroutine functions, which run on the portal's loop. They are
    called in order; what they raise is logged, or told to the server that has asked.

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
        authorize: Callable[[str], Any] | None = None,
        tokens: Any = None,
        inputs: Mapping[str, str] | Callable[[str], str | None] | None = None,
        servers: Collection[str] | None = None,
    ) -> None:
        if config is not None and config_file is not None:
            raise UsageError("give config or config_file, not both")
        self._only_found = isinstance(config, ToolsConfig) and config.only_found
        stamp: Any = None
        if config is None:
            if config_file is None:
                config_file = ToolsConfig.find() or "mcp.yaml"
                self._only_found = was_only_found(config_file)
            stamp = stamp_of(config_file)  # before it is read: what is written from now on is seen
            config = ToolsConfig(config_file, inputs=inputs)
        elif not isinstance(config, ToolsConfig):
            config = ToolsConfig.from_dict(config, inputs=inputs)
        elif inputs is not None:
            raise UsageError("give inputs to the ToolsConfig")
        self.config: ToolsConfig = config
        self.tools_retriever = tools_retriever
        self.strict = strict
        self._chosen = None if servers is None else frozenset(servers)
        self.on_progress = on_progress
        self.on_state = on_state
        self._callbacks = Callbacks(on_log, sampling, elicitation, roots, authorize, tokens)
        self._portal = portal
        self._loop: Any = None  # that the connections belong to
        self._connections: dict[str, Connection] = {}
        self._coming: set[Connection] = set()  # being opened by a reload
        self._leaving: dict[Connection, asyncio.Task[None]] = {}  # replaced, with calls under way
        self._ends = 0  # how often there was a cleanup
        self._over = False  # cleaned up, and not loaded again
        self._teller: Notifier | None = None
        self._feeding: set[asyncio.Task[None]] = set()
        self._feed_lock: Any = None
        self._fed: dict[str, ToolsBundle] = {}  # what the retriever holds of it
        self._fed_from: Any = None  # the bundles that it was last fed from
        self._feed_errors: dict[str, str] = {}
        self._tools: dict[str, Tool] = {}
        self._by_server: dict[tuple[str, str], Tool] = {}
        self._bundles: dict[str, ToolsBundle] = {}
        self._config_errors: dict[str, str] = {}
        self._cache: dict[tuple[str, str], tuple[float, ToolResult]] = {}
        self._guard = threading.Lock()
        self._loading: Any = None  # an asyncio.Lock of the portal's loop
        self._stamp: Any = stamp or stamp_of(config.config_file)  # of what was read
        self._loaded = False
        _loaders.add(self)

    # -- where things run

    @property
    def portal(self) -> Portal:
        """Where the sessions live."""
        return self._portal if self._portal is not None else portal()

    def _forked(self) -> None:
        """In the child after fork(): nothing of the parent's is ours."""
        self._guard = threading.Lock()
        for connection in [*self._connections.values(), *self._coming, *self._leaving]:
            _close_pipes(connection)
        self._start_anew()
        self._portal = None

    def _start_anew(self) -> None:
        self._coming, self._leaving = set(), {}
        self._loading, self._teller, self._loop, self._loaded = None, None, None, False

    def _arrive(self) -> None:
        """First thing on the portal's loop. If it is another loop than before, that one is gone, and all that was on it."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._start_anew()
            # what is known of the servers stays: each is opened when it is asked, or loaded
            self._connections = {name: self._like(old) for name, old in self._connections.items()}
            self._loop, self._feed_lock = loop, asyncio.Lock()

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

        It takes about as long as the slowest server. Servers that are open and unchanged are kept as they are; those that have
        failed are tried again.

        :param progress: called with a ``ServerStatus`` as servers come up or fail.
        :raises ToolsError: only with ``strict``, or for a server that the configuration requires.
        """
        self.portal.call(self._reload, progress, True)
        return self.tools

    async def load_async(self, *, progress: Callable[[ServerStatus], Any] | None = None) -> dict[str, Tool]:
        """``load()`` for coroutines of any loop."""
        await self._there(self._reload, progress, True)
        return self.tools

    def reload(self) -> Diff:
        """Make what is open agree with the configuration; servers whose settings are the same are not touched.

        It returns when new and changed servers are there or have failed. Calls under way on a server that is replaced or
        removed come to their end there.

        :return: what was added, removed, changed, kept, and what failed.
        """
        return self.portal.call(self._reload, None)  # type: ignore[no-any-return]

    async def reload_async(self) -> Diff:
        """``reload()`` for coroutines of any loop."""
        return await self._there(self._reload, None)  # type: ignore[no-any-return]

    async def _reload(self, progress: Callable[[ServerStatus], Any] | None, everything: bool = False) -> Diff:
        self._arrive()
        if self._loading is None:
            self._loading = asyncio.Lock()
        async with self._loading:
            return await self._reload_locked(progress, everything)

    def _is_chosen(self, name: str) -> bool:
        return self._chosen is None or name in self._chosen

    def _is_not_accepted(self) -> bool:
        """Is the configuration that of a file that was only found? What code has set is not, as long as there is no file."""
        return self._only_found and self.config.is_from_file and not Trust().is_trusted(self.config)

    def _read_config(self) -> bool:
        """Read the file if it is another. False if what runs is to go on as it is."""
        stamp = stamp_of(self.config.config_file)
        if stamp is not None and stamp != self._stamp:
            self.config.load()
        self._stamp = stamp
        problems = {
            error.server or "(configuration)": str(error)
            for error in self.config.errors
            if error.server is None or self._is_chosen(error.server)
        }
        if self._is_not_accepted():
            problems.setdefault(
                "(configuration)",
                f"{self.config.config_file} was found here and never accepted, so nothing of it was started: name it "
                "(config_file=...), or accept it once with `aionest mcp check --yes`",
            )
            self._config_errors = problems
            return False
        self._config_errors = problems
        # one that cannot be read as a whole is no reason to end anything
        return not (self._loaded and "(configuration)" in problems)

    async def _reload_locked(self, progress: Callable[[ServerStatus], Any] | None, everything: bool) -> Diff:
        begin, ends, self._over = time.monotonic(), self._ends, False
        unfed = bool(self._feed_errors)
        if unfed:
            self._fed_from = None  # so that it is tried again
        if not self._read_config():
            self._loaded = True
            if self.strict:
                raise UsageError("; ".join(self._config_errors.values()))
            return Diff(kept=tuple(self._connections), seconds=time.monotonic() - begin)
        wanted = {name: one for name, one in self.config.servers.items() if self._is_chosen(name)}
        added: list[str] = []
        changed: list[str] = []
        kept: list[str] = []
        updated: list[str] = []
        fresh: dict[str, Connection] = {}
        waited: list[Connection] = []  # that are kept, and opened
        for name, server in wanted.items():
            current = self._connections.get(name)
            if current is None or current.settings_changed(server) or current.config.disabled != server.disabled:
                (added if current is None else changed).append(name)
                fresh[name] = self._new_connection(server)
                continue
            kept.append(name)
            if current.config is not server and current.config != server:
                updated.append(name)
                current.config = server
            if not current.is_open and not server.disabled:
                if everything or current.untried:  # such as one of a loop that is gone
                    waited.append(current)
                else:
                    current.wake()  # nobody waits for it
        removed = [name for name in self._connections if name not in wanted]
        for name in added:  # what was not there before is seen coming
            self._connections[name] = fresh[name]
        coming = [connection for connection in fresh.values() if not connection.config.disabled]
        self._coming.update(coming)
        try:
            if coming or waited:
                await asyncio.gather(*(self._bring_up(connection, progress) for connection in (*coming, *waited)))
        except BaseException:
            await asyncio.gather(*(connection.close() for connection in fresh.values()))
            for name in added:
                self._connections.pop(name, None)
            raise
        finally:
            self._coming.difference_update(coming)
        if self._ends != ends:  # there was a cleanup meanwhile
            await asyncio.gather(*(connection.close() for connection in fresh.values()))
            return Diff(seconds=time.monotonic() - begin)
        replaced = [self._connections[name] for name in (*changed, *removed)]
        self._connections = {name: fresh.get(name) or self._connections[name] for name in wanted}
        if fresh or removed or updated or not self._loaded:
            self._publish(None)
        for connection in replaced:
            self._leave(connection)
        # those with no calls under way are gone when this returns
        quiet = [self._leaving[c] for c in replaced if c in self._leaving and not c.status.open_calls]
        if quiet:
            await asyncio.wait(quiet)
        self._loaded = True
        if fresh or waited or removed or updated or unfed:
            await self._settle(FEED)
        failed = [c for c in self._connections.values() if c.failure is not None]
        for connection in failed:
            if self.strict or connection.config.required:
                assert connection.failure is not None
                raise copy_to_raise(connection.failure)
        if self.strict and self._config_errors:
            raise UsageError("; ".join(self._config_errors.values()))
        return Diff(
            tuple(added),
            tuple(removed),
            tuple(changed),
            tuple(kept),
            tuple(connection.name for connection in failed),
            tuple(updated),
            time.monotonic() - begin,
        )

    async def _bring_up(self, connection: Connection, progress: Callable[[ServerStatus], Any] | None) -> None:
        try:
            await connection.connect(now=True)
        except ToolsError:
            pass  # its status says it
        if progress is not None:
            try:
                await call_back(progress, connection.snapshot())
            except Exception:
                log.exception("a callback has failed: %r", progress)

    def _leave(self, connection: Connection) -> None:
        """End a connection when its calls have ended."""
        task = self._leaving[connection] = asyncio.ensure_future(connection.drain())
        task.add_done_callback(lambda _: self._leaving.pop(connection, None))

    def _state_changed(self, connection: Connection) -> None:
        if self.on_state is not None:
            if self._teller is None:
                self._teller = Notifier(lambda status: self.on_state(status) if self.on_state is not None else None)
            self._teller.notify(connection.snapshot())

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
            self._tools, self._by_server, self._bundles = tools, by_server, bundles
            self._cache.clear()
        if self.tools_retriever is not None and asyncio._get_running_loop() is not None:
            self._feed_soon()

    async def _settle(self, seconds: float) -> None:
        """Wait for the retriever, that long, and for who is told of states. They go on by themselves."""
        if self.tools_retriever is not None:
            await asyncio.wait({self._feed_soon()}, timeout=seconds)
        if self._teller is not None:
            await self._teller.drained()

    def _feed_soon(self) -> asyncio.Task[None]:
        task = asyncio.ensure_future(self._feed())
        self._feeding.add(task)
        task.add_done_callback(self._feeding.discard)
        return task

    async def _feed(self) -> None:
        """Have the retriever hold what the tables do. It may take its time, and fail, by itself."""
        if self.tools_retriever is None:
            return
        async with self._feed_lock:
            bundles = self._bundles
            if bundles is not self._fed_from:
                await in_own_thread(self._exchange, bundles)
                self._fed_from = bundles

    def _exchange(self, bundles: Mapping[str, ToolsBundle]) -> None:
        """One by one, so that one that fails keeps no other out. What others have put there is left alone."""
        retriever, errors = self.tools_retriever, {}
        wanted = {name: bundle for name, bundle in bundles.items() if bundle.description.strip()}

        def attempt(step: Callable[[str], None], name: str) -> None:
            try:
                step(name)
            except Exception as exc:
                errors[name] = str(exc) if isinstance(exc, UsageError) else f"{type(exc).__name__}: {exc}"
                if errors[name] != self._feed_errors.get(name):  # not again at each try
                    log.warning("the retriever does not have server %r right: %s", name, errors[name], exc_info=exc)

        def take_out(name: str) -> None:
            if retriever.get(name) is self._fed[name]:
                retriever.remove(name)
            del self._fed[name]

        def put_in(name: str) -> None:
            if retriever.get(name) is not None:
                raise UsageError(f"it has another entry {name!r}, which stays: name the server differently")
            retriever.add(wanted[name])
            self._fed[name] = wanted[name]

        for name in [name for name, bundle in self._fed.items() if wanted.get(name) is not bundle]:
            attempt(take_out, name)
        for name in wanted:
            if name not in self._fed:
                attempt(put_in, name)
        self._feed_errors = errors

    # -- what there is

    @property
    def tools(self) -> dict[str, Tool]:
        """All tools of connected servers by their unique names."""
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
        """What is known of each server now."""
        found = {name: connection.snapshot() for name, connection in list(self._connections.items())}
        loop = self._loop
        if loop is None or loop.is_closed():  # and all that was on it, whoever has not noticed yet
            for one in found.values():
                if one.state in (State.CONNECTING, State.CONNECTED):
                    one.state = State.CLOSED
                one.pid = None
        return found

    @property
    def errors(self) -> dict[str, str]:
        """Why servers are not there: those that failed, and those whose configuration is wrong.

        Under ``(retriever)``: which of those that are there it did not take, and why. The next reload tries these again.
        """
        feed = [f"server {name!r}: {text}" for name, text in self._feed_errors.items()]
        return {**self._absent_servers(), **({"(retriever)": "; ".join(feed)} if feed else {})}

    def _absent_servers(self) -> dict[str, str]:
        return {**self._config_errors, **{name: str(failure) for name, failure in self.failures.items()}}

    @property
    def failures(self) -> dict[str, ToolsError]:
        """The errors of servers that could not be opened, as ``load`` would raise them with ``strict``."""
        return {name: c.failure for name, c in list(self._connections.items()) if c.failure is not None}

    def find(self, name: str) -> Tool:
        """The tool of that name: ``server__tool``, ``server.tool``, ``server/tool``, or the bare name if only one has it.

        :raises ToolNotFound: there is none, or there are several.
        """
        tools = self.tools
        found = tools.get(name)
        if found is not None:
            return found
        for pair in splits(name):
            if pair in self._by_server:
                return self._by_server[pair]
        bare = [tool for tool in tools.values() if tool.original_name == name]
        if len(bare) == 1:
            return bare[0]
        if bare:
            raise ToolNotFound(f"several servers have a tool {name!r}: say " + " or ".join(t.name for t in bare))
        import difflib

        near = difflib.get_close_matches(name, [*tools, *(t.original_name for t in tools.values())], 3)
        down = [f"{server} ({text.splitlines()[0]})" for server, text in self._absent_servers().items()]
        down += [f"{server} (disabled)" for server, c in list(self._connections.items()) if c.config.disabled]
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
        :param timeout: seconds; ``None`` is the server's setting, 0 is no limit. It stands still while a callback answers a
            question of the server.
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

    async def call_async(
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
        """The server that a name begins with, if none of its tools is known yet because it has failed, or was not tried."""
        if isinstance(tool, Tool) or tool in self._tools:
            return None
        for server, _ in splits(tool):
            connection = self._connections.get(server)
            if (
                connection is not None
                and not connection.tools
                and (connection.failure is not None or connection.untried)
            ):
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
        listener, teller = self._progress_listener(tool, progress)
        begin = time.monotonic()
        with span(tool, connection) as ended:
            try:
                raw = await self._request(
                    tool.server,
                    lambda session: sdk.call_tool(session, tool.original_name, arguments, listener),
                    connection,
                    timeout=timeout,
                    repeatable=tool.read_only or tool.idempotent,
                    what=f"call of {tool.original_name!r}",
                )
            except BaseException:
                if teller is not None:
                    teller.stop()
                raise
            answer = sdk.dump_result(raw)
            result = ToolResult.from_sdk(answer, server=tool.server, tool=tool.name, duration=time.monotonic() - begin)
            ended(result)
        if teller is not None:
            await teller.drained()
        if key is not None and not result.is_error:
            while len(self._cache) >= CACHE_SIZE:
                self._cache.pop(next(iter(self._cache)))
            self._cache[key] = (time.monotonic() + ttl, result)
        if check and result.is_error:
            said = self.redact(tool.server, result.text) or "it did not say why"
            raise ToolFailed(f"tool {tool.name!r} failed: {said}", server=tool.server, result=result)
        return result

    def redact(self, server: str, text: str) -> str:
        """A text without the server's secrets, for an error that quotes it."""
        connection = self._connections.get(server)
        return connection.secrets.hide(text) if connection is not None else text

    async def _request(
        self, server: str, make: Callable[[Any], Any], connection: Connection | None = None, **options: Any
    ) -> Any:
        """A request on the server's connection; on the one that has replaced it, if that was before it could be made."""
        while True:
            connection = connection or await self._connection(server)
            try:
                return await connection.request(make, **options)
            except Replaced as exc:
                if self._connections.get(server) in (None, connection):
                    raise ServerUnavailable(str(exc), server=server) from None
                connection = None

    def _progress_listener(self, tool: Tool, progress: Callable[..., Any] | None) -> tuple[Any, Notifier | None]:
        if progress is not None:
            teller = Notifier(progress)
        elif self.on_progress is not None:
            teller = Notifier(functools.partial(self.on_progress, tool.name))
        else:
            return None, None

        async def listen(value: float, total: float | None = None, message: str | None = None) -> None:
            teller.notify(value, total, message)

        return listen, teller

    async def _connection(self, server: str) -> Connection:
        self._arrive()
        if server not in self._connections:
            if server not in self.config.servers:
                raise UsageError(
                    f"no server {server!r} is configured; there are: {', '.join(self.config.servers) or 'none'}"
                )
            if self._over:  # what was started now would be ended by nobody
                raise ServerUnavailable(
                    f"server {server!r} was closed by the loader's cleanup(): load() it again", server=server
                )
            # a child after fork(), or a server that was not loaded yet
            if self._is_not_accepted():
                raise UsageError(
                    f"{self.config.config_file} was found here and never accepted: name it (config_file=...)"
                )
            self._connections[server] = self._new_connection(self.config.servers[server])
        return self._connections[server]

    def _new_connection(self, config: Any) -> Connection:
        return Connection(config, self._callbacks, self._publish, self._state_changed)

    def _like(self, old: Connection) -> Connection:
        """One that takes the place of another, and offers the same tools until it knows better."""
        new = self._new_connection(old.config)
        new.tools, new.capabilities = old.tools, old.capabilities
        new.status.tools, new.status.connections = old.status.tools, old.status.connections
        return new

    # -- what else servers offer

    def resources(self, server: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Resources of one or all servers, by server. Of all, those that are not there, do not answer, or have none are left out."""
        return self.portal.call(self._list, server, *_RESOURCES)  # type: ignore[no-any-return]

    async def resources_async(self, server: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """``resources()`` for coroutines of any loop."""
        return await self._there(self._list, server, *_RESOURCES)  # type: ignore[no-any-return]

    def resource_templates(self, server: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Resource templates of one or all servers, by server."""
        return self.portal.call(self._list, server, *_TEMPLATES)  # type: ignore[no-any-return]

    async def resource_templates_async(self, server: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """``resource_templates()`` for coroutines of any loop."""
        return await self._there(self._list, server, *_TEMPLATES)  # type: ignore[no-any-return]

    def prompts(self, server: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Prompts of one or all servers, by server."""
        return self.portal.call(self._list, server, *_PROMPTS)  # type: ignore[no-any-return]

    async def prompts_async(self, server: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """``prompts()`` for coroutines of any loop."""
        return await self._there(self._list, server, *_PROMPTS)  # type: ignore[no-any-return]

    def read_resource(self, server: str, uri: str, *, timeout: float | None = None) -> list[dict[str, Any]]:
        """The contents of a resource: blocks with ``text`` or ``blob`` (base64).

        :param timeout: seconds; ``None`` is the server's setting.
        :raises ToolsError: as ``call()``.
        """
        return self.portal.call(self._read, server, uri, timeout)  # type: ignore[no-any-return]

    async def read_resource_async(self, server: str, uri: str, *, timeout: float | None = None) -> list[dict[str, Any]]:
        """``read_resource()`` for coroutines of any loop."""
        return await self._there(self._read, server, uri, timeout)  # type: ignore[no-any-return]

    def get_prompt(
        self, server: str, name: str, arguments: Mapping[str, str] | None = None, *, timeout: float | None = None
    ) -> list[dict[str, Any]]:
        """The messages of a prompt.

        :param timeout: seconds; ``None`` is the server's setting.
        :raises ToolsError: as ``call()``.
        """
        return self.portal.call(self._prompt, server, name, dict(arguments or {}), timeout)  # type: ignore[no-any-return]

    async def get_prompt_async(
        self, server: str, name: str, arguments: Mapping[str, str] | None = None, *, timeout: float | None = None
    ) -> list[dict[str, Any]]:
        """``get_prompt()`` for coroutines of any loop."""
        return await self._there(self._prompt, server, name, dict(arguments or {}), timeout)  # type: ignore[no-any-return]

    def ping(self, server: str, *, timeout: float | None = None) -> float:
        """Seconds that a server takes to answer.

        :raises ToolsError: it does not.
        """
        return self.portal.call(self._ping, server, timeout)  # type: ignore[no-any-return]

    async def ping_async(self, server: str, *, timeout: float | None = None) -> float:
        """``ping()`` for coroutines of any loop."""
        return await self._there(self._ping, server, timeout)  # type: ignore[no-any-return]

    def health(self, *, timeout: float = 5.0) -> dict[str, ServerStatus]:
        """Ask all servers at once whether they answer, and give their status. Those that went away are opened again.

        :param timeout: seconds for each.
        """
        return self.portal.call(self._health, timeout)  # type: ignore[no-any-return]

    async def health_async(self, *, timeout: float = 5.0) -> dict[str, ServerStatus]:
        """``health()`` for coroutines of any loop."""
        return await self._there(self._health, timeout)  # type: ignore[no-any-return]

    def restart(self, server: str) -> ServerStatus:
        """End a server's session and open a new one, with the same settings.

        :raises ToolsError: it does not come up again.
        """
        return self.portal.call(self._restart, server)  # type: ignore[no-any-return]

    async def restart_async(self, server: str) -> ServerStatus:
        """``restart()`` for coroutines of any loop."""
        return await self._there(self._restart, server)  # type: ignore[no-any-return]

    def logout(self, server: str) -> bool:
        """Forget the OAuth tokens of a server. Were there any? Its session, if it is open, goes on.

        :raises UsageError: no such server, or it does not use OAuth.
        """
        from .auth.oauth import token_key

        one = self.config.servers.get(server)
        if one is None or not (one.auth == "oauth" or (isinstance(one.auth, dict) and one.auth["type"] != "bearer")):
            raise UsageError(f"no server {server!r} that logs in with OAuth is configured", server=server)
        return bool(chosen(self._callbacks.tokens).remove(token_key(one.resolved())))

    async def _list(self, server: str | None, what: str, name: str, capability: str) -> dict[str, list[dict[str, Any]]]:
        async def listed(connection: Connection) -> list[dict[str, Any]]:
            return await connection.request(  # type: ignore[no-any-return]
                lambda session: sdk.pages(session, what, name),
                timeout=None,
                repeatable=True,
                what=f"list of {what}",
            )

        self._arrive()
        if server is not None:
            return {server: await listed(await self._connection(server))}
        asked = [c for c in self._connections.values() if c.is_open and capability in c.capabilities]
        lists = await asyncio.gather(*map(listed, asked), return_exceptions=True)
        found: dict[str, list[dict[str, Any]]] = {}
        for connection, one in zip(asked, lists):
            if isinstance(one, ToolsError):
                log.warning("server %r: the list of %s is not there: %s", connection.name, what, one)
            elif isinstance(one, BaseException):
                raise one
            else:
                found[connection.name] = one
        return found

    async def _read(self, server: str, uri: str, timeout: float | None) -> list[dict[str, Any]]:
        result = await self._request(
            server,
            lambda session: sdk.read_resource(session, uri),
            timeout=timeout,
            repeatable=True,
            what="reading of a resource",
        )
        return list(result.get("contents", []))

    async def _prompt(
        self, server: str, name: str, arguments: dict[str, str], timeout: float | None
    ) -> list[dict[str, Any]]:
        result = await self._request(
            server,
            lambda session: sdk.get_prompt(session, name, arguments),
            timeout=timeout,
            repeatable=True,
            what=f"prompt {name!r}",
        )
        return list(result.get("messages", []))

    async def _ping(self, server: str, timeout: float | None) -> float:
        return await (await self._connection(server)).ping(timeout)

    async def _health(self, timeout: float) -> dict[str, ServerStatus]:
        self._arrive()
        asked = [c for c in self._connections.values() if not c.config.disabled]
        await asyncio.gather(*(c.ping(timeout) for c in asked), return_exceptions=True)
        return {name: connection.snapshot() for name, connection in self._connections.items()}

    async def _restart(self, server: str) -> ServerStatus:
        old = await self._connection(server)
        # with the settings that it has: what the file says by now, and whether that was accepted, is for a reload to find out
        new = self._connections[server] = self._like(old)
        ending = self._leaving[old] = asyncio.ensure_future(old.close())
        ending.add_done_callback(lambda _: self._leaving.pop(old, None))
        await asyncio.shield(ending)
        await new.connect(now=True)
        return new.snapshot()

    # -- the end

    def cleanup(self, *, timeout: float | None = None) -> None:
        """End all sessions and their servers, and the calls under way. The loader may be loaded again.

        :param timeout: seconds to wait; ``None`` waits for the end of all, which is bounded by some seconds.
        """
        self._over = True
        if self._is_used():
            self.portal.call(self._cleanup, timeout=timeout)

    async def cleanup_async(self) -> None:
        """``cleanup()`` for coroutines of any loop."""
        self._over = True
        if self._is_used():
            await self._there(self._cleanup)

    def _is_used(self) -> bool:
        """Is there anything to end? Not where the portal's loop has ended, and all with it."""
        if self._loop is None and not self._connections:
            return False
        if self._loop is not None and not self._loop.is_closed():
            return True
        self._start_anew()
        self._connections = {}
        self._publish(None)
        if self.tools_retriever is not None:
            self._fed_from = self._bundles
            self._exchange(self._fed_from)
        return False

    async def _cleanup(self) -> None:
        self._arrive()
        self._ends += 1
        self._over = True  # also if a load has begun meanwhile
        everything = {*self._connections.values(), *self._coming, *self._leaving}
        self._connections = {}
        self._publish(None)
        self._loaded = False
        await asyncio.gather(*(connection.close() for connection in everything))
        await self._settle(callbacks.LISTENERS)

    def __enter__(self) -> Self:
        try:
            self.load()
        except BaseException:
            self.cleanup()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.cleanup()

    async def __aenter__(self) -> Self:
        try:
            await self.load_async()
        except BaseException:
            await self.cleanup_async()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.cleanup_async()

    def __repr__(self) -> str:
        states = ", ".join(f"{name}: {one.state}" for name, one in self.status.items())
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


@atexit.register
def _at_exit() -> None:
    for loader in list(_loaders):
        try:
            loader.cleanup(timeout=10)
        except Exception as exc:  # the portal may be closed already, which has ended the sessions
            if not isinstance(exc, (ServerUnavailable, RuntimeError, TimeoutError)):
                raise


def _after_fork() -> None:
    """In the child, at once: it must not hold the parent's pipes open, nor wait for locks of threads that are not there."""
    for loader in list(_loaders):
        loader._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
