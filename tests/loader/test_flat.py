"""Thousands of calls and reloads leave nothing behind: memory, descriptors, threads and processes stay what they were."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import json
import os
import subprocess
import sys
import threading
import time

import psutil
import pytest
from servers import SERVER, bare

pytest.importorskip("mcp")

WEB_SERVER = SERVER.with_name("bare_http.py")
CALLS = 50_000
MEMORY = 24 << 20  # bytes that the allocator may keep; a leak of half a KiB for each call would exceed it

pytestmark = pytest.mark.long


class Usage:
    """What this process has now."""

    def __init__(self, loader, processes):
        gc.collect()
        tasks = loader.portal.call(lambda: len(asyncio.all_tasks()))
        me = psutil.Process()
        self.memory = me.memory_info().rss
        self.counts = {
            "descriptors": me.num_fds() if hasattr(me, "num_fds") else me.num_handles(),
            "threads": threading.active_count(),
            "processes": len(processes()),
            "tasks": tasks,
        }


def stays(loader, processes, before):
    """There is no more of anything than before (what is ending may take a moment to be gone), and about as much memory."""
    end = time.monotonic() + 60
    while True:
        now = Usage(loader, processes)
        more = {name: (before.counts[name], count) for name, count in now.counts.items() if count > before.counts[name]}
        if not more or time.monotonic() > end:
            break
        time.sleep(0.1)
    assert not more, [thread.name for thread in threading.enumerate()]
    assert now.memory - before.memory < MEMORY, (before.memory, now.memory)


def test_fifty_thousand_calls(make_loader, processes):
    loader = make_loader({"a": bare(), "b": bare()})

    def calls(n):
        for i in range(n):
            assert loader.call("a__echo", {"text": str(i)}).text == str(i)

    async def gathered(n):
        # a hundred at once, on a loop that is not the portal's
        for first in range(0, n, 100):
            found = await asyncio.gather(*(loader.call_async("b__add", {"a": first, "b": i}) for i in range(100)))
            assert [result.structured["sum"] for result in found] == list(range(first, first + 100))

    def crowd(n):
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(calls, [n // 16] * 16))

    def failures(n):
        for _ in range(n):
            assert loader.call("a__fail", {"message": "no"}).is_error

    def all_kinds(factor):
        calls(4 * factor)
        asyncio.run(gathered(3 * factor))
        crowd(2 * factor)
        failures(factor)

    all_kinds(100)  # caches and pools fill
    before = Usage(loader, processes)
    all_kinds(CALLS // 10)
    stays(loader, processes, before)
    status = loader.status
    assert sum(s.calls for s in status.values()) >= CALLS
    assert {s.connections for s in status.values()} == {1} and {s.open_calls for s in status.values()} == {0}


@pytest.mark.parametrize(("answers", "calls_made"), [([], CALLS), (["--events"], CALLS // 5)], ids=["json", "events"])
def test_fifty_thousand_calls_over_http(make_loader, processes, answers, calls_made):
    server = subprocess.Popen([sys.executable, str(WEB_SERVER), *answers], stdout=subprocess.PIPE, text=True)
    try:
        loader = make_loader({"web": {"url": server.stdout.readline().strip()}})

        async def calls(n):
            for _ in range(n // 20):
                found = await asyncio.gather(*(loader.call_async("web__echo", {"text": str(i)}) for i in range(20)))
                assert [result.text for result in found] == [str(i) for i in range(20)]

        asyncio.run(calls(1_000))
        before = Usage(loader, processes)
        before.counts["descriptors"] += 20  # connections that wait for a next call may be fewer or more
        asyncio.run(calls(calls_made))
        stays(loader, processes, before)
        assert loader.status["web"].connections == 1 and loader.status["web"].calls >= calls_made
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def test_a_thousand_reloads(make_loader, processes, tmp_path):
    file = tmp_path / "mcp.json"

    def write(number):
        # replaced as a whole, and longer or later each time: reload() sees at once that it is another
        beside = file.with_suffix(".new")
        servers = {"a": bare(), "b": bare("--name", f"number{number}"), "c": bare()}
        beside.write_text(json.dumps({"mcpServers": servers}))
        os.replace(beside, file)

    write(0)
    loader = make_loader(str(file))
    kept = {name: loader.status[name].pid for name in ("a", "c")}

    def unchanged(n):
        for _ in range(n):
            diff = loader.reload()
            assert not diff and not diff.failed

    def changed(first, n):
        for number in range(first, first + n):
            pid = loader.status["b"].pid
            write(number)
            diff = loader.reload()
            assert diff.changed == ("b",) and set(diff.kept) == {"a", "c"} and not diff.failed
            assert loader.status["b"].server == f"number{number}" and loader.status["b"].pid != pid
            assert loader.call("b.echo", {"text": "hi"}).text == "hi"

    unchanged(50)
    changed(1, 5)
    before = Usage(loader, processes)
    unchanged(1000)
    stays(loader, processes, before)
    changed(100, 30)
    stays(loader, processes, before)
    assert {name: loader.status[name].pid for name in kept} == kept
