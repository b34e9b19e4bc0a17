"""Reloads: what is exchanged, what goes on meanwhile, what is waited for."""

from __future__ import annotations

import concurrent.futures
import json
import os
import sys
import threading

import psutil
import pytest
from servers import SERVER, bare
from support import eventually

pytest.importorskip("mcp")

from aionest.mcp import ServerUnavailable, ToolNotFound, ToolsError, ToolsLoader


@pytest.fixture
def file(tmp_path):
    return tmp_path / "mcp.json"


def write(file, **servers):
    """Replaced as a whole, so that its stamp is another one in any case."""
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps({"mcpServers": servers}))
    os.replace(beside, file)


def test_a_call_that_waits_for_a_server_which_is_exchanged(make_loader, file):
    """It was not made yet: it is made on the new one."""
    write(file, a=bare("--fault", "slow"))
    loader = make_loader(file)
    pid = loader.status["a"].pid
    psutil.Process(pid).kill()
    eventually(lambda: loader.status["a"].state == "lost")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(loader.call, "a.count", timeout=120)
        eventually(lambda: loader.status["a"].state == "connecting")
        write(file, a=bare("--name", "new"))
        assert loader.reload().changed == ("a",)
        assert call.result(60).text == "1"
    assert loader.status["a"].server == "new"


@pytest.mark.parametrize("how", ["changed", "removed"])
def test_calls_under_way_come_to_their_end(make_loader, file, how):
    write(file, a=bare(), b=bare())
    loader = make_loader(file)
    old = int(loader.call("a.pid").text)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(loader.call, "a.sleep", {"seconds": 3}, timeout=60) for _ in range(3)]
        eventually(lambda: loader.status["a"].open_calls == 3)
        write(file, **({"a": bare("--name", "new")} if how == "changed" else {}), b=bare())
        diff = loader.reload()
        assert getattr(diff, how) == ("a",) and diff.kept == ("b",)
        assert not any(call.done() for call in calls), "the reload does not wait for them"
        if how == "changed":
            assert int(loader.call("a.pid").text) != old
        else:
            with pytest.raises(ToolNotFound):
                loader.call("a.pid")
        assert [call.result(60).text for call in calls] == ["slept"] * 3
    eventually(lambda: not psutil.pid_exists(old))


def test_cleanup_does_not_wait_for_what_drains(make_loader, file):
    write(file, a=bare())
    loader = make_loader(file)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(loader.call, "a.sleep", {"seconds": 600}, timeout=600)
        eventually(lambda: loader.status["a"].open_calls == 1)
        write(file)
        assert loader.reload().removed == ("a",)
        loader.cleanup()
        with pytest.raises(ServerUnavailable, match="closed during the call"):
            call.result(60)


def test_calls_during_reloads_always_work(make_loader, file):
    write(file, a=bare(), b=bare())
    loader = make_loader(file)
    stop, failed = threading.Event(), []

    def calls(name):
        while not stop.is_set():
            try:
                assert loader.call(f"{name}.echo", {"text": "1"}, timeout=60).text == "1"
            except Exception as exc:
                failed.append(exc)
                return

    crowd = [threading.Thread(target=calls, args=(name,)) for name in "aabb"]
    for thread in crowd:
        thread.start()
    try:
        for number in range(4):
            write(file, a=bare("--name", f"number{number}"), b=bare())
            assert loader.reload().changed == ("a",)
    finally:
        stop.set()
        for thread in crowd:
            thread.join()
    assert not failed
    assert loader.status["b"].connections == 1


def test_the_old_session_serves_until_the_new_one_is_there(make_loader, file):
    write(file, a=bare())
    loader = make_loader(file)
    old = loader.call("a.pid").text
    write(file, a=bare("--fault", "slow"))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reloading = pool.submit(loader.reload)
        seen = [loader.call("a.pid").text]
        while not reloading.done():
            seen.append(loader.call("a.pid").text)
        assert reloading.result().changed == ("a",)
    assert seen[0] == old and loader.call("a.pid").text != old


