"""What type checkers make of portals and hosted resources: never run, checked by `make lint`."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager

from typing_extensions import assert_type

import aionest


class Session:
    async def ask(self, word: str, times: int = 1) -> bytes:
        return word.encode() * times


@asynccontextmanager
async def open_session() -> AsyncIterator[Session]:
    yield Session()


async def add(a: int, b: int) -> int:
    return a + b


def plain(a: int) -> str:
    return str(a)


async def numbers() -> AsyncIterator[int]:
    yield 1


def entries() -> None:
    assert_type(aionest.run(add(1, 2)), int)
    assert_type(aionest.await_(add(1, 2)), int)
    aionest.run(add(1, 2), loop_factory=asyncio.new_event_loop)
    aionest.run(add(1, 2), loop_factory=dict)  # type: ignore[arg-type]
    aionest.await_(5)  # type: ignore[arg-type]


def synchronous(portal: aionest.Portal) -> None:
    assert_type(aionest.portal(), aionest.Portal)
    assert_type(portal.call(add, 1, 2), int)
    assert_type(portal.call(add, 1, 2, timeout=3.0), int)
    assert_type(portal.call(plain, 1), str)
    portal.call(add, 1, "2")  # type: ignore[arg-type,call-arg]
    portal.call(add, 1)  # type: ignore[arg-type]
    assert_type(portal.run(add(1, 2)), int)
    assert_type(portal.submit(add, 1, 2), concurrent.futures.Future[int])
    assert_type(portal.map(add, [1], [2]), Generator[int, None, None])
    assert_type(portal.iterate(numbers()), Generator[int, None, None])
    held = portal.enter(open_session())
    assert_type(held, aionest.Held[Session])
    assert_type(held.value, Session)
    assert_type(held.call(held.value.ask, "word", 2), bytes)
    assert_type(held.lost, "aionest.ResourceLost | None")
    assert_type(held.close(), bool)
    with portal as same, portal.enter(open_session()) as session:
        assert_type(same, aionest.Portal)
        assert_type(session, Session)


async def asynchronous() -> None:
    handle = aionest.hosted(open_session())
    assert_type(handle, aionest.Hosted[Session])
    session = await handle.enter()
    assert_type(session, Session)
    assert_type(handle.value, Session)
    assert_type(await handle.guard(session.ask("word")), bytes)
    assert_type(await handle.call(session.ask, "word"), bytes)
    handle.call(session.ask, 1)  # type: ignore[arg-type,unused-coroutine]
    assert_type(await handle.leave(), bool)
    async with aionest.hosted(open_session()) as other:
        assert_type(other, Session)


def nested() -> None:
    assert_type(aionest.run(add(1, 2)), int)
    aionest.apply(shared=True)
    aionest.hosted(open)  # type: ignore[arg-type]
