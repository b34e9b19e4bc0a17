"""A server process and its three pipes, as the two streams of a session.

Contract
  * The process leads a group of its own; the whole group is ended with it, so wrappers (npx, uvx) and grandchildren go too. If
    this process dies first, the guardian sees to it.
  * A spawn that has begun is never cancelled half-way; the ending runs to its end even if its caller is cancelled, and is
    bounded: end of input, GRACE seconds, SIGTERM, GRACE seconds, SIGKILL.
  * Lines on stdout that are no messages are logged and skipped. stderr goes into a ring buffer and to ``logging``, without
    the server's secrets.
  * A message that certainly did not reach the process raises ``NotSent``; ``Outgoing.unreached()`` tells of one that was written
    and that the process can't have read before it ended, since it is still in the pipe.
  * The end of the process is noticed though others hold its pipes open, and nothing here waits for those.
  * The end of the process, or of a pipe to it, while it is in use raises ServerExited out of the context manager, through its task group.

Used by one task (the owner of the session), in its loop's thread.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import errno
import logging
import math
import os
import select
import signal
import socket
import stat
import sys
from typing import TYPE_CHECKING, Any

try:
    import fcntl
    import termios
except ImportError:  # Windows: nobody can tell what is in a pipe
    fcntl = termios = None  # type: ignore[assignment]

from . import _guardian
from ._compat import anyio, encode, is_cancellation, parse
from ._sent import note
from .auth import Secrets
from .errors import ServerExited

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

GRACE = 2.0  # seconds, as in the SDK
CHUNK = 1 << 16
BACKLOG = 32  # messages that wait for the session before the process is left to wait
YIELD = 16  # messages received without a turn of the loop
LAST_WORDS = 0.2  # seconds without any from a process that has ended, when others hold its output
PATIENCE = 0.0005  # seconds that a message waits for others while the server has plenty to do
SHARE = 8  # it has, when this many times as many calls are under way as wait to be written
INHERITED = (
    ["HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "LC_ALL", "TMPDIR"]
    if sys.platform != "win32"
    else [
        "APPDATA",
        "HOMEDRIVE",
        "HOMEPATH",
        "LOCALAPPDATA",
        "PATH",
        "PATHEXT",
        "PROCESSOR_ARCHITECTURE",
        "SYSTEMDRIVE",
    ]
    + ["SYSTEMROOT", "TEMP", "USERNAME", "USERPROFILE"]
)


class NotSent(anyio.BrokenResourceError):  # type: ignore[misc]
    """The process has ended, or closed its input, before the message was written: it may be sent to another one."""


class Tail:
    """The last lines of a server's stderr.

    :param secrets: what must not be in them.
    """

    def __init__(self, server: str, lines: int = 200, secrets: Secrets | None = None) -> None:
        self.secrets = Secrets() if secrets is None else secrets
        self.lines: collections.deque[str] = collections.deque(maxlen=lines)
        self.log = logging.getLogger(f"aionest.mcp.server.{server}")
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Add what came in."""
        parts = (self._rest + data).split(b"\n")
        self._rest = parts.pop()[-8192:]
        for part in parts:
            self.add(part.decode("utf-8", "replace").rstrip("\r"))

    def add(self, line: str) -> None:
        """Add one line."""
        line = self.secrets.hide(line)
        self.lines.append(line)
        self.log.debug("%s", line)

    def text(self, count: int = 15) -> str:
        """The last lines."""
        rest = [self.secrets.hide(self._rest.decode("utf-8", "replace"))] if self._rest.strip() else []
        return "\n".join([*self.lines, *rest][-count:]).strip()


def environment(env: dict[str, str]) -> dict[str, str]:
    """What a server process gets: a few variables of this process, and the user's own, which win."""
    return {**{name: os.environ[name] for name in INHERITED if name in os.environ}, **env}


def _signal_group(pid: int, number: int) -> bool:
    """Send a signal to the process's group. False if there is none any more."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _group_alive(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class _Protocol(asyncio.subprocess.SubprocessStreamProtocol):
    """asyncio's own, and ``ended``. ``process.wait()`` also waits until nobody has the pipes, which may be never."""

    def __init__(self, limit: int, loop: Any) -> None:
        super().__init__(limit, loop)
        self.ended: asyncio.Future[None] = loop.create_future()

    def process_exited(self) -> None:
        super().process_exited()
        _wake(self.ended)


