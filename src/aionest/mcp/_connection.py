"""One server: its session in a task of its own, and everything that can happen to it.

Contract
  * All coroutines run on the loader's portal, in its loop's thread; plain attributes may be read from anywhere.
  * The session is ``hosted``: entered, kept and left by its owner task. Every call is guarded by it: it ends with the
    result, its deadline, or the death of the session, whichever comes first.
  * One connection attempt at a time, which all who need it wait for. It goes on if they stop waiting. An attempt that takes too
    long, or whose connection is closed, is abandoned and reaped, so a spawn is never cut short and nobody waits for it.
  * A session that is given up takes the calls under way with it at once; it is left in the background, in bounded time.
  * A call is sent again at most once, and only if it cannot have taken effect, or the tool is read-only or idempotent, or the
    configuration says so. What ended the session says nothing of whether a call has taken effect: only what is known of the call's
    own request does (``_sent``).
  * A deadline covers all of a call: connecting, both attempts, the answer.
  * Callbacks are called one after the other, in order, beside the session, which goes on reading meanwhile. While one answers a
    question of the server, deadlines stand still.
  * No message has secrets of the configuration in it.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import contextvars
import inspect
import logging
import random
import sys
import time
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

from .. import ResourceLost, hosted
from .._runner import seconds_of
from . import _compat, _stdio
from ._compat import anyio
from ._posts import Posts
from ._sent import Sent
from ._threads import in_own_thread, in_thread
from .auth import Secrets, watch_logs
from .config import stamp_of
from .errors import CallTimeout, ProtocolError, ServerLost, ServerUnavailable, ToolsError, copy_to_raise, explain, kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

BACKOFF = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before the n-th attempt after a failure, with jitter
DEBOUNCE = 0.1  # seconds between the news that a list has changed and its reading
CLOSE_TIMEOUT = 10.0  # seconds; the steps of ending a process are bounded by less
LEAVE_TIMEOUT = 2.0  # seconds for an HTTP server to take note of the end of a session
UNKNOWN_TRANSPORT = (400, 404, 405)  # what an HTTP server says that has only the older transport
OLDER_TRANSPORT = 10.0  # seconds that the attempt with it may take at most
LATER = 0.5  # seconds until a deadline is looked at again while a callback answers the server
KNOWN = 2.0  # seconds until what ended a session is known at the latest
LISTENERS = 5.0  # seconds that a result waits for the callbacks of its progress
log = logging.getLogger("aionest.mcp")

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
    left_out: list[str] = field(default_factory=list)  # tools that are described wrongly


@dataclass
class Callbacks:
    """What a server may ask of the client. Plain functions run in threads of their own, coroutine functions on the portal's loop."""

    log: Callable[[str, str, Any], Any] | None = None
    sampling: Callable[..., Any] | None = None
    elicitation: Callable[..., Any] | None = None
    roots: Callable[..., Any] | None = None
    authorize: Callable[[str], Any] | None = None
    tokens: Any = None


class Replaced(ServerUnavailable):
    """The connection was replaced, or closed, before the call was made on it."""


class _Parted(Exception):
    """The session was given up during a call. The cause is why."""


async def _call_back(function: Callable[..., Any], *args: Any) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(*args)
    result = await in_own_thread(function, *args)
    return await result if inspect.isawaitable(result) else result


class Teller:
    """Calls a function with what there is to tell, in order, without keeping waiting whoever tells it.

    The function runs in the context in which the ``Teller`` was made. What it raises is logged. On the loop only.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._context = contextvars.copy_context()
        self._news: collections.deque[tuple[Any, ...]] = collections.deque()
        self._task: asyncio.Future[None] | None = None

    def tell(self, *args: Any) -> None:
        """Have the function called with these, after what was told before."""
        self._news.append(args)
        if self._task is None:
            self._task = self._context.run(asyncio.ensure_future, self._run())

    async def _run(self) -> None:
        try:
            while self._news:
                try:
                    await _call_back(self._function, *self._news.popleft())
                except Exception:
                    log.exception("a callback has failed: %r", self._function)
        finally:
            self._task = None

    async def told(self, seconds: float) -> None:
        """Wait until all is told, or that long."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=seconds)

    def stop(self) -> None:
        """Tell no more."""
        self._news.clear()


