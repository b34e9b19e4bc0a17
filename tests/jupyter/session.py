"""Drives a Jupyter kernel and prints, as JSON, what each cell gave. In a process of its own: the client libraries leave
sockets and threads to the interpreter's end."""

from __future__ import annotations

import json
import sys
import time

import nbclient
import nbformat
from jupyter_client import KernelManager


class Kernel:
    """A kernel of this interpreter, and what its cells print or raise."""

    def __init__(self):
        self.manager = KernelManager(kernel_name="python3")
        self.manager.kernel_cmd = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        self.manager._kernel_spec = None
        self.manager.start_kernel()
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def cell(self, source, timeout=60, interrupt_at=None):
        """What the cell prints, shows or raises. It is interrupted when it prints INTERRUPT_AT."""
        out = []

        def hook(message):
            kind, content = message["msg_type"], message["content"]
            if kind == "stream" and interrupt_at is not None and content["text"].strip() == interrupt_at:
                self.manager.interrupt_kernel()
            elif kind == "stream":
                out.append(content["text"])
            elif kind == "error":
                out.append(content["ename"])
            elif kind == "execute_result":
                out.append(content["data"]["text/plain"])

        self.client.execute_interactive(source, timeout=timeout, output_hook=hook)
        return "".join(out).strip()

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


SETUP = """
import asyncio, aionest
aionest.apply()

async def value(x, delay=0.01):
    await asyncio.sleep(delay)
    return x

loop = asyncio.get_event_loop()
print(asyncio.run(value("same cell")), loop.run_until_complete(value(1)), aionest.await_(value(2)))
"""


LONG = """
def say():
    print("begun", flush=True)

async def long():
    loop.call_later(0.05, say)
    await asyncio.sleep(600)

async def busy():
    # the first interrupt asks the task to cancel, and nothing here waits: it has to see that itself
    say()
    while not asyncio.current_task()._must_cancel:
        pass
    await asyncio.sleep(600)
"""


GATHER = """
order, base = [], loop.time()

async def until(when):
    future = loop.create_future()
    loop.call_at(when, future.set_result, None)
    await future

async def caller(delay):
    asyncio.run(until(base + delay))
    order.append(delay)

await asyncio.gather(caller(0.3), caller(0.1), caller(0.2))
order
"""


def cells(kernel):
    return [
        kernel.cell(source)
        for source in (
            SETUP,
            "print(asyncio.run(value(3)))",
            "loop.run_until_complete(value(4))",
            "aionest.await_(value(5))",
            "await value(6)",
            "task = asyncio.ensure_future(value('kept', 0.05)); asyncio.run(value(7))",
            "asyncio.run(asyncio.wait_for(task, 10))",
            GATHER,
            "asyncio.run(1/0)",
            "print(asyncio.run(value('still here')))",
        )
    ]


def interrupts(kernel):
    """Nested runs that sleep, and one that computes; each says when it has begun."""
    results = []
    kernel.cell(SETUP + LONG)
    for call in (
        "asyncio.run(long())",
        "loop.run_until_complete(long())",
        "aionest.await_(long())",
        "asyncio.run(busy())",
    ):
        start = time.monotonic()
        raised = kernel.cell(call, interrupt_at="begun")
        results.append([raised, time.monotonic() - start < 60, kernel.cell("asyncio.run(value('alive'))")])
    return results


def notebook():
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(SETUP), nbformat.v4.new_code_cell("asyncio.run(value('second cell'))")]
    nbclient.NotebookClient(book, timeout=60).execute()
    return book.cells[1].outputs[0]["data"]["text/plain"]


if __name__ == "__main__":
    kernel = Kernel()
    try:
        result = {"cells": cells(kernel), "interrupts": interrupts(kernel)}
    finally:
        kernel.close()
    result["notebook"] = notebook()
    print(json.dumps(result))