def test_other_filters_and_names_need_no_new_session(make_loader, file):
    write(file, a=bare())
    loader = make_loader(file)
    pid = loader.call("a.pid").text
    write(file, a=bare(include=["pid", "echo"], prefix="x", timeout=5))
    diff = loader.reload()
    assert (diff.kept, diff.updated, diff.changed) == (("a",), ("a",), ()) and diff
    assert set(loader.tools) == {"x__pid", "x__echo"}
    assert loader.call("x__pid").text == pid
    assert not loader.reload()


def test_disabling_ends_a_server_and_enabling_starts_it(make_loader, file, processes):
    write(file, a=bare(), b=bare())
    loader = make_loader(file)
    pid = int(loader.call("a.pid").text)
    write(file, a=bare(disabled=True), b=bare())
    assert loader.reload().changed == ("a",)
    assert loader.status["a"].state == "disabled"
    assert pid not in [p.pid for p in processes()]
    with pytest.raises(ToolsError):
        loader.call("a.pid")
    write(file, a=bare(), b=bare())
    assert loader.reload().changed == ("a",)
    assert int(loader.call("a.pid").text) != pid


def test_another_env_file_is_another_session(make_loader, file, tmp_path):
    env = tmp_path / "one.env"
    env.write_text("TOKEN=first\n")
    write(file, a=bare(envFile="one.env"))
    loader = make_loader(file)
    assert loader.call("a.env", {"name": "TOKEN"}).text == "first"
    assert not loader.reload()
    env.write_text("TOKEN=the second\n")
    assert loader.reload().changed == ("a",)
    assert loader.call("a.env", {"name": "TOKEN"}).text == "the second"


@pytest.mark.slow
def test_a_reload_does_not_wait_for_what_has_failed_before(make_loader, file, tmp_path):
    gate = tmp_path / "gate"
    wait = f"import os, runpy, sys, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.02)\n"
    code = wait + f"sys.argv = ['x']\nrunpy.run_path({str(SERVER)!r}, run_name='__main__')"
    write(file, a=bare(), slow={"command": sys.executable, "args": ["-c", code], "connect_timeout": 6})
    loader = make_loader(file)
    assert set(loader.errors) == {"slow"}

    def trying():
        diff = loader.reload()
        assert diff.failed == ("slow",) and not diff
        return loader.status["slow"].state == "connecting"  # a reload that had waited for it would see how it ended

    eventually(trying)
    gate.touch()

    def back():
        loader.reload()
        return not loader.errors

    eventually(back)
    assert loader.call("slow.echo", {"text": "1"}).text == "1"


def test_a_file_that_cannot_be_read_ends_nothing(make_loader, file):
    write(file, a=bare())
    loader = make_loader(file)
    pid = loader.call("a.pid").text
    file.write_text('{"mcpServers": {')
    diff = loader.reload()
    assert diff.kept == ("a",) and "(configuration)" in loader.errors
    assert loader.call("a.pid").text == pid
    assert loader.restart("a").state == "connected" and loader.call("a.pid").text != pid
    write(file, a=bare())
    assert loader.reload().kept == ("a",) and not loader.errors


def test_a_file_that_has_gone_ends_nothing(make_loader, file):
    write(file, a=bare())
    loader = make_loader(file)
    pid = loader.call("a.pid").text
    file.unlink()
    assert loader.reload().kept == ("a",) and "no such file" in loader.errors["(configuration)"]
    assert loader.call("a.pid").text == pid


def test_what_is_written_between_loads_is_read(file):
    from aionest import portal

    write(file, a=bare())
    loader = ToolsLoader(config_file=file)
    write(file, b=bare())
    with loader:
        assert list(loader.status) == ["b"]
    write(file, c=bare())
    with loader:
        assert list(loader.status) == ["c"]
        portal().close()
        write(file, d=bare())
        loader.load()
        assert list(loader.status) == ["d"]


