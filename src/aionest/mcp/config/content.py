"""What a file or a mapping of servers holds, with what was changed since, and the text that this makes.

Contract
  * ``raw`` and ``root`` are what was written; ``servers`` are those of them that are valid.
  * A change that isn't valid changes nothing. What was wrong is added to ``errors``; no message holds a value.
  * ``new_text`` touches nothing but what was changed. It raises ``FormatError`` instead of losing something.

Not thread-safe: ``ToolsConfig`` holds its lock.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import text as texts
from .dialects import translated, written
from .errors import ConfigError, Errors, Source, make_error
from .files import read_text
from .hosts import workspace_of
from .inputs import Definitions, input_definitions, input_ids, input_list, rebased, with_inputs
from .interpolate import Inputs
from .server import ServerConfig, build
from .shapes import NO_SERVERS, default_wrapper, looks_bare, wrapper
from .text import DELETE, FormatError, Tree
from .text.sections import Sections


@dataclass(frozen=True)
class Place:
    """Where a configuration is."""

    file: Path | None = None
    base: Path | None = None  # of one without a file: what ${workspaceFolder} means
    inputs: Inputs = None


class Content:
    """The servers of a file.

    :param place: where it is.
    :param overrides: fields that count for all servers.
    """

    def __init__(self, place: Place, overrides: Mapping[str, float] | None = None, fmt: str = "") -> None:
        self.place = place
        self.text: str | None = None
        self.format = fmt
        self.root: dict[object, object] = {}
        self.at: tuple[str, ...] = ()  # the path to the servers
        self.host = ""  # whose own way to write servers this is, which is only read
        self.raw: dict[object, object] = {}
        self.servers: dict[str, ServerConfig] = {}
        self.errors: Errors = []
        self.warnings: Errors = []
        self.overrides = dict(overrides or {})
        self._changes: dict[str, object] = {}
        self._tree: Tree | None = None  # of the text; None where it was not read since it was changed
        self._edited: tuple[Sections, dict[str, object]] | None = None  # the text to be written, and what it holds then
        self._sections: Sections | None = None
        self._new_inputs: Definitions = []  # definitions to be saved

    # -- reading

    def read_text(self, text: str, tree: Tree | None = None) -> None:
        """Take a text over. Raises ``FormatError``.

        :param tree: what it is read as, if it was read already.
        """
        fmt = texts.format_of(self.place.file, text)
        tree = tree or texts.parse(text, fmt)
        self.text, self.format = text, fmt
        self.read(tree.data, tree)

    def read(self, root: object, tree: Tree | None = None) -> None:
        """Take over what a file or mapping holds."""
        if root is None:
            self._complain("the file is empty")
            self.at = default_wrapper(self.format)
            return
        if not isinstance(root, Mapping):
            hint = "write the servers below mcpServers:"
            self._complain("the content must be a mapping", line=None if tree is None else 1, hint=hint)
            return
        self._tree = tree
        self.root = dict(root)
        self.at = wrapper(root) if root else default_wrapper(self.format)
        found = self._translated()
        if found is None:
            found = self._found(tree)
        if found is None:
            return
        self.raw = dict(found)
        source = self._source(tree is not None)
        if tree is not None:
            self._note_duplicates(tree)
        for name, value in found.items():
            made, errors, warned = build(name, value, source)
            self.errors += errors
            self.warnings += warned
            if made is not None:
                self.servers[made.name] = self._overridden(made)

    def _translated(self) -> Mapping[object, object] | None:
        """The servers of a host that writes them in a way of its own; None if it is none of these."""
        found = translated(texts.plain(self.root), self.place.file)
        if found is None:
            return None
        self.host, self.at = found.host, found.at
        for name, why in found.left_out.items():
            self.warnings.append(ConfigError(f"left out: {why}", file=self.place.file, server=name))
        if found.inputs:
            self.root = {**self.root, "inputs": found.inputs}
        return found.servers

    def _found(self, tree: Tree | None) -> Mapping[object, object] | None:
        """The entries under the servers' key; None if they can't be told."""
        found: object = self.root
        for key in self.at:
            found = found.get(key) if isinstance(found, Mapping) else None
        if found is None:
            return {}
        if not isinstance(found, Mapping):
            where = tree.line(*self.at) if tree is not None else None
            self._complain(f"{'.'.join(self.at)} must be a mapping", line=where)
            return None
        if self.at:
            return found
        bare = {k: v for k, v in found.items() if k not in NO_SERVERS and not str(k).startswith("x-")}
        if bare and not looks_bare(bare):
            hint = "write the servers below mcpServers:, each with a command or a url"
            self._complain("it has no servers", hint=hint)
            return None
        return bare

    def _note_duplicates(self, tree: Tree) -> None:
        for path, line in tree.duplicates():
            # readers of JSON silently take the last one
            if path[: len(self.at)] == self.at and len(path) > len(self.at):
                server, inner = str(path[len(self.at)]), ".".join(map(str, path[len(self.at) + 1 :])) or None
                self.errors.append(
                    make_error("the key appears twice", self.place.file, server, inner, line, "remove one")
                )

    def _complain(self, message: str, *, line: int | None = None, hint: str = "") -> None:
        self.errors.append(ConfigError(message, file=self.place.file, line=line, hint=hint))

    def fail(self, exc: FormatError) -> None:
        """The file as a whole is of no use."""
        self._complain(exc.message, line=exc.line, hint=exc.hint)

    def _source(self, located: bool) -> Source:
        def line(server: str, keys: list[object]) -> int | None:
            if not located or self.text is None:
                return None
            return self._tree_of(self.text, self.format).line(*self.at, server, *keys)

        place = self.place
        workspace = workspace_of(place.file) if place.file is not None else place.base
        defaults = {str(d["id"]): default for d in self.inputs() if isinstance(default := d.get("default"), str)}
        return Source(place.file, workspace, line, place.inputs, defaults, self._written if self.host else None)

    def _written(self, server: str, name: str) -> str:
        found: object = self.root
        for key in (*self.at, server):
            found = found.get(key) if isinstance(found, Mapping) else None
        return written(found, name)

    def inputs(self) -> Definitions:
        """The definitions of inputs."""
        return input_definitions(self.root, self.at)

    # -- changing

    def _overridden(self, server: ServerConfig) -> ServerConfig:
        return server.model_copy(update=self.overrides) if self.overrides else server

    def override(self, fields: Mapping[str, float]) -> None:
        """Have fields count for all servers."""
        self.overrides.update(fields)
        self.servers = {name: self._overridden(server) for name, server in self.servers.items()}

    def set(self, name: str, value: object) -> bool:
        """Add or replace a server; whether it is valid."""
        self._drop_problems(name)
        if isinstance(value, ServerConfig):
            if value.is_resolved:  # it would be saved, with the values of variables in it
                hint = "give the server as it was written"
                self.errors.append(ConfigError("is resolved, which is never saved", server=str(name), hint=hint))
                return False
            value = fields_of(value)
        try:
            value = texts.plain(dict(value)) if isinstance(value, Mapping) else value
        except FormatError as exc:
            self.errors.append(ConfigError(exc.message, server=str(name)))
            return False
        made, errors, warned = build(name, value, self._source(False))
        if not errors and name in ("mcpServers", *NO_SERVERS) and not self.at:
            errors.append(ConfigError("this name is reserved", server=name, hint="choose another"))
        self.errors += errors
        if made is None or errors:
            return False
        self.warnings += warned
        self.raw[name] = value
        self.servers[name] = self._overridden(made)
        self._changes[name] = value
        return True

    def remove(self, name: str) -> bool:
        """Remove a server, valid or not; whether it was there."""
        if name not in self.raw:
            return False
        del self.raw[name]
        self.servers.pop(name, None)
        self._drop_problems(name)
        self._changes[name] = DELETE
        self._drop_inputs()
        return True

    def _drop_problems(self, name: object) -> None:
        """What was said about a server that is no longer so."""
        self.errors = [error for error in self.errors if error.server is None or error.server != str(name)]
        self.warnings = [one for one in self.warnings if one.server is None or one.server != str(name)]

    def merge(self, other: Content, path: Path) -> list[str]:
        """Add the servers of another file; the names of those that were added."""
        added: list[str] = []
        self.errors += other.errors
        renamed = self._input_names(other)
        definitions = other.inputs()
        for name in other.servers:
            value = rebased(other.raw[name], workspace_of(path))
            wanted = sorted(input_ids(value))
            value = with_inputs(value, renamed)
            if name in self.raw:
                if not texts.same(self.raw[name], value):
                    self.warnings.append(ConfigError("already exists; not imported", file=path, server=name))
                continue
            before = self.root
            new = self._define([{**d, "id": renamed.get(d["id"], d["id"])} for d in definitions if d["id"] in wanted])
            if not self.set(name, value):
                self.root = before
                continue
            self._new_inputs += new
            added.append(name)
            if wanted:
                self._ask_for(name, wanted, renamed)
        return added

    def _ask_for(self, server: str, wanted: list[str], renamed: Mapping[str, str]) -> None:
        ids = ", ".join(renamed.get(one, one) for one in wanted)
        moved = [f"{renamed[one]} is its {one}" for one in wanted if one in renamed]
        why = f" ({', '.join(moved)}, which is another one here)" if moved else ""
        self.warnings.append(ConfigError(f"wants inputs: {ids}{why}", server=server, hint="pass inputs=..."))

    def _input_names(self, other: Content) -> dict[str, str]:
        """New ids for inputs of another configuration whose ids mean something else here."""
        mine, its = ({one["id"]: one for one in content.inputs()} for content in (self, other))
        used = {*mine, *input_ids(self.raw)}
        taken = {*used, *its, *input_ids(other.raw)}
        names: dict[str, str] = {}
        for id_ in sorted(input_ids(other.raw) & used):
            if texts.same(mine.get(id_), its.get(id_)):
                continue
            number = 2
            while f"{id_}-{number}" in taken:
                number += 1
            names[id_] = f"{id_}-{number}"
            taken.add(names[id_])
        return names

    def _define(self, definitions: Definitions) -> Definitions:
        """Add definitions of inputs to those that there are; those that are new."""
        known = {one["id"] for one in self.inputs()}
        new = [one for one in definitions if one["id"] not in known]
        if new:
            path = (*self.at[:-1], "inputs")
            self.root = texts.put_member(self.root, path, [*input_list(self.root, self.at), *new])
        return new

    def _drop_inputs(self) -> None:
        """Those that came along with a server which is no longer there, and that nobody has seen yet."""
        wanted = input_ids(self.raw)
        gone = [one["id"] for one in self._new_inputs if one["id"] not in wanted]
        if gone:
            self._new_inputs = [one for one in self._new_inputs if one["id"] in wanted]
            there = input_list(self.root, self.at)
            kept = [one for one in there if not (isinstance(one, dict) and one.get("id") in gone)]
            self.root = texts.put_member(self.root, (*self.at[:-1], "inputs"), kept or DELETE)

    # -- writing

    def new_text(self, target: Path, own: bool, force: bool) -> tuple[str, str, Tree | None]:
        """The text to be written to a file, its line end, and what it is read as, where that is known.

        :param own: it is the file that this was read from, whose text may be another by now.
        :param force: lose comments, or what cannot be read.
        """
        if own and self.host:
            said = f"{self.host} writes this file in a format of its own"
            raise FormatError(said, hint="import it into another file: aionest mcp config import")
        if own and target.exists():
            text, newline = read_text(target)
            quick = self._by_sections(text, force)
            if quick is not None:
                return quick, newline, None
            fmt = texts.format_of(target, text)
            try:
                tree = self._tree_of(text, fmt)
                root = tree.data
                if root is not None and not isinstance(root, dict):
                    raise FormatError("the file is not a mapping", 1)
                at = wrapper(root) if root else default_wrapper(fmt)
                tree = self._edited_whole(tree, fmt, at, force)
                return tree.text, newline, tree
            except FormatError:
                if not force:
                    raise
            return texts.render(self._whole(fmt), fmt), newline, None
        fmt = texts.format_of(target, "")
        if self.text is not None and fmt == self.format and not self.host:
            tree = self._edited_whole(self._tree_of(self.text, fmt), fmt, self.at, force)
            return tree.text, "\n", tree
        return texts.render(self._whole(fmt), fmt), "\n", None

    def _tree_of(self, text: str, fmt: str) -> Tree:
        """A text as it is read; once where it is this one's own."""
        if text != self.text or fmt != self.format:
            return texts.parse(text, fmt)
        if self._tree is None:
            self._tree = texts.parse(text, fmt)
        return self._tree

    def _by_sections(self, text: str, force: bool) -> str | None:
        """The text with what was changed, each server by itself; None where that cannot be done."""
        self._edited = None
        if text != self.text or not self._changes or self._new_inputs:
            return None
        if self._sections is None:
            self._sections = Sections.of(self._tree_of(text, self.format), self.format, self.at)
        if self._sections is None:
            return None
        sections, held = copy.copy(self._sections), texts.mapping(texts.value_at(self.root, self.at))
        try:
            for name, value in self._changes.items():
                if not _edit_section(sections, held, name, value, force):
                    return None
        except FormatError:
            return None
        self._edited = sections, {name: held.get(name, DELETE) for name in self._changes}
        return sections.text

    def is_written(self, text: str) -> bool:
        """A text is in the file now: take it over as if it had been read. False if it has to be."""
        edited, self._edited = self._edited, None
        if edited is None or edited[0].text != text or self.errors or self.warnings:
            return False
        self._sections, changes = edited
        self.text, self._tree, self._changes = text, None, {}
        source = self._source(True)
        for name, value in changes.items():
            self.root = texts.put_member(self.root, (*self.at, name), value)
            if value is DELETE:
                continue
            self.raw[name] = value
            made, errors, warned = build(name, value, source)
            self.errors += errors
            self.warnings += warned
            if made is not None:
                self.servers[name] = self._overridden(made)
        return True

    def _edited_whole(self, tree: Tree, fmt: str, at: tuple[str, ...], force: bool) -> Tree:
        """A file with what was changed."""
        root = texts.mapping(tree.data)
        there = {one["id"]: one for one in input_definitions(root, at)}
        for one in self._new_inputs:
            if one["id"] in there and not texts.same(there[one["id"]], one):
                raise FormatError(f"input {one['id']!r} has changed on disk", hint="reload, then import again")
        new = [one for one in self._new_inputs if one["id"] not in there]
        if new:
            tree = texts.edit(tree, fmt, at[:-1], {"inputs": [*input_list(root, at), *new]}, force)
        return texts.edit(tree, fmt, at, self._changes, force)

    def _whole(self, fmt: str) -> dict[object, object]:
        """All content, in the shape that it has."""
        if self.host:
            at = default_wrapper(fmt)
            asked: dict[object, object] = (
                {"inputs": self.root["inputs"]} if isinstance(self.root.get("inputs"), list) else {}
            )
            return {**asked, **(texts.put_member({}, at, dict(self.raw)) if at else self.raw)}
        at = self.at if self.root.keys() - {"inputs"} else default_wrapper(fmt)
        servers = dict(self.raw)
        if not at:
            return {**{k: v for k, v in self.root.items() if k in NO_SERVERS or str(k).startswith("x-")}, **servers}
        return texts.put_member(self.root, at, servers)


def _edit_section(sections: Sections, held: dict[object, object], name: str, value: object, force: bool) -> bool:
    """Make one change, in the text and in what it holds; whether it could be made. Raises ``FormatError``."""
    names = sections.around(name, value)
    if names is None or (name in held) != (name in sections.spans):
        return False
    document = sections.document(*names)
    tree = texts.parse(document, sections.format)
    there = texts.value_at(tree.data, sections.at)
    if not texts.same(there, {one: held.get(one) for one in names}):
        return False  # some of it is elsewhere
    made = texts.edit(tree, sections.format, sections.at, {name: value}, force)
    new = texts.mapping(texts.value_at(made.data, sections.at))
    if not sections.replace(names, made, name, value is DELETE):
        return False
    if value is DELETE:
        del held[name]
    else:
        held[name] = new[name]
    return True


def fields_of(server: ServerConfig) -> dict[str, object]:
    """The fields to write for a server: those that were given."""
    data = server.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
    if "transport" in server.model_fields_set:
        data["transport"] = server.transport
    else:
        data.pop("transport", None)
    return {k: int(v) if isinstance(v, float) and math.isfinite(v) and v == int(v) else v for k, v in data.items()}


__all__ = ["Content", "Place", "fields_of"]
