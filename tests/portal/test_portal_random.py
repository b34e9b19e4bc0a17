"""Random programs: resources opened, called, failed and left in any order by several threads; nothing is left."""

import asyncio
import queue
import random
import threading
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aionest import Portal
from aionest._errors import ResourceLost

GUARD = 60


class Worker(threading.Thread):
    """Carries out what it is given, one after the other."""

    def __init__(self):
        super().__init__(daemon=True)
        self.jobs, self.results = queue.Queue(), queue.Queue()
        self.start()

    def run(self):
        while (job := self.jobs.get()) is not None:
            try:
                self.results.put((True, job()))
            except BaseException as exc:
                self.results.put((False, exc))

    def do(self, job):
        self.jobs.put(job)
        ok, value = self.results.get(timeout=GUARD)
        if not ok:
            raise value
        return value


class Model:
    """The resources that are open, by number, and what happened to them."""

    def __init__(self):
        self.inside, self.broken = {}, {}

    @asynccontextmanager
    async def resource(self, number):
        task, broken = asyncio.current_task(), asyncio.Event()

        async def watch():
            await broken.wait()
            task.cancel()

        watcher = asyncio.get_running_loop().create_task(watch())
        self.inside[number], self.broken[number] = task, broken
        try:
            yield number
        finally:
            assert asyncio.current_task() is task
            del self.inside[number], self.broken[number]
            watcher.cancel()
            await asyncio.sleep(0)

    async def use(self, number, depth):
        await asyncio.sleep(0)
        assert number in self.inside
        return number if depth == 0 else self.portal.call(self.use, number, depth - 1)


actions = st.lists(
    st.tuples(
        st.sampled_from(["enter", "enter", "call", "call", "submit", "break", "close", "close", "iterate"]),
        st.integers(0, 2),
        st.integers(0, 1000),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions)
def test_any_order_of_steps_by_any_thread(steps):
    model = Model()
    workers = [Worker() for _ in range(3)]
    held, lost, futures, number = {}, set(), [], 0
    with Portal() as portal:
        model.portal = portal

        async def numbers(n):
            while True:
                await asyncio.sleep(0)
                yield n

        for action, who, pick in steps:
            do = workers[who].do
            if action == "enter":
                number += 1
                held[number] = do(lambda n=number: portal.enter(model.resource(n)))
                assert held[number].value == number
                continue
            if not held:
                continue
            n = sorted(held)[pick % len(held)]
            handle = held[n]
            if action == "call":
                if n in lost:
                    with pytest.raises(ResourceLost):
                        do(lambda h=handle, n=n: h.call(model.use, n, 0))
                else:
                    assert do(lambda h=handle, n=n, depth=pick % 3: h.call(model.use, n, depth)) == n
            elif action == "submit":
                futures.append((do(lambda n=n: portal.submit(asyncio.sleep, 0, n)), n))
            elif action == "iterate":
                assert do(lambda n=n: next(portal.iterate(numbers(n)))) == n
            elif action == "break" and n not in lost:
                told = threading.Event()
                handle.on_lost(lambda exc, told=told: told.set())
                do(lambda n=n: portal.call(model.broken[n].set))
                assert told.wait(GUARD)
                lost.add(n)
            elif action == "close":
                assert do(handle.close) is False
                assert n not in model.inside
                del held[n]
        assert set(model.inside) == set(held) - lost
        for future, n in futures:
            assert future.result(GUARD) == n
    assert not model.inside
    for handle in held.values():
        handle.close()
    for worker in workers:
        worker.jobs.put(None)
        worker.join(GUARD)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_thousand_resources_left_in_random_order(start):
    model = Model()
    with Portal() as portal:
        model.portal = portal
        rng = random.Random(4)

        def enter(n):
            return asyncio.to_thread(portal.enter, model.resource(n))

        held = list(portal.map(enter, range(1000), buffersize=50))
        rng.shuffle(held)
        assert len(model.inside) == 1000
        parts = [held[i::10] for i in range(10)]
        for thread in [start(lambda part=part: [h.close() for h in part]) for part in parts]:
            thread.result()
        assert not model.inside
        assert portal.call(lambda: len(asyncio.all_tasks())) == 1
