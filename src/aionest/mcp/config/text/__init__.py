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
    find_node,
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

    :raises FormatError: it is not valid text of the format; with the line, where known.
    """
    try:
        return _FORMATS[fmt].parse(text)
    except RecursionError:
        raise FormatError("the content is nested too deeply") from None


def render(data: object, fmt: str) -> str:
    """A new text of that format.

    :raises FormatError: the format cannot hold the data.
    """
    return _FORMATS[fmt].render(data)


def edit(tree: Tree, fmt: str, at: KeyPath, changes: dict[str, object], force: bool = False) -> Tree:
    """What a text is with members of the mapping at that path set, or removed where the value is ``DELETE``.

    Comments inside a removed member go with it; no others are lost.

    :param tree: the text, read as that format.
    :param force: lose comments rather than fail.
    :raises FormatError: comments would be lost, or it cannot be written.
    """
    for name, value in changes.items():
        if value is not DELETE:
            value = _FORMATS[fmt].storable(plain(value))
        current = value_at(tree.data, at)
        held = current if isinstance(current, dict) else {}
        if value is DELETE and name not in held:
            continue
        steps = (
            [((*at, name), value)]
            if value is DELETE or name not in held
            else _steps(held[name], value, (*at, name), tree)
        )
        for path, new in steps:
            tree = _step(tree, fmt, path, new, force, len(at) + 1)
    return tree


def _steps(old: object, new: object, path: KeyPath, tree: Tree) -> list[tuple[KeyPath, object]]:
    """The single changes that make one value out of another."""
    if same(old, new):
        return []
    if _is_elsewhere(tree, path):
        return [(path, new)]
    if isinstance(old, dict) and isinstance(new, dict):
        gone = [((*path, key), DELETE) for key in old if key not in new]
        kept = [step for key in new if key in old for step in _steps(old[key], new[key], (*path, key), tree)]
        return gone + kept + [((*path, key), new[key]) for key in new if key not in old]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [step for i, pair in enumerate(zip(old, new)) for step in _steps(*pair, (*path, i), tree)]
    return [(path, new)]


def _is_elsewhere(tree: Tree, path: KeyPath) -> bool:
    """Is what stands there an alias, or merged from elsewhere? It is others' too, and is replaced as a whole."""
    try:
        return tree.root is not None and find_node(tree, path) is None
    except CannotEdit:
        return True


def _in_place(
    tree: Tree, fmt: str, path: KeyPath, value: object, wanted: object, force: bool
) -> tuple[Tree | None, bool]:
    """What one change in place makes, or None if it is not what is wanted; and whether comments would be lost by it."""
    lossy = False
    try:
        made, lossy = _FORMATS[fmt].step(tree, path, value)
        outcome = parse(made, fmt)
    except (CannotEdit, FormatError, KeyError, IndexError):
        return None, lossy
    right = same(outcome.data or {}, wanted) and (force or not lossy)
    return (outcome if right else None), lossy


def _step(tree: Tree, fmt: str, path: KeyPath, value: object, force: bool, own: int) -> Tree:
    """One change, in place if the layout is one that we know, else by writing what holds it, or the whole text, anew.

    :param own: the length of a path to what may be written anew by itself.
    """
    form, text = _FORMATS[fmt], tree.text
    # what is missing above comes with it
    while len(path) > 1 and value is not DELETE and not isinstance(value_at(tree.data, path[:-1]), (dict, list)):
        path, value = path[:-1], {path[-1]: value}
    wanted = put(tree.data, path, value)
    found, lossy = _in_place(tree, fmt, path, value, wanted, force)
    if found is None and len(path) > own:
        found, _ = _in_place(tree, fmt, path[:-1], value_at(wanted, path[:-1]), wanted, force)
    if found is not None:
        return found
    try:
        made = form.rewrite(text, path, value, wanted)
        outcome = parse(made, fmt)
        right = same(outcome.data or {}, form.storable(wanted))
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
    return outcome
