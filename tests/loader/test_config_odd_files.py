"""Files of configurations that are none, or that take long to read: told at once, and nothing is replaced by mistake."""

from __future__ import annotations

import os
import stat
import threading

import pytest

pytest.importorskip("mcp")

from aionest.mcp import ToolsConfig
from aionest.mcp.config import files

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
ONE = b'{"mcpServers": {"a": {"command": "x"}}}'


@pytest.fixture
def pipe(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SILENCE", 0.1)
    os.mkfifo(tmp_path / "mcp.json")
    return tmp_path / "mcp.json"


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(pipe):
    config = ToolsConfig(pipe)
    assert [str(error).endswith("cannot be read: timed out reading from it") for error in config.errors] == [True]
    assert config.set("a", {"command": "x"}) and not config.save() and not config.save(force=True)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    # nor is what another file names
    (pipe.parent / "b.json").write_text('{"a": {"command": "x", "envFile": "mcp.json"}}')
    other = ToolsConfig(pipe.parent / "b.json")
    with pytest.raises(ValueError, match="env_file.*timed out reading"):
        other.servers["a"].resolved()
    assert other.import_from(pipe) == []


def test_what_is_written_into_a_pipe_is_read(pipe, monkeypatch):
    monkeypatch.setattr(files, "SILENCE", 30.0)

    def write():
        with pipe.open("wb", 0) as stream:
            for at in range(0, len(ONE), 7):
                stream.write(ONE[at : at + 7])

    thread = threading.Thread(target=write)
    thread.start()
    config = ToolsConfig(pipe)
    thread.join()
    assert config.list() == ["a"] and config.errors == []


def test_a_pipe_is_not_replaced(pipe):
    config = ToolsConfig.from_dict({"a": {"command": "x"}})
    assert not config.save(pipe) and "not a regular file" in str(config.errors)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mcp.yaml", "[" * 100_000),
        ("mcp.yaml", "{a: " * 100_000),
        ("mcp.yaml", "- " * 100_000),
        ("mcp.yaml", "".join(" " * i + "a:\n" for i in range(1500))),
        ("mcp.toml", "[" + ".".join("a" * 100_000) + "]\n"),
        ("mcp.toml", ".".join("a" * 100_000) + " = 1\n"),
        ("mcp.toml", " . ".join(["'a'"] * 100_000) + " = 1\n"),
        ("mcp.json", '{"a":' * 100_000),
    ],
)
def test_what_is_nested_deeply_is_not_read_to_its_end(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    config = ToolsConfig(tmp_path / name)
    assert "nested too deeply" in str(config.errors) and config.list() == []
