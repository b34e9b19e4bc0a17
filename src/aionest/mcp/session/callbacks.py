"""What a server may ask of this side, and how the callbacks for it are called.

Contract
  * Plain functions run in threads of their own, coroutine functions on the portal's loop. What they raise is logged, or told to
    the server that has asked.
  * Callbacks are called one after the other, in order, beside the session, which goes on reading meanwhile.
  * While one answers a question of the server, deadlines stand still (``AnsweringClock``).

On the loop only.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import inspect
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._threads import in_own_thread
from ..sdk import elicited, refusal, rooted, sampled

if TYPE_CHECKING:
    from ..auth import Store

LISTENERS = 5.0  # seconds that a result waits for the callbacks of its progress
log = logging.getLogger("aionest.mcp")


@dataclass
class Callbacks:
    """What a server may ask of the client."""

    log: Callable[[str, str, Any], object] | None = None
    sampling: Callable[..., object] | None = None
    elicitation: Callable[..., object] | None = None
    roots: Callable[..., object] | None = None
    authorize: Callable[[str], object] | None = None
    tokens: Store | None = None
    message: Callable[[str, str, str], object] | None = None

    def answers(self, server: str, clock: AnsweringClock) -> dict[str, Callable[..., object]]:
        """What the SDK's session is given to answer the server's questions."""
        found = {}
        for name, keyword, convert in (
            ("sampling", "sampling_callback", sampled),
            ("elicitation", "elicitation_callback", elicited),
            ("roots", "list_roots_callback", rooted),
        ):
            function = getattr(self, name)
            if function is not None:
                found[keyword] = _answering(server, name, function, convert, clock)
        return found


_asking: contextvars.ContextVar[str | None] = contextvars.ContextVar("aionest_asking_server", default=None)


def asking_server() -> str | None:
    """The server that asks, in a callback of ``sampling``, ``elicitation`` or ``roots``; None elsewhere."""
    return _asking.get()


def _answering(
    server: str, name: str, function: Callable[..., object], convert: Callable[..., object], clock: AnsweringClock
) -> Callable[..., object]:
    async def answer(context: object, *params: object) -> object:  # there are none for roots
        with clock.answering():
            before = _asking.set(server)
            try:
                return convert(await call_back(function, *params), *params)
            except Exception as exc:
                log.exception("the callback for %s has failed", name)
                return refusal(f"the client's callback failed: {type(exc).__name__}")
            finally:
                _asking.reset(before)

    return answer


async def call_back(function: Callable[..., object], *args: object) -> object:
    """Call a callback, of whatever kind."""
    if inspect.iscoroutinefunction(function):
        return await function(*args)
    result = await in_own_thread(function, *args)
    return await result if inspect.isawaitable(result) else result


class AnsweringClock:
    """How long it was not the server that was waited for: callbacks answered it, or a person logged in."""

    def __init__(self) -> None:
        self._open = 0
        self._before, self._since = 0.0, 0.0
        self.asking_a_person = False  # that takes its time

    @contextmanager
    def answering(self) -> Iterator[None]:
        """A callback answers inside."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    def ask_person(self, now: bool) -> None:
        """A person is asked from now on, or no longer."""
        if now != self.asking_a_person:
            self.asking_a_person = now
            (self._begin if now else self._end)()

    def _begin(self) -> None:
        self._open += 1
        if self._open == 1:
            self._since = time.monotonic()

    def _end(self) -> None:
        self._open -= 1
        if not self._open:
            self._before += time.monotonic() - self._since

    @property
    def stands(self) -> bool:
        """Is something being answered?"""
        return self._open > 0

    def seconds(self) -> float:
        """So far."""
        return self._before + (time.monotonic() - self._since if self._open else 0)


class Notifier:
    """Calls a function with what there is to tell, in order, without keeping waiting whoever tells it.

    The function runs in the context in which the ``Notifier`` was made. What it raises is logged. On the loop only.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function
        self._context = contextvars.copy_context()
        self._news: collections.deque[tuple[object, ...]] = collections.deque()
        self._task: asyncio.Future[None] | None = None

    def notify(self, *args: object) -> None:
        """Have the function called with these, after what was told before."""
        self._news.append(args)
        if self._task is None:
            self._task = self._context.run(asyncio.ensure_future, self._run())

    async def _run(self) -> None:
        try:
            while self._news:
                try:
                    await call_back(self._function, *self._news.popleft())
                except Exception:
                    log.exception("a callback has failed: %r", self._function)
        finally:
            self._task = None

    async def drained(self) -> None:
        """Wait until all is told, or for LISTENERS."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=LISTENERS)

    def stop(self) -> None:
        """Tell no more."""
        self._news.clear()
