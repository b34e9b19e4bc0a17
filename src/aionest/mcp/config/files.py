"""The bytes of configuration files, and of those that they name: read with a limit, replaced at once, and what tells that one has changed.

Contract: a file is replaced as a whole or not at all. Nothing here keeps state; any thread.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

from .._json import JsonObject
from .text.tree import FormatError

MAX_BYTES = 4 << 20
PATIENCE = 0.5  # seconds
SILENCE = 5.0  # seconds that are waited for what a pipe gives
P = ParamSpec("P")
T = TypeVar("T")


def read_text(path: Path) -> tuple[str, str]:
    """The text of a file with line ends made \\n, and the line end that it uses.

    :raises OSError: it cannot be read.
    :raises FormatError: it is too large, or not UTF-8.
    """
    data = read_bytes(path)
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as exc:
        raise FormatError("the file is not UTF-8 text", data.count(b"\n", 0, exc.start) + 1) from None
    newline = "\r\n" if "\r\n" in text else "\n"
    return text.replace("\r\n", "\n"), newline


def read_bytes(path: Path) -> bytes:
    """What is in a file, or comes from a pipe.

    :raises OSError: it cannot be read, or nothing comes.
    :raises FormatError: it is too large.
    """
    with _patiently(_open, path) as stream:
        data = stream.read(MAX_BYTES + 1) if _is_regular(stream.fileno()) else _what_comes(stream, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise FormatError(f"the file is larger than {MAX_BYTES >> 20} MiB")
    return data


def read_object(path: Path) -> JsonObject:
    """The JSON object in a file that others may be replacing at this moment; an empty one where there is none."""
    try:
        data = json.loads(_patiently(path.read_bytes))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def replace(source: str, target: Path) -> None:
    """``os.replace()`` for a file that others may be reading at this moment."""
    _patiently(os.replace, source, target)


def stamp_of(file: str | Path | None) -> tuple[int, int, int] | None:
    """What tells that a file has changed, without reading it: another value then. None for no file."""
    if file is None:
        return None
    try:
        now = os.stat(file)
    except (OSError, ValueError):
        return (0, 0, 0)
    return (now.st_mtime_ns, now.st_size, now.st_ino)


def write_atomic(path: Path, text: str, newline: str = "\n", mode: int | None = None) -> None:
    """Replace a file's content at once, through a temporary file in its folder, which is made if need be.

    :param mode: the file's mode; unless given, that of the file which is there, or 0600 as the text may hold secrets.
    :raises OSError: it cannot be written; what was there is still there.
    """
    # a link stays a link
    path = Path(os.path.realpath(path))
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(kind := path.stat().st_mode) and not stat.S_ISDIR(kind):
            raise OSError(errno.EINVAL, "not a regular file")  # such as /dev/null, or a pipe
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode is None:
        try:
            mode = path.stat().st_mode & 0o7777
        except FileNotFoundError:
            mode = 0o600
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text.replace("\n", newline).encode())
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, mode)
        replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _open(path: Path) -> IO[bytes]:
    """Open a file. A pipe that nobody writes to would be waited for without end."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    return open(path, "rb", opener=opener)


def _is_regular(handle: int) -> bool:
    return sys.platform == "win32" or stat.S_ISREG(os.fstat(handle).st_mode)


def _what_comes(stream: IO[bytes], most: int) -> bytes:
    """What a pipe or a device gives before it ends: a shell's ``<(command)``, for instance.

    :raises OSError: it gives nothing for ``SILENCE`` seconds.
    """
    import select

    found = bytearray()
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLIN)
    while len(found) < most:
        if not poll.poll(SILENCE * 1000):
            raise OSError(errno.ETIMEDOUT, "timed out reading from it")
        data = os.read(stream.fileno(), min(most - len(found), 1 << 16))
        if not data:
            break
        found += data
    return bytes(found)


def _patiently(action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Windows refuses to replace a file while somebody reads it, and to open one while it is replaced: both take milliseconds."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return action(*args, **kwargs)
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() > end:
                raise
        time.sleep(0.005)
