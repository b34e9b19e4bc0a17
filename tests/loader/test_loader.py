"""The loader on real servers: loading, calling from everywhere, faults, reload, the end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import sys
import threading
import time

import psutil
import pytest
from servers import SERVER, bare
from support import GUARD, eventually, is_alive, script

from aionest.mcp import (
    ArgumentsError,
    CallTimeout,
    ServerLost,
    ServerUnavailable,
    Tool,
    ToolFailed,
    ToolNotFound,
    ToolsLoader,
    ToolsRetriever,
)

# what another thread does for a Ctrl-C, in a program that imports os and signal; os.kill would end the process on Windows
INTERRUPT = "os.kill, (os.getpid(), signal.SIGINT)" if os.name == "posix" else "signal.raise_signal, (signal.SIGINT,)"


def test_load_call_and_clean_up(make_loader, processes):
    loader = make_loader({"a": bare(), "b": bare()})
    assert loader.errors == {}
    assert {s.state for s in loader.status.values()} == {"connected"}
    assert str(loader.call("a.echo", {"text": "hi"})) == "hi"
    assert loader.call("b__add", {"a": 2, "b": 3}).structured == {"sum": 5}
    assert loader.tools["a__echo"](text="x").text == "x"
    assert set(loader.bundles) == {"a", "b"} and "a__echo" in loader.tools_bundles["a"]
    assert len(processes()) >= 2
    loader.cleanup()
    assert loader.tools == {} and not processes()


def test_one_bad_server_never_hides_the_good_ones(make_loader):
    config = {
        "good": bare(),
        "missing": {"command": "no-such-command-anywhere"},
        "crash": bare("--fault", "crash"),
        "hang": bare("--fault", "hang", connect_timeout=0.5),
        "refused": {"url": "http://127.0.0.1:9/mcp", "connect_timeout": 5},
        "junk": bare("--fault", "junk"),
        "empty": bare("--fault", "no-tools"),
        "broken": {"args": 5},
    }
    begin = time.monotonic()
    loader = make_loader(config)
    assert time.monotonic() - begin < GUARD
    assert set(loader.errors) == {"missing", "crash", "hang", "refused", "broken"}
    assert "no-such-command-anywhere" in loader.errors["missing"]
    assert "exit code 3" in loader.errors["crash"] and "cannot start: no such database" in loader.errors["crash"]
    assert loader.status["hang"].state == "timed out"
    assert loader.call("good.echo", {"text": "1"}).text == loader.call("junk.echo", {"text": "1"}).text == "1"
    assert loader.status["empty"].state == "connected" and loader.status["empty"].tools == 0


def test_strict_and_required():
    from aionest.mcp import ServerUnavailable

    with pytest.raises(ServerUnavailable, match="no-such"):
        ToolsLoader(config={"a": {"command": "no-such-command"}}, strict=True).load()
    loader = ToolsLoader(config={"a": {"command": "no-such-command", "required": True}, "b": bare()})
    with pytest.raises(ServerUnavailable):
        loader.load()
    loader.cleanup()


def test_a_second_load_tries_again_what_has_failed(tmp_path):
    command = tmp_path / "server"
    loader = ToolsLoader(config={"a": {"command": str(command)}}, strict=True)
    try:
        for _ in range(8):  # until the next attempt is put off
            with pytest.raises(ServerUnavailable, match="cannot start") as first:
                loader.load()
        kept = loader.failures["a"]
        for _ in range(2):
            with pytest.raises(ServerUnavailable, match="cannot start") as second:
                loader.call("a.echo", {"text": "1"})
            assert second.value is not kept and second.value.__cause__ is kept.__cause__
            assert second.value.server == "a" and second.value is not first.value
        script(command, sys.executable, SERVER)
        assert "a__echo" in loader.load() and not loader.errors
    finally:
        loader.cleanup()


def test_names_and_arguments_are_checked_before_anything_is_sent(make_loader):
    loader = make_loader({"a": bare(), "b": bare()})
    with pytest.raises(ToolNotFound, match=r"did you mean a__echo, \w+ or \w+\?"):
        loader.call("a__ecko")
    with pytest.raises(ToolNotFound, match="several servers"):
        loader.find("echo")
    with pytest.raises(ArgumentsError, match="text: missing"):
        loader.call("a.echo", {})
    with pytest.raises(ArgumentsError, match="a: "):
        loader.call("a.add", {"a": "one"})
    assert loader.call("a.count").text == "1"


def test_a_tool_that_fails(make_loader):
    loader = make_loader({"a": bare()})
    assert loader.call("a.fail", {"message": "no"}).is_error
    with pytest.raises(ToolFailed, match="no") as caught:
        loader.call("a.fail", {"message": "no"}, check=True)
    assert caught.value.result.text == "no"


def test_deadline(make_loader):
    loader = make_loader({"a": bare()})
    with pytest.raises(CallTimeout, match="0.2 s"):
        loader.call("a.sleep", {"seconds": 30}, timeout=0.2)
    assert loader.call("a.echo", {"text": "still"}).text == "still"


def test_killed_between_calls_it_comes_back(make_loader):
    loader = make_loader({"a": bare(), "b": bare()})
    other = loader.call("b.pid").text
    pid = int(loader.call("a.pid").text)
    psutil.Process(pid).kill()
    again = int(loader.call("a.pid").text)
    assert again != pid and loader.call("b.pid").text == other
    assert loader.status["a"].connections == 2


def test_killed_during_a_call(make_loader):
    loader = make_loader({"a": bare()})
    begin = time.monotonic()
    with pytest.raises(ServerLost, match="a"):
        loader.call("a.die", {"code": 7}, timeout=30)
    assert time.monotonic() - begin < 10
    assert loader.call("a.count").text == "1"


def test_a_safe_call_is_sent_again_once(make_loader):
    loader = make_loader({"a": bare()})
    pid = int(loader.call("a.pid").text)
    threading.Timer(0.3, psutil.Process(pid).kill).start()
    assert loader.call("a.sleep", {"seconds": 1}).text == "slept"  # annotated as idempotent
    assert loader.status["a"].connections == 2


def test_from_many_threads_loops_and_runs(make_loader):
    loader = make_loader({"a": bare(), "b": bare()})
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(lambda n: loader.call(f"{'ab'[n % 2]}.echo", {"text": str(n)}).text, range(100)))
    assert texts == [str(n) for n in range(100)]

    async def main():
        results = await asyncio.gather(*(loader.call_async("a.echo", {"text": str(n)}) for n in range(20)))
        return [r.text for r in results]

    for _ in range(2):
        assert asyncio.run(main()) == [str(n) for n in range(20)]
    # from the portal's own thread: a nested run
    assert loader.portal.call(lambda: loader.call("a.echo", {"text": "in"})).text == "in"


def test_cancelling_a_call_async(make_loader):
    loader = make_loader({"a": bare()})

    async def main():
        task = asyncio.ensure_future(loader.call_async("a.sleep", {"seconds": 30}))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return (await loader.call_async("a.echo", {"text": "on"})).text

    assert asyncio.run(main()) == "on"


def test_reload_touches_only_what_changed(make_loader, tmp_path):
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"a": bare(), "b": bare(), "c": bare()}}))
    loader = make_loader(file)
    pids = {name: loader.call(f"{name}.pid").text for name in "abc"}
    diff = loader.reload()
    assert not diff and set(diff.kept) == set("abc")
    file.write_text(json.dumps({"mcpServers": {"a": bare(), "b": bare("--name", "other"), "d": bare()}}))
    diff = loader.reload()
    assert (diff.added, diff.removed, diff.changed, diff.kept) == (("d",), ("c",), ("b",), ("a",))
    assert loader.call("a.pid").text == pids["a"] and loader.call("b.pid").text != pids["b"]
    with pytest.raises(ToolNotFound):
        loader.find("c.pid")


def test_a_list_that_changes(make_loader):
    loader = make_loader({"a": bare()})
    loader.call("a.change", {"name": "later"})
    eventually(lambda: "a__later" in loader.tools)
    assert loader.call("a.later").text == "later"


def test_two_thousand_tools_in_pages_and_a_big_result(make_loader):
    loader = make_loader({"a": bare("--tools", "2000", "--page", "50")})
    assert len(loader.tools) == 2015
    assert loader.call("a.tool1999").text == "tool1999"
    assert len(loader.call("a.big", {"size": 10_000_000}).text) == 10_000_000


def test_an_invalid_schema_spoils_one_tool_only(make_loader):
    loader = make_loader({"a": bare("--fault", "bad-schema")})
    from aionest.mcp import ToolSchemaError

    with pytest.raises(ToolSchemaError, match="odd"):
        loader.call("a.odd", {"a": 1})
    assert loader.call("a.echo", {"text": "1"}).text == "1"


@pytest.mark.parametrize("fault", ["stubborn", "child"])
def test_servers_that_do_not_want_to_end(make_loader, fault, tmp_path):
    pids = tmp_path / "pids"
    loader = make_loader({"a": bare("--fault", fault, "--pid-file", str(pids))})
    numbers = [int(line) for line in pids.read_text().split()]
    assert len(numbers) == (2 if fault == "child" else 1)
    loader.cleanup()
    eventually(lambda: not any(map(is_alive, numbers)), "a server is left")


def test_progress_and_log(make_loader):
    logged = []
    loader = make_loader({"a": bare()}, on_log=lambda *args: logged.append(args))
    steps = []
    loader.call("a.progress", {"steps": 3}, progress=lambda *args: steps.append(args))
    assert steps == [(1.0, 3.0, "step 1"), (2.0, 3.0, "step 2"), (3.0, 3.0, "step 3")]
    loader.call("a.log", {"message": "hello", "level": "warning"})
    eventually(lambda: logged)
    assert logged == [("a", "warning", "hello")]


def test_resources_prompts_and_ping(make_loader):
    loader = make_loader({"a": bare()})
    assert [r["uri"] for r in loader.resources()["a"]] == ["memo://one"]
    assert loader.read_resource("a", "memo://one")[0]["text"] == "the first memo"
    assert loader.prompts("a")["a"][0]["name"] == "greet"
    assert loader.get_prompt("a", "greet", {"who": "you"})[0]["content"]["text"] == "Greet you"
    assert loader.ping("a") > 0


def test_a_server_that_does_not_answer_hides_no_resources_of_others(make_loader, caplog):
    loader = make_loader({"mute": bare(timeout=1), "a": bare()})
    psutil.Process(loader.status["mute"].pid).suspend()
    try:
        assert list(loader.resources()) == list(loader.prompts()) == ["a"]
        assert "'mute': the list of prompts is unavailable" in caplog.text
        with pytest.raises(CallTimeout):
            loader.resources("mute")
    finally:
        psutil.Process(loader.status["mute"].pid).resume()


def test_results_of_read_only_tools_are_kept_when_asked(make_loader):
    loader = make_loader({"a": bare(cache_ttl=60)})
    first = loader.call("a.echo", {"text": "1"})
    assert loader.call("a.echo", {"text": "1"}) is first
    assert loader.call("a.count").text == "2"  # not read-only: never kept
    assert loader.call("a.count").text == "3"


def test_environment_of_the_server(make_loader, monkeypatch):
    monkeypatch.setenv("OTHER", "leaks")
    monkeypatch.setenv("TOKEN", "from the process")
    loader = make_loader({"a": bare(env={"TOKEN": "mine", "COPY": "${TOKEN}"})})
    assert loader.call("a.env", {"name": "TOKEN"}).text == "mine"
    assert loader.call("a.env", {"name": "COPY"}).text == "from the process"
    assert loader.call("a.env", {"name": "OTHER"}).text == ""


def test_two_servers_with_one_prefix(make_loader):
    loader = make_loader({"a": bare(prefix="x"), "b": bare(prefix="x")})
    assert len(loader.tools) == 30
    assert loader.call("x__pid").text == loader.call("a.pid").text != loader.call("b.pid").text


def test_some_of_the_servers(make_loader, processes):
    servers = {"a": bare(), "b": bare(), "bad": {"command": "no-such-command"}, "wrong": {}, "off": bare(disabled=True)}
    loader = make_loader(servers, servers=["a", "off"])
    assert set(loader.bundles) == {"a"} and set(loader.status) == {"a", "off"} and not loader.errors
    with pytest.raises(ToolNotFound, match="off .disabled."):
        loader.call("off.echo", {"text": "x"})
    loader = make_loader(servers)
    assert set(loader.errors) == {"bad", "wrong"} and set(loader.failures) == {"bad"}
    assert isinstance(loader.failures["bad"], ServerUnavailable)


def test_restart(make_loader):
    loader = make_loader({"a": bare()})
    pid = loader.call("a.pid").text
    assert loader.restart("a").state == "connected"
    assert loader.call("a.pid").text != pid


def test_cleanup_during_calls(make_loader):
    loader = make_loader({"a": bare()})
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(loader.call, "a.sleep", {"seconds": 30}) for _ in range(4)]
        eventually(lambda: loader.status["a"].open_calls == 4)
        loader.cleanup()
        for call in calls:
            assert isinstance(call.exception(20), (ServerUnavailable, concurrent.futures.CancelledError, RuntimeError))


def test_a_late_call_starts_nothing_after_cleanup(make_loader, processes):
    loader = make_loader({"a": bare()})
    tool = loader.find("a.echo")
    loader.cleanup()
    with pytest.raises(ServerUnavailable, match="load\\(\\) it again"):
        tool.call(text="1")
    assert not processes()
    loader.load()
    assert tool.call(text="1").text == "1"


def test_a_retriever_is_filled(make_loader):
    retriever = ToolsRetriever()
    loader = make_loader({"a": bare(), "b": bare("--fault", "no-tools")}, tools_retriever=retriever)
    assert [bundle.name for bundle in retriever.get_all()] == ["a"]
    loader.cleanup()
    assert retriever.get_all() == []


def test_a_retriever_that_takes_its_time_or_fails_holds_nothing_up(make_loader, caplog):
    begun, go_on = threading.Event(), threading.Event()

    def embed(texts):
        begun.set()
        if not go_on.wait(60):
            raise AssertionError("nobody lets it go on")
        raise RuntimeError("no such model")

    retriever = ToolsRetriever(embed=embed)
    loader = ToolsLoader(retriever, config={"a": bare(), "b": bare()})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        loading = pool.submit(loader.load)
        try:
            assert begun.wait(60)
            eventually(lambda: "a" in loader.bundles)  # the other may have been there first
            assert loader.call("a.echo", {"text": "meanwhile"}).text == "meanwhile"
        finally:
            go_on.set()
        assert loading.result(60) and [*loader.errors] == ["(retriever)"]
    assert "no such model" in caplog.text and "no such model" in loader.errors["(retriever)"]
    loader.cleanup()
    assert not loader.errors


@pytest.mark.parametrize("names", [["time"], ["time", "other"]])
def test_a_retriever_keeps_what_others_put_there(make_loader, names):
    retriever, mine = ToolsRetriever(), Tool("time", description="my own clock")
    retriever.add(mine)
    loader = make_loader({name: bare() for name in names}, tools_retriever=retriever)
    assert sorted(retriever.list()) == sorted({*names, "time"}) and retriever.get("time") is mine
    assert "server 'time'" in loader.errors["(retriever)"] and "other'" not in loader.errors["(retriever)"]
    assert loader.call("time.echo", {"text": "there"}).text == "there"
    with pytest.raises(ToolNotFound) as caught:
        loader.find("none")
    assert "not there" not in str(caught.value)
    retriever.remove("time")
    loader.reload()
    assert not loader.errors and retriever.get("time") is loader.bundles["time"]
    retriever.remove("time")
    retriever.add(mine)
    loader.cleanup()
    assert retriever.get_all() == [mine]


def test_a_retriever_that_fails_is_filled_later(make_loader):
    down, asked = {"a", "b"}, []

    def embed(texts):
        asked.append(texts[0].split()[0])
        if asked[-1] in down:
            raise ConnectionError("the service is down")
        return [[1.0, 2.0] for _ in texts]

    retriever = ToolsRetriever(embed=embed)
    loader = make_loader({"a": bare(), "b": bare()}, tools_retriever=retriever)
    assert retriever.list() == [] and loader.errors["(retriever)"].count("the service is down") == 2
    down.remove("a")
    loader.reload()
    assert retriever.list() == ["a"] and loader.errors["(retriever)"].count("the service is down") == 1
    down.clear()
    loader.reload()
    assert sorted(retriever.list()) == ["a", "b"] and not loader.errors
    count = len(asked)
    loader.reload()
    assert len(asked) == count


def test_cleanup_does_not_wait_for_ever_for_a_retriever(make_loader, monkeypatch):
    from aionest.mcp.session import callbacks as module

    monkeypatch.setattr(module, "LISTENERS", 0.1)
    slow, go_on, gone_on = threading.Event(), threading.Event(), threading.Event()

    def embed(texts):
        if slow.is_set():
            go_on.wait(100)
            gone_on.set()
        return [[1.0] for _ in texts]

    retriever = ToolsRetriever(embed=embed)
    loader = make_loader({"a": bare()}, tools_retriever=retriever)
    slow.set()
    try:
        loader.call("a.change", {"name": "later"})
        eventually(lambda: "a__later" in loader.tools)
        assert not loader.reload()
        loader.cleanup()
        assert not gone_on.is_set() and loader.tools == {}
    finally:
        go_on.set()


def test_adapters(make_loader):
    from aionest.mcp.adapters.anthropic import to_anthropic
    from aionest.mcp.adapters.openai import call_openai, to_openai
    from aionest.mcp.adapters.python import to_function

    loader = make_loader({"a": bare()})
    add = to_function(loader.find("add"))
    assert add(1, b=5) == {"sum": 6}
    assert to_openai(loader.find("add"))["function"]["parameters"]["required"] == ["a"]
    assert to_anthropic(loader.find("add"))["input_schema"]["required"] == ["a"]
    assert call_openai(loader.tools, {"function": {"name": "a__add", "arguments": '{"a": 1}'}}).structured == {"sum": 2}
    pytest.importorskip("langchain_core")
    tool = loader.bundles["a"].to_langchain()[0]
    assert tool.invoke({"text": "sync"}) == "sync"
    assert asyncio.run(tool.ainvoke({"text": "async"})) == "async"


def test_interpreter_exit_with_everything_open(child, tmp_path, complaints):
    pids = tmp_path / "pids"
    r = child(
        f"""
        import sys
        from aionest.mcp import ToolsLoader
        config = {{"a": {bare("--pid-file", str(pids))!r}, "b": {bare("--fault", "stubborn", "--pid-file", str(pids))!r}}}
        loader = ToolsLoader(config=config)
        loader.load()
        print(loader.call("a.echo", {{"text": "hi"}}))
        """
    )
    assert (r.returncode, r.stdout, complaints(r)) == (0, "hi\n", []), r
    assert not [n for n in map(int, pids.read_text().split()) if is_alive(n)]


def test_after_fork_the_child_has_its_own(child):
    r = child(
        f"""
        import os, sys
        from aionest.mcp import ToolsLoader
        loader = ToolsLoader(config={{"a": {bare()!r}, "b": {bare()!r}}})
        loader.load()
        mine = loader.call("a.pid").text
        pid = os.fork()
        if not pid:
            ok = {{one.state for one in loader.status.values()}} == {{"closed"}}
            ok = ok and loader.call("b.echo", {{"text": "1"}}).text == "1" and "a__echo" in loader.tools
            loader.load()
            ok = ok and loader.call("a.pid").text != mine
            loader.cleanup()
            os._exit(0 if ok else 1)
        print(os.waitpid(pid, 0)[1], loader.call("a.pid").text == mine)
        """,
        dev=False,
    )
    assert (r.returncode, r.stdout) == (0, "0 True\n"), r


def test_ctrl_c_ends_a_call_and_leaves_the_loader_usable(child):
    r = child(
        f"""
        from aionest.mcp import ToolsLoader
        loader = ToolsLoader(config={{"a": {bare()!r}}})
        loader.load()
        import os, signal, threading
        timer = threading.Timer(0.5, {INTERRUPT})
        try:
            timer.start()
            loader.call("a.sleep", {{"seconds": 60}})
        except KeyboardInterrupt:
            print("interrupted", loader.call("a.echo", {{"text": "on"}}))
        """
    )
    assert (r.returncode, r.stdout) == (0, "interrupted on\n"), r
