"""Servers over stdio that fail in ways of their own: each gives a clear error, and leaves others alone."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading
import time

import psutil
import pytest
from servers import SERVER, bare
from support import eventually

pytest.importorskip("mcp")

from aionest.mcp import CallTimeout, ProtocolError, ServerLost, ServerUnavailable


def has_ended(pid):
    """It may not be reaped yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_killed_between_calls_no_call_is_lost(make_loader):
    """Not even one that must not be sent twice: it was never sent."""
    loader = make_loader({"a": bare(), "b": bare()})
    for _ in range(5):
        pid = int(loader.call("a.pid").text)
        psutil.Process(pid).kill()
        eventually(lambda pid=pid: has_ended(pid))
        assert loader.call("a.count").text == "1"
    assert loader.status["a"].connections == 6 and loader.status["b"].connections == 1


def test_what_is_said_of_a_death_stands_before_the_last_words(make_loader):
    loader = make_loader({"a": bare()})
    with pytest.raises(ServerLost) as caught:
        loader.call("a.die", {"code": 7})
    said = str(caught.value)
    head, mark, tail = said.partition(". Its stderr ends with:\n")
    assert "exit code 7. It went away during the call of 'die'; call again to restart it" in head and mark
    assert tail.endswith("dying as told")


@pytest.mark.parametrize("calls", [1, 30])
def test_killed_before_it_has_read_the_call(make_loader, calls):
    """The kernel says that it was still in the pipe: it is sent to the next process, though it must not be sent twice."""
    loader = make_loader({"a": bare(timeout=300)})
    pid = loader.status["a"].pid
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        read = pool.submit(loader.call, "a.progress", {"steps": 1, "delay": 600}, timeout=600)
        eventually(lambda: loader.status["a"].open_calls == 1)
        assert loader.call("a.echo", {"text": "it was read"}).text
        psutil.Process(pid).suspend()
        eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        unread = [pool.submit(loader.call, "a.count") for _ in range(calls)]
        eventually(lambda: loader.status["a"].open_calls == 1 + calls)
        loader.portal.call(asyncio.sleep, 0.1)  # and written
        psutil.Process(pid).kill()
        assert sorted(int(call.result(120).text) for call in unread) == list(range(1, calls + 1))
        assert isinstance(read.exception(60), ServerLost)
    assert loader.status["a"].connections == 2


def test_killed_before_it_has_read_the_whole_of_a_large_call(make_loader):
    text = "x" * 300_000  # more than a pipe holds
    loader = make_loader({"a": bare(retry="never", timeout=300)})
    pid = loader.status["a"].pid
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        psutil.Process(pid).suspend()
        call = pool.submit(loader.call, "a.echo", {"text": text})
        eventually(lambda: loader.status["a"].open_calls == 1)
        loader.portal.call(asyncio.sleep, 0.1)
        psutil.Process(pid).kill()
        assert call.result(120).text == text
    assert loader.status["a"].connections == 2


@pytest.mark.parametrize("tool", ["count", "echo"])
def test_a_server_that_closes_its_input_and_stays(make_loader, tool):
    loader = make_loader({"a": bare("--fault", "deaf"), "b": bare()})
    assert not loader.errors
    with pytest.raises(ServerUnavailable, match="server 'a'.*(input|lost)"):
        loader.call(f"a.{tool}", {"text": "x"} if tool == "echo" else {}, timeout=60)
    assert loader.call("b.echo", {"text": "on"}).text == "on"


def test_a_server_that_closes_its_output_and_stays(make_loader):
    loader = make_loader({"a": bare("--fault", "mute"), "b": bare()})
    with pytest.raises(ServerUnavailable, match="closed its output"):
        loader.call("a.count", timeout=60)
    assert loader.call("b.echo", {"text": "on"}).text == "on"


def test_a_result_that_is_not_what_was_promised(make_loader):
    loader = make_loader({"a": bare()})
    with pytest.raises(ProtocolError, match="structured"):
        loader.call("a.promised")
    assert loader.status["a"].connections == 1


def test_a_tool_that_was_taken_away(make_loader):
    loader = make_loader({"a": bare("--tools", "1")})
    tool = loader.find("a.tool0")
    result = type(tool)(tool.name, tool.server, "other", caller=loader).call()
    assert result.is_error and "Unknown tool" in result.text


