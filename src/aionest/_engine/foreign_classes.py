"""Loops whose run_forever is not asyncio's own, as patched (``checks`` says which they are). Imported with the first class of them.

Contract
  * Classes are patched, never loops: ``patch`` is called for each class that exists, and for those that are made later. A class
    that cannot be patched is left alone; what nests on it gets ForeignLoopError.
  * The methods that take a callback get it wrapped (``foreign_loop.h``): it runs on a stack that can be suspended, in the order that
    the loop has chosen. run_forever, run_until_complete, stop and close are bracketed, and may be called while the loop runs.
  * A foreign loop inside a running loop is its guest: a handle of the outer loop runs one iteration at a time.
  * ``unpatch`` puts back exactly what was found.
Thread: ``patch`` and ``unpatch`` any; methods the loop's own.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import heapq
import inspect
import signal
import sys
import threading
import weakref
from asyncio import base_events, events, futures, tasks
from collections.abc import Callable
from typing import Any

from .. import _core
from . import closing, owners
from .checks import can_run_here, definer
from .closing import agen_hooks
from .patches import Patches

_CALLBACK_AT = {
    "call_soon": 1,
    "call_soon_threadsafe": 1,
    "call_later": 2,
    "call_at": 2,
    "add_reader": 2,
    "add_writer": 2,
    "add_signal_handler": 2,
}
_STOPPED = "Event loop stopped before Future completed."
_CLOSED = "Event loop was closed before Future completed."
# the loops' methods that take a factory of protocols, whose methods transports call on the loop's own stack
_FACTORIES = (
    "create_connection",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "create_datagram_endpoint",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "subprocess_exec",
    "subprocess_shell",
)
_PROTOCOL_METHODS = (
    "connection_made",
    "connection_lost",
    "pause_writing",
    "resume_writing",
    "data_received",
    "eof_received",
    "buffer_updated",
    "datagram_received",
    "error_received",
    "pipe_data_received",
    "pipe_connection_lost",
    "process_exited",
)
# Packages whose loops have a deque that call_soon() appends to, and that they empty from its front
_QUEUES = ("uvloop",)

_patches = Patches()
_main: weakref.WeakKeyDictionary[Any, list[Any]] = (
    weakref.WeakKeyDictionary()
)  # what its run_until_complete calls wait for
_guests: weakref.WeakKeyDictionary[Any, Guest] = weakref.WeakKeyDictionary()


# ---- patching ---------------------------------------------------------------------------------------------------------------


def patch(cls: type[Any]) -> None:
    """Wrap what this foreign class defines, or gets from a class that cannot be patched or is no event loop's."""
    mark = len(_patches)
    try:
        for name, index in _CALLBACK_AT.items():
            stock = _own(cls, name)
            if stock is not None:
                queues = name == "call_soon" and _queues(cls)
                _patches.put(cls, name, _core.foreign_method(stock, index, _takes_context(stock), queues))
        for name in _FACTORIES:
            stock = _own(cls, name)
            if stock is not None:
                _patches.put(cls, name, functools.wraps(stock)(_make_factory_method(stock)))
        for name, make in _BRACKETS.items():
            stock = _own(cls, name)
            if stock is not None:
                _patches.put(cls, name, functools.wraps(stock)(make(stock)))
    except TypeError:  # a class of a C extension's, whose attributes cannot be set
        _patches.restore(mark)


def unpatch() -> None:
    """Give the classes their own methods back."""
    _patches.restore()


def _queues(cls: type[object]) -> bool:
    """Are callbacks of this class's own call_soon() called back in the order of a deque, and in no other?"""
    owner = definer(cls, "call_soon")
    return owner is not None and owner.__module__.partition(".")[0] in _QUEUES


def _takes_context(function: Any) -> bool:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    return "context" in parameters


def _make_factory_method(stock: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, protocol_factory: Any, *args: Any, **kwargs: Any) -> Any:
        return stock(self, _wrap_factory(protocol_factory), *args, **kwargs)

    method._aionest_foreign = True  # type: ignore[attr-defined]
    return method


def _wrap_factory(factory: Any) -> Any:
    if not callable(factory):
        return factory

    @functools.wraps(factory, updated=())
    def make() -> Any:
        protocol = factory()
        _wrap_protocol(protocol)
        return protocol

    return make


