"""What a text of a configuration holds and where: nodes, members, lines; and plain data to be compared and changed.

Contract: plain data and pure functions; nothing here keeps state or knows a format. Indexes count characters of the text, lines
begin at 1. Messages never quote values.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, overload

K = TypeVar("K")
K_contra = TypeVar("K_contra", contravariant=True)
KeyPath = tuple[object, ...]  # names, which YAML lets be any scalar, and indexes of lists
MAX_NODES = 200_000
MAX_DEPTH = 100
DELETE = object()


class FormatError(Exception):
    """The text cannot be read, or not be edited without loss."""

    def __init__(self, message: str, line: int | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.hint = hint


class CannotEdit(Exception):
    """The layout is none of those that are edited in place."""


class SourceInt(int):
    """A number that knows how it was written, so that ``PORT: 0755`` can become the text 0755."""

    text: str


class SourceFloat(float):
    """As SourceInt."""

    text: str


@dataclass
class Node:
    """A value in a text: where it is, and its members."""

    start: int
    end: int
    kind: str  # map, list, scalar, alias
    flow: bool = False
    members: list[Member] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)

    def member(self, key: object) -> Member | None:
        """The last member of that name, as it is the one that counts."""
        return next((m for m in reversed(self.members) if m.key == key), None)


@dataclass
class Member:
    """A key of a mapping and its value. ``after`` is the index behind the key's colon, ``comma`` that of its comma."""

    key: object
    start: int
    after: int
    node: Node
    comma: int | None = None


class Tree:
    """What ``parse`` gives: ``data``, and the lines of keys.

    :param root: where its nodes are, or None if that is not known.
    :param locate: finds a key's line where there are no nodes.
    """

    def __init__(
        self, text: str, data: object, root: Node | None, locate: Callable[[KeyPath], int | None] | None = None
    ) -> None:
        self.text = text
        self.data = data
        self.root = root
        self._locate = locate

    def line(self, *path: object) -> int | None:
        """The line of the key at that path, or of the nearest known one above it."""
        if self.root is None:
            return self._locate(path) if self._locate is not None else None
        node, at = self.root, None
        for key in path:
            if node.kind == "list" and isinstance(key, int) and key < len(node.items):
                node = node.items[key]
                at = node.start
                continue
            found = node.member(key)
            if found is None:
                break
            node, at = found.node, found.start
        return None if at is None else line_of(self.text, at)

    def duplicates(self) -> list[tuple[KeyPath, int]]:
        """Paths of keys that a mapping has more than once, and the line of the last one."""
        found: list[tuple[KeyPath, int]] = []

        def look(node: Node, path: KeyPath) -> None:
            counts = Counter(m.key for m in node.members)
            for key, count in counts.items():
                member = node.member(key) if count > 1 else None
                if member is not None:
                    found.append(((*path, key), line_of(self.text, member.start)))
            for m in node.members:
                look(m.node, (*path, m.key))

        if self.root is not None:
            look(self.root, ())
        return found


def find_node(tree: Tree, path: KeyPath) -> Node:
    node = tree.root
    for key in path:
        if node is None:
            raise CannotEdit
        if node.kind == "list" and isinstance(key, int):
            node = node.items[key]
            continue
        found = node.member(key)
        node = None if found is None else found.node
    if node is None or node.kind == "alias":
        raise CannotEdit
    return node


def item(node: Node, index: object) -> Node:
    """An entry of a list."""
    if not isinstance(index, int):
        raise CannotEdit
    return node.items[index]


def line_of(text: str, index: int) -> int:
    return text.count("\n", 0, index) + 1


def line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end


def indent_of(text: str, index: int) -> str:
    line = text[line_start(text, index) : index]
    return line[: len(line) - len(line.lstrip())]


def missing(package: str) -> FormatError:
    return FormatError(f"reading this needs {package}", hint='pip install "aionest[mcp]"')


