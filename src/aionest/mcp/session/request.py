"""One request to a server: its deadline, its attempts, and what a failure says of whether it took effect.

Contract
  * A deadline covers all of a request: connecting, both attempts, the answer. It stands still while a callback answers the server.
  * A request is sent again at most once, and only if it cannot have taken effect, or the tool is read-only or idempotent, or the
    configuration says so. What ended the session says nothing of whether a request has taken effect: only what is known of the
    request itself does (``Sent``).
  * It ends with the result, its deadline, or the death of the session, whichever comes first.

On the portal's loop, in the caller's task.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from ... import ResourceLost
from ..._times import seconds_of
from ..errors import (
    CallTimeout,
    MessageTooLong,
    Refused,
    ServerLost,
    ServerUnavailable,
    ToolsError,
    caused,
    copy_to_raise,
    flatten,
    with_advice,
)
from ..sdk import Failure, classify
from ..transport.sent import Sent
from .status import State

if TYPE_CHECKING:
    from ..sdk import Session
    from .connection import Connection
    from .link import Link

R = TypeVar("R")
LATER = 0.5  # seconds until a deadline is looked at again while a callback answers the server
KNOWN = 2.0  # seconds until what ended a session is known at the latest
_GONE = {Failure.LOST, Failure.UNSENT, Failure.SESSION, Failure.EXITED, Failure.REFUSED, Failure.AUTH}
_NEVER_TAKEN = {Failure.SESSION, Failure.REFUSED, Failure.UNSENT}


class _Again:
    """In place of a result: it is to be tried again."""


class Abandoned(Exception):
    """The session was given up during a request. The cause is why."""


class Request(Generic[R]):
    """Something to ask a server.

    :param connection: to the server.
    :param make: takes the SDK's session and gives the awaitable.
    :param timeout: seconds for the answer; ``None`` is the server's own setting, 0 no limit.
    :param repeatable: it may be sent twice.
    :param what: it is, for messages.
    :param begin: since when it is in flight, where another connection had it before.
    """

    def __init__(
        self,
        connection: Connection,
        make: Callable[[Session], Awaitable[R]],
        *,
        timeout: float | None,
        repeatable: bool,
        what: str,
        begin: float | None = None,
    ) -> None:
        self.connection = connection
        self.make = make
        self.what = what
        config = connection.config
        limit = config.timeout if timeout is None else timeout
        self.limit = 0.0 if seconds_of(limit) is None else limit  # none: longer than anybody waits
        self.repeatable = config.retry == "always" or (config.retry == "safe" and repeatable)
        self.begin = time.monotonic() if begin is None else begin
        self._answering = connection.clock.seconds()
        self.handled = sys.exc_info()[1]  # by the caller; it will be the context of all that is raised here
        if self.limit < 0:
            raise CallTimeout(
                f"no time was left to send the {what}: its timeout was {self.limit:g} s", server=connection.name
            )

    def remaining(self) -> float | None:
        """Seconds that there still are for it; ``None`` is no limit."""
        if not self.limit:
            return None
        return self.limit - (time.monotonic() - self.begin) + (self.connection.clock.seconds() - self._answering)

    async def run(self) -> R:
        """Connect if need be, and send it; once more where that is safe."""
        connection = self.connection
        for attempt in (1, 2):
            for _ in range(3):  # others may give it up before this request's turn comes
                if connection.is_open:
                    break
                await connection.connect(now=attempt == 2, remaining=self.remaining)
                connection.refuse_if_closed()
            if connection.link is None:
                raise ServerLost(
                    f"server {connection.name!r} disconnected immediately after connecting", server=connection.name
                )
            result = await self._attempt(connection.link, first=attempt == 1)
            if not isinstance(result, _Again):
                return result
        raise AssertionError("the second attempt raises what it fails with")

    async def _attempt(self, link: Link, first: bool) -> R | _Again:
        """The result; or the failure, if it is to be tried again. Raises all others."""
        self.connection.begin_call()
        sent = Sent(self.remaining)
        try:
            session = link.session
            assert session is not None
            with sent:
                return await self._race(link, self.make(session))
        except ToolsError:
            raise
        except Exception as exc:
            if isinstance(exc, (TimeoutError, asyncio.TimeoutError)) and not isinstance(exc, ResourceLost):
                name = self.connection.name
                raise CallTimeout(
                    f"server {name!r} did not answer the {self.what} within {self.limit:g} s", server=name
                ) from exc
            await self._failed(link, sent, exc, first)
            return _Again()
        finally:
            sent.forget()
            self.connection.end_call()

    async def _failed(self, link: Link, sent: Sent, exc: Exception, first: bool) -> None:
        """Returns if it is to be tried again. Else raises the error."""
        connection = self.connection
        with_session = isinstance(exc, (ResourceLost, Abandoned))  # not by itself
        cause = await self._cause(link, exc) if with_session else exc
        self._check_length(link, cause, exc)
        status = sent.status()
        if status:
            cause = Refused(status)
        failure, _ = classify(cause, self.handled)
        gone = with_session or failure in _GONE
        if gone:
            if failure is Failure.LOST and link.transport == "stdio":
                cause = await self._end_of_process(link) or cause
                failure, _ = classify(cause, self.handled)
            if connection.link is link:
                connection.abandon_session(cause)
        unreached = sent.unreached() or (not with_session and failure in _NEVER_TAKEN)
        if gone and first and status != 429 and not connection.closing and (self.repeatable or unreached):
            return  # (429: it was waited for as long as the server asked, or there is no time for that)
        unknown = failure is Failure.EXITED or (with_session and not status and not unreached)
        raise caused(self._explained(cause, gone, unknown), exc)

    def _check_length(self, link: Link, cause: BaseException, exc: Exception) -> None:
        """Was it a message that is too long? Not once more, whatever was asked for."""
        too_long = next((one for one in (link.failing, *flatten(cause)) if isinstance(one, MessageTooLong)), None)
        if too_long is not None:
            if not self.connection.is_open:
                self.connection.become(State.LOST, too_long)
            raise copy_to_raise(too_long) from exc

    def _explained(self, cause: BaseException, gone: bool, unknown: bool) -> ToolsError:
        """The error to raise; one of a server that may have done what it was asked, if that is unknown."""
        error = self.connection.explained(cause, self.handled)
        if gone and not self.connection.is_open:
            self.connection.become(State.LOST, error)
        if not unknown or isinstance(error, ServerLost):
            return error
        advice = f"It went away during the {self.what}; call again to restart it"
        return ServerLost(with_advice(str(error), advice), server=self.connection.name)

    async def _cause(self, link: Link, exc: BaseException) -> BaseException:
        """What ended the session, as far as that is known. It is given up."""
        if self.connection.link is link:
            self.connection.abandon_session(exc.__cause__ or link.failing)
        if exc.__cause__ is None and link.failing is None:
            await self.connection.left(KNOWN)
        return exc.__cause__ or link.failing or link.lost_by or exc

    async def _end_of_process(self, link: Link) -> BaseException | None:
        """What the end of the connection came from. The process may be about to tell."""
        for _ in range(10):
            if self.connection.link is not link or link.failing is not None:
                break
            await asyncio.sleep(0.05)
        found = link.failing or link.lost_by
        return found if found is not None and classify(found)[0] is Failure.EXITED else None

    async def _race(self, link: Link, awaitable: Awaitable[R]) -> R:
        """The result, or the deadline, or the end of the session, or of the connection."""
        task = asyncio.current_task()
        assert task is not None
        clock = self.connection.clock
        loop = asyncio.get_running_loop()
        why = ""

        def stop(reason: str) -> None:
            nonlocal why
            if not why:
                why = reason
                task.cancel()

        timer: asyncio.TimerHandle | None = None

        def expire() -> None:
            nonlocal timer
            left = self.remaining() or 0.0
            if clock.stands or left > 0:
                assert again is not None  # the request is not over
                timer = loop.call_later(max(left, LATER) if clock.stands else left, again)
            else:
                stop("deadline")

        again: Callable[[], None] | None = expire
        link.calls.add(stop)
        left = self.remaining()
        if left is not None:
            timer = loop.call_later(max(left, 0.0), expire)
        try:
            return await link.guard(awaitable)
        except asyncio.CancelledError:
            if why and (not hasattr(task, "uncancel") or task.uncancel() == 0):
                raise caused(self._stopped(link, why), link.abandoned_for if why == "lost" else link.auth_failure)
            raise
        finally:
            link.calls.discard(stop)
            if timer is not None:
                timer.cancel()
            again = None  # no cycle: else each call would leave work for the garbage collector

    def _stopped(self, link: Link, why: str) -> Exception:
        """What to raise where the request was ended from outside."""
        if why == "deadline":
            return asyncio.TimeoutError()
        if why == "lost":
            return Abandoned()
        if why == "auth" and link.auth_failure is not None:
            return self.connection.explained(link.auth_failure)
        name = self.connection.name
        return ServerUnavailable(f"server {name!r} was {why} during the call", server=name)


__all__ = ["LATER", "Request"]
