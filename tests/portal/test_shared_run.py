"""shared_run: what a top-level asyncio.run is carried out by when it is shared."""

import asyncio
import contextvars
import gc
import threading

import pytest

from aionest._portal.default import portal, shared_run

GUARD = 60
variable = contextvars.ContextVar("variable", default="unset")


async def where():
    await asyncio.sleep(0)
    return threading.current_thread(), asyncio.get_running_loop()


def test_runs_of_all_threads_share_one_loop(start):
    found = {shared_run(where())} | {start(shared_run, where()).result() for _ in range(5)}
    assert len(found) == 1
    assert found.pop()[0] is portal()._runner.thread


def test_what_one_run_leaves_lives_on_in_the_next(start):
    async def begin():
        queue = asyncio.Queue()

        async def serve():
            while True:
                number, reply = await queue.get()
                reply.set_result(2 * number)

        return queue, asyncio.get_running_loop().create_task(serve())

    async def ask(queue, number):
        reply = asyncio.get_running_loop().create_future()
        queue.put_nowait((number, reply))
        return await reply

    async def end(task):
        task.cancel()
        await asyncio.wait([task])

    queue, task = shared_run(begin())
    assert start(lambda: shared_run(ask(queue, 4))).result() == 8
    start(lambda: shared_run(end(task))).result()


def test_the_callers_context_is_copied(start):
    async def change():
        before = variable.get()
        variable.set("changed")
        return before

    def run():
        variable.set("mine")
        return shared_run(change()), variable.get()

    assert start(run).result() == ("mine", "mine")


def test_results_exceptions_and_cancellations_come_back():
    async def fail():
        raise LookupError("text")

    async def cancel():
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    assert shared_run(asyncio.sleep(0, "result")) == "result"
    with pytest.raises(LookupError, match="text"):
        shared_run(fail())
    with pytest.raises(asyncio.CancelledError):
        shared_run(cancel())


def test_on_the_portals_own_thread_it_nests():
    async def outer():
        return [shared_run(where())[1] is asyncio.get_running_loop(), shared_run(asyncio.sleep(0.01, "nested"))]

    assert shared_run(outer()) == [True, "nested"]


def test_a_run_inside_another_threads_running_loop_lets_that_go_on():
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticker = asyncio.get_running_loop().create_task(tick())
        assert shared_run(asyncio.sleep(0.05, "slept")) == "slept"
        ticker.cancel()
        return ticks

    loop = asyncio.SelectorEventLoop()
    assert loop.run_until_complete(main()) > 1
    loop.close()


def test_debug_is_set_during_the_run_only():
    async def debug():
        return asyncio.get_running_loop().get_debug()

    before = shared_run(debug())
    assert shared_run(debug(), debug=True) is True
    assert shared_run(debug(), debug=False) is False
    assert shared_run(debug()) is before


def test_what_is_no_coroutine_is_refused_as_asyncio_does():
    with pytest.raises((TypeError, ValueError)):
        shared_run(where)
    gc.collect()


def test_a_closed_default_portal_is_replaced():
    first = shared_run(where())[0]
    portal().close()
    assert shared_run(where())[0] is not first
