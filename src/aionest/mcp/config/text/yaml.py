"""YAML: read, located and edited in place.

Contract: as ``config.text`` says of every format.
"""

from __future__ import annotations

import io
import json
import re
import warnings
from typing import TYPE_CHECKING

from .tree import (
    DELETE,
    MAX_DEPTH,
    CannotEdit,
    FormatError,
    KeyPath,
    Member,
    Node,
    SourceFloat,
    SourceInt,
    Tree,
    assign,
    find_node,
    item,
    line_end,
    line_start,
    missing,
    plain,
    put,
    remarks,
    simple,
    unquoted,
)

if TYPE_CHECKING:
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import SafeConstructor
    from ruamel.yaml.nodes import Node as Composed
    from ruamel.yaml.nodes import ScalarNode

_ALIAS = re.compile(r"([ \t]+\*[^\s,\[\]{}]+)[ \t]*(?:\n|[ \t]#|\Z)")


def _reader() -> YAML:
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.constructor import SafeConstructor
        from ruamel.yaml.scanner import Scanner
    except ImportError:
        raise missing("ruamel.yaml") from None

    class Bounded(Scanner):  # type: ignore[misc]
        """What is nested deeply takes it time that grows with the square of the depth."""

        def fetch_flow_collection_start(self, token: type[object], to_push: str) -> None:
            self._look(self.flow_level)
            super().fetch_flow_collection_start(token, to_push)

        def add_indent(self, column: int) -> bool:
            self._look(len(self.indents))
            return bool(super().add_indent(column))

        def _look(self, depth: int) -> None:
            if depth > MAX_DEPTH:
                raise FormatError("the content is nested too deeply", self.reader.line + 1)

    class Constructor(SafeConstructor):
        pass

    def integer(self: SafeConstructor, node: ScalarNode) -> int:
        value = SourceInt(self.construct_yaml_int(node))
        value.text = node.value
        return value

    def floating(self: SafeConstructor, node: ScalarNode) -> float:
        value = SourceFloat(self.construct_yaml_float(node))
        value.text = node.value
        return value

    Constructor.add_constructor("tag:yaml.org,2002:int", integer)
    Constructor.add_constructor("tag:yaml.org,2002:float", floating)
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor, yaml.Scanner = Constructor, Bounded
    return yaml


def _load(text: str) -> tuple[object, Node | None]:
    yaml = _reader()
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        # its warnings go to stderr and quote the text
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            composed = yaml.compose(text)
            # before the data are made of it, which puts what is merged in its place
            root = None if composed is None else _node(text, composed, 0, 0)
            data = None if composed is None else yaml.constructor.construct_document(composed)
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark is not None else None
        problem = str(exc.problem or exc.context or "")
        twice = re.match(r'found duplicate key "((?:[^"\\]|\\.)*)"', problem)
        if twice:
            raise FormatError(f"the key {twice[1]!r} appears twice", line) from None
        hint = ""
        if "alias" in problem or "tag" in problem or "cannot start any token" in problem:
            hint = "put values that begin with a special character in quotes"
        raise FormatError(f"not valid YAML: {unquoted(problem)}", line, hint) from None
    except YAMLError as exc:
        raise FormatError(f"not valid YAML ({type(exc).__name__})") from None
    except (ValueError, OverflowError):
        raise FormatError("not valid YAML: a number or a date in it is impossible", hint="put it in quotes") from None
    return data, root


def _node(text: str, node: Composed, owner: int, depth: int) -> Node:
    """``owner`` is the index behind the key: what begins before it is an alias of something earlier."""
    from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

    start, end = node.start_mark.index, node.end_mark.index
    if depth > MAX_DEPTH:
        raise FormatError("the content is nested too deeply", node.start_mark.line + 1)
    if start < owner:
        return Node(start, end, "alias")
    if isinstance(node, MappingNode):
        made = Node(start, end, "map", bool(node.flow_style))
        for key, value in node.value:
            colon = text.find(":", key.end_mark.index)
            after = colon + 1 if colon >= 0 else key.end_mark.index
            part = _node(text, value, key.end_mark.index, depth + 1)
            made.members.append(Member(key.value, key.start_mark.index, after, part))
            if part.kind == "scalar" and isinstance(value, ScalarNode) and value.value == "" and value.style is None:
                # an empty value is reported where the next token begins
                part.start = part.end = after
        if not made.flow and made.members:
            last = made.members[-1]
            made.end = last.node.end if last.node.kind != "alias" else line_end(text, last.after)
        return made
    if isinstance(node, SequenceNode):
        made = Node(start, end, "list", bool(node.flow_style))
        made.items = [_node(text, one, start, depth + 1) for one in node.value]
        if not made.flow and made.items:
            made.end = made.items[-1].end
        return made
    made = Node(start, end, "scalar")
    if isinstance(node, ScalarNode) and node.style in ("|", ">"):
        made.end = _block_end(text, start)
    return made


def _block_end(text: str, start: int) -> int:
    """The end of a block scalar: its lines are indented more than the line that announces it."""
    line = text.rfind("\n", 0, start) + 1
    outer = len(text[line:start]) - len(text[line:start].lstrip(" "))
    end = line_end(text, start)
    at = end
    while at < len(text):
        nxt = line_end(text, at + 1)
        content = text[at + 1 : nxt]
        if content.strip():
            if len(content) - len(content.lstrip(" ")) <= outer:
                break
            end = nxt
        at = nxt
    return end


def _member(key: object, value: object, column: int, unit: int) -> str:
    made = render({key: value}, unit).rstrip("\n")
    return ("\n" + " " * column).join(made.split("\n"))