def _wrap_protocol(protocol: Any) -> None:
    """Put wrapped methods on the instance, until its connection is lost: they refer to it. What stood there is put back then."""
    attributes = getattr(protocol, "__dict__", None)
    if attributes is None:
        return  # with slots: what nests in there is told to make the call elsewhere
    if type(attributes.get("connection_lost")).__name__ == "ForeignCallback":
        return  # of another connection, too
    # asyncio's own stream protocols call nobody else's code but in connection_made
    streams = isinstance(protocol, asyncio.StreamReaderProtocol) and type(protocol).__module__.startswith("asyncio.")
    methods = {
        name: getattr(protocol, name)
        for name in (("connection_made",) if streams else _PROTOCOL_METHODS)
        if hasattr(protocol, name)
    }
    lost = getattr(protocol, "connection_lost", None)
    before = {name: attributes[name] for name in (*methods, "connection_lost") if name in attributes}
    wrapped = {name: _core.foreign_callback(method) for name, method in methods.items()}

    def connection_lost(*args: Any) -> Any:
        for name, callback in wrapped.items():
            if attributes.get(name) is not callback:
                continue  # somebody else's by now
            if name in before:
                attributes[name] = before[name]
            else:
                del attributes[name]
        wrapped.clear()
        before.clear()
        # not what stands there now: somebody may have put a function there that calls this one
        return (lost or protocol.connection_lost)(*args)

    wrapped["connection_lost"] = _core.foreign_callback(connection_lost)
    attributes.update(wrapped)


def _own(cls: type[Any], name: str) -> Any:
    """The function that stands behind a method and is not wrapped yet; None if a base class has it wrapped, or nobody has it."""
    owner = definer(cls, name)
    if owner is None or owner in (events.AbstractEventLoop, base_events.BaseEventLoop):
        return None
    found = vars(owner)[name]
    if type(found).__name__ == "ForeignMethod" or getattr(found, "_aionest_foreign", False):
        return None
    if isinstance(found, (staticmethod, classmethod)):
        return None
    return found if callable(found) else getattr(cls, name)


# ---- running ----------------------------------------------------------------------------------------------------------------


def _bracketed(stock: Callable[..., Any], loop: Any) -> None:
    hooks = agen_hooks()
    before = _core.foreign_begin(loop, _on_begin(loop, hooks))
    try:
        stock(loop)
    finally:
        _core.foreign_end(loop, before)


def _on_begin(loop: Any, hooks: Any) -> Callable[[], object] | None:
    return None if closing.adopt_hooks is None else functools.partial(closing.adopt_hooks, loop, hooks)


def _make_run_forever(stock: Callable[..., Any]) -> Callable[..., Any]:
    def run_forever(self: Any) -> None:
        running: Any = events._get_running_loop()
        if running is self:
            owners.wait_for_stop(self)
        elif running is not None:
            Guest(self, running, stock).run()
        else:
            _bracketed(stock, self)
            mains = _main.get(self)
            if not mains or not mains[-1].done():
                _core.end_suspended(self, _STOPPED)

    run_forever._aionest_foreign = True  # type: ignore[attr-defined]
    return run_forever


def _make_run_until_complete(stock: Callable[..., Any]) -> Callable[..., Any]:
    def run_until_complete(self: Any, future: Any) -> Any:
        new_task = not futures.isfuture(future)
        running: Any = events._get_running_loop()
        if self.is_closed() or (self.is_running() and running is not self):
            return stock(self, future)  # which says why not
        future = tasks.ensure_future(future, loop=self)
        if new_task:
            future._log_destroy_pending = False  # its exception is raised here if it does not complete
        if running is self:
            return _core.block_on(future)
        mains = _main.setdefault(self, [])
        mains.append(future)
        main = _Main(future)
        try:
            if running is None:
                return stock(self, main)
            return _run_as_guest(self, main)
        except BaseException:
            if new_task and future.done() and not future.cancelled():
                future.exception()
            raise
        finally:
            main.over = True
            mains.remove(future)

    run_until_complete._aionest_foreign = True  # type: ignore[attr-defined]
    return run_until_complete


