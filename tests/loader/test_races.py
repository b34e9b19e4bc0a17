"""Operations on the same servers from several threads: none gets in another's way, nothing is left, no state is dead."""

from __future__ import annotations

import concurrent.futures
import json
import os
import random
import threading
import time

import psutil
import pytest
from servers import SERVER, bare
from support import eventually

pytest.importorskip("mcp")

from aionest.mcp import ToolsError, ToolsLoader
from aionest.mcp.session.connection import Replaced


def write(file, number, **more):
    """A configuration whose server ``a`` is another one for each number."""
    servers = {"a": {**bare("--name", f"a{number}", *more.pop("args", ())), **more}, "b": bare("--name", "b")}
    beside = file.with_name(f"{number}-{threading.get_ident()}.new")
    beside.write_text(json.dumps({"mcpServers": servers}))
    os.replace(beside, file)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "mcp.json"


def change(loader):
    write(loader.config.config_file, random.randrange(10**9))
    return loader.reload()


OPERATIONS = {
    "restart": lambda loader: loader.restart("a"),
    "reload": lambda loader: loader.reload(),
    "change": change,
    "cleanup": lambda loader: loader.cleanup(),
    "load": lambda loader: loader.load(),
    "call": lambda loader: loader.call("a.echo", {"text": "x"}, timeout=60),
    "ping": lambda loader: loader.ping("a", timeout=60),
    "health": lambda loader: loader.health(timeout=60),
    "resources": lambda loader: loader.resources("a"),
    "errors": lambda loader: (loader.errors, loader.status, loader.tools),
}


def attempt(name, loader):
    """What an operation has come to: None, or an error that its caller may get."""
    try:
        OPERATIONS[name](loader)
    except Replaced:
        raise AssertionError(f"{name}: who calls is not told of an exchange") from None
    except ToolsError as exc:
        return exc
    return None


def alive(loader):
    """It works, whatever has happened: one process for each server."""
    loader.load()
    assert loader.errors == {}
    assert {name: one.state for name, one in loader.status.items()} == {"a": "connected", "b": "connected"}
    assert {loader.call(f"{name}.echo", {"text": name}).text for name in "ab"} == {"a", "b"}
    pids = {int(loader.call(f"{name}.pid").text) for name in "ab"}
    eventually(lambda: {p.pid for p in servers()} == pids, "a process for each server, and no other")


def servers():
    """The servers' processes that run."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if str(SERVER) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:  # it has just ended
            pass
    return found


@pytest.fixture
def loader(file):
    write(file, 0)
    made = ToolsLoader(config_file=file)
    yield made
    made.cleanup()
    eventually(lambda: not servers())


def opening(loader):
    eventually(lambda: "a" in loader.status and loader.status["a"].state == "connecting")


def test_a_restart_while_a_load_opens_the_server(loader, file):
    write(file, 1, args=["--fault", "slow"])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        load = pool.submit(loader.load)
        opening(loader)
        assert loader.restart("a").state == "connected"
        assert "a__echo" in load.result(60)
    alive(loader)


def test_a_restart_while_a_reload_adds_the_server(loader, file):
    beside = file.read_text()
    file.write_text(json.dumps({"mcpServers": {"b": bare("--name", "b")}}))
    loader.load()
    file.with_suffix(".more").write_text(beside)
    write(file, 1, args=["--fault", "slow"])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reload = pool.submit(loader.reload)
        opening(loader)
        assert loader.restart("a").state == "connected"
        assert reload.result(60).added == ("a",)
    alive(loader)


def test_a_server_that_is_asked_for_while_others_are_loaded_is_not_lost(file):
    """It is none of those that were chosen, and stays reachable and known, so that cleanup() ends it."""
    write(file, 1, args=["--fault", "slow"])
    loader = ToolsLoader(config_file=file, servers=["a"])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        load = pool.submit(loader.load)
        opening(loader)
        loader.ping("b")
        load.result(60)
    assert loader.status["b"].state == "connected"
    loader.cleanup()
    eventually(lambda: not servers())


def test_a_load_that_waited_while_there_was_a_cleanup_starts_nothing(loader, file):
    write(file, 1, args=["--fault", "hang"], connect_timeout=600)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(loader.load)
        opening(loader)
        second = pool.submit(loader.load)
        eventually(lambda: loader._fleet._changing._waiters)
        loader.cleanup()
        assert first.result(60) == second.result(60) == {}
    assert not servers()
    write(file, 2)
    alive(loader)


def test_a_deadline_goes_on_while_the_connection_is_exchanged(loader, file):
    write(file, 1, args=["--fault", "hang"], connect_timeout=600)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        load = pool.submit(loader.load)
        opening(loader)
        done = threading.Event()

        def restarts():
            while not done.wait(0.3):
                attempt("restart", loader)

        ping = pool.submit(loader.ping, "a", timeout=2)
        storm = pool.submit(restarts)
        again = pool.submit(attempt, "restart", loader)
        with pytest.raises((ToolsError, TimeoutError)):
            ping.result(60)
        done.set()
        loader.cleanup()
        for one in (load, again, storm):
            one.result(60)


@pytest.mark.parametrize("during", ["load", "restart", "change"])
@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "errors"])
def test_an_operation_while_another_opens_the_server(loader, file, name, during):
    if during != "load":
        loader.load()
    outcomes = []
    ready = threading.Barrier(2)

    def one(which, delay):
        ready.wait(60)
        time.sleep(delay)
        outcomes.append(attempt(which, loader))

    threads = [threading.Thread(target=one, args=(during, 0)), threading.Thread(target=one, args=(name, 0.02))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(outcomes) == 2, "one of them never came back, or failed"
    alive(loader)


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.long)])
def test_everything_at_once_from_many_threads(loader, seconds):
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    end = time.monotonic() + seconds
    odd = []

    def work(number):
        chance = random.Random(seed + number)
        while time.monotonic() < end and not odd:
            name = chance.choice(list(OPERATIONS))
            try:
                attempt(name, loader)
            except BaseException as exc:
                odd.append((name, exc))
                raise

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for done in concurrent.futures.as_completed([pool.submit(work, number) for number in range(6)]):
            done.result()
    assert not odd
    alive(loader)
