"""The two streams of a session over the pipes of a process.

Contract
  * A message that certainly did not reach the process raises ``NotSent``; ``Outgoing.unreached()`` tells of one that was written
    and that the process can't have read before it ended, since it is still in the pipe; on Windows nobody can tell.
  * A message is in the pipe's buffer as a whole, or not at all, however the sender is cancelled.

Used in the loop's thread.
"""

from __future__ import annotations

import asyncio
import collections
import errno
import math
import os
import select
import socket
import stat
import sys
from collections.abc import Callable
from typing import IO

import anyio

from ..errors import NotSent
from ..sdk import encode, is_cancellation, notification, request_id
from ..sdk.asked import Table
from ..sdk.line import SessionMessage
from ..sdk.shortcut import Taker
from .process import ServerProcess, ended, wake
from .sent import note

try:
    import fcntl
    import termios
except ImportError:  # Windows: nobody can tell what is in a pipe
    fcntl = termios = None  # type: ignore[assignment]

BACKLOG = 32  # messages that wait for the session before the process is left to wait
YIELD = 16  # messages received without a turn of the loop
PATIENCE = 0.0005  # seconds that a message waits for others while the server has plenty to do
_LATE = sys.platform == "win32"  # what is written to a process that has ended fails afterwards: it is looked at before
SHARE = 8  # it has, when this many times as many calls are in flight as wait to be written


def _left_in(pipe: IO[bytes]) -> int | None:
    """How many bytes at least are in a pipe that nobody can read any more; ``None``: somebody can, or it isn't known."""
    if fcntl is None or pipe.closed:
        return None
    number = pipe.fileno()
    poll = select.poll()
    poll.register(number, 0)
    if not poll.poll(0):
        return None
    if stat.S_ISFIFO(os.fstat(number).st_mode):
        return int.from_bytes(fcntl.ioctl(number, termios.FIONREAD, bytes(4)), sys.byteorder)
    with socket.socket(fileno=os.dup(number)) as pair:  # asyncio's way before Python 3.12
        return 1 if pair.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET else 0


class _Input(asyncio.BaseProtocol):
    """asyncio's own protocol of the process's input, and a last look at the pipe before it is closed."""

    def __init__(self, protocol: asyncio.BaseProtocol, last_look: Callable[[], object]) -> None:
        self._protocol, self._last_look = protocol, last_look

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            self._last_look()
        finally:
            self._protocol.connection_lost(exc)


