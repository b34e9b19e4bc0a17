"""Servers that some suites need: a fresh one for each side of each run, on this machine only, gone afterwards.

A service sets environment variables and has an end; what the operating system does not have is told by name
(ServiceMissing), never skipped silently. Thread: the main one.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

READY_WITHIN = 60.0


class ServiceMissing(Exception):
    """Raised where the server's program is not installed, or does not come up."""


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _wait_for(process: subprocess.Popen[bytes], port: int, what: str) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise ServiceMissing(f"{what} did not come up")
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def redis() -> Iterator[dict[str, str]]:
    program = shutil.which("redis-server")
    if program is None:
        raise ServiceMissing("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="suites-redis-") as folder:
        port = _free_port()
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        try:
            _wait_for(process, port, "redis-server")
            yield {"SUITES_REDIS_URL": f"redis://127.0.0.1:{port}/0", "SUITES_REDIS_PORT": str(port)}
        finally:
            _end(process)


def postgresql_programs() -> str | None:
    """Folder of initdb and postgres: a server's own one, as Debian lays them out, or where PATH has them."""
    for folder in sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True):
        if os.path.exists(os.path.join(folder, "initdb")):
            return folder
    found = shutil.which("initdb")
    return os.path.dirname(found) if found else None


@contextlib.contextmanager
def postgresql() -> Iterator[dict[str, str]]:
    programs = postgresql_programs()
    if programs is None:
        raise ServiceMissing("PostgreSQL's server is not installed")
    as_user = None
    if os.getuid() == 0:  # PostgreSQL refuses to be run by root
        as_user = next((u for u in ("postgres", "nobody") if u in {p.pw_name for p in pwd.getpwall()}), None)
        if as_user is None:
            raise ServiceMissing("PostgreSQL does not run as root, and there is no other user")
    folder = Path(tempfile.mkdtemp(prefix="suites-pg-"))
    port = _free_port()
    process = None
    try:
        if as_user:
            shutil.chown(folder, as_user)
        data, user = str(folder / "data"), {"user": as_user, "cwd": str(folder)}
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        initdb = [f"{programs}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        if subprocess.run([*initdb, "--locale=C"], **user, **quiet).returncode:  # type: ignore[call-overload]
            raise ServiceMissing("initdb failed")
        server = [f"{programs}/postgres", "-D", data, "-p", str(port), "-k", str(folder), "-h", "127.0.0.1", "-F"]
        process = subprocess.Popen(server, **user, **quiet)  # type: ignore[call-overload]
        _wait_for(process, port, "PostgreSQL")
        deadline = time.monotonic() + READY_WITHIN
        ready = [f"{programs}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        while subprocess.run(ready, **quiet).returncode:  # type: ignore[call-overload]
            if time.monotonic() > deadline:
                raise ServiceMissing("PostgreSQL did not come up")
            time.sleep(0.05)
        yield {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres", "PGDATABASE": "postgres"}
    finally:
        if process is not None:
            _end(process)
        shutil.rmtree(folder, ignore_errors=True)


KNOWN = {"redis": redis, "postgresql": postgresql}


@contextlib.contextmanager
def started(names: list[str]) -> Iterator[dict[str, str]]:
    """All of them; what they add to the environment."""
    environment: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for name in names:
            environment.update(stack.enter_context(KNOWN[name]()))
        yield environment
