"""Random programs of entering, using, cancelling and leaving across runs."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aionest

anyio = pytest.importorskip("anyio")

STEPS = st.lists(
    st.tuples(st.sampled_from(["enter", "leave", "cancel", "use", "nested leave"]), st.integers(0, 4)), max_size=25
)

ON_EACH_LOOP = True


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_every_group_ends_by_its_own_leaving_alone(steps):
    aionest.apply()
    groups, cancelled, alive = {}, set(), {}

    async def enter(n):
        group = anyio.create_task_group()
        await group.__aenter__()
        groups[n] = group

        async def live():
            alive[n] = True
            try:
                await anyio.sleep_forever()
            finally:
                alive[n] = False

        group.start_soon(live)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def leave(n):
        group = groups.pop(n)
        group.cancel_scope.cancel()
        await group.__aexit__(None, None, None)
        cancelled.discard(n)

    async def nested(n):
        asyncio.run(leave(n))

    async def look():
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    try:
        for action, n in steps:
            if action == "enter" and n not in groups:
                asyncio.run(enter(n))
            elif n in groups:
                if action == "cancel":

                    async def cancel(n=n):
                        groups[n].cancel_scope.cancel()

                    asyncio.run(cancel())
                    cancelled.add(n)
                elif action == "leave":
                    asyncio.run(leave(n))
                elif action == "nested leave":
                    asyncio.run(nested(n))
            asyncio.run(look())
            for n, running in alive.items():
                assert running == (n in groups and n not in cancelled), (action, n)
        for n in list(groups):
            asyncio.run(leave(n))
    finally:
        aionest._runs.thread_loop.close_persistent_loops()
        aionest.unapply()


class Worker(threading.Thread):
    """Carries out what it is given, one after the other."""

    def __init__(self):
        super().__init__(daemon=True)
        self.jobs, self.results = queue.Queue(), queue.Queue()
        self.start()

    def run(self):
        while (job := self.jobs.get()) is not None:
            try:
                self.results.put((True, asyncio.run(job())))
            except BaseException as exc:
                self.results.put((False, exc))

    def do(self, job):
        self.jobs.put(job)
        ok, value = self.results.get(timeout=60)
        if not ok:
            raise value
        return value

    def end(self):
        self.jobs.put(None)
        self.join(60)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["enter", "enter dropped", "enter several", "leave", "leave", "cancel", "fail", "use"]),
            st.integers(0, 2),
            st.integers(0, 1000),
        ),
        max_size=30,
    )
)
def test_entered_used_and_left_by_any_thread(steps):
    aionest.apply(shared=True)
    workers = [Worker() for _ in range(3)]
    number, groups, alive, ended = 0, {}, set(), set()

    @contextlib.asynccontextmanager
    async def resource(n):
        async with anyio.create_task_group() as group:

            async def live():
                alive.add(n)
                try:
                    await anyio.sleep_forever()
                finally:
                    alive.discard(n)

            group.start_soon(live)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            yield group

    async def enter(n):
        manager = resource(n)
        return await manager.__aenter__(), manager

    async def enter_dropped(n):
        return await resource(n).__aenter__(), None

    async def enter_several(n):
        return await asyncio.gather(*[enter(n + i) for i in range(3)])

    async def leave(group):
        group.cancel_scope.cancel()
        await group.__aexit__(None, None, None)

    async def fail():
        raise LookupError("in a child")

    async def start(group):
        group.start_soon(fail)
        for _ in range(4):
            await asyncio.sleep(0)

    async def look():
        for _ in range(3):
            await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    try:
        for action, who, pick in steps:
            do = workers[who].do
            if action in ("enter", "enter dropped"):
                groups[number] = do(lambda n=number, f=enter if action == "enter" else enter_dropped: f(n))
                number += 1
            elif action == "enter several":
                for entered in do(lambda n=number: enter_several(n)):
                    groups[number] = entered
                    number += 1
            elif groups:
                n = sorted(groups)[pick % len(groups)]
                group, manager = groups[n]
                if action == "leave":
                    del groups[n]
                    if n in ended:
                        with contextlib.suppress(BaseException):
                            do(lambda: leave(group))
                        ended.discard(n)
                    elif manager is not None and pick % 2:
                        do(lambda: cancel_and_exit(group, manager))
                    else:
                        do(lambda: leave(group))
                    del manager
                elif action == "cancel":
                    do(lambda: cancel(group))
                    ended.add(n)
                elif action == "fail" and n not in ended:
                    do(lambda: start(group))
                    ended.add(n)
            tasks = workers[who].do(look)
            assert alive == set(groups) - ended, action
            assert tasks == 1 + len(alive)
        while groups:
            n, (group, _) = groups.popitem()
            with contextlib.suppress(BaseException):
                workers[n % 3].do(lambda: leave(group))
        assert not alive
    finally:
        for worker in workers:
            worker.end()
        aionest.portal().close()
        aionest.unapply()


async def cancel(group):
    group.cancel_scope.cancel()


async def cancel_and_exit(group, manager):
    group.cancel_scope.cancel()
    await manager.__aexit__(None, None, None)
