"""What joins the callback before it on uvloop, while the collector finds garbage that nests."""

from __future__ import annotations

import asyncio
import gc

import pytest

import aionest


@pytest.fixture
def threshold():
    before = gc.get_threshold()
    yield
    gc.enable()
    gc.set_threshold(*before)


class Nests:
    def __init__(self, work):
        self.itself, self.work = self, work

    def __del__(self):
        aionest.await_(self.work())


def test_a_callback_that_joins_is_called_whenever_a_finalizer_nests(run, threshold):
    if run.mode in ("debug", "eager"):
        pytest.skip("no batches")

    async def main():
        loop, other, before, joined = asyncio.get_running_loop(), asyncio.new_event_loop(), [], []
        numbers = list(range(40))  # at which allocation the collector comes
        kept = []

        def takes_memory(done):
            for _ in range(20):  # what was called has none any more: another loop's batches get it
                other.call_soon(int)
                other.call_soon_threadsafe(int)
            done.set_result(None)

        async def lets_the_loop_go_on():
            done = loop.create_future()
            loop.call_later(0.001, takes_memory, done)
            await done

        for n in numbers:
            await asyncio.sleep(0)
            gc.disable()
            gc.collect()
            Nests(lets_the_loop_go_on)
            kept.extend(loop.call_soon(int) for _ in range(300))  # more than there are used handles at hand
            kept.append(loop.call_soon(before.append, n))
            gc.set_threshold(gc.get_count()[0] + n)
            gc.enable()
            kept.append(loop.call_soon(joined.append, n))
            kept.append([[] for _ in range(n + 1)])  # it comes here at the latest
            gc.disable()
        await asyncio.sleep(0.01)
        other.close()
        return numbers, before, joined

    numbers, before, joined = run(main)
    assert before == numbers
    assert joined == numbers
