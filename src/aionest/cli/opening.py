"""A configuration found and accepted, and a loader that is there for a while.

Contract: nothing is started of a configuration that was found and never accepted.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from . import _complete, lib
from .options import pairs
from .output import STYLE, State, err, is_interactive
from .suggest import no_server

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path


def find_config(file: Path | None, yes: bool = False, inputs: dict[str, str] | None = None) -> lib.ToolsConfig:
    """The configuration to start servers of.

    :raises UsageError: there is none, or it was only found and is not accepted.
    """
    given = inputs if inputs is not None else {}
    if file is not None:
        if not file.exists():
            raise lib.UsageError(f"{file}: no such file")
        config = lib.ToolsConfig(file, inputs=given)
        here = file.resolve()
        places = (lib.ToolsConfig.find(folder) for folder in here.parents[:2])
        if any(place is not None and place.resolve() == here for place in places):
            with contextlib.suppress(OSError, ValueError):
                lib.Trust().accept(config)  # named once, it may be found from now on
        return config
    found = lib.ToolsConfig.find()
    if found is None:
        raise lib.UsageError(
            "no configuration found: name one with --config, or make one with `aionest mcp config add`"
        )
    config = lib.ToolsConfig(found, inputs=given)
    config.only_found = lib.was_only_found(found)
    if config.only_found and not lib.Trust().is_trusted(config):
        _accept(config, found, yes)
    return config


def _accept(config: lib.ToolsConfig, found: Path, yes: bool) -> None:
    if not yes:
        if not is_interactive():
            raise lib.UsageError(
                f"{found} was found in this folder and has not been accepted: name it with --config, or accept it with --yes"
            )
        err.print(f"[bold]{escape(str(found))}[/] was found in this folder. It would start or connect to:")
        for line in lib.would_start(config):
            err.print(f"  {line}", markup=False, emoji=False, soft_wrap=True)
        if not typer.confirm("Trust this file from now on?", err=True):
            raise lib.UsageError("not accepted: nothing was started")
    try:
        lib.Trust().accept(config)
    except ValueError:
        return  # it cannot be read: what is wrong with it is told soon
    except OSError as exc:
        config.only_found = False  # accepted for this time
        err.print(f"cannot remember that it was accepted: {exc.strerror or exc}", markup=False)


def _ask_inputs(config: lib.ToolsConfig, chosen: list[str], given: dict[str, str]) -> None:
    """Ask a person for the inputs that are wanted and have no value."""
    wanted: set[str] = set()
    for name in chosen:
        if not config.servers[name].disabled:
            wanted |= lib.input_ids(config.raw[name])
    known = {one["id"]: one for one in config.inputs}
    for number in sorted(wanted - given.keys()):
        described = known.get(number, {})
        if not is_interactive():
            if isinstance(described.get("default"), str):
                continue
            raise lib.UsageError(f"the configuration needs a value for input {number!r}: give --input {number}=VALUE")
        options = described.get("options")
        text = str(described.get("description") or number)
        if isinstance(options, list) and options:
            text += f" ({', '.join(map(str, options))})"
        given[number] = typer.prompt(
            text, default=described.get("default"), hide_input=bool(described.get("password")), err=True
        )


def _check_names(config: lib.ToolsConfig, servers: list[str]) -> None:
    """Does the configuration have servers of these names?"""
    for name in servers:
        if name not in config.servers:
            told = next((str(e) for e in config.errors if e.server == name), no_server(name, config.servers))
            raise lib.UsageError(told, server=name)


@contextlib.contextmanager
def loaded(
    file: Path | None,
    servers: list[str] | None = None,
    yes: bool = False,
    *,
    timeout: float | None = None,
    inputs: list[str] | None = None,
    config: lib.ToolsConfig | None = None,
    quiet: bool = False,
    tolerant: bool = False,
    **options: Any,
) -> Iterator[lib.ToolsLoader]:
    """A loader with its servers open.

    :param servers: only these.
    :param config: one that was found already, by ``find_config``.
    :param quiet: do not show how they come up.
    :param tolerant: what ``missing()`` gives is the caller's to tell. Else it is raised: at once if there is nothing to go on with,
        otherwise when the caller has shown what there is.
    :raises UsageError: no such server.
    """
    given = pairs(inputs, "ID=VALUE")
    if config is None:
        config = find_config(file, yes, given)
    _check_names(config, servers or [])
    if timeout is not None:
        config.override(timeout=timeout, connect_timeout=timeout)
    chosen = [name for name in config.servers if not servers or name in servers]
    _ask_inputs(config, chosen, given)
    loader = lib.ToolsLoader(config=config, servers=chosen if servers else None, **options)
    waiting = [name for name in chosen if not config.servers[name].disabled]
    try:
        with _progress(waiting, quiet) as progress:
            try:
                loader.load(progress=progress)
            except lib.ToolsError:
                if not loader.failures:
                    raise  # else it is a server that is required, and the others are there
        _complete.remember(loader)
        failure = None if tolerant else missing(loader, servers)
        if failure is not None and not is_anything_open(loader):
            if not State.json:
                show_errors(loader, whole=True)
            end(failure)
        yield loader
        if failure in loader.failures.values():  # else it has come up meanwhile
            end(failure)
    finally:
        loader.cleanup(timeout=15)


def is_anything_open(loader: lib.ToolsLoader) -> bool:
    """Is any server there?"""
    return any(status.state == "connected" for status in loader.status.values())


def worst(failures: Iterable[lib.ToolsError]) -> lib.ToolsError | None:
    """The error that the exit code tells of: a login that is wanted, else an unavailable server, else one of the configuration."""
    return max(failures, key=lambda one: (one.exit_code == lib.AuthError.exit_code, one.exit_code), default=None)


def missing(loader: lib.ToolsLoader, named: Collection[str] | None) -> lib.ToolsError | None:
    """What a command ends with even if it has shown what there is: the configuration cannot be used, a server that was named
    or is required is not there, or none is.

    :param named: what the person has asked for.
    """
    failures, servers = loader.failures, loader.config.servers
    if not is_anything_open(loader):
        return worst([*failures.values(), *([] if named else loader.config.errors)])
    return worst(failure for name, failure in failures.items() if name in (named or ()) or servers[name].required)


def end(failure: lib.ToolsError | None) -> None:
    """End with an error, if there is one; a person was told already."""
    if failure is not None:
        raise failure if State.json else typer.Exit(failure.exit_code)


@contextlib.contextmanager
def _progress(waiting: list[str], quiet: bool) -> Iterator[Callable[[lib.ServerStatus], None] | None]:
    if quiet or State.json or not err.is_terminal:
        yield None
        return
    left = list(waiting)
    with err.status(f"starting {', '.join(left) or 'nothing'} ...") as status:

        def progress(one: lib.ServerStatus) -> None:
            if one.name in left:
                left.remove(one.name)
            took = f" {one.connect_seconds:.1f} s" if one.connect_seconds is not None else ""
            err.print(f"  [{STYLE.get(one.state, '')}]{one.state:10}[/] {escape(one.name)}{took}")
            status.update(f"waiting for {', '.join(left)} ..." if left else "ready")

        yield progress


def without_name(text: str, name: str) -> str:
    """An error's text for where the server's name stands beside it."""
    return text.removeprefix(f"server {name!r}: ").removeprefix(f"server {name!r} ")


def show_errors(loader: lib.ToolsLoader, *, whole: bool = False, shown: bool = False) -> None:
    """What is not there, and why.

    :param whole: all lines.
    :param shown: a table of the servers has said it of those that are in it.
    """
    for name, text in loader.errors.items():
        if shown and name in loader.status:
            continue
        lines = without_name(text if whole else text.splitlines()[0], name)
        err.print(f"[red]{escape(name)}[/]: {escape(lines)}", soft_wrap=True)