def step(tree: Tree, path: KeyPath, value: object) -> tuple[str, bool]:
    """The text with one change in place, and whether comments are lost by it."""
    text, root = tree.text, tree.root
    if root is None or (root.kind == "scalar" and tree.data is None):
        if value is DELETE or (root is not None and root.start != root.end):
            raise CannotEdit
        head = text if not text or text.endswith("\n") else text + "\n"
        return head + render(put({}, path, value)), False
    parent = find_node(tree, path[:-1])
    if parent.kind == "list":
        spot = item(parent, path[-1])
        if isinstance(value, (dict, list)) or spot.kind != "scalar":
            raise CannotEdit
        return text[: spot.start] + _flow(value) + text[spot.end :], False
    if parent.kind == "scalar" or (parent.kind == "map" and not parent.members):
        # an empty mapping: write it once more, with its first member
        if path[:-1]:
            return step(tree, path[:-1], {path[-1]: value})
        return _first_member(text, parent, path[-1], value), False
    if parent.kind != "map":
        raise CannotEdit
    if parent.flow:
        return _flow_step(text, parent, parent.member(path[-1]), path[-1], value), False
    if value is DELETE:
        return _delete(tree, path, parent), False
    return _block_step(text, parent, path[-1], value, _unit(text, root))


def _unit(text: str, root: Node) -> int:
    """By how many columns the file indents."""
    inner = [m.node.members[0].start for m in root.members if m.node.members and not m.node.flow]
    columns = [start - line_start(text, start) for start in inner]
    return columns[0] if columns and 1 <= columns[0] <= 8 else 2


def _first_member(text: str, empty: Node, key: object, value: object) -> str:
    """The whole file's empty mapping with its first member."""
    if text[empty.start + 1 : empty.end - 1].strip() or value is DELETE:
        raise CannotEdit
    return text[: empty.start] + render({key: value}).rstrip("\n") + text[empty.end :]


def _block_step(text: str, parent: Node, key: object, value: object, unit: int) -> tuple[str, bool]:
    """A member of a mapping with a line for each: set, or added at the end."""
    found = parent.member(key)
    first = parent.members[0].start
    column = first - line_start(text, first)
    if text[line_start(text, first) : first].strip():
        raise CannotEdit
    if found is None:
        at = line_end(text, parent.end)
        return text[:at] + "\n" + " " * column + _member(key, value, column, unit) + text[at:], False
    if found.node.kind == "alias":
        made = _member(key, value, column, unit)
        return text[: found.start] + made + text[_alias_end(text, found) :], False
    if found.node.kind == "scalar" and not isinstance(value, (dict, list)) and found.node.start < found.node.end:
        block = "\n" in text[found.node.start : found.node.end]
        if not block:
            return text[: found.node.start] + _flow(value) + text[found.node.end :], False
    old = text[found.start : found.node.end]
    lossy = re.search(r"(?:^|\s)#", old) is not None
    return text[: found.start] + _member(key, value, column, unit) + text[found.node.end :], lossy


def _alias_end(text: str, member: Member) -> int:
    """The end of an alias that is all of a value."""
    found = _ALIAS.match(text, member.after)
    if found is None:
        raise CannotEdit
    return found.end(1)


def _flow(value: object) -> str:
    """A value on one line."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_./][\w./@+-]*", value) and not _special(value):
        return value
    return json.dumps(simple(value), ensure_ascii=False, default=str)


def _special(value: str) -> bool:
    return not isinstance(_reader().load(value), str) or value.lower() in ("yes", "no", "on", "off", "y", "n")


def _flow_step(text: str, parent: Node, found: Member | None, key: object, value: object) -> str:
    if value is DELETE or (found is not None and found.node.kind == "alias"):
        raise CannotEdit
    if found is not None:
        gap = "" if text[found.after : found.node.start] else " "
        return text[: found.node.start] + gap + _flow(value) + text[found.node.end :]
    end = parent.members[-1].node.end
    if parent.members[-1].node.kind == "alias":
        raise CannotEdit
    return text[:end] + f", {_flow(key)}: {_flow(value)}" + text[end:]


def _delete(tree: Tree, path: KeyPath, parent: Node) -> str:
    text = tree.text
    gone = parent.member(path[-1])
    if gone is None:
        raise CannotEdit
    last = _alias_end(text, gone) if gone.node.kind == "alias" else max(gone.node.end, gone.after)
    start, end = line_start(text, gone.start), line_end(text, last)
    if text[start : gone.start].strip():
        raise CannotEdit
    made = text[:start] + text[min(end + 1, len(text)) :]
    if len(parent.members) > 1:
        return made
    if path[:-1]:
        holder = find_node(tree, path[:-2]).member(path[-2])
        if holder is None:
            raise CannotEdit
        # nothing would read as null, which is not the same as no servers
        return made[: holder.after] + " {}" + made[holder.after :]
    return made


def parse(text: str) -> Tree:
    """The data, and where its members are."""
    data, root = _load(text)
    return Tree(text, plain(data), root)


def _writer() -> YAML:
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt", pure=True)
    yaml.width = 1 << 16
    return yaml


def render(data: object, indent: int = 2) -> str:
    """A new text."""
    if not data:
        return "{}\n"
    yaml = _writer()
    yaml.default_flow_style = False
    yaml.indent(mapping=indent, sequence=indent + 2, offset=indent)
    yaml.representer.ignore_aliases = lambda *_: True
    out = io.StringIO()
    yaml.dump(simple(data), out)
    return out.getvalue()


def rewrite(text: str, path: KeyPath, value: object, wanted: object) -> str:
    """All of it anew, as the library keeps it."""
    yaml = _writer()
    yaml.preserve_quotes = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        document = yaml.load(text)
    document = {} if document is None else document
    assign(document, path, value)
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue()


comments = remarks


def storable(value: object) -> object:
    """What the format can hold of a value: all of it."""
    return value
