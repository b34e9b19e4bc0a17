import asyncio

from aionest import Portal

with Portal() as portal:
    portal.call(asyncio.sleep, 0)

portal.call(asyncio.sleep, 0)