def test_killed_while_many_call(make_loader):
    loader = make_loader({"a": bare(), "b": bare()})
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(loader.call, "a.progress", {"steps": 1, "delay": 600}, timeout=600) for _ in range(10)]
        others = [pool.submit(loader.call, "b.sleep", {"seconds": 2}) for _ in range(5)]
        eventually(lambda: loader.status["a"].open_calls == 10)
        assert loader.call("a.echo", {"text": "all were read"}, timeout=60).text
        psutil.Process(loader.status["a"].pid).kill()
        for call in waiting:
            assert isinstance(call.exception(60), ServerLost)
        assert [call.result(60).text for call in others] == ["slept"] * 5
    assert loader.call("a.count").text == "1"


def test_a_command_that_is_no_program(make_loader, tmp_path):
    script = tmp_path / "server"
    script.write_text("no program\n")
    loader = make_loader(
        {
            "mode": {"command": str(script)},
            "folder": {"command": str(tmp_path)},
            "cwd": bare(cwd=str(tmp_path / "nowhere")),
            "good": bare(),
        }
    )
    assert set(loader.errors) == {"mode", "folder", "cwd"}
    assert "ermission denied" in loader.errors["mode"]
    assert "nowhere" in loader.errors["cwd"]
    script.chmod(0o755)
    loader.load()
    assert loader.call("good.echo", {"text": "on"}).text == "on"


def test_no_shell_runs_a_command(make_loader, tmp_path):
    marker = tmp_path / "marker"
    args = [str(SERVER), "--name", f"$(touch {marker}); touch {marker} | `touch {marker}`"]
    loader = make_loader({"a": {"command": sys.executable, "args": args}})
    assert loader.status["a"].server == args[2] and not marker.exists()


def test_a_callback_that_asks_a_person_stops_nothing_else(make_loader):
    """Nor one that uses the loader itself."""
    asked = []

    def elicitation(params):
        asked.append(loader.call("a.echo", {"text": "meanwhile"}, timeout=60).text)
        return {"name": "Ada"}

    loader = make_loader({"a": bare()}, elicitation=elicitation)
    question = {"message": "?", "requestedSchema": {"type": "object", "properties": {}}}
    answer = loader.call("a.ask", {"method": "elicitation/create", "params": question}, timeout=120)
    assert '"Ada"' in answer.text and asked == ["meanwhile"]


def test_a_deadline_holds_while_a_progress_callback_blocks(make_loader):
    loader = make_loader({"a": bare()})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(
            loader.call, "a.progress", {"steps": 3, "delay": 600}, timeout=1, progress=lambda *a: time.sleep(3)
        )
        assert loader.call("a.echo", {"text": "on"}).text == "on"
        assert isinstance(call.exception(60), CallTimeout)


def test_from_an_exit_handler_and_in_a_callback_of_a_loop(child, complaints):
    r = child(
        f"""
        import asyncio, atexit
        from aionest.mcp import ToolsLoader
        loader = ToolsLoader(config={{"a": {bare()!r}}})
        loader.load()
        atexit.register(lambda: print("exit", loader.call("a.echo", {{"text": "bye"}})))
        async def main():
            print("loop", (await loader.call_async("a.echo", {{"text": "hi"}})).text)
        asyncio.run(main())
        """
    )
    assert (r.returncode, r.stdout, complaints(r)) == (0, "loop hi\nexit bye\n", []), r


def test_an_exit_with_listeners_and_a_retriever(child, complaints):
    r = child(
        f"""
        import atexit
        from aionest.mcp import ToolsLoader, ToolsRetriever
        told = []
        retriever = ToolsRetriever()
        loader = ToolsLoader(retriever, config={{"a": {bare()!r}}}, on_state=lambda status: told.append(status.state))
        loader.load()
        def progress(done, total, message):
            told.append(done)
        def bye():
            loader.call("a.progress", {{"steps": 1}}, progress=progress)
            loader.cleanup()
            print(told, retriever.list())
        atexit.register(bye)
        """
    )
    assert (r.returncode, complaints(r)) == (0, []), r
    assert r.stdout == "['connecting', 'connected', 1.0, 'closed'] []\n", r


def test_a_child_of_fork_calls_at_once_and_leaves_the_parents_alone(child):
    r = child(
        f"""
        import os, sys
        from aionest.mcp import ToolsLoader
        loader = ToolsLoader(config={{"a": {bare()!r}}})
        loader.load()
        mine = loader.call("a.pid").text
        pid = os.fork()
        if not pid:
            theirs = loader.call("a.pid").text  # without load()
            loader.cleanup()
            os._exit(0 if theirs != mine else 1)
        print(os.waitpid(pid, 0)[1], loader.call("a.pid").text == mine)
        # a child that does nothing does not keep a server of the parent alive
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        loader.cleanup()
        print("ended", not os.path.exists(f"/proc/{{mine}}"))
        os.close(writer)
        os.waitpid(pid, 0)
        """,
        dev=False,
    )
    assert (r.returncode, r.stdout) == (0, "0 True\nended True\n"), r


