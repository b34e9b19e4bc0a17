"""A server process: started in a group (on Windows a job) of its own, noticed when it ends, ended with all that it has started.

Contract
  * A spawn that has begun is never cancelled half-way; the ending runs to its end even if its caller is cancelled, and is
    bounded: end of input, GRACE seconds, SIGTERM, GRACE seconds, SIGKILL; on Windows, where nobody can be asked, without the SIGTERM.
  * The whole group is ended with it, so wrappers (npx, uvx) and grandchildren go too.
  * Its end is noticed though others hold its pipes open, and nothing here waits for those.

Used in the loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable

import anyio

from ..errors import ServerExited
from .commands import find_program, is_script, shell_line
from .tail import Tail

if sys.platform == "win32":
    from .jobs import FLAGS, Family
else:
    from .groups import Family

GRACE = 2.0  # seconds, as in the SDK
CHUNK = 1 << 16
INHERITED = (
    ["HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "LC_ALL", "TMPDIR"]
    if sys.platform != "win32"
    else [
        "APPDATA",
        "COMSPEC",
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


def environment(env: dict[str, str]) -> dict[str, str]:
    """What a server process gets: a few variables of this process, and the user's own, which win."""
    if sys.platform == "win32":  # Path is PATH there
        env = {name.upper(): value for name, value in env.items()}
    return {**{name: os.environ[name] for name in INHERITED if name in os.environ}, **env}


class _Protocol(asyncio.subprocess.SubprocessStreamProtocol):
    """asyncio's own, and ``ended``. ``process.wait()`` also waits until nobody has the pipes, which may be never."""

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit, loop)
        self.ended: asyncio.Future[None] = loop.create_future()

    def process_exited(self) -> None:
        super().process_exited()
        wake(self.ended)


class ServerProcess(asyncio.subprocess.Process):
    """A server's process. ``end`` is done when it has ended."""

    def __init__(
        self, transport: asyncio.SubprocessTransport, protocol: _Protocol, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(transport, protocol, loop)
        self._own_transport = transport
        self.end = protocol.ended
        self.family = Family(transport)

    def close_pipes(self) -> None:
        """It has ended: nothing of it is held any longer."""
        self._own_transport.close()
        self.family.close()

    def close_in_child(self) -> None:
        """In a child after fork(), which shares no loop with the parent: or the parent's server would never see the end of its
        input."""
        for number in (0, 1, 2):
            pipe = self._own_transport.get_pipe_transport(number)
            file = getattr(pipe, "_pipe", None)
            if file is not None:
                file.close()


async def ended(process: ServerProcess, seconds: float) -> bool:
    """Wait for the end of a process, that long; whether it has ended."""
    if process.returncode is None:
        await asyncio.wait({process.end}, timeout=seconds)
    return process.returncode is not None


async def raise_if_ended(process: ServerProcess, tail: Tail, cause: BaseException) -> None:
    """Raise ``ServerExited``, with what it said last, if the process ends now or has ended."""
    if await ended(process, 1.0) and process.returncode is not None:
        await asyncio.sleep(0.05)  # stderr
        raise ServerExited(process.returncode, tail.text()) from cause


async def stop(process: ServerProcess, grace: float = GRACE) -> None:
    """End the process and its group."""
    family = process.family
    if process.stdin is not None:
        process.stdin.close()
    if not await ended(process, grace) and not (family.ask() and await ended(process, grace)):
        family.kill()
        await ended(process, grace)
    family.ask()
    # its children, which may have ignored the end of their parent
    for _ in range(20):
        if not family.alive():
            return
        await asyncio.sleep(0.02)
    family.kill()


async def _create(command: str, args: list[str], env: dict[str, str], cwd: str | None) -> ServerProcess:
    loop = asyncio.get_running_loop()

    def protocol() -> _Protocol:
        return _Protocol(CHUNK, loop)

    if sys.platform == "win32":
        program = find_program(command, env, cwd)
        if is_script(program):  # only the shell runs these
            line = shell_line(program, args)
            transport, used = await loop.subprocess_shell(protocol, line, env=env, cwd=cwd, creationflags=FLAGS)
        else:
            transport, used = await loop.subprocess_exec(
                protocol, program, *args, env=env, cwd=cwd, creationflags=FLAGS
            )
    else:
        transport, used = await loop.subprocess_exec(protocol, command, *args, env=env, cwd=cwd, start_new_session=True)
    return _started(transport, used, loop)


def _started(
    transport: asyncio.SubprocessTransport, protocol: _Protocol, loop: asyncio.AbstractEventLoop
) -> ServerProcess:
    try:
        return ServerProcess(transport, protocol, loop)
    except BaseException:
        transport.close()  # which ends it
        raise


async def spawn(command: str, args: list[str], env: dict[str, str], cwd: str | None) -> ServerProcess:
    """Start the process; a cancellation waits until it is there, and then ends it."""
    spawning = asyncio.ensure_future(_create(command, args, env, cwd))
    try:
        return await asyncio.shield(spawning)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await finish(_stop_when_there(spawning))
        raise


async def _stop_when_there(spawning: asyncio.Future[ServerProcess]) -> None:
    process = await spawning
    try:
        await stop(process)
    finally:
        process.close_pipes()


async def finish(awaitable: Awaitable[None]) -> None:
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


def wake(future: asyncio.Future[None] | None) -> None:
    """Let go on who waits for it."""
    if future is not None and not future.done():
        future.set_result(None)