class Connection:
    """A server's session and its tools. Made in the loop's thread.

    :param on_change: called when its tools are others than before.
    :param on_state: called when its state is another.
    """

    def __init__(
        self,
        config: Any,
        callbacks: Callbacks,
        on_change: Callable[[Connection], None],
        on_state: Callable[[Connection], None] = lambda connection: None,
    ) -> None:
        self.config = config
        self.name: str = config.name
        self.callbacks = callbacks
        self.on_change = on_change
        self.on_state = on_state
        self.status = ServerStatus(self.name, config.transport, "disabled" if config.disabled else "closed")
        self.secrets = Secrets()
        self.tail = _stdio.Tail(self.name, secrets=self.secrets)
        self.session: Any = None
        self.host: Any = None
        self.process: Any = None
        self.tools: list[dict[str, Any]] = []
        self.capabilities: dict[str, Any] = {}
        self.failure: ToolsError | None = None
        self.closing = False
        self.retired = False  # replaced: it serves the calls under way, and no others
        self._lock = asyncio.Lock()
        self._failures = 0
        self._next_attempt = 0.0
        self._reaping: set[asyncio.Task[Any]] = set()
        self._refresh: asyncio.Task[Any] | None = None
        self._refused = 0  # the latest HTTP status that said no
        self._stops: dict[Callable[[str], None], Any] = {}  # of each call under way, and its session's host
        self._parted_by: BaseException | None = None  # what the last session was given up for
        self._failing: BaseException | None = None  # what the session comes down for, before it is down
        self._opening: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[Any]] = set()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # closed, or being closed
        self._trouble: asyncio.Future[None] | None = (
            None  # of the attempt under way: something that it would not notice
        )
        self._auth_failure: BaseException | None = None
        self._answers = 0  # questions of the server that callbacks are answering now
        self._answered, self._answering_since = 0.0, 0.0  # seconds that this took before, and when it began
        self._asking = False  # a person is asked: that takes its time
        self._idle = asyncio.Event()
        self._idle.set()
        self._waking: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._log = Teller(callbacks.log) if callbacks.log is not None else None
        self._env_file: tuple[str, object] | None = None

    # -- the session

    def snapshot(self) -> ServerStatus:
        """Its status as it is now, for others to keep."""
        return replace(self.status, stderr=list(self.tail.lines))

    def become(self, state: str, error: ToolsError | None = None) -> None:
        """Take a state on, and tell of it."""
        status = self.status
        told = (status.state, status.error)
        status.state = state
        if state not in ("connecting", "connected"):
            status.pid = status.since = None
        status.error = str(error) if error is not None else None
        status.error_code = error.code if error is not None else None
        if told != (status.state, status.error):
            self.on_state(self)

    def settings_changed(self, config: Any) -> bool:
        """Does a configuration want another session than this one?"""
        if config is not self.config and self.config.content_hash() != config.content_hash():
            return True
        return self._env_file is not None and stamp_of(self._env_file[0]) != self._env_file[1]

    @contextlib.asynccontextmanager
    async def _opened(self, transport: str) -> AsyncIterator[Any]:
        config = await in_thread(self.config.resolved) if self.config.env_file else self.config.resolved()
        self._env_file = (config.env_file, stamp_of(config.env_file)) if config.env_file else None
        self.secrets.learn(config)
        answers = _compat.Answers()
        if transport == "stdio":
            cwd = str(config.cwd) if config.cwd else None
            streams = _stdio.streams(
                config.command,
                list(config.args),
                dict(config.env),
                cwd,
                self.tail,
                self._have_process,
                lambda: len(self._stops),
                self._have_failure,
            )
        else:
            watch_logs()
            headers, auth = dict(config.headers), None
            if isinstance(config.auth, dict) and config.auth.get("type") == "bearer":
                headers["Authorization"] = f"Bearer {config.auth['token']}"
            elif config.auth:
                auth = await self._oauth(config)
            streams = _compat.http_streams(
                transport, config.url, headers, config.connect_timeout, auth, self._have_status, answers, Posts()
            )
        try:
            async with streams as (read, write), self._make_session(read, write) as session:
                answers.session = session
                try:
                    result = await _compat.initialize(session, config.protocol)
                except Exception as exc:
                    # a server that ends at its start may be noticed first by what cannot be written to it any more
                    if transport == "stdio" and kind(exc)[0] in ("unsent", "lost"):
                        await _stdio.raise_if_ended(self.process, self.tail, exc)
                    raise
                self._welcome(result)
                yield session
        finally:
            answers.close()

    async def _oauth(self, config: Any) -> Any:
        from .auth import chosen, oauth

        function = self.callbacks.authorize
        authorize = None
        if function is not None:

            async def authorize(url: str) -> None:
                await _call_back(function, url)

        def asking(now: bool) -> None:
            if now != self._asking:
                self._asking = now
                (self._answer_begins if now else self._answer_ends)()

        store = await in_own_thread(chosen, self.callbacks.tokens)
        return await oauth.provider(config, store, self.secrets, authorize, self._auth_failed, asking)()

    def _auth_failed(self, exc: BaseException) -> None:
        """The SDK's transports only log it, and leave the request waiting."""
        self._auth_failure = exc
        if self._trouble is not None and not self._trouble.done():
            self._trouble.set_result(None)
        for stop in list(self._stops):
            stop("auth")

    def _make_session(self, read: Any, write: Any) -> Any:
        given: dict[str, Any] = {"message_handler": self._on_message, "logging_callback": self._on_log}
        for name, keyword, convert in (
            ("sampling", "sampling_callback", _compat.sampled),
            ("elicitation", "elicitation_callback", _compat.elicited),
            ("roots", "list_roots_callback", _compat.rooted),
        ):
            function = getattr(self.callbacks, name)
            if function is not None:
                given[keyword] = self._answering(name, function, convert, with_params=name != "roots")
        info = _compat.types.Implementation(name="aionest", version=metadata.version("aionest"))
        return _compat.Session(read, write, client_info=info, **given)

    def _answering(
        self, name: str, function: Callable[..., Any], convert: Callable[[Any], Any], with_params: bool
    ) -> Callable[..., Any]:
        async def answer(context: Any, params: Any = None) -> Any:
            self._answer_begins()
            try:
                return convert(await _call_back(function, *([params] if with_params else [])))
            except Exception as exc:
                log.exception("the callback for %s has failed", name)
                return _compat.refusal(f"the client's callback failed: {type(exc).__name__}")
            finally:
                self._answer_ends()

        return answer

    def _answer_begins(self) -> None:
        self._answers += 1
        if self._answers == 1:
            self._answering_since = time.monotonic()

    def _answer_ends(self) -> None:
        self._answers -= 1
        if not self._answers:
            self._answered += time.monotonic() - self._answering_since

    def _time_answering(self) -> float:
        """Seconds so far in which it was not the server that was waited for: callbacks answered it, or a person logged in."""
        return self._answered + (time.monotonic() - self._answering_since if self._answers else 0)

    def _have_process(self, process: Any) -> None:
        self.process = process
        self.status.pid = process.pid

    def _have_failure(self, failure: BaseException) -> None:
        self._failing = failure

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
        self.tail.log.log(_LEVELS.get(level, logging.INFO), "%s", self.secrets.hide(str(params.data)))
        if self._log is not None:
            self._log.tell(self.name, level, params.data)

    async def _on_message(self, message: Any) -> None:
        if _compat.notification(message) == "notifications/tools/list_changed":
            self._tools_changed()

    def _tools_changed(self) -> None:
        if self._refresh is None and not self.closing:
            self._refresh = asyncio.ensure_future(self._read_again())

    async def _read_again(self) -> None:
        try:
            await asyncio.sleep(DEBOUNCE)
        finally:
            self._refresh = None  # news from now on want another reading
        try:
            host = self.host
            if self.is_open:
                await asyncio.wait_for(host.guard(self._read_tools(self.session)), self.config.timeout)
                self.on_change(self)
        except Exception as exc:  # the next reading, or reconnecting, makes up for it
            if self.closing:
                return
            log.warning("server %r: its tools could not be read again: %s", self.name, self.secrets.hide(str(exc)))

    async def _read_tools(self, session: Any) -> None:
        left_out: list[str] = []
        if self.capabilities and "tools" not in self.capabilities:
            self.tools = []
        else:
            self.tools, left_out = await _compat.read_tools(session)
        self.status.tools = len(self.tools)
        self.status.left_out = [self.secrets.hide(one) for one in left_out]
        for one in self.status.left_out:
            log.warning("server %r: %s", self.name, one)

    @property
    def is_open(self) -> bool:
        """Is there a session that answers?"""
        return self.host is not None and self.host.is_open and self.host.lost is None

    @property
    def untried(self) -> bool:
        """Has nobody tried to open it, or not to the end?"""
        return self.status.state == "closed" and not self.closing

    # -- connecting

    async def connect(self, *, now: bool = False, rest: Callable[[], float | None] = lambda: None) -> None:
        """Open the session unless it is open. All who wait share one attempt, which goes on without them.

        :param now: do not wait for the time that failed attempts have put off the next one to.
        :param rest: how many seconds there still are for it; ``None`` is no limit.
        :raises ToolsError: why not. A ``Replaced`` if there will be none any more.
        """
        if self.is_open:
            return
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open(now))
            self._opening.add_done_callback(self._opened_or_not)
        opening = self._opening
        while not opening.done():
            left = rest()
            if left is not None and left <= 0 and not self._answers:
                raise CallTimeout(f"server {self.name!r} was not ready in time", server=self.name)
            await asyncio.wait({opening}, timeout=left if left is None else max(left, LATER) if self._answers else left)
        error = opening.exception()
        if error is not None:
            raise (
                copy_to_raise(error) if isinstance(error, ToolsError) else error
            )  # each gets its own, with its own traceback

    def _opened_or_not(self, opening: asyncio.Task[None]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # it was told to who waited

    async def _open(self, now: bool) -> None:
        async with self._lock:
            if self.is_open:
                return
            self._refuse_if_closed()
            wait = self._next_attempt - time.monotonic()
            if wait > 0 and not now:
                if self.failure is not None and wait > 1:
                    raise copy_to_raise(self.failure)
                await asyncio.wait({self._ended}, timeout=wait)
                self._refuse_if_closed()
            await self._connect()

    def _refuse_if_closed(self) -> None:
        if self.config.disabled:
            raise ServerUnavailable(f"server {self.name!r} is disabled", server=self.name)
        if self.closing or self.retired:
            raise Replaced(f"server {self.name!r} is closed", server=self.name)

    def wake(self) -> None:
        """Try to open it in the background, unless a failed attempt was just now."""
        if self._waking is None and not self.is_open and time.monotonic() >= self._next_attempt:
            self._waking = asyncio.ensure_future(self._wake())

    async def _wake(self) -> None:
        try:
            await self.connect()
        except ToolsError:
            pass  # its status says it
        finally:
            self._waking = None

    async def _connect(self) -> None:
        self._part(None)
        if self._leaving and self.config.transport == "stdio":  # not two processes at once
            await asyncio.wait(set(self._leaving), timeout=CLOSE_TIMEOUT)
        self._refused, self._auth_failure, self._failing = 0, None, None
        self.become("connecting")
        begin = time.monotonic()
        error: ToolsError
        self._trouble = trouble = asyncio.get_running_loop().create_future()
        attempt = asyncio.ensure_future(self._attempt())
        try:
            while True:
                waited: set[asyncio.Future[Any]] = {attempt, self._ended, trouble}
                done, _ = await asyncio.wait(
                    waited,
                    timeout=self.config.connect_timeout,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if done or not self._asking:
                    break
        except BaseException:
            self._reap(attempt)
            self.become("closed")
            raise
        finally:
            self._trouble = None
        if attempt not in done:
            self._reap(attempt)
            if self._ended in done:
                self.become("closed")
                raise Replaced(f"server {self.name!r} was closed while it was started", server=self.name)
            if trouble in done and self._auth_failure is not None:
                error = self._explained(self._auth_failure)
                self._failed(error, "failed")
                raise error from self._auth_failure
            tail = self.tail.text()
            error = CallTimeout(
                f"server {self.name!r} was not ready after {self.config.connect_timeout:g} s"
                + (f". Its stderr ends with:\n{tail}" if tail else ""),
                server=self.name,
            )
            self._failed(error, "timed out")
            raise error
        exc = attempt.exception()
        if exc is not None:
            exc = _compat.with_status(self._auth_failure or exc, self._refused)
            error = self._explained(exc)
            what, part = kind(exc)
            if what == "session" and not hasattr(part, "response"):
                # there is no session that could be forgotten: these are the SDK's words for a 404
                error = ServerUnavailable(
                    f"server {self.name!r} answered HTTP 404: is its url right?", server=self.name
                )
            self._failed(error, "failed")
            raise error from exc
        self.host, self.session = attempt.result()
        self.failure = None
        self._failures, self._next_attempt = 0, 0.0
        self.status.since = time.time()
        self.status.connect_seconds = time.monotonic() - begin
        self.status.connections += 1
        self.become("connected")
        self.host.on_lost(lambda lost, host=self.host: self._on_lost(host, lost))
        self._watching = asyncio.ensure_future(_compat.watch_changes(self.session, self._tools_changed))
        self.on_change(self)

    def _explained(self, exc: BaseException, handled: BaseException | None = None) -> ToolsError:
        """The error to raise, without secrets in it or in what it came from."""
        error = explain(exc, self.name, self.tail.text(), handled)
        self.secrets.scrub(exc)
        self.secrets.scrub(error)
        return error

    async def _attempt(self) -> tuple[Any, Any]:
        """A session; a server that knows no streamable HTTP is tried with the older transport, as the protocol advises."""
        transport = self.config.transport
        try:
            opened = await self._attempt_with(transport)
        except Exception:
            refused = self._refused
            if transport != "streamable_http" or refused not in UNKNOWN_TRANSPORT or self._auth_failure is not None:
                raise
            older = None
            with (
                contextlib.suppress(Exception),
                anyio.fail_after(min(OLDER_TRANSPORT, self.config.connect_timeout / 3)),
            ):
                older = await self._attempt_with("sse")
            if older is None:
                self._refused = refused
                raise
            transport, opened = "sse", older
        self.status.transport = transport
        return opened

    async def _attempt_with(self, transport: str) -> tuple[Any, Any]:
        host = hosted(self._opened(transport))
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
        self._failures += 1
        delay = BACKOFF[min(self._failures, len(BACKOFF) - 1)]
        self._next_attempt = time.monotonic() + delay * random.uniform(0.8, 1.2)
        self.become(state, error)

    def _on_lost(self, host: Any, lost: Any) -> None:
        if host is not self.host or self.closing:
            return
        self.become("lost", self._explained(lost.__cause__ or lost))

    def _part(self, cause: BaseException | None) -> None:
        """Give the session up: calls under way on it end now, and it is left in the background.

        :param cause: what for.
        """
        host, self.host, self.session, self.process = self.host, None, None, None
        self.status.pid = None
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if host is None:
            return
        self._parted_by = cause
        for stop, its in list(self._stops.items()):
            if its is host:
                stop("lost")
        leaving = asyncio.ensure_future(self._leave(host))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _leave(self, host: Any) -> None:
        leaving = asyncio.ensure_future(host.leave())
        await asyncio.wait({leaving}, timeout=CLOSE_TIMEOUT if self.status.transport == "stdio" else LEAVE_TIMEOUT)
        if not leaving.done():
            leaving.cancel()
            await asyncio.wait({leaving}, timeout=LEAVE_TIMEOUT)
        if leaving.done() and not leaving.cancelled():
            leaving.exception()  # it has failed, but it is left

    async def drain(self) -> None:
        """Let calls under way come to their end (their deadlines see to it), and close. It is given no new ones."""
        self.retired = True
        if self.status.open_calls and self.is_open:
            waiting = asyncio.ensure_future(self._idle.wait())
            either: set[asyncio.Future[Any]] = {waiting, self._ended}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
        await self.close()

    async def close(self) -> None:
        """End the session and its server, and what failed attempts have left. Never raises but for cancellation."""
        self.closing = True
        if not self._ended.done():
            self._ended.set_result(None)
        if self._refresh is not None:
            self._refresh.cancel()
        for stop in list(self._stops):
            stop("closed")
        async with self._lock:
            self._part(None)
        ending = self._reaping | self._leaving
        if ending:
            await asyncio.wait(ending, timeout=CLOSE_TIMEOUT)
        if self._log is not None:
            await self._log.told(LISTENERS)
        if self.status.state != "disabled":
            self.become("closed")

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
        if seconds_of(limit) is None:
            limit = 0.0  # longer than anybody waits
        if limit < 0:
            raise CallTimeout(f"there was no time for the {what}: its timeout was {limit:g} s", server=self.name)
        begin, answering = time.monotonic(), self._time_answering()

        def rest() -> float | None:
            # the clock stands still while it is the server that waits, for us
            if not limit:
                return None
            return limit - (time.monotonic() - begin) + (self._time_answering() - answering)

        handled = sys.exc_info()[1]  # by the caller; it will be the context of all that is raised here
        policy = self.config.retry
        may_repeat = policy == "always" or (policy == "safe" and repeatable)
        self.status.calls += 1
        try:
            result, error = None, None
            for attempt in (1, 2):
                for _ in range(3):  # others may give it up before this call's turn comes
                    if self.is_open:
                        break
                    await self.connect(now=attempt == 2, rest=rest)
                    self._refuse_if_closed()
                if self.host is None:
                    raise ServerLost(f"server {self.name!r} went away as soon as it had come up", server=self.name)
                result, error = await self._try(make, rest, limit, handled, attempt == 1, may_repeat, what)
                if error is None:
                    break
        except BaseException:
            self.status.failed_calls += 1
            raise
        self.status.latency = time.monotonic() - begin
        return result

    async def _try(
        self,
        make: Callable[[Any], Any],
        rest: Callable[[], float | None],
        limit: float,
        handled: BaseException | None,
        first: bool,
        may_repeat: bool,
        what: str,
    ) -> tuple[Any, BaseException | None]:
        """One attempt: the result; or the failure, if it is to be tried again. Raises all others."""
        host, session = self.host, self.session
        self._refused = 0
        self.status.open_calls += 1
        self._idle.clear()
        sent = Sent()
        try:
            with sent:
                return await self._race(host, make(session), rest), None
        except ToolsError:
            raise
        except Exception as exc:
            if isinstance(exc, (TimeoutError, asyncio.TimeoutError)) and not isinstance(exc, ResourceLost):
                raise CallTimeout(
                    f"server {self.name!r} did not answer the {what} within {limit:g} s", server=self.name
                ) from exc
            with_session = isinstance(exc, (ResourceLost, _Parted))  # not by itself
            if with_session and self.host is host:
                self._part(exc.__cause__ or self._failing)
            cause = await self._cause(host, exc) if with_session else exc
            status = sent.status()
            if status:
                cause = _compat.Refused(status)
            elif not with_session:
                cause = _compat.with_status(cause, self._refused)
            error_kind, _ = kind(cause, handled)
            gone = with_session or error_kind in ("lost", "unsent", "session", "exited", "refused", "auth")
            if gone:
                if error_kind == "lost" and self.status.transport == "stdio":
                    cause = await self._end_of_process(host) or cause
                    error_kind, _ = kind(cause, handled)
                if self.host is host:
                    self._part(cause)
            unreached = sent.unreached() or (not with_session and error_kind in ("session", "refused", "unsent"))
            if gone and first and not self.closing and (may_repeat or unreached):
                return None, exc
            error = self._explained(cause, handled)
            if gone:
                if not self.is_open:
                    self.become("lost", error)
                if not isinstance(error, ServerLost) and (
                    error_kind == "exited" or (with_session and not status and not unreached)
                ):
                    said = str(error).rstrip(".?")
                    error = ServerLost(
                        f"{said}. It went away during the {what}; call again to start it anew", server=self.name
                    )
            raise error from exc
        finally:
            sent.forget()
            self.status.open_calls -= 1
            if not self.status.open_calls:
                self._idle.set()

    async def _cause(self, host: Any, exc: BaseException) -> BaseException:
        """What ended the session, as far as that is known."""
        if exc.__cause__ is None and self._failing is None and self._leaving:
            await asyncio.wait(set(self._leaving), timeout=KNOWN)
        lost = host.lost.__cause__ if host.lost is not None else None
        return exc.__cause__ or self._failing or lost or exc

    async def _end_of_process(self, host: Any) -> BaseException | None:
        """What the end of the connection came from. The process may be about to tell."""
        for _ in range(10):
            if self.host is not host or self._failing is not None:
                break
            await asyncio.sleep(0.05)
        lost = host.lost.__cause__ if host.lost is not None else None
        found = self._failing if self.host is host else lost
        return found if found is not None and kind(found)[0] == "exited" else None

    async def _race(self, host: Any, awaitable: Any, rest: Callable[[], float | None]) -> Any:
        """The result, or the deadline, or the end of the session, or of this connection."""
        task = asyncio.current_task()
        assert task is not None
        why = ""

        def stop(reason: str) -> None:
            nonlocal why
            if not why:
                why = reason
                task.cancel()

        timer: Any = None

        def expire() -> None:
            nonlocal timer
            left = rest() or 0.0
            if self._answers or left > 0:
                timer = loop.call_later(max(left, LATER) if self._answers else left, again)
            else:
                stop("deadline")

        again: Any = expire
        self._stops[stop] = host
        loop = asyncio.get_running_loop()
        left = rest()
        if left is not None:
            timer = loop.call_later(max(left, 0.0), expire)
        try:
            return await host.guard(awaitable)
        except asyncio.CancelledError:
            if why and (not hasattr(task, "uncancel") or task.uncancel() == 0):
                if why == "deadline":
                    raise asyncio.TimeoutError from None
                if why == "lost":
                    raise _Parted from self._parted_by
                if why == "auth" and self._auth_failure is not None:
                    raise self._explained(self._auth_failure) from self._auth_failure
                raise ServerUnavailable(f"server {self.name!r} was {why} during the call", server=self.name) from None
            raise
        finally:
            del self._stops[stop]
            if timer is not None:
                timer.cancel()
            again = None  # no cycle: else each call would leave work for the garbage collector

    async def ping(self, timeout: float | None = None) -> float:
        """Seconds that an answer takes. Where the protocol has no ping, a page of the list of tools is read."""
        begin = time.monotonic()

        def asked(session: Any) -> Any:
            return session.send_ping() if _compat.has_ping(session) else session.list_tools()

        try:
            await self.request(asked, timeout=timeout, repeatable=True, what="ping")
        except ProtocolError:
            pass  # it does not know this request, and has answered
        return time.monotonic() - begin


__all__ = ["Callbacks", "Connection", "ServerStatus", "Teller"]
