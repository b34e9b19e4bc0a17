import asyncio

import aionest


async def fetch():
    await asyncio.sleep(0)
    print("fetched")


def on_click():
    return aionest.portal().submit(fetch)  # a future, as of concurrent.futures


on_click().result()