async def _ended(process: Any, seconds: float) -> bool:
    if process.returncode is None:
        await asyncio.wait({process._protocol.ended}, timeout=seconds)
    return process.returncode is not None


async def raise_if_ended(process: Any, tail: Tail, cause: BaseException) -> None:
    """Raise ``ServerExited``, with what it said last, if the process ends now or has ended."""
    if await _ended(process, 1.0) and process.returncode is not None:
        await asyncio.sleep(0.05)  # stderr
        raise ServerExited(process.returncode, tail.text()) from cause


async def stop(process: Any, grace: float = GRACE) -> None:
    """End the process and its group."""
    if process.stdin is not None:
        process.stdin.close()
    posix = hasattr(os, "killpg")
    if not await _ended(process, grace):
        if posix:
            _signal_group(process.pid, signal.SIGTERM)
        else:
            process.terminate()
        if not await _ended(process, grace):
            if posix:
                _signal_group(process.pid, signal.SIGKILL)
            else:
                process.kill()
            await _ended(process, grace)
    if posix and _signal_group(
        process.pid, signal.SIGTERM
    ):  # its children, which may have ignored the end of their parent
        for _ in range(20):
            await asyncio.sleep(0.02)
            if not _group_alive(process.pid):
                return
        _signal_group(process.pid, signal.SIGKILL)


async def _create(command: str, args: list[str], env: dict[str, str], cwd: str | None) -> Any:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        lambda: _Protocol(CHUNK, loop), command, *args, env=env, cwd=cwd, start_new_session=True
    )
    return asyncio.subprocess.Process(transport, protocol, loop)


async def _spawn(command: str, args: list[str], env: dict[str, str], cwd: str | None) -> Any:
    """Start the process; a cancellation waits until it is there, and then ends it."""
    spawning = asyncio.ensure_future(_create(command, args, env, cwd))
    try:
        return await asyncio.shield(spawning)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await _finish(_stop_when_there(spawning))
        raise


async def _stop_when_there(spawning: Any) -> None:
    await stop(await spawning)


async def _finish(awaitable: Any) -> None:
    """Run to the end, whatever is cancelled meanwhile; a cancellation is raised afterwards."""
    task = asyncio.ensure_future(awaitable)
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError as exc:
                if task.done():
                    break
                cancelled = exc
            except Exception:
                break
    if cancelled is not None:
        raise cancelled
    task.result()


def _left_in(pipe: Any) -> int | None:
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

    def __init__(self, protocol: Any, last_look: Callable[[], object]) -> None:
        self._protocol, self._last_look = protocol, last_look

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        try:
            self._last_look()
        finally:
            self._protocol.connection_lost(exc)


class Outgoing(anyio.abc.ObjectSendStream[Any]):
    """The session's messages, written by the task that sends them: no other task in between.

    A message is written at once. Where several calls are under way, those of one turn of the loop are written as one piece at
    its end, and where the server has plenty to do already, those of PATIENCE: each write wakes the server, and lets one of the
    threads that wait for results take the interpreter away. A message is in the pipe's buffer as a whole, or not at all,
    however the sender is cancelled.

    :param open_calls: how many calls are under way.
    :raises NotSent: the process cannot get it. (From ``send``.)
    """

    def __init__(self, process: Any, open_calls: Callable[[], int]) -> None:
        self._process = process
        self._pipe = process.stdin
        self._transport = process.stdin.transport
        self._open_calls = open_calls
        self._held: list[bytes] = []
        self._later: asyncio.TimerHandle | None = None
        self._offered = self._written = 0  # bytes that came here, and those that the transport took
        self._reached: int | None = None
        self._transport.set_protocol(_Input(self._transport.get_protocol(), self.reached))
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._draining = asyncio.Lock()  # before Python 3.10.6 only one task may wait for room

    async def send(self, item: Any) -> None:
        await self.send_line(encode(item), not is_cancellation(item))  # who is cancelled does not wait for room

    async def send_line(self, data: bytes, waits_for_room: bool = True) -> None:
        """Send what is encoded already, with the newline at its end."""
        if self._closed:
            raise anyio.ClosedResourceError
        transport = self._transport
        if self._process.returncode is not None or transport.is_closing():
            raise NotSent("the server process reads no more")
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
            if not await _ended(self._process, 0.5):
                raise anyio.BrokenResourceError("the server process has closed its input") from None

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        self._closed = True
        self._flush()


