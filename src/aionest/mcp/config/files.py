"""The bytes of configuration files: read with a limit, replaced at once, and what tells that one has changed.

Contract: a file is replaced as a whole or not at all. Nothing here keeps state; any thread.
"""

from __future__ import annotations

import json
import os
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
P = ParamSpec("P")
T = TypeVar("T")


def read_text(path: Path) -> tuple[str, str]:
    """The text of a file with line ends made \\n, and the line end that it uses.

    Raises:
        OSError: it cannot be read.
        FormatError: it is too large, or not UTF-8.
    """
    with _patiently(_open, path) as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise FormatError(f"the file is larger than {MAX_BYTES >> 20} MiB")
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as exc:
        raise FormatError("the file is not UTF-8 text", data.count(b"\n", 0, exc.start) + 1) from None
    newline = "\r\n" if "\r\n" in text else "\n"
    return text.replace("\r\n", "\n"), newline


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
        stat = os.stat(file)
    except (OSError, ValueError):
        return (0, 0, 0)
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def write_atomic(path: Path, text: str, newline: str = "\n", mode: int | None = None) -> None:
    """Replace a file's content at once, through a temporary file in its folder, which is made if need be.

    Parameters:
        mode: the file's mode; unless given, that of the file which is there, or 0600 as the text may hold secrets.

    Raises:
        OSError: it cannot be written; what was there is still there.
    """
    # a link stays a link
    path = Path(os.path.realpath(path))
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
    return path.open("rb")


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
