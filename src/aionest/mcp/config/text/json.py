"""JSON, with or without comments: read, located and edited in place.

Contract: as ``config.text`` says of every format.
"""

from __future__ import annotations

import json
import re
from collections import Counter

from .tree import (
    DELETE,
    CannotEdit,
    FormatError,
    KeyPath,
    Member,
    Node,
    Tree,
    find_node,
    indent_of,
    item,
    line_end,
    line_of,
    line_start,
    missing,
    plain,
    put,
    simple,
)

_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_DANGLING = re.compile(r'("(?:[^"\\]|\\.)*")|(?<=["}\]\w])\s*,(?=\s*[}\]])', re.DOTALL)


def _plain(found: re.Match[str]) -> str:
    """A text stays, all else goes."""
    return found[1] or " "


def load(text: str) -> object:
    """The data alone."""
    if not text.strip():
        return None
    strict: json.JSONDecodeError | None = None
    try:
        return json.loads(text)
    except json.JSONDecodeError as exc:
        strict = exc
    try:
        # nearly all files that are no plain JSON; json5 takes seconds for large ones
        return json.loads(_DANGLING.sub(_plain, _COMMENT.sub(_plain, text)))
    except json.JSONDecodeError:
        pass
    try:
        import json5
    except ImportError:
        raise missing("json5") from None
    try:
        return json5.loads(text)
    except ValueError as exc:
        if Scanner.blank(text):
            return None
        found = re.search(r":(\d+) .*?column (\d+)", str(exc), re.DOTALL)
        line, column = (int(found[1]), int(found[2])) if found else (strict.lineno, strict.colno)
        # the reason is that of the strict reader, and only right if both stopped at the same place
        said = f": {strict.msg}" if line == strict.lineno else ""
        raise FormatError(
            f"not valid JSON (line {line}, column {column}){said}", line, "is a comma or a quote missing?"
        ) from None


class Scanner:
    """Finds the members in a text that is known to be valid JSON or JSON5."""

    _string = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'', re.DOTALL)
    _bare = re.compile(r"[^\s,:\[\]{}/]+")
    _trivia = re.compile(r"\s+|//[^\n]*|/\*.*?\*/", re.DOTALL)

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.comments: list[tuple[int, int]] = []

    @classmethod
    def blank(cls, text: str) -> bool:
        """Whether there is nothing but comments."""
        scanner = cls(text)
        scanner.skip()
        return scanner.at >= len(text)

    def skip(self) -> None:
        while (found := self._trivia.match(self.text, self.at)) is not None:
            if self.text[found.start()] == "/":
                self.comments.append(found.span())
            self.at = found.end()

    def document(self) -> Node:
        self.skip()
        node = self.value()
        self.skip()
        return node

    def token(self) -> str:
        found = self._string.match(self.text, self.at) or self._bare.match(self.text, self.at)
        if found is None:
            raise FormatError("not valid JSON", line_of(self.text, self.at))
        self.at = found.end()
        return found.group()

    def key(self) -> str:
        token = self.token()
        if token[0] == '"':
            try:
                return str(json.loads(token))
            except ValueError:
                pass
        if token[0] not in "\"'":
            return token
        import json5

        return str(json5.loads(token))

    def value(self) -> Node:
        start = self.at
        if self.text[start] not in "{[":
            self.token()
            return Node(start, self.at, "scalar", True)
        node = Node(start, start, "map" if self.text[start] == "{" else "list", True)
        self.at += 1
        self.skip()
        while self.text[self.at] not in "}]":
            if node.kind == "map":
                key_start = self.at
                key = self.key()
                self.skip()
                self.at += 1
                after = self.at
                self.skip()
                member = Member(key, key_start, after, self.value())
                node.members.append(member)
            else:
                node.items.append(self.value())
            self.skip()
            if self.text[self.at] == ",":
                if node.kind == "map":
                    member.comma = self.at
                self.at += 1
                self.skip()
        self.at += 1
        node.end = self.at
        return node


def _value(value: object, outer: str, unit: str) -> str:
    made = json.dumps(simple(value), indent=unit, ensure_ascii=False, default=str)
    return made.replace("\n", "\n" + outer)


