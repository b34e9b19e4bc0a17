"""One session of a server: opened, kept and left by a task of its own, and what is known of it.

Contract
  * A link is opened once; when it has ended, another takes its place.
  * Requests go through ``guard``: they end with the result or with the death of the session, whichever comes first. Who else may
    have to end a request is in ``calls``.
  * ``failing`` is what the session comes down for, before it is down; ``abandoned_for`` what it was given up for.
  * No message has secrets of the configuration in it.

On the portal's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import metadata
from typing import TYPE_CHECKING, TypeVar

from ... import ResourceLost, hosted
from ..._untrusted import for_log
from .. import sdk
from .._threads import in_own_thread, in_thread
from ..auth import Secrets, chosen, watch_logs
from ..config import stamp_of
from ..errors import Refused
from ..sdk import Failure, classify, status_of
from ..transport import http, pipes, sse, stdio
from ..transport.process import ServerProcess, raise_if_ended
from ..transport.sent import Sent
from .callbacks import AnsweringClock, Callbacks, Notifier, call_back, log
from .wire import Wire

if TYPE_CHECKING:
    from ... import Hosted
    from ..config import ServerConfig
    from ..sdk.line import HTTP, Incoming, Outgoing
    from ..transport.base import Transport
    from ..transport.tail import Tail

R = TypeVar("R")
# servers of this process that leave unanswered what ``auto`` asks first, by what they are started with
_ignore_probe: set[str] = set()
MOST_KEPT = 10_000
LEAVE_TIMEOUT = 2.0  # seconds for an HTTP server to take note of the end of a session
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


class Listening:
    """What a connection gives to each of its links.

    :param on_process: called when the server's process has started.
    :param on_tools: called when the server says that its tools have changed.
    """

    def __init__(
        self,
        callbacks: Callbacks,
        tail: Tail,
        secrets: Secrets,
        on_process: Callable[[ServerProcess], None],
        on_tools: Callable[[], None],
    ) -> None:
        self.callbacks = callbacks
        self.tail = tail
        self.secrets = secrets
        self.on_process = on_process
        self.on_tools = on_tools
        self.clock = AnsweringClock()
        self.log = Notifier(callbacks.log) if callbacks.log is not None else None


class Link:
    """A session with one server.

    :param config: as it was written.
    :param transport: stdio, streamable_http or sse.
    :param protocol: in place of the configuration's.
    """

    def __init__(self, config: ServerConfig, transport: str, listening: Listening, protocol: str = "") -> None:
        self.config = config
        self.protocol: str = protocol or config.protocol
        self.transport = transport
        self._listening = listening
        self.session: sdk.Session | None = None
        self.process: ServerProcess | None = None
        self.about: dict[str, object] = {}  # what the server has said of itself
        self.tools: list[dict[str, object]] = []
        self.left_out: list[str] = []  # what is wrong with tools that are left out
        self.env_file: tuple[str, object] | None = None  # which was read, and as of when
        self.calls: set[Callable[[str], None]] = set()  # ends each request in flight, and says why
        self.failing: BaseException | None = None
        self.abandoned_for: BaseException | None = None
        self.lost_at_probe = False  # did it end when it was only asked what it speaks?
        self.auth_failure: BaseException | None = None
        self.refused = 0  # the latest HTTP status that said no
        self.trouble: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Something that opening it would not notice."""
        self._until: float | None = time.monotonic() + config.connect_timeout
        self._host: Hosted[sdk.Session] = hosted(self._opened())

    # -- as a Watcher

    def has_process(self, process: ServerProcess) -> None:
        self.process = process
        self._listening.on_process(process)

    def is_failing(self, failure: Exception) -> None:
        self.failing = failure

    def was_refused(self, status: int) -> None:
        self.refused = status

    def open_calls(self) -> int:
        return len(self.calls)

    # -- opening

    async def open(self) -> None:
        """Open the session and read the server's tools."""
        try:
            self.session = await self._host.enter()
        except Exception as exc:
            status = status_of(classify(exc)[1]) or 0
            hint = sdk.refused_hint(status)
            if hint:
                raise Refused(status, hint) from exc
            raise
        try:
            await self.guard(self.read_tools())
        except BaseException as exc:
            with contextlib.suppress(Exception):
                await self._host.leave()
            raise (exc.__cause__ or exc) if isinstance(exc, ResourceLost) else exc
        self._until = None

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[sdk.Session]:
        config = self.config
        config = await in_thread(config.resolved) if config.env_file else config.resolved()
        self.env_file = (config.env_file, stamp_of(config.env_file)) if config.env_file else None
        self._listening.secrets.learn(config)
        dropped = sdk.DroppedStreamWatch()
        try:
            async with await self._streams(config, dropped) as (read, write), self._new_session(read, write) as session:
                dropped.watch(session)
                self.session = session
                try:
                    self.about = await self._agreed(session)
                except Exception as exc:
                    # a server that ends at its start may be noticed first by what cannot be written to it any more
                    if self.process is not None and classify(exc)[0] in (Failure.UNSENT, Failure.LOST):
                        await raise_if_ended(self.process, self._listening.tail, exc)
                    raise
                finally:
                    # one that has not read the question ends for a reason of its own
                    unread = isinstance(write, pipes.Outgoing) and write.reached() == 0
                    self.lost_at_probe = not self.about and not unread and sdk.only_probed(session)
                yield session
        finally:
            dropped.close()

    async def _agreed(self, session: sdk.Session) -> dict[str, object]:
        """Agree on a protocol; what the server says of itself. What it has ignored once, it is not asked again."""
        mine, protocol = self.config.content_hash(), self.protocol
        if protocol == "auto" and mine in _ignore_probe:
            try:
                return await self._asked(sdk.initialize(session, "legacy"))
            except BaseException:
                _ignore_probe.discard(mine)  # it may be another by now
                raise
        about = await self._asked(sdk.initialize(session, protocol, self.config.connect_timeout))
        if (sdk.ignores_probe(session) or protocol != self.config.protocol) and len(_ignore_probe) < MOST_KEPT:
            _ignore_probe.add(mine)
            said = (
                "server %r ignores server/discover, which takes time at its first start; `protocol: legacy` saves that"
            )
            log.info(said, self.config.name)
        return about

    async def _streams(self, config: ServerConfig, dropped: sdk.DroppedStreamWatch) -> Transport:
        if self.transport == "stdio":
            return stdio.streams(config, self._listening.tail, self)
        watch_logs()
        assert config.url is not None
        headers, auth = dict(config.headers), None
        if isinstance(config.auth, dict) and config.auth.get("type") == "bearer":
            headers["Authorization"] = f"Bearer {config.auth['token']}"
        elif config.auth:
            auth = await self._login(config)
        if self.transport == "sse":
            return sse.streams(config.url, headers, config.connect_timeout, auth, config.message_limit, self)
        return http.streams(config.url, headers, auth, config.message_limit, self, dropped)

    async def _login(self, config: ServerConfig) -> HTTP.Auth:
        from ..auth import oauth

        callbacks = self._listening.callbacks
        function = callbacks.authorize
        authorize = None
        if function is not None:

            async def authorize(url: str) -> None:
                await call_back(function, url)

        store = await in_own_thread(chosen, callbacks.tokens)
        ask_person = self._listening.clock.ask_person
        return await oauth.provider(config, store, self._listening.secrets, authorize, self._auth_failed, ask_person)()

    def _auth_failed(self, exc: BaseException) -> None:
        """The SDK's transports only log it, and leave the request waiting."""
        self.auth_failure = exc
        if not self.trouble.done():
            self.trouble.set_result(None)
        self.end_calls("auth")

    def _new_session(self, read: Incoming, write: Outgoing) -> sdk.Session:
        callbacks, clock = self._listening.callbacks, self._listening.clock
        if callbacks.message is not None:
            read, write = Wire(self.config.name, self._listening.secrets, callbacks.message).tapped(read, write)
        info = sdk.types.Implementation(name="aionest", version=metadata.version("aionest"))
        return sdk.Session(
            read,
            write,
            client_info=info,
            message_handler=self._on_message,
            logging_callback=self._on_log,
            log_level=self._log_level(),
            **callbacks.answers(self.config.name, clock),
        )

    def _log_level(self) -> str:
        """From which level on anybody wants to read what the server logs."""
        if self._listening.log is not None:
            return "debug"
        least = self._listening.tail.log.getEffectiveLevel()
        return next((name for name in ("debug", "info", "warning", "error") if _LEVELS[name] >= least), "critical")

    async def _on_log(self, params: sdk.types.LoggingMessageNotificationParams) -> None:
        listening, level = self._listening, str(params.level)
        listening.tail.log.log(
            _LEVELS.get(level, logging.INFO), "%s", for_log(listening.secrets.hide(str(params.data)))
        )
        if listening.log is not None:
            listening.log.notify(self.config.name, level, params.data)

    async def _on_message(self, message: object) -> None:
        if sdk.notification(message) == "notifications/tools/list_changed":
            self._listening.on_tools()

    # -- what is known of it

    @property
    def is_open(self) -> bool:
        """Does it answer?"""
        return self._host.is_open and self._host.lost is None

    @property
    def lost_by(self) -> BaseException | None:
        """What it has ended for by itself."""
        return self._host.lost.__cause__ if self._host.lost is not None else None

    @property
    def capabilities(self) -> dict[str, object]:
        """What the server offers."""
        found = self.about.get("capabilities")
        return found if isinstance(found, dict) else {}

    def on_lost(self, callback: Callable[[BaseException], None]) -> None:
        """Have it called with the cause if the session ends by itself."""
        self._host.on_lost(lambda lost: callback(lost.__cause__ or lost))

    async def read_tools(self) -> None:
        """Read the server's list of tools."""
        tools: list[dict[str, object]] = []
        left_out: list[str] = []
        if not self.capabilities or "tools" in self.capabilities:
            assert self.session is not None
            tools, left_out = await self._asked(sdk.read_tools(self.session, self.config.max_listed))
        hide = self._listening.secrets.hide
        self.tools, self.left_out = tools, [hide(one) for one in left_out]

    async def _asked(self, awaitable: Awaitable[R]) -> R:
        """The result. If an HTTP status said no to the very request, that is raised."""
        with Sent(self._time) as sent:
            try:
                return await awaitable
            except Exception as exc:
                status = sent.status()
                if status:
                    raise Refused(status) from exc
                raise
            finally:
                sent.forget()

    def _time(self) -> float | None:
        """Seconds that opening it may still take; None once it is open."""
        return self._until - time.monotonic() if self._until is not None else None

    async def guard(self, awaitable: Awaitable[R]) -> R:
        """The result, or ``ResourceLost`` if the session ends first."""
        return await self._host.guard(awaitable)

    def watch_changes(self) -> asyncio.Task[None]:
        """Listen to changes of the tools where one has to ask for that."""
        assert self.session is not None
        return asyncio.ensure_future(sdk.watch_changes(self.session, self._listening.on_tools))

    # -- the end

    def end_calls(self, why: str) -> None:
        """End the requests in flight."""
        for stop in list(self.calls):
            stop(why)

    async def leave(self) -> None:
        """End the session, in bounded time. Never raises but for cancellation."""
        leaving = asyncio.ensure_future(self._host.leave())
        await asyncio.wait({leaving}, timeout=CLOSE_TIMEOUT if self.transport == "stdio" else LEAVE_TIMEOUT)
        if not leaving.done():
            leaving.cancel()
            await asyncio.wait({leaving}, timeout=LEAVE_TIMEOUT)
        if leaving.done() and not leaving.cancelled():
            leaving.exception()  # it has failed, but it is left


__all__ = ["CLOSE_TIMEOUT", "Link", "Listening"]
