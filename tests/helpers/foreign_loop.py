"""An event loop that shares nothing with asyncio.BaseEventLoop, for tests: a deque, a heap, a selector and handles of its own."""

from __future__ import annotations

import asyncio
import collections
import contextvars
import heapq
import itertools
import selectors
import socket
import sys
import threading
import time
import weakref


class Handle:
    def __init__(self, loop, callback, args, context):
        self.loop, self.callback, self.args = loop, callback, args
        self.context = contextvars.copy_context() if context is None else context
        self.gone = False

    def cancel(self):
        self.gone = True

    def cancelled(self):
        return self.gone

    def run(self):
        if self.gone:
            return
        try:
            self.context.run(self.callback, *self.args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.loop.call_exception_handler({"message": f"Exception in callback {self.callback!r}", "exception": exc})


class Timer(Handle):
    def __init__(self, when, *args):
        super().__init__(*args)
        self._when = when

    def when(self):
        return self._when


class ForeignLoop(asyncio.AbstractEventLoop):
    """Enough of a loop for tasks, futures, timers, readers and threads."""

    def __init__(self):
        self.queue = collections.deque()
        self.timers = []
        self.number = itertools.count()
        self.selector = selectors.DefaultSelector()
        self.wake_in, self.wake_out = socket.socketpair()
        self.wake_in.setblocking(False)
        self.wake_out.setblocking(False)
        self.selector.register(self.wake_in, selectors.EVENT_READ, None)
        self.thread = None
        self.stopping = self.closed = self.debug = False
        self.handler = self.factory = None
        self.agens = weakref.WeakSet()

    # -- running

    def run_forever(self):
        if self.closed:
            raise RuntimeError("Event loop is closed")
        if self.thread is not None or asyncio._get_running_loop() is not None:
            raise RuntimeError("a loop runs already")
        self.thread = threading.get_ident()
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self.agens.add, finalizer=self._finalize)
        asyncio._set_running_loop(self)
        try:
            while True:
                self._turn()
                if self.stopping:
                    break
        finally:
            self.stopping = False
            self.thread = None
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)

    def _finalize(self, agen):
        self.agens.discard(agen)
        if not self.closed:
            self.call_soon_threadsafe(self.create_task, agen.aclose())

    def _turn(self):
        wait = None
        if self.queue or self.stopping:
            wait = 0
        elif self.timers:
            wait = max(0, self.timers[0][0] - self.time())
        for key, _ in self.selector.select(wait):
            if key.data is None:
                while True:
                    try:
                        if not self.wake_in.recv(4096):
                            break
                    except BlockingIOError:
                        break
            else:
                self.queue.append(key.data)
        now = self.time()
        while self.timers and self.timers[0][0] <= now:
            self.queue.append(heapq.heappop(self.timers)[2])
        for _ in range(len(self.queue)):
            self.queue.popleft().run()

    def run_until_complete(self, future):
        future = asyncio.ensure_future(future, loop=self)

        def done(_):
            self.stop()

        future.add_done_callback(done)
        try:
            self.run_forever()
        finally:
            future.remove_done_callback(done)
        if not future.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return future.result()

    def stop(self):
        self.stopping = True

    def is_running(self):
        return self.thread is not None

    def is_closed(self):
        return self.closed

    def close(self):
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if not self.closed:
            self.closed = True
            self.queue.clear()
            self.timers.clear()
            self.selector.close()
            self.wake_in.close()
            self.wake_out.close()

    async def shutdown_asyncgens(self):
        agens, self.agens = list(self.agens), weakref.WeakSet()
        await asyncio.gather(*(a.aclose() for a in agens), return_exceptions=True)

    async def shutdown_default_executor(self, timeout=None):
        pass

    # -- callbacks

    def call_soon(self, callback, *args, context=None):
        if self.closed:
            raise RuntimeError("Event loop is closed")
        handle = Handle(self, callback, args, context)
        self.queue.append(handle)
        return handle

    def call_soon_threadsafe(self, callback, *args, context=None):
        handle = self.call_soon(callback, *args, context=context)
        try:
            self.wake_out.send(b"\0")
        except BlockingIOError:
            pass
        return handle

    def call_later(self, delay, callback, *args, context=None):
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        timer = Timer(when, self, callback, args, context)
        heapq.heappush(self.timers, (when, next(self.number), timer))
        return timer

    def time(self):
        return time.monotonic()

    def add_reader(self, fd, callback, *args):
        self.selector.register(fd, selectors.EVENT_READ, Handle(self, callback, args, None))

    def remove_reader(self, fd):
        try:
            self.selector.unregister(fd)
        except KeyError:
            return False
        return True

    # -- futures and tasks

    def create_future(self):
        return asyncio.Future(loop=self)

    def create_task(self, coro, **kwargs):
        if self.factory is not None:
            return self.factory(self, coro, **kwargs)
        name = kwargs.pop("name", None)
        task = asyncio.Task(coro, loop=self, **kwargs)
        if name is not None:
            task.set_name(name)
        return task

    def set_task_factory(self, factory):
        self.factory = factory

    def get_task_factory(self):
        return self.factory

    def get_debug(self):
        return self.debug

    def set_debug(self, debug):
        self.debug = debug

    # -- errors

    def set_exception_handler(self, handler):
        self.handler = handler

    def get_exception_handler(self):
        return self.handler

    def default_exception_handler(self, context):
        print(context, file=sys.stderr)

    def call_exception_handler(self, context):
        if self.handler is None:
            self.default_exception_handler(context)
        else:
            self.handler(self, context)