class _Main:
    """What a run_until_complete waits for. Its done callback stops the loop: not the next run of it, where the future is done
    after this one was stopped and the callback is queued still.
    """

    _asyncio_future_blocking = False

    def __init__(self, future: Any) -> None:
        self.future, self.over = future, False
        self.callbacks: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.future, name)

    def add_done_callback(self, callback: Any, **kwargs: Any) -> None:
        def done(future: Any) -> None:
            if not self.over:
                callback(future)

        self.callbacks[callback] = done
        self.future.add_done_callback(done, **kwargs)

    def remove_done_callback(self, callback: Any) -> int:
        return self.future.remove_done_callback(self.callbacks.pop(callback, callback))  # type: ignore[no-any-return]


def _run_as_guest(loop: Any, future: Any) -> Any:
    def stop(_: Any) -> None:
        loop.stop()

    future.add_done_callback(stop)
    try:
        loop.run_forever()
    finally:
        future.remove_done_callback(stop)
    if not future.done():
        raise RuntimeError(_STOPPED)
    return future.result()


def _make_stop(stock: Callable[..., Any]) -> Callable[..., Any]:
    def stop(self: Any) -> None:
        mains = _main.get(self)
        if not (mains and mains[-1].done()):
            running: Any = events._get_running_loop()
            waiters = _core.stop_waiters(self) if running is self else ()
            if waiters and owners.stop_owner(waiters):
                return
            if waiters:
                stopped = waiters.pop()
                if not stopped.done():
                    stopped.set_result(None)
                return
        guest = _guests.get(self)
        if guest is not None:
            guest.stopping = True
            guest.kick()
        else:
            stock(self)

    stop._aionest_foreign = True  # type: ignore[attr-defined]
    return stop


def _make_close(stock: Callable[..., Any]) -> Callable[..., Any]:
    def close(self: Any) -> None:
        if self in _guests:
            raise RuntimeError("Cannot close a running event loop")
        try:
            if can_run_here():
                closing.close_left_behind(self)
        finally:
            if not self.is_running() and not self.is_closed():
                _core.end_suspended(self, _CLOSED)
            stock(self)

    close._aionest_foreign = True  # type: ignore[attr-defined]
    return close


def _make_set_debug(stock: Callable[..., object]) -> Callable[..., object]:
    def set_debug(self: asyncio.AbstractEventLoop, enabled: bool) -> None:
        stock(self, enabled)
        _core.foreign_look_again(self)

    set_debug._aionest_foreign = True  # type: ignore[attr-defined]
    return set_debug


def _make_shutdown_asyncgens(stock: Callable[..., Any]) -> Callable[..., Any]:
    async def shutdown_asyncgens(self: Any) -> None:
        if closing.close_kept is not None:
            await closing.close_kept(self)
        await stock(self)

    shutdown_asyncgens._aionest_foreign = True  # type: ignore[attr-defined]
    return shutdown_asyncgens


def _make_is_running(stock: Callable[..., Any]) -> Callable[..., Any]:
    def is_running(self: Any) -> bool:
        guest = _guests.get(self)
        return (guest is not None and not guest.iterating) or stock(self)  # also between two iterations of a guest

    is_running._aionest_foreign = True  # type: ignore[attr-defined]
    return is_running


_BRACKETS: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "run_forever": _make_run_forever,
    "run_until_complete": _make_run_until_complete,
    "stop": _make_stop,
    "close": _make_close,
    "is_running": _make_is_running,
    "shutdown_asyncgens": _make_shutdown_asyncgens,
    "set_debug": _make_set_debug,
}


# ---- guests -----------------------------------------------------------------------------------------------------------------

_POLL = 0.005  # seconds: how often a guest is looked at whose descriptor nobody can watch
_POLL_WATCHED = 0.05  # the same for one that is watched: timers that its transports have set are not seen from outside


class Done(futures.Future):  # type: ignore[type-arg]
    """What the caller of a guest's run waits for. Its cancellation goes to the guest's main future, if there is one, so it
    reaches to the end of what the guest does; the caller goes on when that is done.
    """

    main: Any = None

    def cancel(self, msg: Any = None) -> bool:
        if self.main is None or self.done():
            return super().cancel(msg)
        return bool(self.main.cancel(msg))

    def finish(self, exc: BaseException | None) -> None:
        """The guest's run is over: its caller raises ``exc``. What comes in between (Ctrl-C, no memory) does not keep the
        caller asleep.
        """
        if self.done():
            return
        try:
            self.set_result(exc)
        except BaseException:
            _core.wake_waiters(self)
            raise


