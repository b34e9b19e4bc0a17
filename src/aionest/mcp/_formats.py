"""Text formats of configuration files: reading with line numbers, and editing that leaves the rest of the text alone.

Contract: ``parse`` gives plain Python data and can tell the line of a key; ``edit`` changes single members of a mapping in
the text, keeps comments, order and layout, and checks that the outcome reads as intended. Whatever cannot be done without
loss raises ``FormatError`` instead. Messages never quote values. Nothing here keeps state.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_BYTES = 4 << 20
MAX_NODES = 200_000
MAX_DEPTH = 100
SUFFIXES = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".jsonc": "json", ".json5": "json", ".toml": "toml"}

Path_ = tuple[Any, ...]


class FormatError(Exception):
    """The text cannot be read, or not be edited without loss."""

    def __init__(self, message: str, line: int | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.hint = hint


class _CannotEdit(Exception):
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

    def member(self, key: Any) -> Member | None:
        """The last member of that name, as it is the one that counts."""
        return next((m for m in reversed(self.members) if m.key == key), None)


@dataclass
class Member:
    """A key of a mapping and its value. ``after`` is the index behind the key's colon, ``comma`` that of its comma."""

    key: Any
    start: int
    after: int
    node: Node
    comma: int | None = None


class Tree:
    """What ``parse`` gives: ``data``, and the lines of keys."""

    def __init__(self, text: str, fmt: str, data: Any, root: Node | None) -> None:
        self.text = text
        self.format = fmt
        self.data = data
        self.root = root

    def line(self, *path: Any) -> int | None:
        """The line of the key at that path, or of the nearest known one above it."""
        if self.root is None:
            return _toml_line(self.text, path) if self.format == "toml" else None
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
        return None if at is None else _line_of(self.text, at)

    def duplicates(self) -> list[tuple[Path_, int]]:
        """Paths of keys that a mapping has more than once, and the line of the last one."""
        found: list[tuple[Path_, int]] = []

        def look(node: Node, path: Path_) -> None:
            counts = Counter(m.key for m in node.members)
            for key, count in counts.items():
                member = node.member(key)
                if count > 1 and member is not None:
                    found.append(((*path, key), _line_of(self.text, member.start)))
            for m in node.members:
                look(m.node, (*path, m.key))

        if self.root is not None:
            look(self.root, ())
        return found


def _line_of(text: str, index: int) -> int:
    return text.count("\n", 0, index) + 1


def _missing(package: str) -> FormatError:
    return FormatError(f"reading this needs {package}", hint='pip install "aionest[mcp]"')


# ---------------------------------------------------------------------------------------------------------------- reading


def read_text(path: Path) -> tuple[str, str]:
    """The text of a file with line ends made \\n, and the line end that it uses.

    Raises:
        OSError: it cannot be read.
        FormatError: it is too large, or not UTF-8.
    """
    with path.open("rb") as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise FormatError(f"the file is larger than {MAX_BYTES >> 20} MiB")
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as exc:
        raise FormatError("the file is not UTF-8 text", data.count(b"\n", 0, exc.start) + 1) from None
    newline = "\r\n" if "\r\n" in text else "\n"
    return text.replace("\r\n", "\n"), newline


def format_of(path: Path | None, text: str) -> str:
    """yaml, json or toml: by the extension, else by what the text looks like."""
    known = SUFFIXES.get(path.suffix.lower()) if path is not None else None
    if known:
        return known
    if re.match(r"\s*(//[^\n]*\s*|/\*.*?\*/\s*)*\{", text, re.DOTALL):
        return "json"
    try:
        if _load_toml(text):
            return "toml"
    except FormatError:
        pass
    return "yaml"


def plain(value: Any) -> Any:
    """A deep copy of plain lists and dictionaries.

    Raises:
        FormatError: it is nested too deeply or expands to too much (aliases of aliases).
    """
    budget = MAX_NODES

    def copy(one: Any, depth: int) -> Any:
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


