"""A tree of tasks: each node awaits its six children, each leaf does a little work. What pyperformance calls async_tree.

Contract: ``WORKLOADS`` has an ``async def (scale)`` for each way of waiting for children (gather, a task group), each kind of
leaf and each way of starting a task (later, or eagerly where Python has that): name -> function, which answers seconds
per task. The random leaves are the same in each round and each implementation.
"""

from __future__ import annotations

import asyncio
import math
import random
import sys
import time

BRANCHES = 6
DEPTH = 5  # 7776 leaves, 9331 tasks
IO_SECONDS = 0.01

clock = time.perf_counter


class Leaf:
    """What the leaves do; one for each round."""

    def __init__(self):
        self.random = random.Random(1)
        self.known = {}

    async def none(self):
        return 1

    async def io(self):
        await asyncio.sleep(IO_SECONDS)

    async def memoization(self):
        """Nine of ten ask for one of a few things, which is looked up once."""
        key = self.random.randint(1, 90 if self.random.random() < 0.9 else 1_000_000)
        if key not in self.known:
            await asyncio.sleep(IO_SECONDS)
            self.known[key] = key

    async def cpu_io_mixed(self):
        if self.random.random() < 0.5:
            math.factorial(500)
        else:
            await asyncio.sleep(IO_SECONDS)


async def gather(leaf, depth):
    if depth == 0:
        await leaf()
        return
    await asyncio.gather(*[gather(leaf, depth - 1) for _ in range(BRANCHES)])


async def group(leaf, depth):
    if depth == 0:
        await leaf()
        return
    async with asyncio.TaskGroup() as tasks:
        for _ in range(BRANCHES):
            tasks.create_task(group(leaf, depth - 1))


def workload(node, kind, eager):
    async def run(scale):
        depth = max(1, DEPTH + round(math.log(scale, BRANCHES)))
        loop = asyncio.get_running_loop()
        if eager:
            loop.set_task_factory(asyncio.eager_task_factory)
        leaf = getattr(Leaf(), kind)
        tasks = sum(BRANCHES**level for level in range(depth + 1))
        start = clock()
        await node(leaf, depth)
        return (clock() - start) / tasks

    return run


KINDS = ("none", "io", "memoization", "cpu_io_mixed")
NODES = {"gather": gather, **({"group": group} if sys.version_info >= (3, 11) else {})}
EAGER = {"": False, **({"eager_": True} if sys.version_info >= (3, 12) else {})}

WORKLOADS = {
    f"tree_{start}{kind}_{how}": workload(node, kind, eager)
    for start, eager in EAGER.items()
    for kind in KINDS
    for how, node in NODES.items()
}
