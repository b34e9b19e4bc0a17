"""The main job: the loader flow on a real MCP server over stdio, with stock asyncio, its patches and aionest side by side.

Then a handler of FastAPI that nests, on uvicorn and uvloop. Sets up what it needs under --cache: an environment with the MCP SDK
and the rivals beside aionest, others for the web server and for the servers of tools (mcp-server-time, mcp-server-git,
mcp-server-fetch), and npm's where npm is installed. Each flow runs in a process of its own, with a limit. Last, the app with real
servers: at a terminal it stays until Ctrl-C.

Contract: ends only processes that it started. A flow starts its server by a link in a folder that no other process knows, so
a server that outlives its flow is told from everybody else's by its command line.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
FLOW = ROOT / "examples" / "loader_flow" / "flow.py"
TOOLS = FLOW.parent / "tools.py"
WEB = ROOT / "examples" / "uvicorn_flow" / "flow.py"
SHOW = Path(__file__).parent / "show_app.py"
BARE = ROOT / "examples" / "servers" / "bare.py"
MODES = ["stock", "nest_asyncio", "nest_asyncio2", "aionest", "threads", "portal"]
OURS = ("aionest", "threads", "portal")
WEB_MODES = ["stock", "nest_asyncio", "nest_asyncio2", "aionest"]
UVLOOP_UP_TO = (3, 14)  # no builds for newer Pythons yet
STEPS = ["load", "call", "nested call", "leave"]
FLOW_LIMIT = 90.0  # seconds


# ---- output, 80 columns -----------------------------------------------------------------------------------------------------


def say(text="", indent=""):
    """Print a paragraph, wrapped."""
    print(textwrap.fill(text, 80, initial_indent=indent, subsequent_indent=indent), flush=True)


def run_quietly(title, command, **options):
    """Run a command that says nothing for minutes, and show that it is still at work. Its output appears if it fails."""
    begin, width, terminal = time.monotonic(), 60, sys.stdout.isatty()
    print(f"{title} ...", end="" if terminal else "\n", flush=True)
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **options)
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.5 if terminal else 15)
                    break
                seconds = time.monotonic() - begin
                if terminal:
                    print(f"\r{title} ... {seconds:.0f} s".ljust(width), end="", flush=True)
                else:
                    print(f"  {seconds:.0f} s", flush=True)
        except BaseException:
            process.kill()
            process.wait()
            raise
        done = f"{title}: {'done' if process.returncode == 0 else 'FAILED'} in {time.monotonic() - begin:.0f} s"
        print(("\r" if terminal else "") + done.ljust(width if terminal else 0), flush=True)
        if process.returncode:
            output.seek(0)
            print(output.read())
            raise SystemExit(f"{title} failed: see the output above. Then run the command again.")


# ---- set-up -----------------------------------------------------------------------------------------------------------------


def environment(folder, requirements):
    """The Python of a virtual environment with these packages, made once."""
    python = folder / "bin" / "python"
    stamp = folder / ".ready"
    if not stamp.exists() or stamp.read_text() != repr(requirements):
        venv.create(folder, with_pip=True, clear=True)
        command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements]
        run_quietly(f"Setting up {folder.name}", command)
        stamp.write_text(repr(requirements))
    return python


def requirements_of(*extras):
    """What these extras of the installed aionest require, less aionest itself."""
    found = []
    for requirement in importlib.metadata.requires("aionest") or ():
        name, _, marker = requirement.partition(";")
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
        if extra is None or extra[1] not in extras or name.startswith("aionest"):
            continue
        rest = re.sub(r"(\s*\band\b)?\s*extra == ['\"][\w-]+['\"]\s*(and\b)?", "", marker).strip()
        found.append(f"{name.strip()}; {rest}" if rest else name.strip())
    return found


def node_servers(folder):
    """The folder of the commands of npm's reference servers, or None where npm is missing."""
    commands = folder / "node_modules" / ".bin"
    names = ("mcp-server-everything", "mcp-server-memory")
    if not all((commands / name).exists() for name in names):
        if shutil.which("npm") is None or shutil.which("node") is None:
            say("Node.js or npm is missing: two of the reference servers are left out.")
            return None
        folder.mkdir(parents=True, exist_ok=True)
        packages = ["@modelcontextprotocol/server-everything", "@modelcontextprotocol/server-memory"]
        command = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", folder, *packages]
        run_quietly("Setting up the servers from npm", command)
    return commands


