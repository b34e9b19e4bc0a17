"""What a type checker must say about portals and hosted resources. Not run: read by mypy (test_portal_types.py)."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager

from typing_extensions import assert_type

from aionest import ResourceLost
from aionest.hosted import Hosted, hosted
from aionest.portal import Held, Portal, portal


async def length(text: str, times: int) -> int:
    return len(text) * times


def plain(number: int) -> str:
    return str(number)


async def count() -> AsyncIterator[int]:
    yield 1


@asynccontextmanager
async def opened() -> AsyncIterator[list[str]]:
    yield []


p = Portal("name")
assert_type(portal(), Portal)
assert_type(p.call(length, "a", 2), int)
assert_type(p.call(length, "a", 2, timeout=1), int)
assert_type(p.call(plain, 2), str)
assert_type(p.run(length("a", 2), timeout=None), int)
assert_type(p.submit(length, "a", 2), concurrent.futures.Future[int])
assert_type(p.submit(plain, 2), concurrent.futures.Future[str])
assert_type(p.map(length, ["a"], [2]), Generator[int, None, None])
assert_type(p.iterate(count()), Generator[int, None, None])
assert_type(p.enter(opened()), Held[list[str]])
assert_type(p.close(timeout=1.5), None)
with Portal() as q:
    assert_type(q, Portal)

held = p.enter(opened(), timeout=2)
assert_type(held.value, list[str])
assert_type(held.call(length, "a", 2), int)
assert_type(held.close(), bool)
assert_type(held.lost, "ResourceLost | None")
with held as inside:
    assert_type(inside, list[str])

p.call(length, "a")  # E: a missing argument
p.call(length, 1, 2)  # E: of the wrong type
p.call(length, "a", 2, timeout="1")  # E: no number
p.submit(plain, "a")  # E: of the wrong type
p.run(3)  # E: no awaitable
p.iterate([1])  # E: not asynchronous
p.enter(open("x"))  # E: not asynchronous
held.call(length, "a")  # E: a missing argument


async def main() -> None:
    async with hosted(opened()) as value:
        assert_type(value, list[str])
    handle = hosted(opened())
    assert_type(handle, Hosted[list[str]])
    assert_type(await handle.enter(), list[str])
    assert_type(await handle.guard(length("a", 2)), int)
    assert_type(await handle.guard(asyncio.sleep(0, "x")), str)
    assert_type(await handle.call(length, "a", 2), int)
    assert_type(await handle.leave(), bool)
    handle.on_lost(lambda exc: assert_type(exc, ResourceLost))
    await handle.call(length, "a")  # E: a missing argument
    await handle.guard(3)  # E: no awaitable
    hosted(open("x"))  # E: not asynchronous
