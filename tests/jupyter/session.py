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

    def __init__(self, *command):
        self.manager = KernelManager(kernel_name="python3")
        self.manager.kernel_cmd = [sys.executable, *command, "-f", "{connection_file}"]
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


IN_TASKS = """
import signal
cleaned, beats, begun = [], [], []

async def work():
    begun.append(1)
    try:
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(0)
        cleaned.append(1)

async def nests():
    asyncio.run(work())

async def say_when(number):
    while len(begun) < number or aionest._core._counters()["suspended"] < number:
        await asyncio.sleep(0.005)
    print("begun", flush=True)

async def awaited():
    loop.create_task(say_when(1))
    await asyncio.create_task(nests())

async def gathered():
    loop.create_task(say_when(3))
    await asyncio.gather(nests(), nests(), nests())

async def deeper():
    loop.create_task(say_when(1))
    await asyncio.create_task(nests_deep())

async def nests_deep():
    await asyncio.create_task(nests())

async def beat():  # one of the kernel's own tasks, so to speak
    while True:
        await asyncio.sleep(0.01)
        beats.append(1)

errors = []
loop.set_exception_handler(lambda loop, context: errors.append(context["message"]))
heart = loop.create_task(beat())
"""

AFTER = """
n = len(beats)
asyncio.run(asyncio.sleep(0.1))
print(len(cleaned), len(beats) > n, heart.done(), errors, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
del cleaned[:], begun[:]
"""


def interrupts_in_tasks(kernel):
    """Nested runs that sleep in tasks of the cell's own run: all are cancelled, and the kernel's other tasks go on."""
    results = []
    kernel.cell(SETUP + IN_TASKS)
    for call in (
        "asyncio.run(awaited())",
        "asyncio.run(gathered())",
        "asyncio.run(deeper())",
        "loop.run_until_complete(awaited())",
        "loop.run_until_complete(gathered())",
        "aionest.await_(awaited())",
        "await gathered()",
    ):
        raised = kernel.cell(call, interrupt_at="begun")
        results.append([call, raised, kernel.cell(AFTER), kernel.cell("import gc; gc.collect(); errors")])
    kernel.cell("heart.cancel()")
    return results


def notebook():
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(SETUP), nbformat.v4.new_code_cell("asyncio.run(value('second cell'))")]
    nbclient.NotebookClient(book, timeout=60).execute()
    return book.cells[1].outputs[0]["data"]["text/plain"]


def session(*command):
    kernel = Kernel(*command)
    try:
        return {"cells": cells(kernel), "interrupts": interrupts(kernel), "in tasks": interrupts_in_tasks(kernel)}
    finally:
        kernel.close()


# the kernel's loop is then run by aionest from its beginning
APPLIED = "import aionest; aionest.apply(); from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"

if __name__ == "__main__":
    result = session("-m", "ipykernel_launcher")
    result["applied"] = session("-c", APPLIED)
    result["notebook"] = notebook()
    print(json.dumps(result))