def real_servers(cache, scripts):
    """A configuration with the reference servers, and a git repository for one of them."""
    repository = cache / "repository"
    git = shutil.which("git") is not None
    if not git:
        say("git is missing: its server is left out.")
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


# ---- flows ------------------------------------------------------------------------------------------------------------------


def processes_of(folder):
    """Process ids of the programs that were started from FOLDER."""
    marker = os.fsencode(folder) + b"/"
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if marker in (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
    return found


def end_server(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def with_aionest():
    """The variables of a process that imports aionest from this Python."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p.endswith("site-packages"))}


def run_flow(python, mode, server):
    """The steps' outcomes by name, how the process ended, and its error output."""
    env = with_aionest()
    with tempfile.TemporaryDirectory(prefix="aionest-demo-") as folder:
        link = Path(folder, server.name)
        link.symlink_to(server)
        # files, not pipes: a server that outlives its flow would hold those open
        with Path(folder, "out").open("w+") as out, Path(folder, "err").open("w+") as err:
            process = subprocess.Popen(
                [python, FLOW, mode, link],
                stdout=out,
                stderr=err,
                start_new_session=True,
                env=env if mode in OURS else None,
            )
            try:
                ended = f"exit status {process.wait(FLOW_LIMIT)}"
            except subprocess.TimeoutExpired:
                ended = "hung, ended"
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                left = processes_of(folder)
                for pid in left:
                    end_server(pid)
            out.seek(0)
            err.seek(0)
            lines, log = out.read().splitlines(), err.read()
    results = {r["step"]: r for r in map(json.loads, lines)}
    tracebacks = log.count("Traceback (most recent call last)")
    return results, f"{ended}, servers left: {len(left)}, tracebacks in the log: {tracebacks}", log


def show_flows(python, server, verbose):
    """Run the flow in each mode and print a table; the number of our own steps that failed."""
    say(
        "A loader with synchronous load(), call() and cleanup(), each an asyncio.run of its own, and a real MCP server over "
        "stdio:"
    )
    print()
    print(f"{'':15}" + "".join(f"{s:16}" for s in STEPS).rstrip())
    failed = 0
    for mode in MODES:
        results, ended, log = run_flow(python, mode, server)
        cells, reasons = [], []
        for s in STEPS:
            r = results.get(s)
            if r is None:
                cells.append("not reached")
            elif r["ok"]:
                cells.append(f"ok {r['ms']:.0f} ms")
            else:
                cells.append("FAILED")
                reasons.append(f"{s}: {' '.join(r['text'].split())}")
        print(f"{mode:15}" + "".join(f"{c:16}" for c in cells).rstrip())
        for text in [*reasons, ended]:
            say(textwrap.shorten(text, 250, placeholder=" ..."), indent=" " * 15)
        if verbose and log:
            print(log)
        if mode in OURS:
            failed += sum(not results.get(s, {"ok": False})["ok"] for s in STEPS)
    print()
    say(
        "aionest: the unchanged loader and one line, aionest.apply(). threads: the same with apply(shared=True), each step in a "
        "thread of its own. portal: the loader written with aionest.portal().enter(), the session in a task of its own."
    )
    return failed


def show_web(python, verbose):
    """Send requests to a server whose handler nests, in each mode, and print a table; 1 if ours failed."""
    say(
        "FastAPI on uvicorn and uvloop: a handler that calls synchronous code, which calls asyncio.run; 20 requests at once:"
    )
    print()
    failed = 0
    for mode in WEB_MODES:
        env = with_aionest() if mode in OURS else None
        command = [python, WEB, mode]
        try:
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=FLOW_LIMIT, check=False)
            found, log = json.loads(done.stdout.splitlines()[-1]), done.stderr
        except subprocess.TimeoutExpired:
            found, log = {"ok": False, "codes": {"hung, ended": 1}, "why": ""}, ""
        except (IndexError, ValueError):
            found, log = {"ok": False, "codes": {f"exit status {done.returncode}": 1}, "why": ""}, done.stderr
        codes = ", ".join(f"{n} x {code}" for code, n in sorted(found["codes"].items()))
        took = f", {found['ms']:.0f} ms; one after the other: {found['one']:.0f} ms" if found["ok"] else ""
        print(f"{mode:15}{'ok' if found['ok'] else 'FAILED':8}{codes}{took}")
        if found["why"]:
            say(textwrap.shorten(found["why"], 250, placeholder=" ..."), indent=" " * 15)
        if verbose and log:
            print(log)
        failed += mode in OURS and not found["ok"]
    return failed


# ---- the app ----------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def foreground():
    """Take the terminal: Ctrl-C, the documented way to end the app, then reaches this program and not the make above it."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
        before = os.tcgetpgrp(terminal)
    except OSError:
        yield
        return
    if before != os.getpgrp():  # in the background already
        os.close(terminal)
        yield
        return
    background = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    stop = signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # a shell could not bring this group back
    try:
        os.setpgid(0, 0)
        os.tcsetpgrp(terminal, os.getpgrp())
        yield
    finally:
        os.tcsetpgrp(terminal, before)
        os.setpgid(0, before)
        signal.signal(signal.SIGTTOU, background)
        signal.signal(signal.SIGTSTP, stop)
        os.close(terminal)


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
    say(f"The app with real servers ({', '.join(servers)}):")
    with foreground():
        process = subprocess.Popen([python, SHOW, config], env=env)
        while True:
            # Ctrl-C is for the app, which then says how it ended
            with contextlib.suppress(KeyboardInterrupt):
                return process.wait()


# ---- all of it --------------------------------------------------------------------------------------------------------------


def show_all(cache, verbose):
    """Run everything; what went wrong, each in a few words."""
    tag = "%d.%d" % sys.version_info[:2]
    servers = ["mcp-server-time", "mcp-server-git", "mcp-server-fetch", "mcp<2"]
    scripts = environment(cache / f"server-{tag}", servers).parent
    rivals = ["nest_asyncio==1.6.0", "nest-asyncio2", "greenlet>=3.2,<4"]
    python = environment(
        cache / f"client-{tag}", [*requirements_of("mcp", "cli", "app"), "mcp<2", "websockets", *rivals]
    )
    config, folder = real_servers(cache, scripts)

    wrong = []
    print()
    failed = show_flows(python, scripts / "mcp-server-time", verbose)
    if failed:
        wrong.append(f"{failed} steps of the flow failed with aionest")
    print()
    if sys.version_info[:2] > UVLOOP_UP_TO:
        say("uvloop has no build for this Python: the handler on uvicorn is left out.")
    else:
        web = ["fastapi", "uvicorn", "httptools", "uvloop", *rivals]
        if show_web(environment(cache / f"web-{tag}", web), verbose):
            wrong.append("a nested run failed on uvicorn with uvloop")
    print()
    env = with_aionest()
    if subprocess.run([python, TOOLS, config, folder], env=env, timeout=240, check=False).returncode:
        wrong.append("the loader failed with real servers")
    print()
    if show_app(python, config, scripts, cache, env):
        wrong.append("the app failed")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for the environments")
    parser.add_argument("--verbose", action="store_true", help="print each flow's error output")
    args = parser.parse_args()
    cache = args.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    if sys.version_info >= (3, 15):
        say("Note: the MCP SDK's own dependencies may have no build for this Python yet.")
    try:
        wrong = show_all(cache, args.verbose)
    except KeyboardInterrupt:
        print("\nInterrupted: what was started is ended.")
        return 130
    print()
    if wrong:
        say("FAILED: " + "; ".join(wrong) + ".")
        return 1
    say(
        "Shown: a session kept open across runs, threads and nested calls; nested runs in a web server on uvloop; real servers "
        "called from synchronous code, one of them killed and back; the app. All of it worked."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
