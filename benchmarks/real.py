"""Real servers and other people's clients: ten servers loaded, and one call on the command line.

    make bench-real                                          the table
    python -m benchmarks.real --servers FOLDER --inspector FOLDER [--rounds N]

Against fastmcp's ``ClientGroup``, which opens a session with each server and lists its tools, too, and the command line of MCP Inspector.
Contract: each measurement is a new process, whose own start does not count for the ten servers, and counts for the command lines, as a
person waits for it. Those that are compared take turns; a ratio is the median over the rounds of (this / the other) in the same
round, with its quartiles. The first round is warm-up. What is not installed is left out and named.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

BARE = Path(__file__).resolve().parent.parent / "examples" / "servers" / "bare.py"
GROUP, LOADER = "fastmcp's ClientGroup", "ToolsLoader"
INSPECTOR, AIONEST = "MCP Inspector --cli", "aionest mcp call"
ROWS = [  # what, this, the other, the target
    ("ten real servers loaded", LOADER, GROUP, 0.9),
    ("one call on the command line", AIONEST, INSPECTOR, 0.7),
]


def ten(folder: Path, work: Path) -> dict[str, dict[str, object]]:
    node, py = folder / "node_modules" / ".bin", folder / "py" / "bin"
    repository = work / "repository"
    if not repository.exists():
        subprocess.run(["git", "init", "-q", str(repository)], check=True)
    found: dict[str, dict[str, object]] = {
        "git": {"command": str(py / "mcp-server-git"), "args": ["--repository", str(repository)]},
        "fetch": {"command": str(py / "mcp-server-fetch")},
        "memory": {
            "command": str(node / "mcp-server-memory"),
            "env": {"MEMORY_FILE_PATH": str(work / "memory.json")},
        },
    }
    for number in range(2):
        found[f"time{number}"] = {"command": str(py / "mcp-server-time"), "args": ["--local-timezone=UTC"]}
        found[f"everything{number}"] = {"command": str(node / "mcp-server-everything"), "args": ["stdio"]}
        found[f"files{number}"] = {"command": str(node / "mcp-server-filesystem"), "args": [str(work)]}
    found["thinking"] = {"command": str(node / "mcp-server-sequential-thinking")}
    return found


def load_by_group(config: dict[str, dict[str, object]]) -> tuple[float, int]:
    from fastmcp.client.group import ClientGroup

    async def main() -> tuple[float, int]:
        group = ClientGroup.from_config({"mcpServers": config})
        begin = time.perf_counter()
        async with group:
            tools = await group.list_tools()
            return time.perf_counter() - begin, len(tools)

    return asyncio.run(main())


def load_by_loader(config: dict[str, dict[str, object]]) -> tuple[float, int]:
    from aionest.mcp import ToolsLoader

    loader = ToolsLoader(config=config, strict=True)
    begin = time.perf_counter()
    tools = loader.load()
    seconds = time.perf_counter() - begin
    loader.cleanup()
    return seconds, len(tools)


def loaded(which: str, folder: Path, work: Path) -> float:
    """Seconds, told by a new process, which also tells how many tools there are: as many for both."""
    command = [sys.executable, "-m", "benchmarks.real", "--servers", str(folder), "--load", which, "--work", str(work)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    seconds, tools = json.loads(done.stdout)
    if tools < 40:
        raise SystemExit(f"{which} found {tools} tools only")
    return float(seconds)


def called(command: list[str], env: dict[str, str]) -> float:
    begin = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=env)
    seconds = time.perf_counter() - begin
    if "hello" not in done.stdout:
        raise SystemExit(f"{command[0]}: {done.stdout}{done.stderr}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", type=Path, required=True, help="made by tools/get-servers.sh")
    parser.add_argument("--inspector", type=Path, help="where npm has installed it, and a Node.js that it runs on")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--load", choices=[GROUP, LOADER], help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        load = load_by_group if options.load == GROUP else load_by_loader
        print(json.dumps(load(ten(options.servers, options.work))))
        return
    with tempfile.TemporaryDirectory() as folder:
        run(options, Path(folder))


def run(options: argparse.Namespace, work: Path) -> None:
    config = work / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"bare": {"command": sys.executable, "args": [str(BARE)]}}}), "utf-8")
    # where it is set, as in many images of containers, each process compiles every module anew
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    contenders = {LOADER: lambda: loaded(LOADER, options.servers, work)}
    if importlib.util.find_spec("fastmcp"):
        contenders[GROUP] = lambda: loaded(GROUP, options.servers, work)
    if options.inspector:
        node = options.inspector.resolve() / "node_modules" / ".bin"
        ask = ["--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=hello"]
        inspect = [str(node / "mcp-inspector"), "--cli", sys.executable, str(BARE), *ask]
        ours = [str(Path(sys.executable).with_name("aionest")), "mcp", "call", "--config", str(config), "bare.echo"]
        with_node = {**env, "PATH": f"{node}{os.pathsep}{env['PATH']}"}
        contenders[INSPECTOR] = lambda: called(inspect, with_node)
        contenders[AIONEST] = lambda: called([*ours, "text=hello"], env)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.rounds + 1):
        for name, take in contenders.items():
            times[name].append(take())
    print(
        f"CPython {sys.version.split()[0]}, mcp {metadata.version('mcp')}, {os.cpu_count()} CPUs; medians, quartiles in brackets"
    )
    print("\n| | this | the other | ratio | target | reached |\n|---|---|---|---|---|---|")
    for what, this, other, target in ROWS:
        if not {this, other} <= times.keys():
            print(f"| {what} | not measured: {other} is not installed | | | | |")
        else:
            ratios = [a / b for a, b in zip(times[this][1:], times[other][1:], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(
                f"| {what}, to {other} | {statistics.median(times[this][1:]):.2f} s | {statistics.median(times[other][1:]):.2f} s "
                f"| {middle:.2f} ({low:.2f}-{high:.2f}) | <= {target} | {'yes' if middle <= target else 'no'} |"
            )


if __name__ == "__main__":
    main()