def test_cleanup_during_a_load_ends_it(tmp_path, processes):
    loader = ToolsLoader(config={"a": bare(), "hang": bare("--fault", "hang", connect_timeout=600)})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        loading = pool.submit(loader.load)
        eventually(lambda: "a" in loader.status and loader.status["a"].state == "connected")
        loader.cleanup()
        loading.result(60)
    assert loader.tools == {} and not processes()
    assert loader.status == {}


def test_a_load_that_is_cancelled_leaves_nothing(processes):
    import asyncio

    async def main():
        loader = ToolsLoader(config={"a": bare(), "hang": bare("--fault", "hang", connect_timeout=600)})
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(loader.load_async(), 1.5)
        await loader.cleanup_async()

    asyncio.run(main())
    eventually(lambda: not processes())


def test_a_with_block_that_cannot_begin_leaves_nothing(processes):
    with pytest.raises(ServerUnavailable, match="no-such"):
        with ToolsLoader(config={"a": bare(), "bad": {"command": "no-such-command"}}, strict=True):
            raise AssertionError("not reached")
    assert not processes()


def test_after_the_portal_was_closed_it_loads_anew(make_loader):
    from aionest import portal

    loader = make_loader({"a": bare()})
    pid = loader.call("a.pid").text
    portal().close()
    loader.cleanup()
    assert loader.tools == {}
    assert loader.load() and loader.call("a.pid").text != pid


def test_states_are_told_in_order(make_loader):
    told = []
    loader = make_loader({"a": bare(), "bad": {"command": "no-such-command"}}, on_state=told.append)
    os.kill(int(loader.call("a.pid").text), 9)
    eventually(lambda: "lost" in [s.state for s in told if s.name == "a"])
    loader.call("a.pid")
    eventually(lambda: [s.state for s in told if s.name == "a"][-1] == "connected")
    assert [s.state for s in told if s.name == "a"] == ["connecting", "connected", "lost", "connecting", "connected"]
    assert [s.state for s in told if s.name == "bad"] == ["connecting", "failed"]
    assert "no-such-command" in [s.error for s in told if s.name == "bad"][-1]


def test_a_listener_that_fails_harms_nobody(make_loader, caplog):
    def bad(*args):
        raise RuntimeError("no window")

    loader = make_loader({"a": bare()}, on_state=bad, on_log=bad)
    loader.load(progress=bad)
    assert loader.call("a.progress", {"steps": 2}, progress=bad).text == "done"
    loader.call("a.log", {"message": "hello"})
    assert loader.call("a.echo", {"text": "on"}).text == "on"
    eventually(lambda: "no window" in caplog.text)


def test_after_the_portal_was_closed_all_servers_are_there(make_loader):
    from aionest import portal

    loader = make_loader({"a": bare(), "b": bare(), "bad": {"command": "no-such-command"}})
    names = list(loader.tools)
    portal().close()
    assert [(s.state, s.pid) for s in loader.status.values()] == [("closed", None), ("closed", None), ("failed", None)]
    assert loader.call("a.echo", {"text": "1"}).text == "1"
    assert list(loader.tools) == names and loader.status["b"].state == "closed"
    assert loader.call("b.echo", {"text": "2"}).text == "2"
    with pytest.raises(ServerUnavailable, match="no-such-command"):
        loader.call("bad.echo")
    portal().close()
    assert loader.load().keys() == set(names) and loader.status["b"].state == "connected" and "bad" in loader.errors


def test_a_restart_hides_no_tools(make_loader):
    loader = make_loader({"a": bare("--fault", "slow"), "b": bare()})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        restarting = pool.submit(loader.restart, "a")
        eventually(lambda: loader.status["a"].state == "connecting")
        loader.call("b.change", {"name": "later"})
        eventually(lambda: "b__later" in loader.tools)
        assert not restarting.done() and "a__echo" in loader.tools
        assert loader.call("a.echo", {"text": "1"}).text == "1"
        restarting.result(60)
