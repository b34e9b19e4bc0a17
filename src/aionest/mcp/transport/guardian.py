"""A watcher that ends servers whose host has died: killed, crashed, or ended by a signal without its exit handlers.

Contract
  * A small shell process holds one end of a pipe whose other end only this process has. What is written there are the
    process groups to watch over. When the pipe ends it gives them GRACE seconds for the end of their own input, then
    SIGTERM, GRACE seconds, SIGKILL, and ends itself.
  * It starts with the first server and ends with the last; in a child after fork() it is the parent's alone.
  * Where there is no shell or no process groups nothing is watched over, and nothing else is different. On Windows the system
    itself sees to it (``jobs``).

``watch`` and ``release`` are called on loops of any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading

GRACE = 2  # seconds
log = logging.getLogger("aionest.mcp")

_SCRIPT = f"""
p=" "
while read -r what n; do
  case $what in
    +) p="$p$n ";;
    -) case $p in *" $n "*) p="${{p%% $n *}} ${{p#* $n }}";; esac;;
  esac
done
[ "$p" = " " ] && exit 0
exec 2>/dev/null
sleep {GRACE}
for n in $p; do kill -s TERM -- "-$n"; done
for try in 1 2 3 4 5 6 7 8 9 10; do
  sleep 0.{GRACE}
  left=
  for n in $p; do kill -s 0 -- "-$n" && left=1; done
  [ $left ] || exit 0
done
for n in $p; do kill -s KILL -- "-$n"; done
"""

_lock = threading.Lock()
_watched: set[int] = set()
_pipe = -1
_pid = 0


def _start() -> None:
    global _pipe, _pid
    reader, writer = os.pipe()
    try:
        actions = [(os.POSIX_SPAWN_DUP2, reader, 0)]
        null = os.open(os.devnull, os.O_RDWR)
        try:
            actions += [(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)]
            command = ["/bin/sh", "-c", _SCRIPT, "aionest-guardian"]
            environ = {"PATH": os.environ.get("PATH", os.defpath)}
            _pid = os.posix_spawn(command[0], command, environ, file_actions=actions, setsid=True)
        finally:
            os.close(null)
    except BaseException:
        os.close(writer)
        raise
    finally:
        os.close(reader)
    _pipe = writer


def _tell(what: str, group: int) -> None:
    with contextlib.suppress(OSError):  # somebody has killed it
        os.write(_pipe, f"{what} {group}\n".encode())


def watch(group: int) -> None:
    """Have a process group ended if this process dies. It must be released."""
    if not hasattr(os, "posix_spawn") or not hasattr(os, "killpg"):
        return
    with _lock:
        if not _watched:
            try:
                _start()
            except (OSError, NotImplementedError) as exc:
                log.debug("no watcher over servers: %s", exc)
                return
        _watched.add(group)
        _tell("+", group)


async def release(group: int) -> None:
    """It has ended. The last one waits for the watcher's end."""
    global _pipe, _pid
    with _lock:
        if group not in _watched:
            return
        _watched.discard(group)
        _tell("-", group)
        if _watched:
            return
        pid, _pid = _pid, 0
        os.close(_pipe)
        _pipe = -1
    for _ in range(400):
        if _reaped(pid):
            return
        await asyncio.sleep(0.005)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _after_fork() -> None:
    global _lock, _pipe, _pid
    _lock = threading.Lock()
    _watched.clear()
    if _pipe >= 0:
        os.close(_pipe)
    _pipe, _pid = -1, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
