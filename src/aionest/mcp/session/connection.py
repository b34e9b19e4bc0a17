"""One server: its present session, how a new one is opened, and everything that can happen to it.

Contract
  * All coroutines run on the loader's portal, in its loop's thread; plain attributes may be read from anywhere.
  * One connection attempt at a time, which all who need it wait for. It goes on if they stop waiting. An attempt that takes too
    long, or whose connection is closed, is abandoned and reaped, so a spawn is never cut short and nobody waits for it.
  * Abandoning a session fails its in-flight calls immediately; it is closed in the background, in bounded time.
  * No message has secrets of the configuration in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeVar

import anyio

from ..._untrusted import for_log
from .. import sdk
from ..auth import Secrets
from ..config import stamp_of
from ..errors import CallTimeout, ProtocolError, ServerUnavailable, ToolsError, caused, copy_to_raise, with_stderr
from ..sdk import Failure, classify, explain
from ..transport.process import ServerProcess
from ..transport.tail import Tail
from .callbacks import Callbacks, log
from .link import CLOSE_TIMEOUT, Link, Listening
from .news import News
from .request import LATER, Request
from .status import ServerStatus, State

if TYPE_CHECKING:
    from ..config import ServerConfig

R = TypeVar("R")
BACKOFF = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before the n-th attempt after a failure, with jitter
UNKNOWN_TRANSPORT = (400, 404, 405)  # what an HTTP server says that has only the older transport
_DIED = (Failure.EXITED, Failure.LOST, Failure.UNSENT)
OLDER_TRANSPORT = 10.0  # seconds that the attempt with it may take at most


class Replaced(ServerUnavailable):
    """The connection was replaced, or closed, before the call was made on it."""


class Connection:
    """A server's session and its tools. Made in the loop's thread.

    :param on_change: called when its tools are others than before.
    :param on_state: called when its state is another.
    """

    def __init__(
        self,
        config: ServerConfig,
        callbacks: Callbacks,
        on_change: Callable[[Connection], None],
        on_state: Callable[[Connection], None] = lambda connection: None,
    ) -> None:
        self.config = config
        self.name: str = config.name
        self.on_change = on_change
        self.on_state = on_state
        state = State.DISABLED if config.disabled else State.CLOSED
        self.status = ServerStatus(self.name, config.transport, state)
        self.secrets = Secrets()
        self.tail = Tail(self.name, secrets=self.secrets)
        self._listening = Listening(callbacks, self.tail, self.secrets, self._have_process, self._tools_changed)
        self.clock = self._listening.clock
        self.link: Link | None = None
        self.process: ServerProcess | None = None
        self.tools: list[dict[str, object]] = []
        self.capabilities: dict[str, object] = {}
        self.failure: ToolsError | None = None
        self.closing = False
        self.retired = False  # replaced: it serves the calls in flight, and no others
        self._lock = asyncio.Lock()
        self._failures = 0
        self._next_attempt = 0.0
        self._ending: set[asyncio.Task[object]] = set()  # attempts that nobody waits for
        self._leaving: set[asyncio.Task[object]] = set()  # sessions that were given up
        self._news = News(self._read_again)
        self._opening: asyncio.Task[None] | None = None
        self._waking: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # closed, or being closed
        self._idle = asyncio.Event()
        self._idle.set()
        self._env_file: tuple[str, object] | None = None

    # -- what is known

    def snapshot(self) -> ServerStatus:
        """Its status as it is now, for others to keep."""
        return replace(self.status, stderr=list(self.tail.lines))

    def become(self, state: State, error: ToolsError | None = None) -> None:
        """Take a state on, and tell of it."""
        status = self.status
        told = (status.state, status.error)
        status.state = state
        if state not in (State.CONNECTING, State.CONNECTED):
            status.pid = status.since = None
        status.error = str(error) if error is not None else None
        status.error_code = error.code if error is not None else None
        if told != (status.state, status.error):
            self.on_state(self)

    def settings_changed(self, config: ServerConfig) -> bool:
        """Does a configuration want another session than this one?"""
        if config is not self.config and self.config.content_hash() != config.content_hash():
            return True
        return self._env_file is not None and stamp_of(self._env_file[0]) != self._env_file[1]

    @property
    def is_open(self) -> bool:
        """Is there a session that answers?"""
        return self.link is not None and self.link.is_open

    @property
    def untried(self) -> bool:
        """Has nobody tried to open it, or not to the end?"""
        return self.status.state == State.CLOSED and not self.closing

    def explained(self, exc: BaseException, handled: BaseException | None = None) -> ToolsError:
        """The error to raise, without secrets in it or in what it came from."""
        error = explain(exc, self.name, self.tail.text(), handled)
        self.secrets.scrub(exc)
        self.secrets.scrub(error)
        return error

    def _have_process(self, process: ServerProcess) -> None:
        self.process = process
        self.status.pid = process.pid

    def _take_tools(self, link: Link) -> None:
        self.tools = link.tools
        self.status.tools = len(self.tools)
        self.status.left_out = link.left_out
        for one in link.left_out:
            log.warning("server %r: %s", self.name, for_log(one))

    def _tools_changed(self) -> None:
        if not self.closing:
            self._news.told()

    async def _read_again(self) -> None:
        link = self.link
        try:
            if link is not None and link.is_open:
                await asyncio.wait_for(link.guard(link.read_tools()), self.config.timeout)
                if (link.tools, link.left_out) != (self.tools, self.status.left_out):
                    self._take_tools(link)
                    self.on_change(self)
        except Exception as exc:  # the next reading, or reconnecting, makes up for it
            if self.closing:
                return
            why = for_log(self.secrets.hide(str(exc)))
            log.warning("server %r: its tools could not be refreshed: %s", self.name, why)

    # -- connecting

    async def connect(self, *, now: bool = False, remaining: Callable[[], float | None] = lambda: None) -> None:
        """Open the session unless it is open. All who wait share one attempt, which goes on without them.

        :param now: do not wait for the time that failed attempts have put off the next one to.
        :param remaining: how many seconds there still are for it; ``None`` is no limit.
        :raises ToolsError: why not. A ``Replaced`` if there will be none any more.
        """
        if self.is_open:
            return
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open(now))
            self._opening.add_done_callback(self._opened_or_not)
        opening = self._opening
        while not opening.done():
            left = remaining()
            if left is not None and self.clock.stands:
                left = max(left, LATER)
            elif left is not None and left <= 0:
                raise CallTimeout(f"server {self.name!r} was not ready in time", server=self.name)
            await asyncio.wait({opening}, timeout=left)
        error = opening.exception()
        if error is not None:
            raise copy_to_raise(error) if isinstance(error, ToolsError) else error  # each gets its own traceback

    def _opened_or_not(self, opening: asyncio.Task[None]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # it was told to who waited

    async def _open(self, now: bool) -> None:
        async with self._lock:
            if self.is_open:
                return
            self.refuse_if_closed()
            wait = self._next_attempt - time.monotonic()
            if wait > 0 and not now:
                if self.failure is not None and wait > 1:
                    raise copy_to_raise(self.failure)
                await asyncio.wait({self._ended}, timeout=wait)
                self.refuse_if_closed()
            await self._connect()

    def refuse_if_closed(self) -> None:
        """Raise if there will be no session any more."""
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
        self.abandon_session(None)
        if self.config.transport == "stdio":  # not two processes at once
            await self.left(CLOSE_TIMEOUT)
        self.become(State.CONNECTING)
        begin = time.monotonic()
        link = Link(self.config, self.config.transport, self._listening)
        attempt = asyncio.ensure_future(self._attempt(link))
        try:
            done = await self._first_of(attempt, link)
        except BaseException:
            self._reap(attempt)
            self.become(State.CLOSED)
            raise
        if not done:
            self._reap(attempt)
            raise self._given_up(link)
        exc = attempt.exception()
        if exc is not None:
            exc = link.auth_failure or exc
            error = self.explained(exc)
            self._failed(error, State.FAILED)
            raise caused(error, exc)
        self._adopt(attempt.result(), time.monotonic() - begin)

    async def _first_of(self, attempt: asyncio.Task[Link], link: Link) -> bool:
        """Wait until an attempt is over. False if something else ends the waiting: time, trouble, the end."""
        while True:
            waited: set[asyncio.Future[Link] | asyncio.Future[None]] = {attempt, self._ended, link.trouble}
            done, _ = await asyncio.wait(
                waited, timeout=self.config.connect_timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if done or not self.clock.asking_a_person:
                return attempt in done

    def _given_up(self, link: Link) -> ToolsError:
        """Why an attempt is not waited for any longer."""
        name = self.name
        if self._ended.done():
            self.become(State.CLOSED)
            return Replaced(f"server {name!r} was closed while it was starting", server=name)
        refused = link.auth_failure
        if refused is not None:
            error = caused(self.explained(refused), refused)
            self._failed(error, State.FAILED)
            return error
        said = f"server {name!r} was not ready after {self.config.connect_timeout:g} s"
        late = CallTimeout(with_stderr(said, self.tail.text()), server=name)
        self._failed(late, State.TIMED_OUT)
        return late

    def _adopt(self, link: Link, seconds: float) -> None:
        """Use a session that was opened."""
        self.link, self._env_file, self.capabilities = link, link.env_file, link.capabilities
        self.failure = None
        self._failures, self._next_attempt = 0, 0.0
        status, info = self.status, link.about.get("serverInfo")
        status.transport = link.transport
        status.server, status.version = (
            _text(info.get(key)) if isinstance(info, dict) else None for key in ("name", "version")
        )
        status.protocol = _text(link.about.get("protocolVersion"))
        status.instructions = _text(link.about.get("instructions"))
        status.since, status.connect_seconds = time.time(), seconds
        status.connections += 1
        self._take_tools(link)
        self.become(State.CONNECTED)
        link.on_lost(lambda cause: self._on_lost(link, cause))
        self._watching = link.watch_changes()
        self.on_change(self)

    async def _attempt(self, link: Link) -> Link:
        """A session; a server that knows no streamable HTTP is tried with the older transport, as the protocol advises."""
        try:
            await link.open()
            return link
        except Exception as exc:
            if link.lost_at_probe and link.auth_failure is None and classify(exc)[0] in _DIED:
                # some end at a question that they don't know; others end at all, and say so better the second time
                plain = Link(self.config, link.transport, self._listening, "legacy")
                await plain.open()
                return plain
            unknown = link.transport == "streamable_http" and link.refused in UNKNOWN_TRANSPORT
            if not unknown or link.auth_failure is not None:
                raise
            older = Link(self.config, "sse", self._listening)
            with (
                contextlib.suppress(Exception),
                anyio.fail_after(min(OLDER_TRANSPORT, self.config.connect_timeout / 3)),
            ):
                await older.open()
                return older
            raise

    def _reap(self, attempt: asyncio.Task[Link]) -> None:
        """End an attempt that nobody waits for any more; cleanup() waits for its end."""

        async def end() -> None:
            attempt.cancel()
            with contextlib.suppress(BaseException):
                await (await attempt).leave()

        task = asyncio.ensure_future(end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _failed(self, error: ToolsError, state: State) -> None:
        self.failure = error
        self._failures += 1
        delay = BACKOFF[min(self._failures, len(BACKOFF) - 1)]
        self._next_attempt = time.monotonic() + delay * random.uniform(0.8, 1.2)
        self.become(state, error)

    def _on_lost(self, link: Link, cause: BaseException) -> None:
        if link is self.link and not self.closing:
            self.become(State.LOST, self.explained(cause))

    # -- the end of a session, and of all

    def abandon_session(self, cause: BaseException | None) -> None:
        """Give the session up: calls in flight on it end now, and it is left in the background.

        :param cause: what for.
        """
        link, self.link, self.process = self.link, None, None
        self.status.pid = None
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if link is None:
            return
        link.abandoned_for = cause
        link.end_calls("lost")
        leaving = asyncio.ensure_future(link.leave())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def left(self, seconds: float) -> None:
        """Wait until the sessions that were given up are left, or that long."""
        if self._leaving:
            await asyncio.wait(set(self._leaving), timeout=seconds)

    async def drain(self) -> None:
        """Let calls in flight come to their end (their deadlines see to it), and close. It is given no new ones."""
        self.retired = True
        if self.status.open_calls and self.is_open:
            waiting = asyncio.ensure_future(self._idle.wait())
            either: set[asyncio.Future[Literal[True]] | asyncio.Future[None]] = {waiting, self._ended}
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
        self._news.stop()
        if self.link is not None:
            self.link.end_calls("closed")
        async with self._lock:
            self.abandon_session(None)
        ending = self._ending | self._leaving
        if ending:
            await asyncio.wait(ending, timeout=CLOSE_TIMEOUT)
        if self._listening.log is not None:
            await self._listening.log.drained()
        if self.status.state != State.DISABLED:
            self.become(State.CLOSED)

    # -- requests

    def begin_call(self) -> None:
        """A request is in flight from now on."""
        self.status.open_calls += 1
        self._idle.clear()

    def end_call(self) -> None:
        """It has come to its end."""
        self.status.open_calls -= 1
        if not self.status.open_calls:
            self._idle.set()

    async def request(
        self,
        make: Callable[[sdk.Session], Awaitable[R]],
        *,
        timeout: float | None,
        repeatable: bool,
        what: str = "request",
        begin: float | None = None,
    ) -> R:
        """Send something to the session; connect first if need be, and once more where that is safe.

        The parameters are those of ``Request``.
        """
        request = Request(self, make, timeout=timeout, repeatable=repeatable, what=what, begin=begin)
        self.status.calls += 1
        try:
            result = await request.run()
        except BaseException:
            self.status.failed_calls += 1
            raise
        self.status.latency = time.monotonic() - request.begin
        return result

    async def ping(self, timeout: float | None = None) -> float:
        """Seconds that an answer takes. Where the protocol has no ping, a page of the list of tools is read."""
        begin = time.monotonic()

        async def asked(session: sdk.Session) -> None:
            await (session.send_ping() if sdk.has_ping(session) else session.list_tools())

        try:
            await self.request(asked, timeout=timeout, repeatable=True, what="ping")
        except ProtocolError:
            pass  # it does not know this request, and has answered
        return time.monotonic() - begin


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


__all__ = ["Connection", "Replaced"]
