"""Random asyncio programs as data, and an interpreter of them in two flavours.

A program is a list of operations (tuples). The ``stock`` flavour replaces each nested run by an await: ``create_task`` and
await for a run, a plain await for ``await_``. Both flavours write the same kind of trace; on the same program the traces
must be equal to the last entry. Time is virtual: the clock moves only when the loop would sleep.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
import sys

import foreign_loop

import aionest

VAR = contextvars.ContextVar("VAR", default="-")


class OrderedTask(asyncio.Task):
    """Sets of tasks (task groups keep them in one) are iterated in the order of creation, not of addresses."""

    made = 0

    def __init__(self, *args, **kwargs):
        OrderedTask.made += 1
        self.number = OrderedTask.made
        super().__init__(*args, **kwargs)

    def __hash__(self):
        return self.number


class VirtualSelector(selectors.DefaultSelector):
    """Sleeping takes no time, it moves the loop's clock."""

    loop = None

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nothing will ever happen")  # a fault of this file: everything is bounded
        if not ready and timeout > 0:
            self.loop.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self.now, self.timers = 1000.0, 0
        super().__init__(VirtualSelector())
        self._selector.loop = self
        self._clock_resolution = 1e-6

    def time(self):
        return self.now

    def call_at(self, when, callback, *args, context=None):
        # no two timers are due at the same moment: asyncio leaves the order of such open, the engine keeps it
        self.timers += 1
        return super().call_at(when + self.timers * 1e-6, callback, *args, context=context)


class OverridingLoop(VirtualLoop):
    """With a _run_once of its own, so that hubs call it."""

    def _run_once(self):
        super()._run_once()


class VirtualForeignLoop(foreign_loop.ForeignLoop):
    """A loop that shares nothing with asyncio's own."""

    def __init__(self):
        self.now, self.made = 1000.0, 0
        super().__init__()

    def time(self):
        return self.now

    def call_at(self, when, callback, *args, context=None):
        self.made += 1
        return super().call_at(when + self.made * 1e-6, callback, *args, context=context)

    def _turn(self):
        if not self.queue and not self.stopping and self.timers:
            self.now = max(self.now, self.timers[0][0])
        super()._turn()


