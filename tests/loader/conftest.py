"""Servers for the tests of aionest.mcp: the project's own over stdio."""

from __future__ import annotations

import psutil
import pytest

pytest.importorskip("mcp")


def running():
    """Server processes below this one that run."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return found


@pytest.fixture(autouse=True)
def nothing_left():
    """Here the process's portal stays open between tests; what must not stay are servers."""
    before = {p.pid for p in running()}
    yield
    assert not [p for p in running() if p.pid not in before]


@pytest.fixture
def make_loader():
    from aionest.mcp import ToolsLoader

    made = []

    def make(config, **options):
        loader = (
            ToolsLoader(config=config, **options)
            if isinstance(config, dict)
            else ToolsLoader(config_file=config, **options)
        )
        made.append(loader)
        loader.load()
        return loader

    yield make
    for loader in made:
        loader.cleanup()


@pytest.fixture
def processes():
    """A function that gives the server processes that run."""
    return running
