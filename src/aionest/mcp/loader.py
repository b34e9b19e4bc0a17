"""ToolsLoader: the tools of all configured servers, for synchronous and asynchronous code of any thread.

Contract
  * Sessions live on a portal (the process's own by default), each in its own owner task; they stay open across runs,
    threads and loops until ``cleanup()``, the portal's end or the interpreter's.
  * ``load`` and ``reload`` never raise for a server that fails (unless ``strict``): ``errors`` and ``status`` say why. They do
    where there is no configuration at all, unless there was one before.
  * ``tools`` and ``bundles`` are replaced as a whole, never changed in place: a reader in another thread sees one state.
  * A reload opens what is new first, then exchanges the tables, then leaves what was replaced to the calls in flight. It waits for
    new and changed servers only; those that failed before are tried again in the background, with growing pauses.
  * A configuration that was only found in the working directory starts nothing until it was accepted.
  * After fork() the child starts with no sessions and opens its own when asked.

Its parts: ``Wanted`` (which servers there should be), ``Fleet`` (their connections), ``Catalog`` (their tools), ``Feeder`` (of the
retriever), ``Calls``.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import os
import time
import weakref
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .. import Portal
from .catalog import Catalog, Feeder, Retriever, ToolsBundle
from .config import ToolsConfig
from .config.interpolate import Inputs
from .errors import ServerUnavailable, UsageError, copy_to_raise
from .servers import ServersMethods
from .session import callbacks
from .session.callbacks import Callbacks
from .session.calls import Calls, ToolCall
from .session.fleet import Fleet
from .session.plan import Diff, plan
from .session.status import ServerStatus
from .tools import Tool, ToolResult, splits
from .wanted import Wanted, arguments_of

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from .auth import Store


_loaders: weakref.WeakSet[ToolsLoader] = weakref.WeakSet()
FEED = 60.0  # seconds that a load waits for the retriever


class ToolsLoader(ServersMethods):
    """Loads MCP servers and calls their tools.

    :param first: the path of a configuration, a mapping of servers, or a ``ToolsConfig``; or a retriever. Without a configuration
        it looks in the usual places. What is found in the working directory starts nothing until it was accepted (``aionest mcp check --yes``, or
        ``Trust().accept(path)``): name it instead.
    :param config_file: the path, by another name.
    :param tools_retriever: a registry that gets a bundle per server (``ToolsRetriever``), or None; it may also stand first, in
        the place of ``config``. What others have put into it is never removed or replaced; ``errors`` tells which servers have
        no entry for that.
    :param portal: where the sessions live; None is the process's default portal.
    :param strict: ``load`` raises the first error, after all servers have been tried.
    :param on_log: called with (server, level, data) for log messages of servers.
    :param on_progress: called with (tool name, progress, total, message) for calls that give no callback of their own.
    :param on_state: called with a ``ServerStatus`` when a server's state changes.
    :param sampling: answers a server's request for a completion: called with the SDK's request parameters; gives the text,
        a mapping with ``content``, ``model`` and ``role``, None (declined), or the SDK's result.
    :param elicitation: answers a server's question to the person: called with the SDK's request parameters; gives a mapping
        of the answers (accepted), None (declined), or the SDK's result.
    :param roots: called without arguments; gives paths or ``file:`` URIs, or the SDK's result.
    :param authorize: has a person open a URL to log in, for servers with OAuth (``webbrowser.open``). Without it a server that
        wants a login is unavailable, and its error says so.
    :param tokens: where OAuth tokens are kept; a ``TokenStore`` or ``KeyringTokenStore``; a file in the user's state folder
        unless given, or what the environment variable ``AIONEST_TOKENS`` names (``keyring``, or a file).
    :param inputs: values for ``${input:id}`` of the configuration: a mapping, or a function of the id.
    :param servers: names of the servers to open; None is all of the configuration.
    :param on_message: called with (server, "sent" or "received", text) for each message on the wire, whose text is without the secrets of
        the configuration. For looking at what goes on: it takes time.

    Callbacks may be plain functions, which run in a thread, or coroutine functions, which run on the portal's loop. They are
    called in order; what they raise is logged, or told to the server that has asked, whose name ``asking_server()`` gives them.

    Thread-safety: every method, any thread. The synchronous ones must not be called on another running loop without
    ``aionest.apply()`` where blocking it matters; use the ``_async`` ones there.
    """

    def __init__(
        self,
        first: ToolsConfig | Mapping[str, object] | str | Path | Retriever | None = None,
        config_file: str | Path | None = None,
        *,
        config: ToolsConfig | Mapping[str, object] | str | Path | None = None,
        tools_retriever: Retriever | None = None,
        portal: Portal | None = None,
        strict: bool = False,
        on_log: Callable[[str, str, Any], object] | None = None,
        on_progress: Callable[..., object] | None = None,
        on_state: Callable[[ServerStatus], object] | None = None,
        sampling: Callable[..., object] | None = None,
        elicitation: Callable[..., object] | None = None,
        roots: Callable[..., object] | None = None,
        authorize: Callable[[str], object] | None = None,
        tokens: Store | None = None,
        inputs: Inputs = None,
        servers: Collection[str] | None = None,
        on_message: Callable[[str, str, str], object] | None = None,
    ) -> None:
        given, config_file, tools_retriever = arguments_of(first, config, config_file, tools_retriever)
        functions = (on_log, on_progress, on_state, sampling, elicitation, roots, authorize, on_message)
        useless = next((one for one in functions if one is not None and not callable(one)), None)
        if useless is not None:
            raise TypeError(f"a callback must be a function, not {type(useless).__name__}")
        self._wanted = Wanted(given, config_file, inputs, servers)
        self.config: ToolsConfig = self._wanted.config
        self.strict = strict
        self._portal = portal
        callbacks = Callbacks(on_log, sampling, elicitation, roots, authorize, tokens, on_message)
        self._fleet = Fleet(self._wanted, callbacks, self._publish)
        self._fleet.on_state = on_state
        self._calls = Calls(self._fleet)
        self._calls.on_progress = on_progress
        self._feeder = Feeder(tools_retriever)
        self._catalog = Catalog()
        _loaders.add(self)

    @property
    def tools_retriever(self) -> Any:
        """The registry that gets the bundles, or None."""
        return self._feeder.retriever

    # -- loading

    def load(self, *, progress: Callable[[ServerStatus], object] | None = None) -> dict[str, Tool]:
        """Read the configuration and open all servers at once; the tools by name.

        It takes about as long as the slowest server. Servers that are open and unchanged are kept as they are; those that have
        failed are tried again.

        :param progress: called with a ``ServerStatus`` as servers come up or fail.
        :raises ConfigError: there is no configuration: the file that was named is missing, or none was found.
        :raises ToolsError: only with ``strict``, or for a server that the configuration requires.
        """
        self.portal.call(self._reload, progress, True)
        return self.tools

    async def load_async(self, *, progress: Callable[[ServerStatus], object] | None = None) -> dict[str, Tool]:
        """``load()`` for coroutines of any loop."""
        await self.portal.call_async(self._reload, progress, True)
        return self.tools

    def reload(self) -> Diff:
        """Make what is open agree with the configuration; servers whose settings are the same are not touched.

        It returns when new and changed servers are there or have failed. Calls in flight on a server that is replaced or
        removed come to their end there.

        :return: what was added, removed, changed, kept, and what failed.
        """
        return self.portal.call(self._reload, None, False)  # type: ignore[no-any-return]

    async def reload_async(self) -> Diff:
        """``reload()`` for coroutines of any loop."""
        return await self.portal.call_async(self._reload, None, False)

    async def _reload(self, progress: Callable[[ServerStatus], object] | None, everything: bool) -> Diff:
        fleet = self._fleet
        changing, ends, begin = fleet.changing(), fleet.ends, time.monotonic()
        async with changing:
            if fleet.ends != ends:  # there was a cleanup while this waited, and what it has ended stays so
                return Diff(seconds=time.monotonic() - begin)
            begin = time.monotonic()
            fleet.over = False
            unfed = self._feeder.retry()
            usable = self._wanted.read()
            missing = None if fleet.loaded else self._wanted.missing()
            if missing is not None:
                raise missing
            # a file that cannot be read as a whole is no reason to end anything
            if not usable or (fleet.loaded and self._wanted.is_unreadable):
                fleet.loaded = True
                if self.strict:
                    raise UsageError("; ".join(self._wanted.errors.values()))
                return Diff(kept=tuple(fleet.connections), seconds=time.monotonic() - begin)
            todo = plan(self._wanted.servers(), fleet.connections, everything)
            if not await fleet.carry_out(todo, progress):
                return Diff(seconds=time.monotonic() - begin)
            if todo.is_change or todo.opened or unfed:
                await self._feeder.settle(FEED)
                await fleet.told()
            failures = self.failures
            for name, failure in failures.items():
                if self.strict or fleet.connections[name].config.required:
                    raise copy_to_raise(failure)
            if self.strict and self._wanted.errors:
                raise UsageError("; ".join(self._wanted.errors.values()))
            return Diff(
                tuple(todo.added),
                tuple(todo.removed),
                tuple(todo.changed),
                tuple(todo.kept),
                tuple(failures),
                tuple(todo.updated),
                time.monotonic() - begin,
            )

    def _publish(self) -> None:
        """Make a new catalog. In the loop's thread."""
        offers = [(connection.config, connection.tools) for connection in self._fleet.connections.values()]
        self._catalog = Catalog.of(offers, self)
        self._calls.forget()
        self._feeder.publish(self._catalog.bundles)

    # -- what there is

    @property
    def tools(self) -> dict[str, Tool]:
        """All tools of connected servers by their unique names."""
        return self._catalog.tools

    @property
    def bundles(self) -> dict[str, ToolsBundle]:
        """The tools of each server."""
        return self._catalog.bundles

    @property
    def tools_bundles(self) -> dict[str, set[str]]:
        """The names of each server's tools."""
        return {name: set(bundle.tools) for name, bundle in self._catalog.bundles.items()}

    @property
    def errors(self) -> dict[str, str]:
        """Why servers are unavailable: those that failed, and those whose configuration is wrong.

        Under ``(retriever)``: which of the available ones it did not take, and why. The next reload tries these again.
        """
        feed = [f"server {name!r}: {text}" for name, text in self._feeder.errors.items()]
        return {**self._unavailable(), **({"(retriever)": "; ".join(feed)} if feed else {})}

    def _unavailable(self) -> dict[str, str]:
        return {**self._wanted.errors, **{name: str(failure) for name, failure in self.failures.items()}}

    def find(self, name: str) -> Tool:
        """The tool of that name: ``server__tool``, ``server.tool``, ``server/tool``, or the bare name if only one has it.

        :raises ToolNotFound: there is none, or there are several.
        """
        absent = {**self._unavailable(), **dict.fromkeys(self._fleet.disabled(), "disabled")}
        return self._catalog.find(name, absent, "" if self._fleet.loaded else "; call load() first")

    # -- calling

    def call(
        self,
        tool: str | Tool,
        arguments: Mapping[str, object] | None = None,
        *,
        timeout: float | None = None,
        progress: Callable[..., object] | None = None,
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
        silent = self._silent(tool)
        if silent is not None:
            self.portal.call(self._fleet.open, silent)
        checked = self._checked(tool, arguments, timeout, progress, check)
        return self.portal.call(self._calls.call, checked)  # type: ignore[no-any-return]

    async def call_async(
        self,
        tool: str | Tool,
        arguments: Mapping[str, object] | None = None,
        *,
        timeout: float | None = None,
        progress: Callable[..., object] | None = None,
        check: bool = False,
    ) -> ToolResult:
        """``call()`` for coroutines of any loop."""
        silent = self._silent(tool)
        if silent is not None:
            await self.portal.call_async(self._fleet.open, silent)
        return await self.portal.call_async(self._calls.call, self._checked(tool, arguments, timeout, progress, check))

    def submit(
        self,
        tool: str | Tool,
        arguments: Mapping[str, object] | None = None,
        *,
        timeout: float | None = None,
        progress: Callable[..., object] | None = None,
        check: bool = False,
    ) -> concurrent.futures.Future[ToolResult]:
        """``call()`` without waiting: a future, to be cancelled or waited for in any thread.

        What is wrong with the tool's name or its arguments is raised here.
        """
        return self.portal.submit(self._calls.call, self._checked(tool, arguments, timeout, progress, check))

    def _checked(
        self,
        tool: str | Tool,
        arguments: Mapping[str, object] | None,
        timeout: float | None,
        progress: Callable[..., object] | None,
        check: bool,
    ) -> ToolCall:
        one = tool if isinstance(tool, Tool) else self.find(tool)
        given = dict(arguments or {})
        one.validate(given)
        return ToolCall(one, given, timeout, progress, check)

    def _silent(self, tool: str | Tool) -> str | None:
        """The server that a name begins with, if none of its tools is known yet because it has failed, or was not tried."""
        if isinstance(tool, Tool) or tool in self.tools:
            return None
        return self._fleet.silent(server for server, _ in splits(tool))

    def redact(self, server: str, text: str) -> str:
        """A text without the server's secrets, for an error that quotes it."""
        return self._calls.redact(server, text)

    # -- the end

    def cleanup(self, *, timeout: float | None = None) -> None:
        """End all sessions and their servers, and the calls in flight. The loader may be loaded again.

        :param timeout: seconds to wait; ``None`` waits for the end of all, which is bounded by some seconds.
        """
        self._fleet.over = True
        if self._is_used():
            self.portal.call(self._cleanup, timeout=timeout)

    async def cleanup_async(self) -> None:
        """``cleanup()`` for coroutines of any loop."""
        self._fleet.over = True
        if self._is_used():
            await self.portal.call_async(self._cleanup)

    def _is_used(self) -> bool:
        """Is there anything to end? Not where the portal's loop has ended, and all with it."""
        fleet = self._fleet
        if not fleet.is_orphaned:
            return True
        if fleet.loop is not None or fleet.connections:
            fleet.forget()
            self._publish()
            self._feeder.exchange()
        return False

    async def _cleanup(self) -> None:
        await self._fleet.close_all()
        await self._feeder.settle(callbacks.LISTENERS)
        await self._fleet.told()

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
        return f"<ToolsLoader {len(self.tools)} tools; {states or 'nothing loaded'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a ToolsLoader cannot be sent to another process, nor copied: make one there, for example at the top of a module "
            "that the workers import"
        )


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
        loader._fleet.forked()
        loader._portal = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
