"""Text formats of configuration files: reading with line numbers, and editing that leaves the rest of the text alone.

Contract: ``parse`` gives plain Python data and can tell the line of a key; ``edit`` changes single members of a mapping in
the text, keeps comments, order and layout, and checks that the outcome reads as intended. Whatever cannot be done without
loss raises ``FormatError`` instead. Messages never quote values. Nothing here keeps state.

Each format is a module with the functions of ``Format``; a ``step`` raises ``CannotEdit`` for a layout that it doesn't edit in place.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Protocol

from . import json, toml, yaml
from .tree import (
    DELETE,
    CannotEdit,
    FormatError,
    KeyPath,
    SourceFloat,
    SourceInt,
    Tree,
    mapping,
    plain,
    put,
    put_member,
    same,
    value_at,
)

__all__ = [
    "DELETE",
    "FormatError",
    "SourceFloat",
    "SourceInt",
    "Tree",
    "edit",
    "format_of",
    "mapping",
    "parse",
    "plain",
    "put",
    "put_member",
    "render",
    "same",
    "value_at",
]

SUFFIXES = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".jsonc": "json", ".json5": "json", ".toml": "toml"}


def format_of(path: Path | None, text: str) -> str:
    """yaml, json or toml: by the extension, else by what the text looks like."""
    known = SUFFIXES.get(path.suffix.lower()) if path is not None else None
    if known:
        return known
    if re.match(r"\s*(//[^\n]*\s*|/\*.*?\*/\s*)*\{", text, re.DOTALL):
        return "json"
    try:
        if toml.load(text):
            return "toml"
    except FormatError:
        pass
    return "yaml"


class Format(Protocol):
    """What the module of a format has."""

    def parse(self, text: str) -> Tree:
        """Read a text."""
        ...

    def render(self, data: object) -> str:
        """Write a new text."""
        ...

    def storable(self, value: object) -> object:
        """What the format can hold of a value."""
        ...

    def comments(self, text: str) -> Counter[str]:
        """All comments of a text."""
        ...

    def step(self, tree: Tree, path: KeyPath, value: object) -> tuple[str, bool]:
        """The text with one change in place, and whether comments are lost by it. Raises ``CannotEdit``."""
        ...

    def rewrite(self, text: str, path: KeyPath, value: object, wanted: object) -> str:
        """The text with one change, all of it anew."""
        ...


_FORMATS: dict[str, Format] = {"json": json, "yaml": yaml, "toml": toml}


def parse(text: str, fmt: str) -> Tree:
    """Read a text of that format.

    Raises:
        FormatError: it is not valid text of the format; with the line, where known.
    """
    try:
        return _FORMATS[fmt].parse(text)
    except RecursionError:
        raise FormatError("the content is nested too deeply") from None


def render(data: object, fmt: str) -> str:
    """A new text of that format.

    Raises:
        FormatError: the format cannot hold the data.
    """
    return _FORMATS[fmt].render(data)


def edit(text: str, fmt: str, at: KeyPath, changes: dict[str, object], force: bool = False) -> str:
    """The text with members of the mapping at that path set, or removed where the value is ``DELETE``.

    Comments inside a removed member go with it; no others are lost.

    Parameters:
        force: lose comments rather than fail.

    Raises:
        FormatError: the text isn't valid, or comments would be lost.
    """
    for name, value in changes.items():
        if value is not DELETE:
            value = _FORMATS[fmt].storable(plain(value))
        tree = parse(text, fmt)
        current = value_at(tree.data, at)
        held = current if isinstance(current, dict) else {}
        if value is DELETE and name not in held:
            continue
        steps = (
            [((*at, name), value)] if value is DELETE or name not in held else _steps(held[name], value, (*at, name))
        )
        for path, new in steps:
            text = _step(text, fmt, path, new, force)
    return text


def _steps(old: object, new: object, path: KeyPath) -> list[tuple[KeyPath, object]]:
    """The single changes that make one value out of another."""
    if isinstance(old, dict) and isinstance(new, dict):
        gone = [((*path, key), DELETE) for key in old if key not in new]
        kept = [step for key in new if key in old for step in _steps(old[key], new[key], (*path, key))]
        return gone + kept + [((*path, key), new[key]) for key in new if key not in old]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [step for i, pair in enumerate(zip(old, new)) for step in _steps(*pair, (*path, i))]
    return [] if same(old, new) else [(path, new)]


def _step(text: str, fmt: str, path: KeyPath, value: object, force: bool) -> str:
    """One change, in place if the layout is one that we know, else by writing the whole text anew."""
    form = _FORMATS[fmt]
    tree = parse(text, fmt)
    # what is missing above comes with it
    while len(path) > 1 and value is not DELETE and not isinstance(value_at(tree.data, path[:-1]), (dict, list)):
        path, value = path[:-1], {path[-1]: value}
    wanted = put(tree.data, path, value)
    lossy = False
    try:
        made, lossy = form.step(tree, path, value)
        if same(parse(made, fmt).data or {}, wanted) and (force or not lossy):
            return made
    except (CannotEdit, FormatError, KeyError, IndexError):
        pass
    try:
        made = form.rewrite(text, path, value, wanted)
        right = same(parse(made, fmt).data or {}, form.storable(wanted))
    except FormatError:
        raise
    except Exception as exc:
        # messages of the libraries may quote what they were given
        raise FormatError(f"the change cannot be written ({type(exc).__name__})", tree.line(*path)) from None
    if not right:
        raise FormatError("the change cannot be written into this layout", tree.line(*path), "edit the file by hand")
    lost = form.comments(text) - form.comments(made)
    if (lost or lossy) and not force:
        raise FormatError(
            "the change would lose comments", tree.line(*path), "use force=True, or edit the file by hand"
        )
    return made
