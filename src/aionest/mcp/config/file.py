"""ToolsConfig: a file with servers, read, changed and saved.

Contract: reading never raises for what a file contains: every problem becomes a ``ConfigError`` in a list, and one bad server
doesn't hide the good ones. What is saved is what was written, without interpolation. All methods may be called from any thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import text as texts
from .content import Content, Place
from .errors import ConfigError, Errors
from .files import read_text, stamp_of, write_atomic
from .hosts import find, known_host_files
from .inputs import Definitions
from .interpolate import Inputs
from .locking import locked
from .server import ServerConfig, ToolsConfigValue
from .text import FormatError

Names = list[str]  # ToolsConfig has a method ``list``


class ToolsConfig:
    """A file with servers. All methods may be called from any thread.

    :param config_file: the file, or None for a configuration without one.
    :param load: read it at once.
    :param inputs: values for ``${input:id}`` of the servers: a mapping, or a function of the id.
    """

    only_found = False
    """Nobody has named the file: a loader asks whether it is accepted, at each reload."""

    def __init__(
        self, config_file: str | Path | None = "mcp.yaml", load: bool = True, *, inputs: Inputs = None
    ) -> None:
        self.config_file = None if config_file is None else Path(config_file)
        self._inputs = inputs
        self._lock = threading.RLock()
        self._base: Path | None = None
        self._content = Content(self._place())
        if load:
            self.load()

    def _place(self) -> Place:
        return Place(self.config_file, self._base, self._inputs)

    def _fresh(self) -> Content:
        """Nothing, in the place of what there is: only overrides stay."""
        self._content = Content(self._place(), self._content.overrides)
        return self._content

    @classmethod
    def from_dict(
        cls, mapping: Mapping[str, object], base_dir: str | Path | None = None, *, inputs: Inputs = None
    ) -> ToolsConfig:
        """A configuration without a file, of any of the shapes.

        :param mapping: the content; it is copied.
        :param base_dir: what ``${workspaceFolder}`` means; the working directory unless given.
        """
        made = cls(None, load=False, inputs=inputs)
        made._base = None if base_dir is None else Path(base_dir)
        content = made._fresh()
        try:
            content.read(texts.plain(mapping) if isinstance(mapping, dict) else mapping)
        except FormatError as exc:
            content.fail(exc)
        return made

    find = staticmethod(find)
    known_host_files = staticmethod(known_host_files)

    # -- looking

    def list(self) -> Names:
        """Names of the valid servers, disabled ones included, in the file's order."""
        with self._lock:
            return [*self._content.servers]

    def get(self, name: str) -> ToolsConfigValue | None:
        """The fields of a valid server as they were written (a copy), or None."""
        with self._lock:
            if name not in self._content.servers:
                return None
            return ToolsConfigValue.of_valid(self._content.raw[name])

    def get_errors(self) -> Names:
        """The errors as text."""
        with self._lock:
            return [str(error) for error in self._content.errors]

    @property
    def errors(self) -> Errors:
        """What is wrong with the file and its servers."""
        with self._lock:
            return [*self._content.errors]

    @property
    def warnings(self) -> Errors:
        """What is suspicious but does no harm, such as unknown fields."""
        with self._lock:
            return [*self._content.warnings]

    @property
    def servers(self) -> dict[str, ServerConfig]:
        """The valid servers by name, without interpolation."""
        with self._lock:
            return dict(self._content.servers)

    @property
    def raw(self) -> dict[Any, Any]:
        """A copy of everything under the servers' key as it was written, invalid entries included."""
        with self._lock:
            return texts.plain(self._content.raw)

    @property
    def inputs(self) -> Definitions:
        """The definitions of inputs in the file: mappings with id, type, description, default, password."""
        with self._lock:
            return self._content.inputs()

    @property
    def is_from_file(self) -> bool:
        """Was a file read, whatever it held, and not all of it set by code?"""
        return self._content.text is not None

    def stamp(self) -> tuple[int, int, int] | None:
        """What tells that the file has changed, without reading it: another value then. None for no file."""
        return stamp_of(self.config_file)

    def __repr__(self) -> str:
        with self._lock:
            file = None if self.config_file is None else str(self.config_file)
            content = self._content
            return f"ToolsConfig({file!r}, servers={[*content.servers]}, errors={len(content.errors)})"

    # -- changing

    def set(self, name: str, value: Mapping[str, object] | ServerConfig) -> bool:
        """Add or replace a server, in memory until ``save``.

        :param value: its fields, uninterpolated; what ``resolved`` gave is refused.
        :return: whether it is valid. If not, nothing changes and the errors are added to ``errors``.
        """
        with self._lock:
            self._content.place = self._place()
            return self._content.set(name, value)

    def override(self, **fields: float) -> None:
        """Have fields count for all servers, whatever the file says. They stay with this object, and are never saved.

        :param fields: ``timeout``, ``connect_timeout``, ``cache_ttl``.
        :raises ConfigError: there is no such field, or the value is not valid.
        """
        unknown = fields.keys() - {"timeout", "connect_timeout", "cache_ttl"}
        if unknown:
            raise ConfigError(f"{unknown.pop()!r} cannot be set for all servers")
        checked = ServerConfig(name="any", command="any", **fields)
        with self._lock:
            self._content.override({key: getattr(checked, key) for key in fields})

    def remove(self, name: str) -> bool:
        """Remove a server, valid or not, in memory until ``save``; whether it was there."""
        with self._lock:
            return self._content.remove(name)

    def import_from(self, path: str | Path) -> Names:
        """Add the servers of another file, in memory until ``save``.

        Servers whose name is taken stay as they are, with a warning unless they are the same. ``${workspaceFolder}`` and
        relative folders of the other file are made absolute, so that they mean the same as before. Definitions of the inputs
        that they refer to come along; an input whose id means something else here gets another id. The other file's errors
        are added to ``errors``.

        :return: the names added.
        """
        other = ToolsConfig(path)
        with self._lock:
            self._content.place = self._place()
            return self._content.merge(other._content, Path(path))

    # -- files

    def load(self, file: str | Path | None = None) -> bool:
        """Read the file; changes that were not saved are dropped.

        :param file: another file, which takes the place of ``config_file``.
        :return: whether there are no errors. It never raises for what is in the file, or if there is none.
        """
        with self._lock:
            if file is not None:
                self.config_file = Path(file)
            content = self._fresh()
            if self.config_file is None:
                return True
            try:
                text, _ = read_text(self.config_file)
                content.read_text(text)
            except FormatError as exc:
                content.fail(exc)
            except FileNotFoundError:
                content.fail(FormatError("no such file"))
            except OSError as exc:
                content.fail(FormatError(f"cannot be read: {exc.strerror}"))
            except ValueError:
                # such as a null character in its path
                content.fail(FormatError("not a valid file name"))
            return not content.errors

    def save(self, file: str | Path | None = None, *, force: bool = False) -> bool:
        """Write the servers, uninterpolated.

        Only the servers that were changed are touched, in the file as it is now: comments, order, layout, shape and mode stay,
        and so do changes that others made meanwhile. The file is replaced at once. A new file has mode 0600.

        :param file: another file, of any of the formats; it is replaced. ``config_file`` stays, unless it is None.
        :param force: lose comments, or what is in a file that cannot be read, rather than fail.
        :return: whether it was written. If not, the reason is added to ``errors``.
        """
        target = self.config_file if file is None else Path(file)
        if target is None:
            with self._lock:
                self._content.errors.append(ConfigError("no file to save to", hint="name one"))
            return False
        try:
            # outside the own lock, so that nobody who only reads here waits for another process
            with locked(target):
                return self._save(target, force)
        except OSError as exc:
            with self._lock:
                self._content.errors.append(ConfigError(f"not saved: {exc.strerror}", file=target))
            return False

    def _save(self, target: Path, force: bool) -> bool:
        with self._lock:
            content = self._content
            own = self.config_file is not None and os.path.realpath(target) == os.path.realpath(self.config_file)
            try:
                text, newline, tree = content.new_text(target, own, force)
                write_atomic(target, text, newline)
            except FormatError as exc:
                content.errors.append(
                    ConfigError(f"not saved: {exc.message}", file=target, line=exc.line, hint=exc.hint)
                )
                return False
            except UnicodeEncodeError:
                content.errors.append(ConfigError("not saved: it has characters that UTF-8 cannot encode", file=target))
                return False
            if own or self.config_file is None:
                self.config_file = target
                if own and content.is_written(text):
                    return True
                content = self._fresh()
                try:
                    content.read_text(text, tree)
                except FormatError as exc:
                    content.fail(exc)
            return True


__all__ = ["ToolsConfig"]
