"""The protocol's reference servers, by their own commands, over stdio, streamable HTTP and SSE.

AIONEST_SERVERS names the folder they were installed in (``make long`` does that).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from support import eventually, listens

pytest.importorskip("mcp")

FOLDER = Path(os.environ.get("AIONEST_SERVERS") or "/nonexistent")
NODE, PY = FOLDER / "node_modules" / ".bin", FOLDER / "py" / "bin"
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not FOLDER.exists(), reason="AIONEST_SERVERS is not set: make long sets it"),
]


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "a.txt").write_text("hello\n")
    for command in (["init", "-q"], ["add", "a.txt"], ["commit", "-qm", "first"]):
        subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *command], cwd=folder, check=True)
    return folder


def config(repository):
    return {
        "time": {"command": str(PY / "mcp-server-time"), "args": ["--local-timezone=UTC"]},
        "git": {"command": str(PY / "mcp-server-git"), "args": ["--repository", str(repository)]},
        "fetch": {"command": str(PY / "mcp-server-fetch")},
        "everything": {"command": str(NODE / "mcp-server-everything"), "args": ["stdio"]},
        "files": {"command": str(NODE / "mcp-server-filesystem"), "args": [str(repository)]},
        "memory": {
            "command": str(NODE / "mcp-server-memory"),
            "env": {"MEMORY_FILE_PATH": str(repository.parent / "memory.json")},
        },
        "thinking": {"command": str(NODE / "mcp-server-sequential-thinking")},
    }


def test_all_at_once_and_a_call_to_each(make_loader, repository):
    loader = make_loader(config(repository))
    assert not loader.errors
    assert "UTC" in loader.call("time.get_current_time", {"timezone": "UTC"}).text
    assert "first" in loader.call("git.git_log", {"repo_path": str(repository)}).text
    assert "hello" in loader.call("files.read_text_file", {"path": str(repository / "a.txt")}).text
    assert "hi" in loader.call("everything.echo", {"message": "hi"}).text
    assert [prompt["name"] for prompt in loader.prompts("fetch")["fetch"]] == ["fetch"]
    assert loader.resources("everything")["everything"]


def test_state_lives_across_calls_and_a_reload(make_loader, repository):
    loader = make_loader(config(repository))
    thought = {"thought": "one", "nextThoughtNeeded": True, "thoughtNumber": 1, "totalThoughts": 3}
    loader.call("thinking.sequentialthinking", thought)
    loader.reload()
    again = loader.call("thinking.sequentialthinking", {**thought, "thoughtNumber": 2})
    assert '"thoughtHistoryLength": 2' in again.text
    entity = {"name": "Ada", "entityType": "person", "observations": ["counts"]}
    loader.call("memory.create_entities", {"entities": [entity]})
    loader.restart("memory")
    assert "Ada" in loader.call("memory.read_graph").text


def test_progress_of_a_long_call(make_loader, repository):
    loader = make_loader({"everything": config(repository)["everything"]})
    name = next(n.original_name for n in loader.tools.values() if "long" in n.original_name.lower())
    seen = []
    loader.call(f"everything.{name}", {"duration": 1, "steps": 4}, progress=lambda *a: seen.append(a), timeout=60)
    assert len(seen) >= 4


def npx():
    if shutil.which("npx") is None:
        pytest.skip("npx comes with node")
    return {"command": "npx", "args": ["mcp-server-everything", "stdio"], "cwd": str(FOLDER)}


def uvx():
    cache = FOLDER / "uv-cache"
    if not (cache / ".ready").exists():
        pytest.skip("what uvx needs could not be fetched")
    env = {"UV_CACHE_DIR": str(cache), "UV_OFFLINE": "1"}
    return {"command": str(PY / "uvx"), "args": ["--python", str(PY / "python"), "mcp-server-time"], "env": env}


@pytest.mark.parametrize("wrapper", [npx, uvx])
def test_a_wrapper_tree_is_gone_with_its_server(make_loader, processes, wrapper):
    loader = make_loader({"wrapped": {**wrapper(), "connect_timeout": 110}})
    assert not loader.errors, loader.errors
    below = {p.pid for p in processes()}
    assert len(below) >= 3  # the wrapper, perhaps a shell, the server, and the watcher
    loader.cleanup()
    eventually(lambda: not {p.pid for p in processes()} & below, "a process is left")


@pytest.mark.parametrize(
    ("mode", "path", "more"),
    [("streamableHttp", "/mcp", {}), ("sse", "/sse", {}), ("sse", "/sse", {"type": "http"})],
)
def test_over_http_with_a_restart_between(make_loader, mode, path, more):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def start():
        process = subprocess.Popen(
            [str(NODE / "mcp-server-everything"), mode],
            env={**os.environ, "PORT": str(port)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(lambda: listens(port), "the server does not listen")
        return process

    server = start()
    try:
        loader = make_loader({"web": {"url": f"http://127.0.0.1:{port}{path}", **more}})
        assert not loader.errors, loader.errors
        assert "one" in loader.call("web.echo", {"message": "one"}).text
        server.kill()
        server.wait()
        server = start()
        # the tool is not said to be repeatable: one call may find out that the session is gone
        try:
            text = loader.call("web.echo", {"message": "two"}, timeout=20).text
        except Exception:
            text = loader.call("web.echo", {"message": "two"}, timeout=20).text
        assert "two" in text
        loader.cleanup()
    finally:
        server.kill()
        server.wait()
