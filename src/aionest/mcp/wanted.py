"""Wanted: which servers there should be, by a configuration that may change.

Contract: a configuration that was only found in the working directory starts nothing until it was accepted. A file that cannot be
read as a whole is no reason to end anything. What code has set in a configuration counts without a file.

``read`` is called by one thread at a time.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from .auth import Trust, was_only_found
from .config import ConfigError, ServerConfig, ToolsConfig, stamp_of
from .config.interpolate import Inputs
from .errors import UsageError

if TYPE_CHECKING:
    from .catalog import Retriever

CONFIGURATION = "(configuration)"  # in place of a server's name, for what is wrong with all of it
CONFIGURATIONS = "the path of a file, a mapping of servers or a ToolsConfig"
HOW_TO_MAKE_ONE = (
    'Make one with `aionest mcp config add NAME COMMAND`, name a file (ToolsLoader("mcp.json")), '
    'or give the servers: ToolsLoader({"time": {"command": "mcp-server-time"}})'
)


def arguments_of(
    first: object, config: object, config_file: object, retriever: Retriever | None
) -> tuple[ToolsConfig | Mapping[str, object] | None, str | Path | None, Retriever | None]:
    """What a loader was given, told apart by type: the configuration or None, the file or None, the retriever or None.

    :param first: what stands first: a configuration, or a registry, which is the retriever.
    :raises TypeError: something of it is of no use.
    :raises UsageError: there are two configurations.
    """
    if first is not None and not _is_configuration(first):
        if retriever is not None or not _is_retriever(first):
            raise TypeError(f"a configuration must be {CONFIGURATIONS}, not {type(first).__name__}")
        first, retriever = None, first
    if config is not None and not _is_configuration(config):
        raise TypeError(f"config must be {CONFIGURATIONS}, not {type(config).__name__}")
    if config_file is not None and not isinstance(config_file, (str, os.PathLike)):
        raise TypeError(f"config_file must be the path of a file, not {type(config_file).__name__}")
    given = [one for one in (first, config, config_file) if one is not None]
    if len(given) > 1:
        raise UsageError("give one configuration: first, as config or as config_file, not both")
    one = given[0] if given else None
    if isinstance(one, (str, os.PathLike)):
        return None, one if isinstance(one, (str, Path)) else os.fspath(one), retriever
    return one if isinstance(one, (Mapping, ToolsConfig)) else None, None, retriever


def _is_retriever(value: object) -> TypeGuard[Retriever]:
    return all(callable(getattr(value, name, None)) for name in ("get", "add", "remove"))


def _is_configuration(value: object) -> bool:
    return isinstance(value, (Mapping, str, os.PathLike, ToolsConfig))


class Wanted:
    """The servers that a loader is to have.

    :param config: the configuration, or a mapping of servers; or
    :param config_file: a file with one; None looks in the usual places.
    :param inputs: values for ``${input:id}``.
    :param servers: names of those that are wanted; None is all.
    """

    def __init__(
        self,
        config: ToolsConfig | Mapping[str, object] | None,
        config_file: str | Path | None,
        inputs: Inputs,
        servers: Collection[str] | None,
    ) -> None:
        if config is not None and config_file is not None:
            raise UsageError("give config or config_file, not both")
        if isinstance(servers, (str, bytes)):
            raise TypeError(f"servers must be a collection of names: [{servers!r}]")
        if inputs is not None and not callable(inputs) and not isinstance(inputs, Mapping):
            raise TypeError(f"inputs must be a mapping or a function of the id, not {type(inputs).__name__}")
        self._named = config_file is not None or (config is None and bool(os.environ.get("MCP_FILE")))
        self._from_place = config is None  # and not from code
        self._only_found = isinstance(config, ToolsConfig) and config.only_found
        stamp: object = None
        if config is None:
            if config_file is None:
                config_file = ToolsConfig.find() or "mcp.yaml"
                self._only_found = was_only_found(config_file)
            stamp = stamp_of(config_file)  # before it is read: what is written from now on is seen
            config = ToolsConfig(config_file, inputs=inputs)
        elif not isinstance(config, ToolsConfig):
            config = ToolsConfig.from_dict(config, inputs=inputs)
        elif inputs is not None:
            raise UsageError("give inputs to the ToolsConfig")
        self.config: ToolsConfig = config
        self.errors: dict[str, str] = {}  # by server
        self._chosen = None if servers is None else frozenset(servers)
        self._stamp = stamp or config.stamp()  # of what was read

    def _is_chosen(self, name: str) -> bool:
        return self._chosen is None or name in self._chosen

    @property
    def is_not_accepted(self) -> bool:
        """Is the configuration that of a file that was only found? What code has set is not, as long as there is no file."""
        return self._only_found and self.config.is_from_file and not Trust().is_trusted(self.config)

    def read(self) -> bool:
        """Read the file if it is another. False if nothing of it may be used; ``errors`` says why."""
        stamp = self.config.stamp()
        if stamp is not None and stamp != self._stamp:
            self.config.load()
        self._stamp = stamp
        problems = {
            error.server or CONFIGURATION: str(error)
            for error in self.config.errors
            if error.server is None or self._is_chosen(error.server)
        }
        refused = self.is_not_accepted
        if refused:
            problems.setdefault(
                CONFIGURATION,
                f"{self.config.config_file} was found in this folder and has not been accepted, so none of its servers was started: name it "
                "(config_file=...), or accept it once with `aionest mcp check --yes`",
            )
        self.errors = problems
        return not refused

    def missing(self) -> ConfigError | None:
        """The error if there is no configuration at all: no file of the name, or none in the usual places."""
        file = self.config.config_file
        if not self._from_place or file is None or self.config.servers or os.path.isfile(file):
            return None
        if self._named:
            said = "no such file" if not os.path.exists(file) else "this is not a file"
            return ConfigError(said, file=file, hint=HOW_TO_MAKE_ONE)
        return ConfigError("no configuration was found", hint=HOW_TO_MAKE_ONE)

    @property
    def is_unreadable(self) -> bool:
        """Can it not be read as a whole?"""
        return CONFIGURATION in self.errors

    def servers(self) -> dict[str, ServerConfig]:
        """Those that are wanted, by name."""
        return {name: one for name, one in self.config.servers.items() if self._is_chosen(name)}

    def server(self, name: str) -> ServerConfig:
        """One that is asked for, whether or not it was loaded.

        :raises UsageError: it is not configured, or must not be started.
        """
        servers = self.config.servers
        if name not in servers:
            raise UsageError(f"no server {name!r} is configured; there are: {', '.join(servers) or 'none'}")
        if self.is_not_accepted:
            raise UsageError(
                f"{self.config.config_file} was found in this folder and has not been accepted: name it (config_file=...)"
            )
        return servers[name]


__all__ = ["Wanted"]
