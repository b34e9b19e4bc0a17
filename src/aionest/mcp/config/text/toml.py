"""TOML: read, located and edited in place, by whole tables.

Contract: as ``config.text`` says of every format.
"""

from __future__ import annotations

import bisect
import functools
import importlib
import json
import re
import sys
from types import ModuleType

from .tree import (
    DELETE,
    MAX_DEPTH,
    CannotEdit,
    FormatError,
    KeyPath,
    Tree,
    assign,
    line_of,
    missing,
    plain,
    remarks,
    unquoted,
    value_at,
    without_none,
)

_DEEP = re.compile(
    r"^[ \t]*\[{0,2}[ \t]*(?:(?:[A-Za-z0-9_-]+|\"[^\"\n]*\"|'[^'\n]*')[ \t]*\.[ \t]*){%d}" % MAX_DEPTH, re.MULTILINE
)


def load(text: str) -> dict[str, object]:
    """The data alone."""
    try:
        tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ImportError:
        raise missing("tomli") from None
    # the library takes a time that grows with the square of a key's parts
    deep = _DEEP.search(text)
    if deep is not None:
        raise FormatError("the content is nested too deeply", line_of(text, deep.start()))
    try:
        data: dict[str, object] = tomllib.loads(text)
        return data
    except tomllib.TOMLDecodeError as exc:
        found = re.search(r"line (\d+)", str(exc))
        line = int(found[1]) if found else line_of(text, len(text))
        reason = unquoted(re.sub(r"\s*\(at .*\)\Z", "", str(exc)))
        raise FormatError(f"not valid TOML: {reason}", line) from None


_HEADER = re.compile(r"^[ \t]*\[(?!\[)([^\n]*?)\][ \t]*(?:#[^\n]*)?$", re.MULTILINE)


def _key(text: str) -> KeyPath | None:
    """The parts of a dotted key."""
    try:
        data = load(f"{text} = 0")
    except FormatError:
        return None
    parts: list[str] = []
    value: object = data
    while isinstance(value, dict) and len(value) == 1:
        (key,) = value
        parts.append(key)
        value = value[key]
    return tuple(parts) if value == 0 else None


_BARE = re.compile(r"[ \t]*([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)[ \t]*\Z")


def headers(text: str) -> list[tuple[KeyPath, int, int]]:
    """Tables of a text: their path, the start of their header, and the end of the last line before the next one."""
    found = [(_path(m[1]), m.start()) for m in _HEADER.finditer(text)]
    starts = [start for _, start in found] + [m.start() for m in re.finditer(r"^[ \t]*\[\[", text, re.MULTILINE)]
    starts = [*sorted(starts), len(text)]
    return [(path, start, starts[bisect.bisect_right(starts, start)]) for path, start in found]


def _path(header: str) -> KeyPath:
    bare = _BARE.match(header)
    return tuple(bare[1].split(".")) if bare is not None else _key(header) or ()


def line_of_key(text: str, path: KeyPath) -> int | None:
    """The line of the key at that path, or of the nearest known one above it."""
    best: tuple[int, int] | None = None
    assign = re.compile(r"^[ \t]*([^\s=\[#][^=\n]*?)[ \t]*=", re.MULTILINE)
    first = _HEADER.search(text)
    areas: list[tuple[KeyPath, int, int]] = [((), 0, first.start() if first else len(text)), *headers(text)]
    for prefix, start, end in areas:
        if prefix != path[: len(prefix)]:
            if prefix[: len(path)] == path and best is None:
                best = (0, start)
            continue
        if prefix and (best is None or len(prefix) > best[0]):
            best = (len(prefix), start)
        for found in assign.finditer(text, start, end):
            key = prefix + (_key(found[1]) or ())
            if key == path[: len(key)] and len(key) > len(prefix) and (best is None or len(key) > best[0]):
                best = (len(key), found.start(1))
    return None if best is None else line_of(text, best[1])


def _name(path: KeyPath) -> str:
    return ".".join(
        key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False) for key in map(str, path)
    )


def _trimmed(text: str) -> str:
    """Without comments and empty lines at its end."""
    lines = text.split("\n")
    while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    return "\n".join(lines)


def step(tree: Tree, path: KeyPath, value: object) -> tuple[str, bool]:
    """Whole tables only: a comment before a header belongs to the table behind it, which tomlkit sees differently."""
    text = tree.text
    if value is DELETE:
        spans = [(start, end) for prefix, start, end in headers(text) if prefix[: len(path)] == path]
        for start, end in reversed(spans):
            stop = start + len(_trimmed(text[start:end]))
            text = text[:start] + text[stop:].removeprefix("\n")
        if not spans:
            raise CannotEdit
        if path[:-1] and value_at(load(text), path[:-1]) is None:
            # the mapping stays, though nothing is in it
            at = min(start for start, _ in spans)
            text = f"{text[:at]}[{_name(path[:-1])}]\n{text[at:]}"
        return text, False
    if any(isinstance(key, int) for key in path) or value_at(tree.data, path) is not None:
        raise CannotEdit
    import tomlkit

    if not isinstance(value, dict):
        span = next(((start, end) for prefix, start, end in headers(text) if prefix == path[:-1]), None)
        if span is None:
            raise CannotEdit
        # comments at the end of a table are about the next one
        end = span[0] + len(_trimmed(text[slice(*span)]))
        return f"{text[:end]}\n{tomlkit.dumps({str(path[-1]): value}).rstrip()}{text[end:]}", False
    body = tomlkit.dumps(value)
    quoted = _name(path)
    body = re.sub(r"^\[(?!\[)", lambda _: f"[{quoted}.", body, flags=re.MULTILINE)
    head = text.rstrip("\n") + "\n\n" if text.strip() else text
    return f"{head}[{quoted}]\n{body}", False


def parse(text: str) -> Tree:
    """The data, and where its keys are."""
    return Tree(text, plain(load(text)), None, functools.partial(line_of_key, text))


def _library() -> ModuleType:
    try:
        import tomlkit
    except ImportError:
        raise missing("tomlkit") from None
    return tomlkit


def render(data: object) -> str:
    """A new text."""
    return str(_library().dumps(without_none(data))).lstrip("\n")


def rewrite(text: str, path: KeyPath, value: object, wanted: object) -> str:
    """All of it anew, as the library keeps it."""
    tomlkit = _library()
    document = tomlkit.parse(text)
    assign(document, path, value)
    return str(tomlkit.dumps(document))


comments = remarks
storable = without_none  # it has no word for nothing