class Machine:
    def __init__(self, nested):
        self.nested = nested
        self.trace = []
        self.tasks = {}
        self.events = [asyncio.Event() for _ in range(3)]
        self.queues = [asyncio.Queue() for _ in range(2)]
        self.lock = asyncio.Lock()

    def log(self, *entry):
        self.trace.append(entry)

    async def nest(self, kind, where, body):
        if self.nested:
            if kind == "run":
                return asyncio.run(self.body(where, body))
            if kind == "complete":
                return asyncio.get_running_loop().run_until_complete(self.body(where, body))
            return aionest.await_(self.body(where, body))
        if kind == "await":
            return await self.body(where, body)
        return await asyncio.get_running_loop().create_task(self.body(where, body))

    async def body(self, where, ops):
        for i, op in enumerate(ops):
            here = f"{where}.{i}"
            self.log(here, op[0], VAR.get())
            try:
                await getattr(self, "op_" + op[0])(here, *op[1:])
            except asyncio.CancelledError:
                self.log(here, "cancelled")
                raise
            except LookupError as e:
                self.log(here, "error", str(e))
                raise
        return where

    async def op_yield(self, here):
        await asyncio.sleep(0)

    async def op_sleep(self, here, delay):
        await asyncio.sleep(delay)

    async def op_nest(self, here, kind, body):
        self.log(here, "returned", await self.nest(kind, here, body), VAR.get())

    async def op_spawn(self, here, name, body):
        self.tasks[name] = asyncio.get_running_loop().create_task(self.guarded(here, body))

    async def guarded(self, here, body):
        try:
            return await self.body(here, body)
        except LookupError as e:
            return "failed " + str(e)

    async def op_cancel(self, here, name):
        task = self.tasks.get(name)
        self.log(here, "cancel", None if task is None else task.cancel())

    async def op_cancel_self(self, here):
        asyncio.current_task().cancel()

    async def op_join(self, here, name):
        task = self.tasks.get(name)
        if task is not None and task is not asyncio.current_task():
            done, _ = await asyncio.wait([task], timeout=5)
            self.log(here, "joined", len(done), task.done() and (task.cancelled() or task.result()))

    async def op_set(self, here, i):
        self.events[i].set()

    async def op_clear(self, here, i):
        self.events[i].clear()

    async def op_wait(self, here, i):
        await self.events[i].wait()

    async def op_put(self, here, i):
        self.queues[i].put_nowait(here)

    async def op_get(self, here, i):
        self.log(here, "got", await self.queues[i].get())

    async def op_locked(self, here, body):
        async with self.lock:
            await self.body(here, body)

    async def op_timeout(self, here, delay, body):
        try:
            self.log(here, "in time", await asyncio.wait_for(self.body(here, body), delay))
        except asyncio.TimeoutError:
            self.log(here, "timed out")

    async def op_gather(self, here, bodies):
        results = await asyncio.gather(
            *[self.body(f"{here}[{i}]", b) for i, b in enumerate(bodies)], return_exceptions=True
        )
        self.log(here, "gathered", [repr(r) for r in results])

    async def op_group(self, here, bodies):
        if sys.version_info < (3, 11):
            return
        try:
            async with asyncio.TaskGroup() as group:
                for i, b in enumerate(bodies):
                    group.create_task(self.body(f"{here}[{i}]", b))
        except BaseExceptionGroup as e:  # noqa: F821
            self.log(here, "group", sorted(repr(x) for x in e.exceptions))

    async def op_scope(self, here, delay, body):
        if sys.version_info < (3, 11):
            return
        try:
            async with asyncio.timeout(delay):
                await self.body(here, body)
        except TimeoutError:
            self.log(here, "scope timed out")

    async def op_shield(self, here, body):
        task = asyncio.get_running_loop().create_task(self.guarded(here, body))
        self.log(here, "shielded", await asyncio.shield(task))

    async def op_catch(self, here, body):
        try:
            await self.body(here, body)
        except LookupError:
            self.log(here, "caught")

    async def op_swallow(self, here, body):
        try:
            await self.body(here, body)
        except asyncio.CancelledError:
            self.log(here, "swallowed")
            if sys.version_info >= (3, 11):
                self.log(here, "cancelling", asyncio.current_task().cancelling())
                asyncio.current_task().uncancel()

    async def op_finally(self, here, body):
        try:
            await self.body(here, body)
        finally:
            self.log(here, "finally")
            await asyncio.sleep(0)
            self.log(here, "finally ends")

    async def op_raise(self, here):
        raise LookupError(here)

    async def op_var(self, here):
        VAR.set(here)

    async def op_callback(self, here):
        asyncio.get_running_loop().call_soon(self.log, here, "callback")

    async def op_later(self, here, delay):
        asyncio.get_running_loop().call_later(delay, self.log, here, "later")


def trace(program, *, nested, loop_class, debug=False):
    """Run a program from its start to the end of all its tasks and return what happened, in order."""
    loop = loop_class()
    loop.set_debug(debug)
    loop.slow_callback_duration = 1e9
    loop.set_task_factory(lambda loop, coro, **kwargs: OrderedTask(coro, loop=loop, **kwargs))
    OrderedTask.made = 0
    machines = []

    async def main():
        machine = Machine(nested)
        machines.append(machine)
        task = asyncio.ensure_future(machine.guarded("p", program))
        await asyncio.wait([task], timeout=100)
        if not task.done():
            machine.log("end", "timeout")
            task.cancel()
            await asyncio.wait([task], timeout=100)
        machine.log("end", task.done() and (task.cancelled() or task.result()))
        for _, task in sorted(machine.tasks.items()):
            task.cancel()
        for name, task in sorted(machine.tasks.items()):
            await asyncio.wait([task], timeout=100)
            machine.log("end", name, task.done() and (task.cancelled() or task.result()))
        await asyncio.sleep(1000)
        for _ in range(5):
            await end_all(machine)

    async def end_all(machine):
        others = sorted(asyncio.all_tasks() - {asyncio.current_task()}, key=hash)
        machine.log("left", len(others))
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=1000)

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    return machines[0].trace
