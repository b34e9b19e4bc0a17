"""A call that was made in the app, as a program: pasted as it stands, it makes the same call."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import support
from support import eventually, free_port, listens

support.needs("streamlit", "mcp", "typer")

from aionest.app import export  # noqa: E402
from aionest.mcp import Tool, ToolsConfig  # noqa: E402

pytestmark = pytest.mark.slow

HTTP_ECHO = Path(__file__).parent.parent.parent / "examples" / "servers" / "http_echo.py"
ODD = {"text": 'it\'s "$HOME" `id` \\ \n ünï {}', "seconds": 0}


@pytest.fixture
def file(tmp_path):
    """A configuration whose path wants quotes."""
    file = tmp_path / "it's mine" / "mcp.json"
    file.parent.mkdir()
    notes = {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}
    file.write_text(json.dumps({"mcpServers": {"notes": notes}}))
    return str(file)


def test_python(file, tmp_path):
    program = export.as_python(Tool("notes__remind", "notes", "remind"), ODD, file)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert run.stdout == f"{ODD['text']}\n"


def test_command(file, tmp_path):
    command = export.as_command(Tool("notes__remind", "notes", "remind"), ODD, file)
    (tmp_path / "aionest").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m aionest "$@"\n')
    (tmp_path / "aionest").chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    run = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=env, check=True)
    assert run.stdout == f"{ODD['text']}\n"


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_curl():
    port = free_port()
    process = subprocess.Popen([sys.executable, str(HTTP_ECHO), str(port)])
    try:
        eventually(lambda: listens(port), "the server does not listen", timeout=60)
        servers = {"web": {"url": f"http://127.0.0.1:{port}/mcp", "headers": {"X-Key": "${KEY}", "X-Other": "secret"}}}
        server = ToolsConfig.from_dict(servers).servers["web"]
        program = export.as_curl(Tool("web__echo", "web", "echo"), {"text": ODD["text"]}, server)
        assert "secret" not in program and "$X_OTHER" in program.replace("{", "")
        run = subprocess.run(["sh", "-c", program], capture_output=True, text=True, timeout=60, check=True)
        data = next(line for line in run.stdout.splitlines() if '"id":1' in line.replace(" ", ""))
        answer = json.loads(data.removeprefix("data: "))
        assert answer["result"]["content"][0]["text"].endswith(ODD["text"]), answer
    finally:
        process.kill()
        process.wait()


def test_no_secret_and_no_command_in_what_is_pasted():
    url = "https://user:pass@host/$(id)/mcp?api_key=abc&a=`id`&b=${TENANT}"
    headers = {"Authorization": "Bearer ${env:TOKEN}", "X-A": "Bearer abc", "X-B": "abc${TOKEN}"}
    server = ToolsConfig.from_dict({"web": {"url": url, "headers": headers}}).servers["web"]
    program = export.as_curl(Tool("web__a", "web", "a"), {}, server)
    assert "abc" not in program and "pass" not in program and "put in what is hidden" in program
    assert '"Authorization: Bearer ${TOKEN}"' in program and '"X-A: ${X_A}"' in program and '"X-B: ${X_B}"' in program
    assert r"/\$(id)/" in program and r"=\`id\`&" in program
    assert "${TENANT}" in program


def test_only_what_is_reached_by_streamable_http_has_curl():
    servers = ToolsConfig.from_dict({"a": {"command": "x"}, "b": {"url": "https://host/sse"}}).servers
    assert [export.as_curl(Tool("t", name, "t"), {}, one) for name, one in servers.items()] == [None, None]
