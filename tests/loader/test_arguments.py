"""What a loader takes: a file's path, a mapping of servers, a ToolsConfig; and what it says where there is no configuration."""

from __future__ import annotations

import copy
import json
import os
import pickle
import sys
from pathlib import Path

import pytest
from servers import SERVER

from aionest.mcp import ConfigError, ToolsConfig, ToolsLoader, ToolsRetriever, UsageError

ONE = {"one": {"command": sys.executable, "args": [str(SERVER)]}}


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory with nothing in it, of a user without configuration."""
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "user"))
    monkeypatch.delenv("MCP_FILE", raising=False)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "servers.json"
    made.write_text(json.dumps({"mcpServers": ONE}))
    return made


@pytest.mark.parametrize(
    "given",
    [
        lambda file: ((str(file),), {}),
        lambda file: ((file,), {}),
        lambda file: ((ONE,), {}),
        lambda file: ((ToolsConfig(file),), {}),
        lambda file: ((), {"config": str(file)}),
        lambda file: ((), {"config": ONE}),
        lambda file: ((), {"config_file": file}),
        lambda file: ((ToolsRetriever(),), {"config_file": file}),
        lambda file: ((ToolsRetriever(), file), {}),
        lambda file: ((None, file), {}),
        lambda file: ((ToolsRetriever(),), {"config": ONE}),
        lambda file: ((), {"config": ToolsConfig(file), "tools_retriever": ToolsRetriever()}),
        lambda file: ((file,), {"tools_retriever": ToolsRetriever()}),
    ],
)
def test_a_configuration_is_taken_in_each_of_these_places(elsewhere, file, given):
    args, options = given(file)
    with ToolsLoader(*args, **options) as loader:
        assert loader.call("one.echo", {"text": "1"}).text == "1"
        retriever = options.get("tools_retriever", args[0] if args and isinstance(args[0], ToolsRetriever) else None)
        assert loader.tools_retriever is retriever


def test_a_configuration_that_is_named_counts_even_where_another_is_found(elsewhere, file):
    (elsewhere / "mcp.yaml").write_text("other: {command: no-such-command}\n")
    with ToolsLoader(str(file)) as loader:
        assert set(loader.bundles) == {"one"}


@pytest.mark.parametrize(
    "options",
    [
        {"config": []},
        {"config": [ONE]},
        {"config": 5},
        {"config": b"mcp.json"},
        {"config": object()},
        {"first": object()},
        {"first": ToolsRetriever(), "tools_retriever": ToolsRetriever()},
        {"config": ToolsRetriever()},
        {"config_file": ONE},
        {"config_file": 5},
        {"config": ONE, "servers": "one"},
        {"config": ONE, "inputs": "value"},
        {"config": ONE, "on_log": "print"},
        {"config": ONE, "elicitation": {"answer": 1}},
    ],
)
def test_what_is_of_no_use_is_a_type_error(options):
    with pytest.raises(TypeError):
        ToolsLoader(**options)


def test_two_configurations_are_too_many(file):
    for options in ({"config": ONE}, {"config": str(file)}, {"first": ONE}, {"first": file}):
        with pytest.raises(UsageError, match="not both"):
            ToolsLoader(config_file=file, **options)


@pytest.mark.parametrize("name", ["nope.json", "folder/nope.yaml", "."])
def test_a_named_file_that_is_missing_is_a_config_error(elsewhere, name):
    for loader in (ToolsLoader(name), ToolsLoader(config_file=name), ToolsLoader(config=Path(name))):
        with pytest.raises(ConfigError, match="no such file|not a file") as found:
            loader.load()
        assert str(Path(name)) in str(found.value) and "aionest mcp config add" in str(found.value)
        assert loader.errors["(configuration)"]
    with pytest.raises(ConfigError), ToolsLoader(name):
        pass


def test_a_named_file_that_the_environment_names_and_that_is_missing_is_a_config_error(elsewhere, monkeypatch):
    monkeypatch.setenv("MCP_FILE", "nope.json")
    with pytest.raises(ConfigError, match="nope.json: no such file"):
        ToolsLoader().load()


def test_where_no_configuration_is_found_the_error_says_how_to_make_one(elsewhere):
    loader = ToolsLoader()
    for _ in range(2):
        with pytest.raises(ConfigError, match="no configuration was found.*aionest mcp config add"):
            loader.load()
    with pytest.raises(ConfigError):
        loader.reload()


def test_a_file_that_comes_later_is_read(elsewhere, file):
    loader = ToolsLoader("later.json")
    with pytest.raises(ConfigError):
        loader.load()
    os.replace(file, "later.json")
    try:
        assert set(loader.load()) and loader.errors == {}
        os.unlink("later.json")
        # what is open stays
        assert loader.load() and loader.reload().kept == ("one",)
    finally:
        loader.cleanup()


def test_a_configuration_without_servers_is_one(elsewhere, tmp_path):
    (tmp_path / "none.json").write_text('{"mcpServers": {}}')
    for given in ({}, {"mcpServers": {}}, tmp_path / "none.json", ToolsConfig("nope.yaml")):
        with ToolsLoader(given) as loader:
            assert loader.tools == {}


@pytest.mark.parametrize("send", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_loader_that_is_sent_elsewhere_says_what_to_do(send):
    with pytest.raises(TypeError, match="a ToolsLoader cannot be sent to another process.*make one there"):
        send(ToolsLoader({"one": {"command": "never-started"}}))
