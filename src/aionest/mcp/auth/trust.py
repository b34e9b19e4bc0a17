"""Which configuration files may start something.

Contract: a configuration found in the working directory runs nothing until a person named or accepted it once. What is
remembered are hashes, no paths and no contents; whatever cannot be read is not trusted. The methods of one object may be
called from any thread.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import threading
from collections.abc import Collection
from pathlib import Path

from ..config import ToolsConfig, locked, read_object, write_atomic
from ..config.interpolate import has_reference
from ..config.masks import HIDDEN, mask_url, token_like

__all__ = ["Trust", "was_only_found", "would_start"]


def was_only_found(path: str | Path) -> bool:
    """Is a file that nobody has named one of the working directory? It need not be there yet.

    Not if $MCP_FILE names it, nor if it is the user's own in the configuration folder of aionest.
    """
    named = os.environ.get("MCP_FILE")
    if named and os.path.realpath(Path(named).expanduser()) == os.path.realpath(path):
        return False
    import platformdirs

    own = platformdirs.user_config_path("aionest", appauthor=False) / "mcp.yaml"
    return os.path.realpath(path) != os.path.realpath(own)


def would_start(config: ToolsConfig, names: Collection[str] | None = None) -> list[str]:
    """What a person is asked to accept, in lines: what each server starts or reaches, as it is written in the file.

    Arguments are not masked, as what is hidden could be what is run. Of the environment and of headers those values are that
    have the name of a secret and are no reference. Characters that a terminal would obey are escaped.
    """
    lines: list[str] = []
    for name, server in config.servers.items():
        if names is not None and name not in names:
            continue
        if server.transport == "stdio":
            target, values = shlex.join([server.command or "", *server.args]), server.env
        else:
            target, values = mask_url(server.url or ""), {**server.env, **server.headers}
        lines.append(f"{name}: {target}")
        for key, value in values.items():
            if token_like(key) and not has_reference(value):
                value = HIDDEN
            elif re.match(r"[A-Za-z][\w+.-]*://", value):
                value = mask_url(value)
            lines.append(f"    with {shlex.quote(f'{key}={value}')}")
        if server.env_file is not None:
            lines.append(f"    with the variables of {shlex.quote(server.env_file)}")
        if server.cwd is not None:
            lines.append(f"    in {shlex.quote(server.cwd)}")
        for key, value in server.input_defaults().items():
            lines.append(f"    with {shlex.quote(value)} for the input {shlex.quote(key)}, unless one is given")
    return [_plain(line) for line in lines]


def _plain(text: str) -> str:
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


class Trust:
    """Remembers which configurations were accepted.

    Accepting is about what would be started or contacted (commands, arguments, environment, folders, URLs, headers, auth)
    as written in the file, without interpolation, and the defaults of inputs that these refer to. Other settings and comments may change; any change of these asks again.
    The contents of .env files and of the programs themselves are not covered.

    :param file: where to remember it; a file in the user's state folder unless given.
    """

    def __init__(self, file: str | Path | None = None) -> None:
        if file is None:
            import platformdirs

            file = platformdirs.user_state_path("aionest", appauthor=False) / "trust.json"
        self.file = Path(file)
        self._lock = threading.RLock()

    def is_trusted(self, config: str | Path | ToolsConfig) -> bool:
        """Whether the configuration was accepted as it is now.

        :param config: the file. Better the loaded ToolsConfig, which cannot change between this answer and its use.
        """
        marks = self._marks(config)
        with self._lock:
            return marks is not None and self._read().get(marks[0]) == marks[1]

    def accept(self, config: str | Path | ToolsConfig) -> None:
        """Trust the configuration as it is now.

        :raises ValueError: it has no file, or the file cannot be read.
        :raises OSError: it cannot be remembered.
        """
        marks = self._marks(config)
        if marks is None:
            raise ValueError("a configuration file that cannot be read cannot be accepted")
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock, locked(self.file):
            self._write({**self._read(), marks[0]: marks[1]})

    def revoke(self, config: str | Path | ToolsConfig) -> bool:
        """No longer trust the file, whatever it holds; whether it was remembered.

        :raises OSError: this cannot be remembered.
        """
        path = config.config_file if isinstance(config, ToolsConfig) else Path(config)
        if path is None or _path_mark(path) not in self._read():
            return False
        with self._lock, locked(self.file):
            known = self._read()
            if known.pop(_path_mark(path), None) is None:
                return False
            self._write(known)
            return True

    def _marks(self, config: str | Path | ToolsConfig) -> tuple[str, str] | None:
        """What stands for the path, and for the path with its commands."""
        loaded = config if isinstance(config, ToolsConfig) else ToolsConfig(config)
        if loaded.config_file is None or any(error.server is None for error in loaded.errors):
            return None
        commands = {name: server.content_hash() for name, server in sorted(loaded.servers.items())}
        path = _path_mark(loaded.config_file)
        return path, hashlib.sha256(json.dumps([path, commands]).encode()).hexdigest()

    def _read(self) -> dict[str, str]:
        return {k: v for k, v in read_object(self.file).items() if isinstance(v, str)}

    def _write(self, known: dict[str, str]) -> None:
        write_atomic(self.file, json.dumps(known, indent=1, sort_keys=True) + "\n", mode=0o600)


def _path_mark(path: Path) -> str:
    return hashlib.sha256(os.path.realpath(path).encode("utf-8", "surrogateescape")).hexdigest()
