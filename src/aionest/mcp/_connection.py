"""One server: its session in a task of its own, and everything that can happen to it.

Contract
  * All coroutines run on the loader's portal, in its loop's thread; plain attributes may be read from anywhere.
  * The session is ``hosted``: entered, kept and left by its owner task. Every call is guarded by it: it ends with the
    result, its deadline, or the death of the session, whichever comes first.
  * One connection attempt at a time (``_lock``). An attempt that takes too long is abandoned and reaped, so a spawn is
    never cut short.
  * A call is sent again at most once, and only if it cannot have taken effect, or the tool is read-only or idempotent, or the
    configuration says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import ResourceLost, hosted
from . import _compat, _stdio
from .errors import CallTimeout, ProtocolError, ServerLost, ServerUnavailable, ToolsError, explain, kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

BACKOFF = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before the n-th attempt after a failure, with jitter
DEBOUNCE = 0.1  # seconds between the news that a list has changed and its reading
CLOSE_TIMEOUT = 10.0  # seconds; the steps of ending a process are bounded by less

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "emergency": logging.CRITICAL,
}


@dataclass
class ServerStatus:
    """What is known of a server. ``state`` is one of disabled, connecting, connected, failed, timed out, lost and closed."""

    name: str
    transport: str
    state: str = "closed"
    error: str | None = None
    error_code: str | None = None
    server: str | None = None
    version: str | None = None
    protocol: str | None = None
    pid: int | None = None
    since: float | None = None  # seconds since the epoch
    connect_seconds: float | None = None
    latency: float | None = None  # seconds, of the last call
    tools: int = 0
    calls: int = 0
    failed_calls: int = 0
    open_calls: int = 0
    connections: int = 0
    stderr: list[str] = field(default_factory=list)


@dataclass
class Callbacks:
    """What a server may ask of the client. Plain functions run in a thread, coroutine functions on the portal's loop."""

    log: Callable[[str, str, Any], Any] | None = None
    sampling: Callable[..., Any] | None = None
    elicitation: Callable[..., Any] | None = None
    roots: Callable[..., Any] | None = None


async def _call_back(function: Callable[..., Any], *args: Any) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(*args)
    result = await asyncio.to_thread(function, *args)
    return await result if inspect.isawaitable(result) else result