class Guest:
    """Runs a foreign loop inside a running one, an iteration at a time.

    Between iterations the outer loop watches the inner one's descriptor, where it has one (uvloop), and the timers that were
    set by its methods, which are replaced on the instance meanwhile.
    """

    def __init__(self, inner: Any, outer: Any, run_forever: Callable[..., Any]) -> None:
        self.inner, self.outer, self.run_forever = inner, outer, run_forever
        self.stopping = False
        self.iterating = False
        self.done = Done(loop=outer)
        self.done.main = next(iter(_main.get(inner, ())[-1:]), None)
        self.handle: Any = None
        self.fd = -1
        self.due: list[float] = []  # heap: when timers of the inner loop are due, in its time

    def run(self) -> None:
        backend = getattr(self.inner, "_get_backend_id", None)
        self.fd = -1 if backend is None else backend()
        _guests[self.inner] = self
        self.watch_methods()
        try:
            if self.fd >= 0:
                try:
                    self.outer.add_reader(self.fd, self.kick)
                except OSError:  # Linux lets epolls watch one another five deep only: it is asked now and then instead
                    self.fd = -1
            self.kick()
            exc = _core.block_on(self.done)
        finally:
            del _guests[self.inner]
            self.done.main = None
            if not self.done.done():
                self.done.cancel()
            self.disarm()
            if self.fd >= 0 and not self.outer.is_closed():
                self.outer.remove_reader(self.fd)
            for name in ("call_soon", "call_later", "call_at"):
                self.inner.__dict__.pop(name, None)
        if exc is not None:
            raise exc

    def watch_methods(self) -> None:
        inner, cls = self.inner, type(self.inner)

        def call_soon(callback: Any, *args: Any, **kwargs: Any) -> Any:
            handle = cls.call_soon(inner, callback, *args, **kwargs)
            self.kick()
            return handle

        def call_later(delay: float, callback: Any, *args: Any, **kwargs: Any) -> Any:
            handle = cls.call_later(inner, delay, callback, *args, **kwargs)
            self.note(inner.time() + delay)
            return handle

        def call_at(when: float, callback: Any, *args: Any, **kwargs: Any) -> Any:
            handle = cls.call_at(inner, when, callback, *args, **kwargs)
            self.note(when)
            return handle

        inner.call_soon, inner.call_later, inner.call_at = call_soon, call_later, call_at

    def note(self, when: float) -> None:
        heapq.heappush(self.due, when)
        self.kick()

    def disarm(self) -> None:
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None

    def kick(self) -> None:
        """There may be something to do: an iteration soon. Between iterations only, which look for themselves."""
        if not self.iterating and not self.done.done():
            self.disarm()
            self.handle = self.outer.call_soon(self.pump, context=contextvars.Context())

    def pump(self) -> None:
        self.handle = None
        if self.done.done():
            return
        self.iterating = True
        try:
            busy = self.iterate()
        except BaseException as exc:
            self.done.finish(exc)
            return
        finally:
            self.iterating = False
        if self.done.done():
            return
        if self.stopping:
            self.done.finish(None)
        elif busy:
            self.kick()
        else:
            self.arm()

    def arm(self) -> None:
        """Nothing to do now: come back for the next timer, or to look."""
        delay, now = _POLL if self.fd < 0 else _POLL_WATCHED, self.inner.time()
        while self.due and self.due[0] <= now:
            heapq.heappop(self.due)
        if self.due:
            delay = min(delay, self.due[0] - now)
        # by way of the queue: amid its timers the outer loop has to stay where it is
        self.handle = self.outer.call_later(delay, self.kick, context=contextvars.Context())

    def iterate(self) -> bool:
        """One iteration of the inner loop that waits for nothing; True if it called something."""
        hooks = agen_hooks()
        main = threading.current_thread() is threading.main_thread()
        wakeup = signal.set_wakeup_fd(-1) if main else -1
        events._set_running_loop(None)
        before = _core.foreign_begin(self.inner, _on_begin(self.inner, hooks))
        try:
            # from inside: there are loops that forget a stop() that comes before they run
            cls: Any = type(self.inner)
            cls.call_soon.__wrapped__(self.inner, functools.partial(cls.stop.__wrapped__, self.inner))
            self.run_forever(self.inner)
        finally:
            busy = _core.foreign_end(self.inner, before)
            events._set_running_loop(self.outer)
            if main:
                signal.set_wakeup_fd(wakeup)
            sys.set_asyncgen_hooks(*hooks)
        return busy > 0
