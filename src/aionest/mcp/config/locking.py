"""One writer at a time, also between processes, for a file that is read, changed and replaced.

Contract: a lock by ``fcntl.flock``, on Windows ``msvcrt.locking``, on a file beside it, which is gone again afterwards; readers need
none, as files are replaced at once. The system lets go of the lock of a process that dies. The wait is bounded. On file systems that
know no locks nothing is locked between processes: the last one to write wins. It blocks the thread for as long as others write, so
nothing waits for it on a loop.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if sys.platform == "win32":
    import msvcrt

    _OPEN = os.O_RDWR | os.O_CREAT | os.O_NOINHERIT
else:
    import fcntl

    _OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT = 10.0  # seconds; a writer needs milliseconds
REMOVED = 0.5  # seconds for which Windows may refuse a file that is just being removed
_UNKNOWN = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
_TAKEN = (errno.EWOULDBLOCK, errno.EACCES, errno.EINTR, errno.EDEADLK, 0)  # 0: wine names none


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which need not be there.

    :raises OSError: the folder cannot be written to, or another process does not let go.
    """
    path = Path(os.path.realpath(path))  # all links to it have one lock
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    handle = _acquire(lock)
    try:
        yield
    finally:
        _release(handle, lock)


def _acquire(lock: Path) -> int:
    begin = time.monotonic()
    refused: float | None = None  # since when it cannot even be opened
    while True:
        try:
            handle = os.open(lock, _OPEN, 0o600)
        except PermissionError:
            refused = refused or time.monotonic()
            if sys.platform != "win32" or time.monotonic() > refused + REMOVED:
                raise
        else:
            refused = None
            try:
                if _try(handle) and _is_there(handle, lock):
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)
        if time.monotonic() > begin + WAIT:
            raise OSError(errno.ETIMEDOUT, "another process holds its lock", str(lock))
        time.sleep(random.uniform(0.001, 0.01))


def _try(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno in _UNKNOWN:
            return True
        if exc.errno not in _TAKEN:
            raise
        return False
    return True


def _release(handle: int, lock: Path) -> None:
    if sys.platform == "win32":
        with contextlib.suppress(OSError):
            msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
        os.close(handle)
        with contextlib.suppress(OSError):  # who has it open has it next, and removes it
            os.unlink(lock)
    else:
        with contextlib.suppress(OSError):
            os.unlink(lock)
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)  # closing is not enough if a fork has copied it
        os.close(handle)


def _is_there(handle: int, lock: Path) -> bool:
    """Not if the holder before has removed it: then another file is the lock now. Windows removes no file that is open."""
    if sys.platform == "win32":
        return True
    try:
        now = os.stat(lock, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(handle), now)
