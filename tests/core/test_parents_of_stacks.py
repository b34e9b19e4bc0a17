"""Who asks where the loop's stack hangs, and walks up from there, finds what is there on asyncio."""

from __future__ import annotations

import asyncio

import greenlet
import support


async def parents_in_steps(nests):
    """Of the stack that a step runs on, before and after a nested run."""
    seen = [greenlet.getcurrent().parent]
    if nests:
        asyncio.run(asyncio.sleep(0.001))
    seen.append(greenlet.getcurrent().parent)
    await asyncio.sleep(0.001)
    return [*seen, greenlet.getcurrent().parent]


def test_a_step_is_on_the_first_greenlet_of_its_thread(run):
    async def main():
        return await asyncio.gather(*(asyncio.create_task(parents_in_steps(i > 0)) for i in range(12)))

    assert greenlet.getcurrent().parent is None
    assert run(main) == [[None] * 3] * 12
    assert support.Thread(run, main).result() == [[None] * 3] * 12


def test_a_step_of_a_loop_that_is_run_in_a_greenlet_has_that_ones_parent(run):
    here = greenlet.getcurrent()

    async def main():
        return await asyncio.gather(*(asyncio.create_task(parents_in_steps(i > 0)) for i in range(12)))

    assert greenlet.greenlet(lambda: run(main)).switch() == [[here] * 3] * 12