def step(tree: Tree, path: KeyPath, value: object) -> tuple[str, bool]:
    """The text with one change in place, and whether comments are lost by it."""
    text = tree.text
    if tree.root is None:
        return text.rstrip() + ("\n" if text.strip() else "") + render(put({}, path, value)), False
    scanner = Scanner(text)
    scanner.document()
    first = tree.root.members[0].start if tree.root.members else None
    unit = (indent_of(text, first) if first is not None and "\n" in text[tree.root.start : first] else "") or "  "
    parent = find_node(tree, path[:-1])
    if parent.kind == "list":
        spot = item(parent, path[-1])
        made = text[: spot.start] + _value(value, indent_of(text, spot.start), unit) + text[spot.end :]
        return made, any(spot.start <= a < spot.end for a, _ in scanner.comments)
    if parent.kind != "map":
        raise CannotEdit
    found = parent.member(path[-1])
    if value is DELETE:
        return _delete(text, parent, path[-1]), False
    if found is not None:
        outer = indent_of(text, found.start)
        made = text[: found.node.start] + _value(value, outer, unit) + text[found.node.end :]
        return made, any(found.node.start <= a < found.node.end for a, _ in scanner.comments)
    return _insert(text, parent, path[-1], value, unit, scanner.comments), False


def _insert(text: str, parent: Node, key: object, value: object, unit: str, comments: list[tuple[int, int]]) -> str:
    outer = indent_of(text, parent.start)
    if not parent.members:
        inner = outer + unit
        kept = text[parent.start + 1 : parent.end - 1].rstrip()
        body = f"{json.dumps(key, ensure_ascii=False)}: {_value(value, inner, unit)}"
        return text[: parent.start + 1] + kept + f"\n{inner}{body}\n{outer}" + text[parent.end - 1 :]
    last = parent.members[-1]
    one_line = "\n" not in text[parent.start : last.start]
    inner = outer + unit if one_line else indent_of(text, last.start)
    body = f"{json.dumps(key, ensure_ascii=False)}: "
    body += json.dumps(simple(value), ensure_ascii=False, default=str) if one_line else _value(value, inner, unit)
    at = last.node.end if last.comma is None else last.comma + 1
    for start, end in comments:
        # a remark at the end of the line is about the member before
        if start >= at and not one_line and "\n" not in text[at:start] and not text[at:start].strip():
            at = end
    text = text[:at] + (" " if one_line else "\n" + inner) + body + text[at:]
    return text if last.comma is not None else text[: last.node.end] + "," + text[last.node.end :]


def _delete(text: str, parent: Node, key: object) -> str:
    # of keys that are there twice, all go
    index = max(i for i, m in enumerate(parent.members) if m.key == key)
    gone = parent.members[index]
    start, end = gone.start, gone.node.end
    if gone.comma is not None:
        end = gone.comma + 1
    before, behind = line_start(text, start), line_end(text, end)
    whole = not text[before:start].strip() and not text[end:behind].strip()
    if gone.comma is not None and text[gone.node.end : gone.comma].strip():
        # a comment between the value and its comma
        made = text[:start] + text[gone.node.end : gone.comma] + text[gone.comma + 1 :]
    elif whole:
        made = text[:before] + text[min(behind + 1, len(text)) :]
    else:
        made = (
            text[:start] + text[end:].lstrip(" ") if gone.comma is not None else text[:start].rstrip(" ") + text[end:]
        )
    previous = parent.members[index - 1] if index else None
    if gone.comma is None and previous is not None and previous.comma is not None:
        made = made[: previous.comma] + made[previous.comma + 1 :]
    return made


def parse(text: str) -> Tree:
    """The data, and where its members are."""
    data = load(text)
    return Tree(text, plain(data), Scanner(text).document() if text.strip() and data is not None else None)


def render(data: object) -> str:
    """A new text."""
    return json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n"


def rewrite(text: str, path: KeyPath, value: object, wanted: object) -> str:
    """All of it anew."""
    return render(wanted)


def comments(text: str) -> Counter[str]:
    """All comments."""
    scanner = Scanner(text)
    if not Scanner.blank(text):
        scanner.document()
    else:
        scanner.skip()
    return Counter(text[start:end] for start, end in scanner.comments)


def storable(value: object) -> object:
    """What the format can hold of a value: all of it."""
    return value
