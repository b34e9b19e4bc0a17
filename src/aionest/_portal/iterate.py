"""What Portal.map and Portal.iterate give: plain generators over asynchronous work.

Contract: both are started up to a first, empty step by their makers, so closing or dropping them always runs their
``finally``. A ``Steps`` takes all steps of its asynchronous iterator in one task, and closes it there.

Thread: the generators any, one at a time; what is marked ``async`` the portal's.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import time
from typing import TYPE_CHECKING, Any

from .._errors import PortalClosed

if TYPE_CHECKING:
    import collections
    from collections.abc import AsyncIterable, Callable, Generator, Iterator

    from .runner import Runner


def results(
    submit: Callable[..., concurrent.futures.Future[Any]],
    function: Callable[..., Any],
    items: Iterator[tuple[Any, ...]],
    futures: collections.deque[concurrent.futures.Future[Any]],
    deadline: float | None,
    timeout: float | None,
) -> Generator[Any, None, None]:
    try:
        yield
        while futures:
            future = futures.popleft()
            try:
                result = future.result(None if deadline is None else max(0.0, deadline - time.monotonic()))
            except (TimeoutError, concurrent.futures.TimeoutError) as exc:
                if future.done():
                    raise  # its own
                raise TimeoutError(f"no result arrived within {timeout:g} s") from exc
            finally:
                future.cancel()
            for args in itertools.islice(items, 1):
                futures.append(submit(function, *args))
            yield result
            del result
    finally:
        for future in futures:
            future.cancel()


class Steps:
    """Takes the steps of an asynchronous iterator, all in one task."""

    END: Any = object()

    def __init__(self, runner: Runner, iterable: AsyncIterable[Any]) -> None:
        self.runner = runner
        self.iterable = iterable
        self.driver: asyncio.Task[None] | None = None
        self.requests: Any = None
        self.reply: asyncio.Future[Any] | None = None

    def generate(self) -> Generator[Any, None, None]:
        try:
            yield
            while True:
                item = self.runner.carry_out(self.step())
                if item is self.END:
                    return
                yield item
                del item
        finally:
            self.close()

    def close(self) -> None:
        if self.driver is not None and not self.driver.done() and not self.runner.closing:
            try:
                self.runner.carry_out(self.finish())
            except PortalClosed:
                pass  # its end closes asynchronous generators

    async def step(self) -> Any:
        loop = self.runner.loop
        driver = self.driver
        if driver is None:
            self.requests = asyncio.Queue()
            driver = self.driver = loop.create_task(self.drive())
        elif driver.done():
            raise self.runner.refusal("was closed during this iteration")
        reply = self.reply = loop.create_future()
        self.requests.put_nowait(reply)
        try:
            return await reply
        except asyncio.CancelledError:
            driver.cancel()
            await asyncio.wait([driver])
            raise

    async def finish(self) -> None:
        driver = self.driver
        assert driver is not None
        self.requests.put_nowait(None)
        try:
            await asyncio.shield(driver)
        except asyncio.CancelledError:
            driver.cancel()
            await asyncio.wait([driver])
            raise

    async def drive(self) -> None:
        iterator: Any = None
        try:
            while (reply := await self.requests.get()) is not None:
                try:
                    if iterator is None:
                        iterator = self.iterable.__aiter__()
                    item = await iterator.__anext__()
                except StopAsyncIteration:
                    item = self.END
                except asyncio.CancelledError:
                    raise
                except BaseException as exc:
                    if not reply.done():
                        reply.set_exception(exc)
                    return
                if not reply.done():
                    reply.set_result(item)
                if item is self.END:
                    return
                del item, reply
        finally:
            try:
                aclose = getattr(self.iterable if iterator is None else iterator, "aclose", None)
                if aclose is not None:
                    await aclose()
            finally:
                if self.reply is not None:
                    self.reply.cancel()  # nobody will answer that one
