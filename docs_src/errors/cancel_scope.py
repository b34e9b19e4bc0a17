import asyncio

import anyio


async def open_session():
    group = anyio.create_task_group()  # what an MCP session, for one, is built on
    await group.__aenter__()
    return group


async def close_session(group):
    group.cancel_scope.cancel()
    await group.__aexit__(None, None, None)


group = asyncio.run(open_session())
asyncio.run(close_session(group))
print("closed")
