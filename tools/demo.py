"""The main job: the loader flow on a real MCP server over stdio, with stock asyncio, its patches and aionest side by side.

Sets up what it needs under --cache: an environment with the MCP SDK and the rivals beside aionest, another one for the
servers (mcp-server-time, mcp-server-git, mcp-server-fetch), and npm's where that is there. Each flow runs in a process of its own,
with a limit; server processes that a flow leaves behind are counted and ended. Last, the app with three real servers: at a
terminal it stays until Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import venv
from pathlib import Path

FLOW = Path(__file__).parent.parent / "examples" / "loader_flow" / "flow.py"
MODES = ["stock", "nest_asyncio", "nest_asyncio2", "aionest", "threads", "portal"]
OURS = ("aionest", "threads", "portal")
TOOLS = FLOW.parent / "tools.py"
SHOW = Path(__file__).parent / "show_app.py"
BARE = Path(__file__).parent.parent / "examples" / "servers" / "bare.py"
STEPS = ["load", "call", "nested call", "leave"]


def environment(folder, requirements, *, system_packages=False):
    """A virtual environment with these packages, made once."""
    python = folder / "bin" / "python"
    stamp = folder / ".ready"
    if not stamp.exists() or stamp.read_text() != repr(requirements):
        print(f"setting up {folder.name} ...", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements], check=True)
        stamp.write_text(repr(requirements))
    return python


def node_servers(folder):
    """The folder of the commands of npm's reference servers, or None where there is no npm."""
    commands = folder / "node_modules" / ".bin"
    names = ("mcp-server-everything", "mcp-server-memory")
    if not all((commands / name).exists() for name in names):
        if shutil.which("npm") is None or shutil.which("node") is None:
            print("no node and npm here: two of the reference servers are left out")
            return None
        print("setting up the servers from npm ...", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        packages = ["@modelcontextprotocol/server-everything", "@modelcontextprotocol/server-memory"]
        command = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", folder, *packages]
        subprocess.run(command, check=True)
    return commands


def real_servers(cache, scripts):
    """A configuration with the reference servers, and a git repository for one of them."""
    repository = cache / "repository"
    git = shutil.which("git") is not None
    if not git:
        print("no git here: its server is left out")
    elif not (repository / ".git").exists():
        repository.mkdir(exist_ok=True)
        (repository / "a.txt").write_text("hello\n")
        for step in (["init", "-q"], ["add", "a.txt"], ["commit", "-qm", "the first commit"]):
            who = ["-c", "user.name=aionest", "-c", "user.email=aionest@example.org"]
            subprocess.run(["git", *who, *step], cwd=repository, check=True)
    found = {"time": {"command": str(scripts / "mcp-server-time"), "args": ["--local-timezone=UTC"]}}
    if git:
        found["git"] = {"command": str(scripts / "mcp-server-git"), "args": ["--repository", str(repository)]}
    node = node_servers(cache / "node")
    if node is not None:
        found["everything"] = {"command": str(node / "mcp-server-everything"), "args": ["stdio"]}
        memory = {"MEMORY_FILE_PATH": str(cache / "memory.json")}
        found["memory"] = {"command": str(node / "mcp-server-memory"), "env": memory}
    found["broken"] = {"command": "no-such-command"}
    file = cache / "mcp.json"
    file.write_text(json.dumps({"mcpServers": found}, indent=2))
    return file, repository


def servers():
    """Process ids of time servers that run."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if b"mcp-server-time" in (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
            except OSError:
                pass
    return found


def run_flow(python, mode, server, timeout):
    before = servers()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p.endswith("site-packages"))}
    process = subprocess.Popen(
        [python, FLOW, mode, server],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=env if mode in OURS else None,
    )
    try:
        out, err = process.communicate(timeout=timeout)
        ended = f"exit {process.returncode}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        ended = "hung, killed"
    left = servers() - before
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    results = {r["step"]: r for r in map(json.loads, out.splitlines())}
    tracebacks = err.count("Traceback (most recent call last)")
    return results, f"{ended}; servers left: {len(left)}; tracebacks in the log: {tracebacks}", err


def show_app(python, file, scripts, cache, env):
    """Open the app with those of the real servers that work; its exit status."""
    servers = json.loads(file.read_text())["mcpServers"]
    del servers["broken"]
    servers["fetch"] = {"command": str(scripts / "mcp-server-fetch")}
    if len(servers) < 3:
        servers["bare"] = {"command": sys.executable, "args": [str(BARE)]}
    folder = cache / "app"
    folder.mkdir(exist_ok=True)
    config = folder / "mcp.json"
    config.write_text(json.dumps({"mcpServers": servers}, indent=2))
    print(f"\nThe app with real servers ({', '.join(servers)}):", flush=True)
    return subprocess.run([python, SHOW, config], env=env, check=False).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for the environments")
    parser.add_argument("--verbose", action="store_true", help="print each flow's error output")
    args = parser.parse_args()
    cache = args.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    if sys.version_info >= (3, 15):
        print("note: the MCP SDK's own dependencies may have no build for this Python yet")
    tag = "%d.%d" % sys.version_info[:2]
    scripts = environment(
        cache / f"server-{tag}", ["mcp-server-time", "mcp-server-git", "mcp-server-fetch", "mcp<2"]
    ).parent
    server = scripts / "mcp-server-time"
    rivals = ["nest_asyncio==1.6.0", "nest-asyncio2", "greenlet>=3.2,<4"]
    loader = ["mcp>=1.24,<2", "pydantic>=2", "jsonschema>=4.18", "ruamel.yaml>=0.18", "json5>=0.9", "tomlkit>=0.12"]
    loader += ["tomli>=2; python_version < '3.11'", "python-dotenv>=1", "platformdirs>=4"]
    page = ["streamlit>=1.40", "typer>=0.12.5", "rich>=13", "websockets"]
    python = environment(cache / f"client-{tag}", [*loader, *page, *rivals])

    print(
        "\nA loader with synchronous load(), call() and cleanup(), each an asyncio.run of its own; a real MCP server over stdio.\n"
    )
    print(f"{'':14}" + "".join(f"{s:42}" for s in STEPS))
    worst = 0
    for mode in MODES:
        results, ended, err = run_flow(python, mode, server, 90)
        cells = []
        for s in STEPS:
            r = results.get(s)
            if r is None:
                cells.append("not reached")
            else:
                cells.append(f"{'ok' if r['ok'] else 'FAILED'}  {r['text'][:24]}  {r['ms']:.0f} ms")
        print(f"{mode:14}" + "".join(f"{c:42}" for c in cells))
        print(f"{'':14}{ended}")
        if args.verbose and err:
            print(err)
        if mode in OURS:
            worst += sum(not results.get(s, {"ok": False})["ok"] for s in STEPS)
    print(
        "\naionest: the unchanged loader with one line, aionest.apply(). threads: the same with apply(shared=True), each step in a\n"
        "thread of its own. portal: the loader written with aionest.portal().enter(), the session in a task of its own.\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p.endswith("site-packages"))}
    config, folder = real_servers(cache, scripts)
    worst += subprocess.run([python, TOOLS, config, folder], env=env, timeout=240, check=False).returncode != 0
    worst += show_app(python, config, scripts, cache, env) != 0
    return 1 if worst else 0


if __name__ == "__main__":
    sys.exit(main())