def test_all_twins_on_another_loop(make_loader):
    loader = make_loader({"a": bare()})

    async def main():
        assert (await loader.resources_async("a"))["a"][0]["uri"] == "memo://one"
        assert await loader.resource_templates_async() == {"a": []}
        assert (await loader.prompts_async())["a"][0]["name"] == "greet"
        assert (await loader.read_resource_async("a", "memo://one"))[0]["text"] == "the first memo"
        said = await loader.get_prompt_async("a", "greet", {"who": "you"})
        assert said[0]["content"]["text"] == "Greet you"
        assert await loader.ping_async("a") > 0
        assert (await loader.health_async())["a"].state == "connected"
        assert (await loader.restart_async("a")).connections == 2
        assert not await loader.reload_async()

    asyncio.run(main())


def test_health_tells_and_mends(make_loader):
    loader = make_loader({"a": bare(), "bad": {"command": "no-such-command"}, "off": bare(disabled=True)})
    pid = loader.status["a"].pid
    psutil.Process(pid).kill()
    eventually(lambda: has_ended(pid))
    states = {name: status.state for name, status in loader.health(timeout=60).items()}
    assert states == {"a": "connected", "bad": "failed", "off": "disabled"}
    assert loader.status["a"].pid != pid


def test_names_with_separators_in_them(make_loader):
    loader = make_loader({"my.own__server": bare(), "other": bare()})
    for name in ("my.own__server.echo", "my.own__server/echo", "my.own__server__echo"):
        assert loader.call(name, {"text": name}).text == name


def test_results_are_kept_for_their_time(make_loader):
    loader = make_loader({"a": bare(cache_ttl=1.5)})
    first = loader.call("a.echo", {"text": "1"})
    assert loader.call("a.echo", {"text": "2"}).text == "2"
    eventually(lambda: loader.call("a.echo", {"text": "1"}) is not first, every=0.1)
    # and not beyond a change of the tools
    first = loader.call("a.pid")
    loader.call("a.change", {"name": "later"})
    eventually(lambda: "a__later" in loader.tools)
    assert loader.call("a.pid") is not first


@pytest.fixture
def holder(tmp_path):
    """A server whose output is held open by a process that has left its group."""
    file = tmp_path / "pid"
    code = (
        "import runpy, subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], stdin=-3, start_new_session=True)\n"
        f"open({str(file)!r}, 'w').write(str(p.pid))\n"
    )
    yield lambda rest: {"command": sys.executable, "args": ["-c", code + rest], "connect_timeout": 120}
    psutil.Process(int(file.read_text())).kill()


def served(*args):
    return f"sys.argv = ['bare', {', '.join(map(repr, args))}]\nrunpy.run_path({str(SERVER)!r}, run_name='__main__')\n"


def test_an_end_that_is_noticed_though_others_hold_the_pipes(make_loader, holder):
    loader = make_loader({"a": holder(served()), "b": bare()})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(loader.call, "a.progress", {"steps": 1, "delay": 600}, timeout=600)
        eventually(lambda: loader.status["a"].open_calls == 1)
        assert loader.call("a.echo", {"text": "it was read"}).text
        psutil.Process(loader.status["a"].pid).kill()
        error = call.exception(60)
    assert isinstance(error, ServerLost) and "killed by signal 9" in str(error)
    status = loader.status["a"]
    assert (status.state, status.pid, status.since, status.calls, status.failed_calls) == ("lost", None, None, 2, 1)
    assert loader.call("b.echo", {"text": "on"}).text == "on"


def test_a_crash_at_start_that_is_noticed_as_well(make_loader, holder):
    loader = make_loader({"a": holder("sys.stderr.write('no database\\n'); sys.exit(3)"), "b": bare()})
    assert "exit code 3" in loader.errors["a"] and "no database" in loader.errors["a"]


def test_an_end_that_does_not_wait_for_others(make_loader, holder):
    loader = make_loader({"a": holder(served("--fault", "stubborn"))})
    pid = loader.status["a"].pid
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(loader.cleanup).result(60)
    assert has_ended(pid)