class Incoming(anyio.abc.ObjectReceiveStream[Any]):
    """The server's messages, handed from the task that reads them to the session's.

    A message that is there is received without a turn of the loop; every YIELD of them gives others theirs. One task receives,
    and one puts.
    """

    def __init__(self) -> None:
        self.direct: Any = None  # what takes answers past the session (``Direct``)
        self._items: collections.deque[Any] = collections.deque()
        self._loop = asyncio.get_running_loop()
        self._item: asyncio.Future[None] | None = None  # somebody waits for one
        self._room: asyncio.Future[None] | None = None  # the reader waits for room
        self._received = 0
        self._closed = False

    async def receive(self) -> Any:
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
        _wake(self._room)
        return item

    def take(self, line: bytes) -> bool:
        """Hand a line to who waits for just that. False: it is for the session, or has to wait until that has what came before."""
        idle = self._item is not None and not self._item.done()
        return idle and self.direct is not None and self.direct.take(line)

    async def put(self, item: Any) -> bool:
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
        _wake(self._item)
        return True

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        self._closed = True
        self.direct = None
        _wake(self._item)
        _wake(self._room)


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


@contextlib.asynccontextmanager
async def streams(
    command: str,
    args: list[str],
    env: dict[str, str],
    cwd: str | None,
    tail: Tail,
    on_process: Callable[[Any], None] = lambda process: None,
    open_calls: Callable[[], int] = lambda: 1,
    on_failure: Callable[[ServerExited], None] = lambda failure: None,
) -> AsyncIterator[tuple[Any, Any]]:
    """Start the server and give the two streams of a session.

    :param on_process: called with the process once it has started.
    :param open_calls: how many calls are under way.
    :param on_failure: called with what will be raised once all is ended, which may take its time.
    :raises OSError: the command cannot be started.
    :raises ServerExited: (out of the context manager, in a group) the process ended by itself.
    """
    process = await _spawn(command, args, environment(env), cwd)
    _guardian.watch(process.pid)
    on_process(process)
    read_stream = Incoming()
    write_stream = Outgoing(process, open_calls)
    closing = False

    received = 0

    def fail(*said: Any) -> None:
        failure = ServerExited(process.returncode, tail.text(), *said)
        on_failure(failure)
        raise failure

    async def read() -> None:
        nonlocal received
        rest: list[bytes] = []
        while True:
            data = await process.stdout.read(CHUNK)
            if not data:
                break
            received += 1
            head, *more = data.split(b"\n")
            rest.append(head)
            for piece in more:
                line, rest = b"".join(rest), [piece]
                if not line.strip() or read_stream.take(line):
                    continue
                try:
                    message = parse(line)
                except ValueError:
                    said = tail.secrets.hide(line.decode("utf-8", "replace"))[:200]
                    tail.log.warning("a line on stdout that is no message: %r", said)
                    tail.add(f"(stdout) {said}")
                    continue
                if not await read_stream.put(message):
                    return
        if not closing:
            await _ended(process, 0.2)
            await asyncio.sleep(0)  # what it said last on stderr
            fail()

    async def watch_process() -> None:
        await asyncio.wait({process._protocol.ended})
        before = -1
        while before != received and not closing:  # its last words
            before = received
            await asyncio.sleep(LAST_WORDS)
        if not closing:
            fail()

    async def watch_input() -> None:
        with contextlib.suppress(Exception):
            await asyncio.shield(process.stdin.wait_closed())
        # if it has ended, the reader of its output says so; here it stays, and what was written was perhaps never read
        if not closing and not await _ended(process, 1.0) and not closing:
            fail("input")

    async def listen() -> None:
        while True:
            data = await process.stderr.read(CHUNK)
            if not data:
                return
            tail.feed(data)

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            group.start_soon(read)
            group.start_soon(watch_process)
            group.start_soon(watch_input)
            try:
                yield read_stream, write_stream
            finally:
                closing = True
                await _finish(stop(process))
                group.cancel_scope.cancel()
    finally:
        closing = True
        if process.returncode is None:
            await _finish(stop(process))
        read_stream.close()
        write_stream.close()
        process._transport.close()
        await _finish(_guardian.release(process.pid))
