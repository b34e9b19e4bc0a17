"""The chunks that hold the Python frames of suspended runs: given back when the runs are over, on any thread."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from aionest import _core

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11) or not _core.LINUX_PATHS, reason="frames are kept elsewhere")


def sync(gate):
    return asyncio.run(gate.wait())


def deep(n, gate):
    """More frames than one chunk holds."""
    return sync(gate) if n == 0 else deep(n - 1, gate)


async def suspend(count, depth):
    gate = asyncio.Event()

    async def caller():
        return deep(depth, gate)

    tasks = [asyncio.create_task(caller()) for _ in range(count)]
    for _ in range(4):
        await asyncio.sleep(0)
    most = _core._counters()["chunk_blocks"]
    gate.set()
    assert all(await asyncio.gather(*tasks))
    return most


def test_blocks_come_and_go_with_the_runs(applied):
    most = asyncio.run(suspend(2000, 0))
    assert most >= 2000 // 64
    assert _core._counters()["chunk_blocks"] <= most // 4


def test_a_process_that_nests_a_little_keeps_its_allocator(child):
    r = child(
        """
        import asyncio
        import aionest
        from aionest import _core

        aionest.apply()

        async def nest(gate):
            return asyncio.run(gate.wait())

        async def main(count):
            gate = asyncio.Event()
            tasks = [asyncio.create_task(nest(gate)) for _ in range(count)]
            await asyncio.sleep(0.01)
            blocks = _core._counters()["chunk_blocks"]
            gate.set()
            await asyncio.gather(*tasks)
            return blocks

        print([asyncio.run(main(3)) for _ in range(10)], asyncio.run(main(100)) > 0, flush=True)
        """
    )
    assert (r.stdout, r.stderr) == (f"{[0] * 10} True\n", "")


def test_many_short_runs_need_no_memory_of_their_own(child):
    r = child(
        """
        import asyncio
        import aionest
        from aionest import _core

        aionest.apply()
        for _ in range(200):
            asyncio.run(asyncio.sleep(0))
        print(_core._counters()["chunk_blocks"])
        """
    )
    assert (r.stdout, r.stderr) == ("1\n", "")


def test_frames_deeper_than_a_chunk(applied):
    asyncio.run(suspend(50, 200))
    assert _core._counters()["chunk_blocks"] < 50


def test_threads(applied):
    errors = []

    def work():
        try:
            for _ in range(5):
                asyncio.run(suspend(300, 3))
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert _core._counters()["chunk_blocks"] < 20
