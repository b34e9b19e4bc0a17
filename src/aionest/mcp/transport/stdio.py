"""A server process and its three pipes, as the two streams of a session.

Contract
  * The process leads a group of its own; the whole group is ended with it. If this process dies first, the guardian sees to it.
  * Lines on stdout that are not messages are logged and skipped; of answers that are broken the requests are told. stderr goes to the ``Tail``.
  * The end of the process, or of a pipe to it, while it is in use raises ServerExited out of the context manager, through its
    task group.

Used by one task (the owner of the session), in its loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import anyio

from ..._untrusted import for_log
from ..errors import MessageTooLong, ServerExited
from ..sdk import as_said, parse
from ..sdk.asked import Asked
from ..sdk.line import SessionMessage
from ..sdk.mend import HELD, Mender, is_whole
from . import guardian
from .bodies import too_long
from .pipes import Incoming, Outgoing
from .process import CHUNK, ServerProcess, ended, environment, finish, spawn, stop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..config import ServerConfig
    from .base import Streams, Watcher
    from .tail import Tail

_CHANGED = b"/list_changed"
UNENDED = 0.2  # seconds for the newline of a message that seems to be complete
_BLANK = b" \t\r\n\0"  # with UTF-16, newlines have zeros
LAST_WORDS = 0.2  # seconds without any from a process that has ended, when others hold its output


class _Server:
    """A process while it is in use."""

    def __init__(self, process: ServerProcess, tail: Tail, watcher: Watcher, limit: int) -> None:
        self.process = process
        self.tail = tail
        self.watcher = watcher
        self.limit = limit
        self.incoming = Incoming()
        asked = Asked(self.incoming.table)
        self.mender = Mender(asked)
        self.outgoing = Outgoing(process, watcher.open_calls, asked.sent_other)
        self.closing = False
        self.received = 0  # pieces of output

    def fail(self, *said: str) -> None:
        """It has gone, or a pipe to it has."""
        failure = ServerExited(self.process.returncode, self.tail.text(), *said)
        self.watcher.is_failing(failure)
        raise failure

    async def read(self) -> None:
        """Hand its messages on, until its output ends."""
        output = self.process.stdout
        assert output is not None
        rest: list[bytes] = []
        size = 0
        while True:
            if rest and size <= HELD and rest[-1].rstrip(_BLANK)[-1:] in (b"}", b"]"):
                data = await self._end_of_message(output, b"".join(rest))
            else:
                data = await output.read(CHUNK)
            if not data:
                break
            self.received += 1
            head, *more = data.split(b"\n")
            rest.append(head)
            size += len(head)
            if size > self.limit:
                self.give_up()
            before = b""
            for piece in more:
                line, rest, size = b"".join(rest), [piece], len(piece)
                if not line.strip() or self.incoming.take(line):
                    continue
                if line == before and _CHANGED in line and len(line) < 200:
                    continue  # that a list has changed is said as well by one message as by thousands
                before = line
                if not await self._hand_on(line):
                    return
        if not self.closing:
            await ended(self.process, 0.2)
            await asyncio.sleep(0)  # what it said last on stderr
            self.fail()

    async def _hand_on(self, line: bytes) -> bool:
        """False: nobody takes it any more."""
        for message in self._messages(line):
            if not await self.incoming.put(message):
                return False
        return True

    async def _end_of_message(self, output: asyncio.StreamReader, rest: bytes) -> bytes:
        """What comes next. A message whose newline does not come is not left waiting for it: a newline is put there."""
        reading = asyncio.ensure_future(output.read(CHUNK))
        try:
            await asyncio.wait({reading}, timeout=UNENDED)
            if not reading.done() and not is_whole(rest):
                await asyncio.wait({reading})
        finally:
            reading.cancel()
            if not reading.done():  # only one may read; what has come stays where it is
                await asyncio.wait({reading})
        data = b"" if reading.cancelled() else reading.result()
        return data or (b"\n" if is_whole(rest) else b"")

    def _messages(self, line: bytes) -> list[SessionMessage]:
        """What a line holds: a message, nearly always."""
        try:
            item = parse(line)
        except ValueError:
            pass
        else:
            if not self.mender.doubts(item, line):
                return [as_said(item)]
        mended = self.mender.mend(line)
        if not mended and line.strip(_BLANK):
            self._note_junk(line)
        return [parse(one) for one in mended]

    def give_up(self) -> None:
        """It does not come to the end of a message."""
        failure = MessageTooLong(f"server {self.tail.server!r}: {too_long(self.limit)}", server=self.tail.server)
        self.watcher.is_failing(failure)
        raise failure

    def _note_junk(self, line: bytes) -> None:
        said = self.tail.secrets.hide(line.decode("utf-8", "replace"))[:200]
        self.tail.log.warning("skipped a line on stdout that is not a message: %s", for_log(said))
        self.tail.add(f"(stdout) {said}")

    async def watch_process(self) -> None:
        """Notice its end, also if others hold its output."""
        await asyncio.wait({self.process.end})
        before = -1
        while before != self.received and not self.closing:  # its last words
            before = self.received
            await asyncio.sleep(LAST_WORDS)
        if not self.closing:
            self.fail()

    async def watch_input(self) -> None:
        """Notice that it has closed its input."""
        assert self.process.stdin is not None
        with contextlib.suppress(Exception):
            await asyncio.shield(self.process.stdin.wait_closed())
        # if it has ended, the reader of its output says so; here it stays, and what was written was perhaps never read
        if not self.closing and not await ended(self.process, 1.0) and not self.closing:
            self.fail("input")

    async def listen(self) -> None:
        """Read its stderr."""
        errors = self.process.stderr
        assert errors is not None
        while True:
            data = await errors.read(CHUNK)
            if not data:
                return
            self.tail.feed(data)

    def close(self) -> None:
        """Its pipes."""
        self.incoming.close()
        self.outgoing.close()
        self.process.close_pipes()


@contextlib.asynccontextmanager
async def streams(config: ServerConfig, tail: Tail, watcher: Watcher) -> AsyncIterator[Streams]:
    """Start a server and give the two streams of a session.

    :param config: resolved.
    :raises OSError: the command cannot be started.
    :raises ServerExited: (out of the context manager, in a group) the process ended by itself.
    """
    assert config.command is not None
    cwd = str(config.cwd) if config.cwd else None
    process = await spawn(config.command, list(config.args), environment(config.env), cwd)
    guardian.watch(process.pid)
    watcher.has_process(process)
    server = _Server(process, tail, watcher, config.message_limit)
    try:
        async with anyio.create_task_group() as group:
            for task in (server.listen, server.read, server.watch_process, server.watch_input):
                group.start_soon(task)
            try:
                yield server.incoming, server.outgoing
            finally:
                server.closing = True
                await finish(stop(process))
                group.cancel_scope.cancel()
    finally:
        server.closing = True
        if process.returncode is None:
            await finish(stop(process))
        server.close()
        await finish(guardian.release(process.pid))
