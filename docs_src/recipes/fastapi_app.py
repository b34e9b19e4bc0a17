"""A FastAPI application whose handlers call synchronous code that runs coroutines: on asyncio's loop and on uvloop."""

import asyncio

import aionest

aionest.apply()

from fastapi import FastAPI  # noqa: E402


def price(item):  # synchronous, and deep in a library
    return asyncio.run(look_up(item))


async def look_up(item):
    await asyncio.sleep(0.01)
    return len(item)


app = FastAPI()


@app.get("/prices/{item}")
async def read_price(item: str):
    return {"item": item, "price": price(item)}  # other requests go on meanwhile


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app)  # takes uvloop where it is installed