def unquoted(text: str) -> str:
    """Without quoted parts that could be someone's password; single characters and token names stay."""
    return re.sub(r"(['\"])(?!<)(?:(?!\1).){2,}\1", "...", text)


@overload
def plain(value: dict[K, object]) -> dict[K, object]: ...
@overload
def plain(value: object) -> object: ...
def plain(value: object) -> object:
    """A deep copy of plain lists and dictionaries.

    :raises FormatError: it is nested too deeply or expands to too much (aliases of aliases).
    """
    budget = MAX_NODES

    def copy(one: object, depth: int) -> object:
        nonlocal budget
        budget -= 1
        if budget < 0 or depth > MAX_DEPTH:
            raise FormatError("the content is nested too deeply or expands to too much")
        if isinstance(one, dict):
            return {key: copy(part, depth + 1) for key, part in one.items()}
        if isinstance(one, (list, tuple)):
            return [copy(part, depth + 1) for part in one]
        return one

    return copy(value, 0)


def simple(value: object) -> object:
    """Without the number classes that only reading needs."""
    if isinstance(value, dict):
        return {key: simple(part) for key, part in value.items()}
    if isinstance(value, list):
        return [simple(part) for part in value]
    if isinstance(value, SourceInt):
        return int(value)
    return float(value) if isinstance(value, SourceFloat) else value


def without_none(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): without_none(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [without_none(part) for part in value if part is not None]
    return simple(value)


def same(one: object, other: object) -> bool:
    """Equal, with True and 1, or 1 and 1.0, being different."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(simple(one)) is type(simple(other)) and bool(one == other)


def mapping(value: object) -> dict[object, object]:
    """A copy of what is one, and nothing for anything else."""
    return dict(value) if isinstance(value, Mapping) else {}


def value_at(data: object, path: KeyPath) -> object:
    for key in path:
        if isinstance(data, list):
            data = data[key] if isinstance(key, int) else None
        else:
            data = data.get(key) if isinstance(data, dict) else None
    return data


def put(data: object, path: KeyPath, value: object) -> object:
    """A changed copy."""
    if not path:
        return value
    if not isinstance(data, list):
        return put_member(data if isinstance(data, Mapping) else {}, path, value)
    at, made = path[0], list(data)
    if not isinstance(at, int):
        raise FormatError("a list has no names")
    if len(path) == 1 and value is DELETE:
        del made[at]
    else:
        made[at] = put(made[at], path[1:], value)
    return made


def put_member(data: Mapping[object, object], path: KeyPath, value: object) -> dict[object, object]:
    """A changed copy of a mapping; the path is not empty."""
    made = dict(data)
    if len(path) == 1 and value is DELETE:
        del made[path[0]]
    else:
        made[path[0]] = put(made.get(path[0]), path[1:], value)
    return made


class _Holder(Protocol[K_contra]):
    def __setitem__(self, key: K_contra, value: object, /) -> None: ...

    def __delitem__(self, key: K_contra, /) -> None: ...


def assign(document: object, path: KeyPath, value: object) -> None:
    """Set a member in a library's own document, or remove it where the value is ``DELETE``."""
    holder = document
    for key in path[:-1]:
        if isinstance(holder, MutableMapping) and holder.get(key) is None:
            holder[key] = {}
        holder = value_at(holder, (key,))
    at = path[-1]
    if isinstance(holder, MutableMapping):
        _assign(holder, at, value)
    elif isinstance(holder, MutableSequence) and isinstance(at, int):
        _assign(holder, at, value)
    else:
        raise CannotEdit


def _assign(holder: _Holder[K], at: K, value: object) -> None:
    if value is DELETE:
        del holder[at]
    else:
        holder[at] = simple(value)


def remarks(text: str) -> Counter[str]:
    """Comments that begin with a #. One in a string may count as well; this errs on the side of refusing."""
    return Counter(found[1].strip() for found in re.finditer(r"(?:^|[\s\]\"'}])(#[^\n]*)", text, re.MULTILINE))