def parse(text: str, fmt: str) -> Tree:
    """Read a text of that format.

    Raises:
        FormatError: it is no valid text of the format; with the line, where known.
    """
    try:
        if fmt == "json":
            data = _load_json(text)
            root = _JsonScanner(text).document() if text.strip() and data is not None else None
        elif fmt == "toml":
            data, root = _load_toml(text), None
        else:
            data, root = _load_yaml(text)
        return Tree(text, fmt, plain(data), root)
    except RecursionError:
        raise FormatError("the content is nested too deeply") from None


def _load_json(text: str) -> Any:
    if not text.strip():
        return None
    strict: json.JSONDecodeError | None = None
    try:
        return json.loads(text)
    except json.JSONDecodeError as exc:
        strict = exc
    try:
        import json5
    except ImportError:
        raise _missing("json5") from None
    try:
        return json5.loads(text)
    except ValueError as exc:
        if _JsonScanner.blank(text):
            return None
        found = re.search(r":(\d+) .*?column (\d+)", str(exc), re.DOTALL)
        line, column = (int(found[1]), int(found[2])) if found else (strict.lineno, strict.colno)
        # the reason is that of the strict reader, and only right if both stopped at the same place
        said = f": {strict.msg}" if line == strict.lineno else ""
        raise FormatError(
            f"not valid JSON (line {line}, column {column}){said}", line, "is a comma or a quote missing?"
        ) from None


def _load_toml(text: str) -> dict[str, Any]:
    tomllib: Any
    try:
        tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ImportError:
        raise _missing("tomli") from None
    try:
        data: dict[str, Any] = tomllib.loads(text)
        return data
    except tomllib.TOMLDecodeError as exc:
        found = re.search(r"line (\d+)", str(exc))
        line = int(found[1]) if found else _line_of(text, len(text))
        reason = _unquoted(re.sub(r"\s*\(at .*\)\Z", "", str(exc)))
        raise FormatError(f"not valid TOML: {reason}", line) from None


def _unquoted(text: str) -> str:
    """Without quoted parts that could be someone's password; single characters and token names stay."""
    return re.sub(r"(['\"])(?!<)(?:(?!\1).){2,}\1", "...", text)


def _yaml() -> Any:
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.constructor import SafeConstructor
    except ImportError:
        raise _missing("ruamel.yaml") from None

    class Constructor(SafeConstructor):
        pass

    def integer(self: Any, node: Any) -> int:
        value = SourceInt(self.construct_yaml_int(node))
        value.text = node.value
        return value

    def floating(self: Any, node: Any) -> float:
        value = SourceFloat(self.construct_yaml_float(node))
        value.text = node.value
        return value

    Constructor.add_constructor("tag:yaml.org,2002:int", integer)
    Constructor.add_constructor("tag:yaml.org,2002:float", floating)
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = Constructor
    return yaml


def _load_yaml(text: str) -> tuple[Any, Node | None]:
    yaml = _yaml()
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        # its warnings go to stderr and quote the text
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = yaml.load(text)
            composed = _yaml().compose(text)
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
        raise FormatError(f"not valid YAML: {_unquoted(problem)}", line, hint) from None
    except YAMLError as exc:
        raise FormatError(f"not valid YAML ({type(exc).__name__})") from None
    except (ValueError, OverflowError):
        raise FormatError("not valid YAML: a number or a date in it is impossible", hint="put it in quotes") from None
    return data, None if composed is None else _yaml_node(text, composed, 0, 0)


# ------------------------------------------------------------------------------------------------- where things are: JSON


class _JsonScanner:
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
            raise FormatError("not valid JSON", _line_of(self.text, self.at))
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


# ------------------------------------------------------------------------------------------------- where things are: YAML


