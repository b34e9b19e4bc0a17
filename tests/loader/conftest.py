"""Servers for the tests of aionest.mcp: the project's own over stdio."""

from __future__ import annotations

import gc
import os
import warnings

import forked
import psutil
import pytest


def descendants(process):
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:  # it has just ended
        return []


def running():
    """Server processes below this one that run; what other tests' programs are forked from is none."""
    below = [child for child in psutil.Process().children() if child.pid not in forked.Server.pids]
    found = []
    for process in [*below, *(p for child in below for p in descendants(child))]:
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return found


def close_default_portal():
    from aionest import portal

    portal().close()


def drop_what_old_sdks_leave():
    """Before 1.30 the SDK leaves streams of failed HTTP sessions open: their warnings are not the next test's."""
    from aionest.mcp import sdk

    if tuple(int(part) for part in sdk.VERSION.split(".")[:2]) < (1, 30):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@pytest.fixture(autouse=True)
def nothing_left():
    """Loaders use the process's portal, which is closed after each test; what must not stay are servers."""
    before = {p.pid for p in running()}
    yield
    close_default_portal()
    drop_what_old_sdks_leave()
    assert not [p for p in running() if p.pid not in before]


@pytest.fixture
def make_loader():
    from aionest.mcp import ToolsLoader

    made = []

    def make(config, **options):
        loader = (
            ToolsLoader(config=config, **options)
            if not isinstance(config, (str, os.PathLike))
            else ToolsLoader(config_file=config, **options)
        )
        made.append(loader)
        loader.load()
        return loader

    yield make
    for loader in made:
        loader.cleanup()


@pytest.fixture
def taken(monkeypatch):
    """Whether each line of a server that is a process was taken past the SDK's own loop."""
    from aionest.mcp.transport.pipes import Incoming

    found = []
    take = Incoming.take

    def noting(self, line):
        found.append(take(self, line))
        return found[-1]

    monkeypatch.setattr(Incoming, "take", noting)
    return found


@pytest.fixture
def processes():
    """A function that gives the server processes that run."""
    return running


@pytest.fixture
def complaints():
    """A function that gives what a child said on stderr, without asyncio's notes that this machine is slow."""

    def complaints(result):
        return [
            line for line in result.stderr.splitlines() if not (line.startswith("Executing <") and " took " in line)
        ]

    return complaints