class Outgoing(anyio.abc.ObjectSendStream[SessionMessage]):
    """The session's messages, written by the task that sends them: no other task in between.

    A message is written at once. Where several calls are in flight, those of one turn of the loop are written as one piece at
    its end, and where the server has plenty to do already, those of PATIENCE: each write wakes the server, and lets one of the
    threads that wait for results take the interpreter away. A message is in the pipe's buffer as a whole, or not at all,
    however the sender is cancelled.

    :param open_calls: how many calls are in flight.
    :param on_other: called with its kind when something is sent that is no request.
    :raises NotSent: the process cannot get it. (From ``send``.)
    """

    def __init__(
        self,
        process: ServerProcess,
        open_calls: Callable[[], int],
        on_other: Callable[[str], object] = lambda kind: None,
    ) -> None:
        self.tap: Callable[[bytes], None] | None = None  # who wants to see the messages
        self._process = process
        assert process.stdin is not None
        self._pipe = process.stdin
        self._transport = process.stdin.transport
        self._open_calls, self._on_other = open_calls, on_other
        self._held: list[bytes] = []
        self._later: asyncio.TimerHandle | None = None
        self._offered = self._written = 0  # bytes that came here, and those that the transport took
        self._reached: int | None = None
        self._transport.set_protocol(_Input(self._transport.get_protocol(), self.reached))
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._draining = asyncio.Lock()  # before Python 3.10.6 only one task may wait for room

    async def send(self, item: SessionMessage) -> None:
        if request_id(item) is None:
            self._on_other(notification(item.message))
        await self.send_line(encode(item), not is_cancellation(item))  # who is cancelled does not wait for room

    async def send_line(self, data: bytes, waits_for_room: bool = True) -> None:
        """Send what is encoded already, with the newline at its end."""
        if self._closed:
            raise anyio.ClosedResourceError
        transport = self._transport
        if (
            self._process.returncode is not None
            or transport.is_closing()
            or (_LATE and self._process.family.has_ended())
        ):
            raise NotSent("the server process has stopped reading")
        if self.tap is not None:
            self.tap(data)
        self._offered += len(data)
        note(self, self._offered)
        if self._held or self._open_calls() > 1:
            self._held.append(data)
            if self._later is not None:
                if self._enough():
                    self._flush()
            elif len(self._held) == 1:
                self._loop.call_soon(self._end_of_turn)
        elif not self._write(data):
            raise NotSent("the server process has ended")
        if waits_for_room and transport.get_write_buffer_size():
            await self._drain()

    def _enough(self) -> bool:
        return len(self._held) * SHARE >= self._open_calls()

    def _end_of_turn(self) -> None:
        if self._held and not self._enough():
            self._later = self._loop.call_later(PATIENCE, self._flush)
        else:
            self._flush()

    def _flush(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        held, self._held = self._held, []
        if held and not self._transport.is_closing():
            self._write(b"".join(held))

    def _write(self, data: bytes) -> bool:
        empty = not self._transport.get_write_buffer_size()
        self._transport.write(data)
        if empty and self._transport.is_closing():  # it was to be written at once, and nobody has the other end
            return False
        self._written += len(data)
        return True

    def unreached(self, end: int) -> bool:
        """Has the process ended, or closed its input, without having read the message which ends there to its end?

        The end of a message is its newline: a process that has not got it has not got the message.
        """
        return self.reached() < end

    def status(self, end: int) -> int:
        """(There is none.)"""
        return 0

    def forget(self, end: int) -> None:
        """(Nothing is kept.)"""

    def reached(self) -> float:
        """How many bytes the process has read at most: the true number, once nobody has the other end of the pipe."""
        if self._reached is None:
            left = _left_in(self._transport.get_extra_info("pipe"))
            if left is None:
                return math.inf
            self._reached = self._written - self._transport.get_write_buffer_size() - left
        return self._reached

    async def _drain(self) -> None:
        try:
            async with self._draining:
                await self._pipe.drain()
        except ConnectionError:
            # if the process has ended, the reader of stdout notices, and knows more
            if not await ended(self._process, 0.5):
                raise anyio.BrokenResourceError("the server process has closed its input") from None

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        self._closed = True
        self._flush()


class Incoming(anyio.abc.ObjectReceiveStream[SessionMessage]):
    """The server's messages, handed from the task that reads them to the session's.

    A message that is there is received without a turn of the loop; every YIELD of them gives others theirs. One task receives,
    and one puts.
    """

    def __init__(self) -> None:
        self.tap: Callable[[bytes], None] | None = None  # who wants to see the lines
        self.direct: Taker | None = None  # what takes answers past the session (``Direct``)
        self._items: collections.deque[SessionMessage] = collections.deque()
        self._loop = asyncio.get_running_loop()
        self._item: asyncio.Future[None] | None = None  # somebody waits for one
        self._room: asyncio.Future[None] | None = None  # the reader waits for room
        self._received = 0
        self._closed = False

    async def receive(self) -> SessionMessage:
        self._received += 1
        if self._received % YIELD == 0:
            await anyio.lowlevel.checkpoint()
        while not self._items:
            if self._closed:
                raise anyio.EndOfStream
            self._item = self._loop.create_future()
            try:
                await self._item
            finally:
                self._item = None
        item = self._items.popleft()
        wake(self._room)
        return item

    def take(self, line: bytes) -> bool:
        """Hand a line to who waits for just that. False: it is for the session, or has to wait until that has what came before."""
        if self.tap is not None:
            self.tap(line)
        idle = self._item is not None and not self._item.done()
        return idle and self.direct is not None and self.direct.take(line)

    def table(self) -> Table | None:
        """The requests in flight; None is not known."""
        return self.direct.table() if self.direct is not None else None

    async def put(self, item: SessionMessage) -> bool:
        """Hand it on; False: nobody takes it any more."""
        while len(self._items) >= BACKLOG and not self._closed:
            self._room = self._loop.create_future()
            try:
                await self._room
            finally:
                self._room = None
        if self._closed:
            return False
        self._items.append(item)
        wake(self._item)
        return True

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        self._closed = True
        self.direct = None
        wake(self._item)
        wake(self._room)