def _yaml_node(text: str, node: Any, owner: int, depth: int) -> Node:
    """``owner`` is the index behind the key: what begins before it is an alias of something earlier."""
    start, end = node.start_mark.index, node.end_mark.index
    if depth > MAX_DEPTH:
        raise FormatError("the content is nested too deeply", node.start_mark.line + 1)
    if start < owner:
        return Node(start, end, "alias")
    if node.id == "mapping":
        made = Node(start, end, "map", bool(node.flow_style))
        for key, value in node.value:
            colon = text.find(":", key.end_mark.index)
            after = colon + 1 if colon >= 0 else key.end_mark.index
            part = _yaml_node(text, value, key.end_mark.index, depth + 1)
            made.members.append(Member(key.value, key.start_mark.index, after, part))
            if part.kind == "scalar" and value.value == "" and value.style is None:
                # an empty value is reported where the next token begins
                part.start = part.end = after
        if not made.flow and made.members:
            last = made.members[-1]
            made.end = last.node.end if last.node.kind != "alias" else _line_end(text, last.after)
        return made
    if node.id == "sequence":
        made = Node(start, end, "list", bool(node.flow_style))
        made.items = [_yaml_node(text, one, start, depth + 1) for one in node.value]
        if not made.flow and made.items:
            made.end = made.items[-1].end
        return made
    made = Node(start, end, "scalar")
    if node.style in ("|", ">"):
        made.end = _block_end(text, start)
    return made


def _block_end(text: str, start: int) -> int:
    """The end of a block scalar: its lines are indented more than the line that announces it."""
    line = text.rfind("\n", 0, start) + 1
    outer = len(text[line:start]) - len(text[line:start].lstrip(" "))
    end = _line_end(text, start)
    at = end
    while at < len(text):
        nxt = _line_end(text, at + 1)
        content = text[at + 1 : nxt]
        if content.strip():
            if len(content) - len(content.lstrip(" ")) <= outer:
                break
            end = nxt
        at = nxt
    return end


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end


# ------------------------------------------------------------------------------------------------- where things are: TOML

_HEADER = re.compile(r"^[ \t]*\[(?!\[)([^\n]*?)\][ \t]*(?:#[^\n]*)?$", re.MULTILINE)


def _toml_key(text: str) -> Path_ | None:
    """The parts of a dotted key."""
    try:
        data = _load_toml(f"{text} = 0")
    except FormatError:
        return None
    parts: list[str] = []
    value: Any = data
    while isinstance(value, dict) and len(value) == 1:
        (key,) = value
        parts.append(key)
        value = value[key]
    return tuple(parts) if value == 0 else None


def _toml_headers(text: str) -> list[tuple[Path_, int, int]]:
    """Tables of a text: their path, the start of their header, and the end of the last line before the next one."""
    found = [(_toml_key(m[1]) or (), m.start(), m.end()) for m in _HEADER.finditer(text)]
    starts = [start for _, start, _ in found] + [m.start() for m in re.finditer(r"^[ \t]*\[\[", text, re.MULTILINE)]
    return [(path, start, min((s for s in starts if s > start), default=len(text))) for path, start, _ in found]


def _toml_line(text: str, path: Path_) -> int | None:
    best: tuple[int, int] | None = None
    assign = re.compile(r"^[ \t]*([^\s=\[#][^=\n]*?)[ \t]*=", re.MULTILINE)
    first = _HEADER.search(text)
    areas: list[tuple[Path_, int, int]] = [((), 0, first.start() if first else len(text)), *_toml_headers(text)]
    for prefix, start, end in areas:
        if prefix != path[: len(prefix)]:
            if prefix[: len(path)] == path and best is None:
                best = (0, start)
            continue
        if prefix and (best is None or len(prefix) > best[0]):
            best = (len(prefix), start)
        for found in assign.finditer(text, start, end):
            key = prefix + (_toml_key(found[1]) or ())
            if key == path[: len(key)] and len(key) > len(prefix) and (best is None or len(key) > best[0]):
                best = (len(key), found.start(1))
    return None if best is None else _line_of(text, best[1])


# ---------------------------------------------------------------------------------------------------------------- writing


def render(data: Any, fmt: str, indent: int = 2) -> str:
    """A new text of that format.

    Raises:
        FormatError: the format cannot hold the data.
    """
    if fmt == "json":
        return json.dumps(data, indent=indent, ensure_ascii=False, default=str) + "\n"
    if fmt == "toml":
        try:
            import tomlkit
        except ImportError:
            raise _missing("tomlkit") from None
        return tomlkit.dumps(_without_none(data)).lstrip("\n")
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt", pure=True)
    yaml.default_flow_style = False
    yaml.width = 1 << 16
    yaml.indent(mapping=indent, sequence=indent + 2, offset=indent)
    yaml.representer.ignore_aliases = lambda *_: True
    out = io.StringIO()
    if not data:
        return "{}\n"
    yaml.dump(_simple(data), out)
    return out.getvalue()


