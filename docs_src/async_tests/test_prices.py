"""Async tests of synchronous code that runs coroutines."""

import asyncio

import pytest
import pytest_asyncio


class Shop:
    def __init__(self):
        self.prices = asyncio.Queue()

    def price(self):  # synchronous, and deep in a library
        return asyncio.run(self.prices.get())


@pytest_asyncio.fixture
async def shop():
    return Shop()


@pytest.mark.asyncio
async def test_a_price_that_is_there(shop):
    await shop.prices.put(5)
    assert shop.price() == 5


@pytest.mark.asyncio
async def test_a_price_that_another_task_brings(shop):
    bringing = asyncio.create_task(shop.prices.put(7))
    assert shop.price() == 7  # the task runs meanwhile, on the same loop
    await bringing


@pytest.mark.asyncio
async def test_no_price_in_time(shop):
    async def ask():
        shop.price()

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(ask(), 0.05)