def test_calls_that_a_dying_server_had_not_read_do_not_hang(make_loader):
    """Whoever notices the death first, and whatever the others were about to do."""
    loader = make_loader({"a": bare()})
    over = threading.Event()

    def calls():
        count = 0
        while not over.is_set():
            assert loader.call("a.echo", {"text": "x"}, timeout=600).text == "x"
            count += 1
        return count

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        running = [pool.submit(calls) for _ in range(8)]
        for _ in range(8):
            before = loader.status["a"].connections
            time.sleep(0.1)
            pid = loader.status["a"].pid
            if pid is not None:
                psutil.Process(pid).kill()
                eventually(lambda before=before: loader.status["a"].connections > before)
        over.set()
        for one in running:
            try:
                assert one.result(60) > 0
            except ServerLost:  # killed twice during one call
                pass


def test_deadlines_cover_connecting(make_loader, tmp_path):
    """The attempt is one for all who wait, and goes on without them."""
    marker = tmp_path / "started"
    code = (
        f"import os, runpy, sys\nfirst = not os.path.exists({str(marker)!r})\nopen({str(marker)!r}, 'w').close()\n"
        f"sys.argv = ['bare'] + ([] if first else ['--fault', 'slow'])\nrunpy.run_path({str(SERVER)!r}, run_name='__main__')\n"
    )
    loader = make_loader({"a": {"command": sys.executable, "args": ["-c", code]}})
    pid = loader.status["a"].pid
    psutil.Process(pid).kill()
    eventually(lambda: has_ended(pid))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(loader.call, "a.echo", {"text": "x"}, timeout=0.2) for _ in range(3)]
        patient = pool.submit(loader.call, "a.echo", {"text": "x"}, timeout=120)
        assert [type(call.exception(60)) for call in calls] == [CallTimeout] * 3
        assert patient.result(60).text == "x"
    assert loader.status["a"].connections == 2


def test_timeouts_that_are_none(make_loader):
    loader = make_loader({"a": bare()})
    with pytest.raises(CallTimeout):
        loader.call("a.count", timeout=-1)
    for wrong, error in ((float("nan"), ValueError), ("soon", TypeError), (True, TypeError)):
        with pytest.raises(error):
            loader.call("a.count", timeout=wrong)
    assert loader.call("a.count", timeout=float("inf")).text == "1"


def test_cleanup_waits_for_what_a_failing_call_or_a_restart_is_ending(make_loader):
    loader = make_loader({"a": bare("--fault", "mute"), "b": bare("--fault", "stubborn")})
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        failing = pool.submit(loader.call, "a.count")
        restarting = pool.submit(loader.restart, "b")
        pids = [loader.status[name].pid for name in "ab"]
        eventually(lambda: loader.status["a"].pid is None and loader.status["b"].pid is None)
        loader.cleanup()
        assert all(has_ended(pid) for pid in pids if pid is not None)
        error = failing.exception(60)
        # lost in flight; or in the start that the call asked for, where the loss was seen before the call was sent
        assert isinstance(error, ServerLost) or "was closed while it was starting" in str(error)
        restarting.exception(60)


CARELESS = """
import json, sys
TOOLS = [{"name": "good", "inputSchema": {"type": "object"}}, ODD]
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    result = {"content": [{"type": "text"}]}
    if message["method"] == "initialize":
        info = {"name": "careless", "version": "1"}
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
    elif message["method"] == "tools/list":
        result = {"tools": TOOLS}
    elif message["params"].get("arguments"):
        result = {"content": [{"type": "text", "text": "here"}]}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


@pytest.mark.parametrize("odd", ['{"name": "odd"}', '{"name": "odd", "inputSchema": True}', "None"])
def test_a_tool_that_is_described_wrongly_is_left_out(make_loader, caplog, odd):
    loader = make_loader({"a": {"command": sys.executable, "args": ["-c", CARELESS.replace("ODD", odd)]}})
    status = loader.status["a"]
    assert list(loader.tools) == ["a__good"] and not loader.errors and status.state == "connected"
    [said] = status.left_out
    assert ("'odd'" if odd != "None" else "number 2") in said and said in caplog.text
    assert loader.call("a.good", {"text": "1"}).text == "here"


def test_a_result_that_is_none_is_an_error_of_the_protocol(make_loader):
    loader = make_loader({"a": {"command": sys.executable, "args": ["-c", CARELESS.replace(", ODD", "")]}})
    pid = loader.status["a"].pid
    with pytest.raises(ProtocolError, match="violates the protocol"):
        loader.call("a.good")
    assert loader.call("a.good", {"text": "1"}).text == "here"
    assert loader.status["a"].pid == pid and loader.status["a"].connections == 1
