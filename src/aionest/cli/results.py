"""Results for people, and what of them can be saved: images, audio, embedded files.

Contract: what is saved is what the server gave, byte by byte. A file that is named is written; one that is not, in a folder,
never takes the place of another.
"""

from __future__ import annotations

import base64
import mimetypes
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from aionest._untrusted import for_cell

from . import lib
from .output import err, show_data


@dataclass(frozen=True)
class Part:
    """Something in a result that is not text."""

    kind: str  # media type
    data: bytes
    name: str = ""  # what its server calls it

    @property
    def ending(self) -> str:
        """What such a file's name ends with."""
        own = Path(self.name).suffix
        return own if re.fullmatch(r"\.\w{1,8}", own) else mimetypes.guess_extension(self.kind) or ".bin"


def parts_of(content: list[dict[str, object]]) -> list[Part]:
    """Images, audio and embedded files of a result's blocks; what cannot be decoded is left out."""
    found = []
    for block in content:
        inner = block.get("resource") if block.get("type") == "resource" else block
        if not isinstance(inner, dict):
            continue
        data = inner.get("blob" if inner is not block else "data")
        if isinstance(data, str):
            try:
                decoded = base64.b64decode("".join(data.split()), validate=True)
            except ValueError:
                continue
            name = str(inner.get("uri") or "").rpartition("/")[2]
            found.append(Part(str(inner.get("mimeType") or "application/octet-stream"), decoded, name))
    return found


def save(parts: list[Part], where: str, stem: str) -> list[Path]:
    """Write parts to a file, or each to a file of its own in a folder.

    :param where: a folder that is there, or ends in ``/``; else a file, for one part only.
    :param stem: what names of files in a folder begin with.
    :raises UsageError: there is nothing to save, there are several for one file, or it cannot be written.
    """
    if not parts:
        raise lib.UsageError("there is nothing to save: the result has no image, audio or file")
    target = Path(where).expanduser()
    folder = target.is_dir() or where.endswith("/")
    if not folder and len(parts) > 1:
        raise lib.UsageError(f"the result has {len(parts)} files: name a folder for them, {where!r} is none")
    try:
        if not folder:
            target.write_bytes(parts[0].data)
            return [target]
        target.mkdir(parents=True, exist_ok=True)
        return [_write(part, target, re.sub(r"[^\w.-]+", "_", stem)) for part in parts]
    except OSError as exc:
        raise lib.UsageError(f"{exc.filename or target}: {exc.strerror}") from None


def _write(part: Part, folder: Path, stem: str) -> Path:
    for number in range(1, 100_000):
        path = folder / f"{stem}-{number}{part.ending}"
        try:
            with path.open("xb") as file:
                file.write(part.data)
        except FileExistsError:
            continue
        return path
    raise lib.UsageError(f"{folder}: it already has too many files named {stem}-*")


def show_saved(paths: list[Path]) -> None:
    """Where it is now."""
    for path in paths:
        err.print(f"saved {path}", markup=False, emoji=False, soft_wrap=True)


def show_result(result: lib.ToolResult, how_to_save: str = "--save FILE writes it", saved: bool = False) -> None:
    """A result for people."""
    text = str(result)
    if text:
        if result.is_error:
            err.print(text, markup=False, emoji=False, soft_wrap=True)
        else:
            show_data(text)
    parts = parts_of(result.content)
    for part in parts if not saved else ():
        err.print(f"({part.kind}, {len(part.data)} bytes; {how_to_save})", style="dim", markup=False)
    for block in result.content:
        if block.get("type") == "resource_link":
            about = [str(block[key]) for key in ("title", "name", "description") if block.get(key)]
            said = for_cell(": ".join(dict.fromkeys(about))) or "a resource"
            how = f"aionest mcp read {shlex.quote(result.server)} {shlex.quote(for_cell(block.get('uri', ''), 2_000))}"
            err.print(f"({said}; {how})", style="dim", markup=False, emoji=False, soft_wrap=True)
    if not text and not parts:
        err.print("(the result is empty)", style="dim")
