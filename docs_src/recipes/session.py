"""Stands for an MCP session, a database pool, a WebSocket: what must be left by the task that entered it."""

import asyncio
from contextlib import asynccontextmanager


class Session:
    def __init__(self):
        self.questions = asyncio.Queue()

    async def ask(self, word):
        answer = asyncio.get_running_loop().create_future()
        await self.questions.put((word, answer))
        return await answer

    async def serve(self):
        while True:
            word, answer = await self.questions.get()
            answer.set_result(word.upper())


@asynccontextmanager
async def open_session():
    session = Session()
    server = asyncio.create_task(session.serve())
    owner = asyncio.current_task()
    try:
        yield session
    finally:
        server.cancel()
        assert asyncio.current_task() is owner, "left by another task than the one that entered it"
        print("session closed")