def _simple(value: Any) -> Any:
    """Without the number classes that only reading needs."""
    if isinstance(value, dict):
        return {key: _simple(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_simple(part) for part in value]
    if isinstance(value, SourceInt):
        return int(value)
    return float(value) if isinstance(value, SourceFloat) else value


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_none(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_none(part) for part in value if part is not None]
    return _simple(value)


def same(one: Any, other: Any) -> bool:
    """Equal, with True and 1, or 1 and 1.0, being different."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(_simple(one)) is type(_simple(other)) and bool(one == other)


DELETE = object()


def _steps(old: Any, new: Any, path: Path_) -> list[tuple[Path_, Any]]:
    """The single changes that make one value out of another."""
    if isinstance(old, dict) and isinstance(new, dict):
        gone = [((*path, key), DELETE) for key in old if key not in new]
        kept = [step for key in new if key in old for step in _steps(old[key], new[key], (*path, key))]
        return gone + kept + [((*path, key), new[key]) for key in new if key not in old]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [step for i, pair in enumerate(zip(old, new)) for step in _steps(*pair, (*path, i))]
    return [] if same(old, new) else [(path, new)]


def _at(data: Any, path: Path_) -> Any:
    for key in path:
        if isinstance(data, list):
            data = data[key]
        else:
            data = data.get(key) if isinstance(data, dict) else None
    return data


def put(data: Any, path: Path_, value: Any) -> Any:
    """A changed copy."""
    if not path:
        return value
    data = dict(data or {}) if not isinstance(data, list) else list(data)
    if len(path) == 1 and value is DELETE:
        del data[path[0]]
    elif isinstance(data, list):
        data[path[0]] = put(data[path[0]], path[1:], value)
    else:
        data[path[0]] = put(data.get(path[0]), path[1:], value)
    return data


def edit(text: str, fmt: str, at: Path_, changes: dict[str, Any], force: bool = False) -> str:
    """The text with members of the mapping at that path set, or removed where the value is ``DELETE``.

    Comments inside a removed member go with it; no others are lost.

    Parameters:
        force: lose comments rather than fail.

    Raises:
        FormatError: the text isn't valid, or comments would be lost.
    """
    for name, value in changes.items():
        if value is not DELETE:
            value = _without_none(plain(value)) if fmt == "toml" else plain(value)
        tree = parse(text, fmt)
        current = _at(tree.data, at)
        held = current if isinstance(current, dict) else {}
        if value is DELETE and name not in held:
            continue
        steps = (
            [((*at, name), value)] if value is DELETE or name not in held else _steps(held[name], value, (*at, name))
        )
        for path, new in steps:
            text = _step(text, fmt, path, new, force)
    return text


def _step(text: str, fmt: str, path: Path_, value: Any, force: bool) -> str:
    """One change, in place if the layout is one that we know, else by writing the whole text anew."""
    tree = parse(text, fmt)
    # what is missing above comes with it
    while len(path) > 1 and value is not DELETE and not isinstance(_at(tree.data, path[:-1]), (dict, list)):
        path, value = path[:-1], {path[-1]: value}
    wanted = put(tree.data, path, value)
    in_place = {"json": _json_step, "yaml": _yaml_step, "toml": _toml_step}[fmt]
    lossy = False
    try:
        made, lossy = in_place(tree, path, value)
        if same(parse(made, fmt).data or {}, wanted) and (force or not lossy):
            return made
    except (_CannotEdit, FormatError, KeyError, IndexError):
        pass
    try:
        made = _rewrite(text, fmt, path, value, wanted)
        right = same(parse(made, fmt).data or {}, _without_none(wanted) if fmt == "toml" else wanted)
    except FormatError:
        raise
    except Exception as exc:
        # messages of the libraries may quote what they were given
        raise FormatError(f"the change cannot be written ({type(exc).__name__})", tree.line(*path)) from None
    if not right:
        raise FormatError("the change cannot be written into this layout", tree.line(*path), "edit the file by hand")
    lost = _comments(text, fmt) - _comments(made, fmt)
    if (lost or lossy) and not force:
        raise FormatError(
            "the change would lose comments", tree.line(*path), "use force=True, or edit the file by hand"
        )
    return made


def _comments(text: str, fmt: str) -> Counter[str]:
    if fmt == "json":
        scanner = _JsonScanner(text)
        if not _JsonScanner.blank(text):
            scanner.document()
        else:
            scanner.skip()
        return Counter(text[start:end] for start, end in scanner.comments)
    # a # in a string may count as well; this errs on the side of refusing
    return Counter(found[1].strip() for found in re.finditer(r"(?:^|[\s\]\"'}])(#[^\n]*)", text, re.MULTILINE))


def _rewrite(text: str, fmt: str, path: Path_, value: Any, wanted: Any) -> str:
    if fmt == "json":
        return render(wanted, "json")
    doc: Any
    if fmt == "toml":
        import tomlkit

        doc = tomlkit.parse(text)
    else:
        from ruamel.yaml import YAML

        yaml = YAML(typ="rt", pure=True)
        yaml.preserve_quotes = True
        yaml.width = 1 << 16
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            doc = yaml.load(text)
        doc = {} if doc is None else doc
    holder = doc
    for key in path[:-1]:
        if not isinstance(key, int) and holder.get(key) is None:
            holder[key] = {}
        holder = holder[key]
    if value is DELETE:
        del holder[path[-1]]
    else:
        holder[path[-1]] = _simple(value)
    if fmt == "toml":
        return tomlkit.dumps(doc)
    out = io.StringIO()
    yaml.dump(doc, out)
    return out.getvalue()


def _find(tree: Tree, path: Path_) -> Node:
    node = tree.root
    for key in path:
        if node is None:
            raise _CannotEdit
        if node.kind == "list" and isinstance(key, int):
            node = node.items[key]
            continue
        found = node.member(key)
        node = None if found is None else found.node
    if node is None or node.kind == "alias":
        raise _CannotEdit
    return node


# --------------------------------------------------------------------------------------------------------- in place: JSON


def _indent_of(text: str, index: int) -> str:
    line = text[_line_start(text, index) : index]
    return line[: len(line) - len(line.lstrip())]


def _json_text(value: Any, outer: str, unit: str) -> str:
    made = json.dumps(_simple(value), indent=unit, ensure_ascii=False, default=str)
    return made.replace("\n", "\n" + outer)


def _json_step(tree: Tree, path: Path_, value: Any) -> tuple[str, bool]:
    text = tree.text
    if tree.root is None:
        return text.rstrip() + ("\n" if text.strip() else "") + render(put({}, path, value), "json"), False
    scanner = _JsonScanner(text)
    scanner.document()
    first = tree.root.members[0].start if tree.root.members else None
    unit = (_indent_of(text, first) if first is not None and "\n" in text[tree.root.start : first] else "") or "  "
    parent = _find(tree, path[:-1])
    if parent.kind == "list":
        spot = parent.items[path[-1]]
        made = text[: spot.start] + _json_text(value, _indent_of(text, spot.start), unit) + text[spot.end :]
        return made, any(spot.start <= a < spot.end for a, _ in scanner.comments)
    if parent.kind != "map":
        raise _CannotEdit
    found = parent.member(path[-1])
    if value is DELETE:
        return _json_delete(text, parent, path[-1]), False
    if found is not None:
        outer = _indent_of(text, found.start)
        made = text[: found.node.start] + _json_text(value, outer, unit) + text[found.node.end :]
        return made, any(found.node.start <= a < found.node.end for a, _ in scanner.comments)
    return _json_insert(text, parent, path[-1], value, unit, scanner.comments), False


def _json_insert(text: str, parent: Node, key: Any, value: Any, unit: str, comments: list[tuple[int, int]]) -> str:
    outer = _indent_of(text, parent.start)
    if not parent.members:
        inner = outer + unit
        kept = text[parent.start + 1 : parent.end - 1].rstrip()
        body = f"{json.dumps(key, ensure_ascii=False)}: {_json_text(value, inner, unit)}"
        return text[: parent.start + 1] + kept + f"\n{inner}{body}\n{outer}" + text[parent.end - 1 :]
    last = parent.members[-1]
    one_line = "\n" not in text[parent.start : last.start]
    inner = outer + unit if one_line else _indent_of(text, last.start)
    body = f"{json.dumps(key, ensure_ascii=False)}: "
    body += json.dumps(_simple(value), ensure_ascii=False, default=str) if one_line else _json_text(value, inner, unit)
    at = last.node.end if last.comma is None else last.comma + 1
    for start, end in comments:
        # a remark at the end of the line is about the member before
        if start >= at and not one_line and "\n" not in text[at:start] and not text[at:start].strip():
            at = end
    text = text[:at] + (" " if one_line else "\n" + inner) + body + text[at:]
    return text if last.comma is not None else text[: last.node.end] + "," + text[last.node.end :]


def _json_delete(text: str, parent: Node, key: Any) -> str:
    # of keys that are there twice, all go
    index = max(i for i, m in enumerate(parent.members) if m.key == key)
    gone = parent.members[index]
    start, end = gone.start, gone.node.end
    if gone.comma is not None:
        end = gone.comma + 1
    before, behind = _line_start(text, start), _line_end(text, end)
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


# --------------------------------------------------------------------------------------------------------- in place: YAML


def _yaml_text(key: Any, value: Any, column: int, unit: int) -> str:
    made = render({key: value}, "yaml", unit).rstrip("\n")
    return ("\n" + " " * column).join(made.split("\n"))


def _yaml_step(tree: Tree, path: Path_, value: Any) -> tuple[str, bool]:
    text = tree.text
    if tree.root is None or (tree.root.kind == "scalar" and tree.data is None):
        if value is DELETE or (tree.root is not None and tree.root.start != tree.root.end):
            raise _CannotEdit
        head = text if not text or text.endswith("\n") else text + "\n"
        return head + render(put({}, path, value), "yaml"), False
    columns = [
        m.node.start - _line_start(text, m.node.start)
        for m in tree.root.members
        if m.node.kind == "map" and not m.node.flow
    ]
    unit = columns[0] if columns and 1 <= columns[0] <= 8 else 2
    parent = _find(tree, path[:-1])
    if parent.kind == "list":
        spot = parent.items[path[-1]]
        if spot.kind == "alias" or isinstance(value, (dict, list)) or spot.kind != "scalar":
            raise _CannotEdit
        return text[: spot.start] + _yaml_flow(value) + text[spot.end :], False
    if parent.kind == "scalar" or (parent.kind == "map" and not parent.members):
        # an empty mapping: write it anew, with its first member
        if not path[:-1]:
            inside = text[parent.start + 1 : parent.end - 1]
            if inside.strip() or value is DELETE:
                raise _CannotEdit
            return text[: parent.start] + render({path[-1]: value}, "yaml").rstrip("\n") + text[parent.end :], False
        return _yaml_step(tree, path[:-1], {path[-1]: value})
    if parent.kind != "map":
        raise _CannotEdit
    found = parent.member(path[-1])
    if parent.flow:
        return _yaml_flow_step(text, parent, found, path[-1], value), False
    if value is DELETE:
        return _yaml_delete(tree, path, parent), False
    first = parent.members[0].start
    column = first - _line_start(text, first)
    if text[_line_start(text, first) : first].strip():
        raise _CannotEdit
    if found is None:
        at = _line_end(text, parent.end)
        return text[:at] + "\n" + " " * column + _yaml_text(path[-1], value, column, unit) + text[at:], False
    if found.node.kind == "alias":
        raise _CannotEdit
    if found.node.kind == "scalar" and not isinstance(value, (dict, list)) and found.node.start < found.node.end:
        block = "\n" in text[found.node.start : found.node.end]
        if not block:
            return text[: found.node.start] + _yaml_flow(value) + text[found.node.end :], False
    old = text[found.start : found.node.end]
    lossy = re.search(r"(?:^|\s)#", old) is not None
    return text[: found.start] + _yaml_text(path[-1], value, column, unit) + text[found.node.end :], lossy


def _yaml_flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_./][\w./@+-]*", value) and not _yaml_special(value):
        return value
    return json.dumps(_simple(value), ensure_ascii=False, default=str)


def _yaml_special(value: str) -> bool:
    return not isinstance(_yaml().load(value), str) or value.lower() in ("yes", "no", "on", "off", "y", "n")


def _yaml_flow_step(text: str, parent: Node, found: Member | None, key: Any, value: Any) -> str:
    if value is DELETE or (found is not None and found.node.kind == "alias"):
        raise _CannotEdit
    if found is not None:
        gap = "" if text[found.after : found.node.start] else " "
        return text[: found.node.start] + gap + _yaml_flow(value) + text[found.node.end :]
    end = parent.members[-1].node.end
    if parent.members[-1].node.kind == "alias":
        raise _CannotEdit
    return text[:end] + f", {_yaml_flow(key)}: {_yaml_flow(value)}" + text[end:]


def _yaml_delete(tree: Tree, path: Path_, parent: Node) -> str:
    text = tree.text
    gone = parent.member(path[-1])
    if gone is None or gone.node.kind == "alias":
        raise _CannotEdit
    start, end = _line_start(text, gone.start), _line_end(text, max(gone.node.end, gone.after))
    if text[start : gone.start].strip():
        raise _CannotEdit
    made = text[:start] + text[min(end + 1, len(text)) :]
    if len(parent.members) > 1:
        return made
    if path[:-1]:
        holder = _find(tree, path[:-2]).member(path[-2])
        if holder is None:
            raise _CannotEdit
        # nothing would read as null, which is not the same as no servers
        return made[: holder.after] + " {}" + made[holder.after :]
    return made


# --------------------------------------------------------------------------------------------------------- in place: TOML


def _toml_name(path: Path_) -> str:
    return ".".join(
        key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False) for key in path
    )


def _trimmed(text: str) -> str:
    """Without comments and empty lines at its end."""
    lines = text.split("\n")
    while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    return "\n".join(lines)


def _toml_step(tree: Tree, path: Path_, value: Any) -> tuple[str, bool]:
    """Whole tables only: a comment before a header belongs to the table behind it, which tomlkit sees differently."""
    text = tree.text
    if value is DELETE:
        spans = [(start, end) for prefix, start, end in _toml_headers(text) if prefix[: len(path)] == path]
        for start, end in reversed(spans):
            stop = start + len(_trimmed(text[start:end]))
            text = text[:start] + text[stop:].removeprefix("\n")
        if not spans:
            raise _CannotEdit
        if path[:-1] and _at(parse(text, "toml").data, path[:-1]) is None:
            # the mapping stays, though nothing is in it
            at = min(start for start, _ in spans)
            text = f"{text[:at]}[{_toml_name(path[:-1])}]\n{text[at:]}"
        return text, False
    if any(isinstance(key, int) for key in path) or _at(tree.data, path) is not None:
        raise _CannotEdit
    import tomlkit

    if not isinstance(value, dict):
        span = next(((start, end) for prefix, start, end in _toml_headers(text) if prefix == path[:-1]), None)
        if span is None:
            raise _CannotEdit
        # comments at the end of a table are about the next one
        end = span[0] + len(_trimmed(text[slice(*span)]))
        return f"{text[:end]}\n{tomlkit.dumps({path[-1]: value}).rstrip()}{text[end:]}", False
    body = tomlkit.dumps(value)
    quoted = _toml_name(path)
    body = re.sub(r"^\[(?!\[)", lambda _: f"[{quoted}.", body, flags=re.MULTILINE)
    head = text.rstrip("\n") + "\n\n" if text.strip() else text
    return f"{head}[{quoted}]\n{body}", False


# ------------------------------------------------------------------------------------------------------------------ files


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
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
