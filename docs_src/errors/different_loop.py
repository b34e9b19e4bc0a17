import asyncio
import socket

ours, theirs = socket.socketpair()  # stands for a database, a message broker, an API

reader, writer = asyncio.run(asyncio.open_connection(sock=ours))
theirs.sendall(b"fetched\n")
print(asyncio.run(reader.readline()).decode().strip())
