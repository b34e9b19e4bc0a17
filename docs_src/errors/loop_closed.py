import asyncio
import socket

ours, theirs = socket.socketpair()  # stands for a database, a message broker, an API


async def close(writer):
    writer.close()
    await writer.wait_closed()


reader, writer = asyncio.run(asyncio.open_connection(sock=ours))
asyncio.run(close(writer))
print("closed")
