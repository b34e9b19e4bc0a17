"""Scopes that are used as anyio wants: random programs take the same steps with aionest applied as without it."""

from __future__ import annotations

import pytest
import windows

pytest.importorskip("anyio")

# run with the first and the last seed: a line for each program
PROGRAMS = """
import asyncio, gc, logging, random, sys
import anyio, anyio.lowlevel
{apply}
logging.disable(logging.CRITICAL)

def program(seed):
    rng, log, scopes, groups = random.Random(seed), [], [], []

    def note(*what):
        log.append(what)

    async def block(depth, name):
        for i in range(rng.randint(1, 4)):
            kind = rng.choice(["sleep", "sleep", "scope", "shield", "group", "spawn", "cancel", "cancel", "whole", "dropped",
                               "raise", "try", "limit", "cancel self"])
            here = (name, i, kind)
            if kind == "sleep":
                await anyio.sleep(0)
                note(here)
            elif depth > 4:
                await anyio.lowlevel.checkpoint()
            elif kind in ("scope", "shield"):
                with anyio.CancelScope(shield=kind == "shield") as scope:
                    scopes.append(scope)
                    await block(depth + 1, f"{{name}}.{{i}}")
                note(here, scope.cancel_called, scope.cancelled_caught)
            elif kind == "group":
                try:
                    async with anyio.create_task_group() as group:
                        groups.append(group)
                        scopes.append(group.cancel_scope)
                        await block(depth + 1, f"{{name}}.{{i}}")
                except BaseException as exc:
                    note(here, type(exc).__name__, sorted(type(e).__name__ for e in getattr(exc, "exceptions", ())))
                    if isinstance(exc, asyncio.CancelledError):
                        raise
                else:
                    note(here, group.cancel_scope.cancel_called)
            elif kind == "spawn" and groups:
                try:
                    rng.choice(groups).start_soon(block, depth + 2, f"{{name}}.{{i}}t")
                except RuntimeError:
                    note(here, "inactive")
            elif kind == "cancel" and scopes:
                rng.choice(scopes).cancel()
                note(here)
            elif kind == "whole":
                async def generator():
                    try:
                        with anyio.CancelScope():
                            yield 1
                            await anyio.sleep(0)
                            yield 2
                    finally:
                        note(here, "closed")
                async for item in generator():
                    note(here, item)
            elif kind == "dropped":
                async def generator():
                    try:
                        yield 1
                    finally:
                        note(here, "closed")
                await generator().__anext__()
                for _ in range(3):
                    await asyncio.sleep(0)
                note(here)
            elif kind == "raise" and rng.random() < 0.3:
                note(here)
                raise LookupError(name)
            elif kind == "try":
                try:
                    await block(depth + 1, f"{{name}}.{{i}}")
                except BaseException as exc:
                    note(here, type(exc).__name__)
                    if not isinstance(exc, Exception):
                        raise
            elif kind == "limit":
                with anyio.move_on_after(0 if rng.random() < 0.5 else 1000) as scope:
                    await block(depth + 1, f"{{name}}.{{i}}")
                note(here, scope.cancelled_caught)
            elif kind == "cancel self" and rng.random() < 0.2:
                asyncio.current_task().cancel()
                note(here)

    async def main():
        task = asyncio.ensure_future(block(0, "m"))
        await asyncio.wait([task])
        note("end", "cancelled" if task.cancelled() else type(task.exception()).__name__)
        if sys.version_info >= (3, 11):
            note("cancelling", task.cancelling())
        note("tasks", len(asyncio.all_tasks()))

    asyncio.run(main())
    return log

gc.disable()
for seed in range(int(sys.argv[1]), int(sys.argv[2])):
    print(seed, program(seed))
"""


TOTAL = 40 if windows.on_wine else 300  # each makes a loop, which is slow there


@pytest.mark.parametrize("first", [0, 1000])
def test_the_same_steps(child, first):
    stock, ours = (
        child(PROGRAMS.format(apply=apply), str(first), str(first + TOTAL), dev=False)
        for apply in ("", "import aionest; aionest.apply(close_loop=True)")
    )
    assert stock.returncode == ours.returncode == 0, (stock.stderr, ours.stderr)
    assert len(stock.stdout.splitlines()) == TOTAL
    for expected, got in zip(stock.stdout.splitlines(), ours.stdout.splitlines(), strict=True):
        assert got == expected
