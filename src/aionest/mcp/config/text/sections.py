"""The servers of a large text, each edited by itself: what one change costs does not grow with the others.

Contract
  * A section is the piece of the text that holds one server and nothing of another. It is read, edited and checked as a small
    document of its own, by the same functions as a whole text.
  * What a section cannot hold (anchors and aliases, tables in several places, a comma before a comment) is not edited here: the
    caller is told so, and edits the whole text.

Not thread-safe.
"""

from __future__ import annotations

import re

from . import toml
from .tree import DELETE, KeyPath, Member, Node, Tree, indent_of, line_end, line_start

Span = tuple[int, int]
_ANCHOR = re.compile(r"(?:^|[\s\[{,:])[&*][^\s&*]|<<", re.MULTILINE)


class Sections:
    """Where each server is in a text.

    :param at: the path to the servers.
    :param head, tail: what makes a document of a section.
    :param open_end: can a server be added behind the last section?
    """

    def __init__(
        self, text: str, fmt: str, at: KeyPath, head: str, tail: str, spans: dict[object, Span], open_end: bool = True
    ) -> None:
        self.text = text
        self.format = fmt
        self.at = at
        self.head = head
        self.tail = tail
        self.spans = spans  # in the order of the text
        self._open_end = open_end

    @classmethod
    def of(cls, tree: Tree, fmt: str, at: KeyPath) -> Sections | None:
        """Those of a text, or None where it has none to be edited by themselves.

        :param at: the path to the servers.
        """
        if fmt == "toml":
            return cls(tree.text, fmt, at, "", "", _of_tables(tree.text, at))
        chain = _chain(tree.root, at)
        if not chain or not chain[-1].members or any(node.kind != "map" for node in chain):
            return None
        servers, text = chain[-1], tree.text
        if fmt == "yaml":
            return cls._of_yaml(text, chain, at)
        if any(not _begins_line(text, member.start) for member in servers.members):
            head = "{" + "".join(f"{text[m.start : m.after]} {{" for m in map(_member, chain, at))
            spans = {member.key: (member.start, member.node.end) for member in servers.members}
            return cls(text, fmt, at, head, "}" * len(chain), spans)
        keys = [_member(node, key) for node, key in zip(chain, at)]
        head = "{\n" + "".join(f"{indent_of(text, m.start)}{text[m.start : m.after]} {{\n" for m in keys)
        tail = "".join(f"\n{indent_of(text, m.start)}}}" for m in reversed(keys)) + "\n}"
        spans = {member.key: (line_start(text, member.start), member.node.end) for member in servers.members}
        return cls(text, fmt, at, head, tail, spans) if _ends_plainly(text, servers) else None

    @classmethod
    def _of_yaml(cls, text: str, chain: list[Node], at: KeyPath) -> Sections | None:
        if any(node.flow for node in chain) or _is_shared(text, chain, at):
            return None
        head = "".join(_line(text, _member(node, key)) for node, key in zip(chain, at))
        lines = _of_lines(text, chain[-1])
        alone = {name: span for name, span in lines.items() if not _ANCHOR.search(text, *span)}
        return cls(text, "yaml", at, head, "", alone, bool(alone) and next(reversed(lines)) in alone)

    def document(self, *names: object) -> str:
        """A text with neighbouring servers only."""
        start, end = self.spans[names[0]][0], self.spans[names[-1]][1]
        return self.head + self.text[start:end] + self.tail

    def around(self, name: object, value: object) -> list[object] | None:
        """The names of the section that a change is made in; None for the whole text."""
        names = list(self.spans)
        if name in self.spans:
            if value is not DELETE:
                return [name]
            index = names.index(name)  # a comma may have to go with it
            return names[max(index - 1, 0) : index + 1] if index else names[:2] if len(names) > 1 else None
        return None if value is DELETE or not names or not self._open_end else names[-1:]

    def replace(self, names: list[object], edited: Tree, changed: object, removed: bool) -> bool:
        """Put the edited document of ``names`` in its place; whether that could be done.

        :param changed: the name of the server that was set or removed.
        """
        made = edited.text
        if not made.startswith(self.head) or not made.endswith(self.tail):
            return False
        new = made[len(self.head) : len(made) - len(self.tail)]
        start, end = self.spans[names[0]][0], self.spans[names[-1]][1]
        if names == [changed] and not removed:
            inner = {changed: (start, start + len(new))}
        else:
            found = Sections.of(edited, self.format, self.at)
            if found is None:
                return False
            shift = start - len(self.head)
            inner = {name: (first + shift, last + shift) for name, (first, last) in found.spans.items()}
        delta = len(new) - (end - start)
        spans: dict[object, Span] = {}
        for name, (first, last) in self.spans.items():
            if first == start:
                spans.update(inner)
            if first >= end:
                spans[name] = (first + delta, last + delta)
            elif last <= start:
                spans[name] = (first, last)
        self.text = self.text[:start] + new + self.text[end:]
        self.spans = spans
        return True


def _chain(root: Node | None, at: KeyPath) -> list[Node]:
    """The mappings from the root to that of the servers."""
    found = [] if root is None else [root]
    for key in at:
        member = found[-1].member(key) if found else None
        if member is None:
            return []
        found.append(member.node)
    return found


def _member(node: Node, key: object) -> Member:
    found = node.member(key)
    assert found is not None
    return found


def _line(text: str, member: Member) -> str:
    return f"{' ' * (member.start - line_start(text, member.start))}{text[member.start : member.after]}\n"


def _is_shared(text: str, chain: list[Node], at: KeyPath) -> bool:
    """Do the servers as a whole have an anchor, or come from one, so that a change of one is a change elsewhere?"""
    begins = [0, *(_member(node, key).after for node, key in zip(chain, at))]
    above = any(_ANCHOR.search(text, begin, node.members[0].start) for begin, node in zip(begins, chain))
    return above or chain[-1].member("<<") is not None


def _begins_line(text: str, index: int) -> bool:
    return not text[line_start(text, index) : index].strip()


def _ends_plainly(text: str, servers: Node) -> bool:
    """Can something be put behind the last member without a look at what follows?"""
    last = servers.members[-1]
    return last.comma is None and not text[last.node.end : servers.end - 1].strip()


def _of_lines(text: str, servers: Node) -> dict[object, Span]:
    """Of YAML: whole lines, from a key to the next one."""
    members = servers.members
    if any(not _begins_line(text, member.start) for member in members):
        return {}
    starts = [line_start(text, member.start) for member in members]
    ends = [*starts[1:], min(line_end(text, max(servers.end, members[-1].after)) + 1, len(text))]
    return {member.key: span for member, span in zip(members, zip(starts, ends))}


def _of_tables(text: str, at: KeyPath) -> dict[object, Span]:
    """Of TOML: a server's tables, where they stand together."""
    found: dict[object, Span] = {}
    broken: set[object] = set()
    depth, before = len(at), None
    for path, start, end in toml.headers(text):
        name = path[depth] if len(path) > depth and path[:depth] == at else None
        if name is not None:
            if name in found and name != before:
                broken.add(name)
            found[name] = (found.get(name, (start, end))[0], end)
        before = name
    return {name: span for name, span in found.items() if name not in broken}


__all__ = ["Sections"]