class Connection:
    """A server's session and its tools."""

    def __init__(self, config: Any, callbacks: Callbacks, on_change: Callable[[Connection], None]) -> None:
        self.config = config
        self.name: str = config.name
        self.callbacks = callbacks
        self.on_change = on_change
        self.status = ServerStatus(self.name, config.transport, "disabled" if config.disabled else "closed")
        self.tail = _stdio.Tail(self.name)
        self.session: Any = None
        self.host: Any = None
        self.process: Any = None
        self.tools: list[dict[str, Any]] = []
        self.capabilities: dict[str, Any] = {}
        self.failure: ToolsError | None = None
        self.closing = False
        self._lock = asyncio.Lock()
        self._failures = 0
        self._next_attempt = 0.0
        self._reaping: set[asyncio.Task[Any]] = set()
        self._refresh: asyncio.Task[Any] | None = None
        self._refused = 0  # the latest HTTP status that said no
        self._stops: set[Callable[[str], None]] = set()

    # -- the session

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[Any]:
        config = self.config.resolved()
        if config.transport == "stdio":
            env = config.process_env() if hasattr(config, "process_env") else dict(config.env)
            cwd = str(config.cwd) if config.cwd else None
            streams = _stdio.streams(config.command, list(config.args), env, cwd, self.tail, self._have_process)
        else:
            headers = {**config.headers, **_credentials(config)}
            streams = _compat.http_streams(
                config.transport, config.url, headers, config.connect_timeout, None, self._have_status
            )
        async with streams as (read, write), self._make_session(read, write) as session:
            self._welcome(await _compat.initialize(session))
            yield session

    def _make_session(self, read: Any, write: Any) -> Any:
        given: dict[str, Any] = {"message_handler": self._on_message, "logging_callback": self._on_log}
        for name, keyword, convert in (
            ("sampling", "sampling_callback", _compat.sampled),
            ("elicitation", "elicitation_callback", _compat.elicited),
            ("roots", "list_roots_callback", _compat.rooted),
        ):
            function = getattr(self.callbacks, name)
            if function is not None:
                given[keyword] = self._answering(function, convert, with_params=name != "roots")
        info = _compat.types.Implementation(name="aionest", version="0.1")
        return _compat.ClientSession(read, write, client_info=info, **given)

    @staticmethod
    def _answering(
        function: Callable[..., Any], convert: Callable[[Any], Any], with_params: bool
    ) -> Callable[..., Any]:
        async def answer(context: Any, params: Any = None) -> Any:
            return convert(await _call_back(function, *([params] if with_params else [])))

        return answer

    def _have_process(self, process: Any) -> None:
        self.process = process
        self.status.pid = process.pid

    def _have_status(self, status: int) -> None:
        self._refused = status

    def _welcome(self, result: dict[str, Any]) -> None:
        info = result.get("serverInfo") or {}
        self.capabilities = result.get("capabilities") or {}
        self.status.server = info.get("name")
        self.status.version = info.get("version")
        self.status.protocol = result.get("protocolVersion")

    async def _on_log(self, params: Any) -> None:
        level = str(params.level)
        self.tail.log.log(_LEVELS.get(level, logging.INFO), "%s", params.data)
        if self.callbacks.log is not None:
            await _call_back(self.callbacks.log, self.name, level, params.data)

    async def _on_message(self, message: Any) -> None:
        if (
            _compat.notification(message) == "notifications/tools/list_changed"
            and self._refresh is None
            and not self.closing
        ):
            self._refresh = asyncio.ensure_future(self._read_again())
            self._refresh.add_done_callback(lambda task: None if task.cancelled() else task.exception())

    async def _read_again(self) -> None:
        try:
            await asyncio.sleep(DEBOUNCE)
        finally:
            self._refresh = None
        if self.is_open:
            await self._read_tools(self.session)
            self.on_change(self)

    async def _read_tools(self, session: Any) -> None:
        if self.capabilities and "tools" not in self.capabilities:
            self.tools = []
        else:
            self.tools = await _compat.pages(session, "tools", "tools")
        self.status.tools = len(self.tools)

    @property
    def is_open(self) -> bool:
        """Is there a session that answers?"""
        return self.host is not None and self.host.is_open and self.host.lost is None

    # -- connecting

    async def connect(self, *, now: bool = False) -> None:
        """Open the session unless it is open.

        :param now: do not wait for the time that failed attempts have put off the next one to.
        :raises ToolsError: why not.
        """
        async with self._lock:
            if self.is_open:
                return
            if self.closing or self.config.disabled:
                raise ServerUnavailable(
                    f"server {self.name!r} is {'disabled' if self.config.disabled else 'closed'}", server=self.name
                )
            wait = self._next_attempt - time.monotonic()
            if wait > 0 and not now:
                if self.failure is not None and wait > 1:
                    raise self.failure
                await asyncio.sleep(wait)
            await self._connect()

    async def _connect(self) -> None:
        await self._drop()
        self._refused = 0
        self.status.state, self.status.error = "connecting", None
        begin = time.monotonic()
        attempt = asyncio.ensure_future(self._attempt())
        try:
            done, _ = await asyncio.wait({attempt}, timeout=self.config.connect_timeout)
        except BaseException:
            self._reap(attempt)
            self.status.state = "closed"
            raise
        if not done:
            self._reap(attempt)
            error: ToolsError = CallTimeout(
                f"server {self.name!r} was not ready after {self.config.connect_timeout:g} s"
                + (f". Its stderr ends with:\n{self.tail.text()}" if self.tail.text() else ""),
                server=self.name,
            )
            self._failed(error, "timed out")
            raise error
        exc = attempt.exception()
        if exc is not None:
            exc = _compat.with_status(exc, self._refused)
            if kind(exc)[0] == "session" and not hasattr(exc, "response"):
                # there is no session that could be forgotten: these are the SDK's words for a 404
                error = ServerUnavailable(
                    f"server {self.name!r} answered HTTP 404: is its url right?", server=self.name
                )
            else:
                error = explain(exc, self.name, self.tail.text())
            self._failed(error, "failed")
            raise error from exc
        self.host, self.session = attempt.result()
        self.failure = None
        self._failures, self._next_attempt = 0, 0.0
        self.status.state, self.status.since = "connected", time.time()
        self.status.connect_seconds = time.monotonic() - begin
        self.status.connections += 1
        self.host.on_lost(lambda lost, host=self.host: self._on_lost(host, lost))
        self.on_change(self)

    async def _attempt(self) -> tuple[Any, Any]:
        host = hosted(self._opened())
        session = await host.enter()
        try:
            await host.guard(self._read_tools(session))
        except BaseException as exc:
            with contextlib.suppress(Exception):
                await host.leave()
            raise (exc.__cause__ or exc) if isinstance(exc, ResourceLost) else exc
        return host, session

    def _reap(self, attempt: asyncio.Task[Any]) -> None:
        """End an attempt that nobody waits for any more; cleanup() waits for its end."""

        async def end() -> None:
            attempt.cancel()
            with contextlib.suppress(BaseException):
                host, _ = await attempt
                await host.leave()

        task = asyncio.ensure_future(end())
        self._reaping.add(task)
        task.add_done_callback(self._reaping.discard)

    def _failed(self, error: ToolsError, state: str) -> None:
        self.failure = error
        self.status.state, self.status.error, self.status.error_code = state, str(error), error.code
        self._failures += 1
        delay = BACKOFF[min(self._failures, len(BACKOFF) - 1)]
        self._next_attempt = time.monotonic() + delay * random.uniform(0.8, 1.2)

    def _on_lost(self, host: Any, lost: Any) -> None:
        if host is not self.host or self.closing:
            return
        error = explain(lost.__cause__ or lost, self.name, self.tail.text())
        self.status.state, self.status.error, self.status.error_code = "lost", str(error), error.code

    async def _drop(self) -> None:
        host, self.host, self.session, self.process = self.host, None, None, None
        self.status.pid = None
        if host is not None:
            with contextlib.suppress(Exception):
                await host.leave()

    async def close(self) -> None:
        """End the session and its server, and what failed attempts have left. Never raises but for cancellation."""
        self.closing = True
        if self._refresh is not None:
            self._refresh.cancel()
        for stop in list(self._stops):
            stop("closed")
        async with self._lock:
            await self._drop()
        if self._reaping:
            await asyncio.wait(set(self._reaping), timeout=CLOSE_TIMEOUT)
        if self.status.state != "disabled":
            self.status.state = "closed"

    # -- requests

    async def request(
        self, make: Callable[[Any], Any], *, timeout: float | None, repeatable: bool, what: str = "request"
    ) -> Any:
        """Send something to the session; connect first if need be, and once more where that is safe.

        :param make: takes the SDK's session and gives the awaitable.
        :param timeout: seconds for the answer; ``None`` is the server's own setting.
        :param repeatable: it may be sent twice.
        """
        limit = self.config.timeout if timeout is None else timeout
        policy = self.config.retry
        may_repeat = policy == "always" or (policy == "safe" and repeatable)
        for attempt in (1, 2):
            if not self.is_open:
                await self.connect(now=attempt == 2)
            host, session = self.host, self.session
            begin = time.monotonic()
            self._refused = 0
            self.status.open_calls += 1
            self.status.calls += 1
            try:
                result = await self._race(host, make(session), limit)
            except ServerUnavailable:
                self.status.failed_calls += 1
                raise
            except Exception as exc:
                self.status.failed_calls += 1
                if isinstance(exc, (TimeoutError, asyncio.TimeoutError)) and not isinstance(exc, ResourceLost):
                    raise CallTimeout(
                        f"server {self.name!r} did not answer the {what} within {limit:g} s", server=self.name
                    ) from exc
                cause = exc.__cause__ if isinstance(exc, ResourceLost) and exc.__cause__ is not None else exc
                cause = _compat.with_status(cause, self._refused)
                error_kind, _ = kind(cause)
                gone = isinstance(exc, ResourceLost) or error_kind in (
                    "lost",
                    "session",
                    "exited",
                    "refused",
                    "auth",
                    "http",
                )
                if gone and self.host is host:
                    if error_kind == "lost":
                        await asyncio.sleep(0.05)  # the process may be about to tell why
                    await self._drop()
                if gone and attempt == 1 and (may_repeat or error_kind in ("session", "refused")):
                    continue
                error = explain(cause, self.name, self.tail.text())
                if gone:
                    self.status.state, self.status.error, self.status.error_code = "lost", str(error), error.code
                    if not isinstance(error, ServerLost) and error_kind == "exited":
                        error = ServerLost(
                            f"{error}. It went away during the {what}; call again to start it anew", server=self.name
                        )
                raise error from exc
            finally:
                self.status.open_calls -= 1
            self.status.latency = time.monotonic() - begin
            return result
        raise AssertionError("unreachable")

    async def _race(self, host: Any, awaitable: Any, limit: float) -> Any:
        """The result, or the deadline, or the end of the session, or of this connection."""
        task = asyncio.current_task()
        assert task is not None
        why = ""

        def stop(reason: str) -> None:
            nonlocal why
            if not why:
                why = reason
                task.cancel()

        self._stops.add(stop)
        timer = asyncio.get_running_loop().call_later(limit, stop, "deadline") if limit > 0 else None
        try:
            return await host.guard(awaitable)
        except asyncio.CancelledError:
            if why and (not hasattr(task, "uncancel") or task.uncancel() == 0):
                if why == "deadline":
                    raise asyncio.TimeoutError from None
                raise ServerUnavailable(f"server {self.name!r} was {why} during the call", server=self.name) from None
            raise
        finally:
            self._stops.discard(stop)
            if timer is not None:
                timer.cancel()

    async def ping(self, timeout: float | None = None) -> float:
        """Seconds that an answer takes. Where the protocol has no ping, the list of tools is read."""
        begin = time.monotonic()
        try:
            await self.request(lambda session: session.send_ping(), timeout=timeout, repeatable=True, what="ping")
        except ProtocolError:
            await self.request(lambda session: session.list_tools(), timeout=timeout, repeatable=True, what="ping")
        return time.monotonic() - begin


def _credentials(config: Any) -> dict[str, str]:
    auth = getattr(config, "auth", None)
    if not auth:
        return {}
    if isinstance(auth, dict) and auth.get("type") == "bearer" and auth.get("token"):
        return {"Authorization": f"Bearer {auth['token']}"}
    raise ServerUnavailable(
        f"server {config.name!r}: this kind of 'auth' is not supported yet: use "
        '{"type": "bearer", "token": "${MY_TOKEN}"}, or headers',
        server=config.name,
    )


__all__ = ["Callbacks", "Connection", "ServerStatus"]
