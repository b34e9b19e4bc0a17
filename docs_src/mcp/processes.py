"""A pool of processes: each worker opens servers of its own and keeps them for all tasks."""

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor

from aionest.mcp import ToolsLoader

NOTES = {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}

loader = ToolsLoader({"notes": NOTES})  # in each process; starts nothing yet


def read(number):
    loader.load()  # opens what is not open; any number of threads may ask at once
    text = loader.call("notes.read", {"id": number}, timeout=30).text
    status = loader.status["notes"]
    return os.getpid(), status.pid, status.connections, text


if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        done = list(pool.map(read, [1, 2, 3] * 4))
    print([text for *_, text in done[:3]])
    workers = {worker for worker, *_ in done}
    servers = {server for _, server, *_ in done}
    print(len(workers) == len(servers), {connections for *_, connections, _ in done})

# Output:
# ['Buy milk and bread', 'Call Ada about the engine', 'Water the plants on Friday']
# True {1}
