"""One loop inside another on the same thread: the inner one runs as a guest of the outer.

Contract
  * The caller's stack is suspended on the outer loop; a handle of the outer loop (the pump) runs one iteration of the inner
    one at a time, so neither starves. Between pumps the outer loop watches the inner selector's own file descriptor and the
    inner loop's next timer. Where there is no such descriptor a helper thread does (``watching``).
  * While the pump runs, the inner loop is the running loop and its asynchronous generator hooks are in place.
  * ``suspend``/``resume`` are called by the engine when code of the inner loop is put to sleep in the middle of a pump:
    the outer loop goes on meanwhile, and another pump with the inner.
Thread: the one that runs the outer loop; ``kick`` likewise.
"""

from __future__ import annotations

import contextvars
import sys
from asyncio import events
from typing import Any

from .. import _core
from . import checks, signals, watching
from .closing import agen_hooks, check_not_running, cleanup, setup_nested
from .foreign_classes import Done

EPOLLS_IN_EPOLLS = 3  # Linux refuses an epoll that would watch more than five in one another (ELOOP)


class Guest:
    """The pump of one inner loop.

    A finalizer may run between any two lines here, and may put the stack to sleep: other stacks then go through the same
    methods. So what tells whether the pump is queued is set before it is queued, and which loop is the running one is
    asked, not remembered.
    """

    def __init__(self, inner: Any, outer: Any) -> None:
        self.inner, self.outer = inner, outer
        self.done = Done(loop=outer)
        self.done.main = mains.get(inner)
        self.queued = self.begun = False
        self.handle: Any = None  # the pump's last one
        self.timer: Any = None
        self.fd = -1
        self.watcher: Any = None  # in place of it
        self.armed = False
        self.watching: Any = outer  # the loop that watches it
        self.inner_hooks: Any = None
        self.outer_hooks: Any = None

    # -- brackets: which loop is the running one

    def enter(self) -> None:
        self.outer_hooks = agen_hooks()
        sys.set_asyncgen_hooks(*self.inner_hooks)
        events._set_running_loop(self.inner)

    def leave(self) -> None:
        if events._get_running_loop() is self.inner:
            self.inner_hooks = agen_hooks()
        sys.set_asyncgen_hooks(*self.outer_hooks)
        events._set_running_loop(self.outer)

    def suspend(self) -> None:
        """Code of the inner loop goes to sleep: back to the outer loop, and let another pump carry the inner one."""
        if not self.begun:  # a finalizer: the inner loop would run, and end, before its run has begun
            raise RuntimeError("a loop is being set up inside a running one: nothing can nest just now")
        self.leave()
        self.schedule()
        outer_guest = guests.get(self.outer)
        if outer_guest is not None:
            outer_guest.suspend()

    def resume(self) -> None:
        outer_guest = guests.get(self.outer)
        if outer_guest is not None and events._get_running_loop() is not self.outer:
            outer_guest.resume()
        self.enter()

    # -- the pump

    def kick(self) -> None:
        """Something was added to the inner loop's queue."""
        if events._get_running_loop() is not self.inner:
            self.schedule()

    def schedule(self) -> None:
        if self.queued or self.done.done():
            return
        self.queued = True
        try:
            # A context of its own for each: one whose stack sleeps in somebody's greenlet stays entered meanwhile.
            self.handle = self.outer.call_soon(self.pump, context=contextvars.Context())
        except BaseException:
            self.queued = False
            raise

    def pump(self) -> None:
        self.queued = False
        error: BaseException | None = None
        try:
            self.disarm()
            if self.done.done() or not self.turn():
                return
        except BaseException as exc:
            # of the inner loop's run, or of its selector or clock: the caller gets it, whoever else would only log it
            error = exc
        guest = guests.get(self.inner, self)  # another one, if this stack slept until the inner loop's next run
        try:
            guest.done.finish(error)
        finally:
            error = None  # this frame is in its traceback
            guest.disarm()

    def turn(self) -> bool:
        """One iteration of the inner loop; True if that was its last."""
        inner = self.inner
        try:
            self.enter()
            inner._run_once()
        finally:
            guest = guests.get(inner)
            if guest is not None or not inner.is_running():  # else it runs by itself by now
                (guest or self).leave()
        if guest is not self:
            # this stack slept until the inner loop's next run, whose pump left the turn to it
            if guest is not None:
                guest.schedule()
            return False
        if self.done.done():
            return False
        if inner._stopping:
            return True
        if inner._ready:
            self.schedule()
        else:
            self.arm()
        return False

    def arm(self) -> None:
        """Nothing to do now: come back when the inner selector or timer says so."""
        if self.queued:
            return
        self.armed = True
        if self.watcher is None:
            self.watch()
        else:
            self.watcher.arm()
        scheduled = self.inner._scheduled
        if scheduled:
            delay = max(0.0, scheduled[0]._when - self.inner.time())
            self.timer = self.outer.call_later(delay, self.schedule, context=contextvars.Context())

    def watch(self) -> None:
        loop = self.watching = self.watches()
        if loop is self.outer:
            loop.add_reader(self.fd, self.schedule)
        else:
            far.add(self)
            loop.add_reader(self.fd, self.wake)

    def wake(self) -> None:
        """Called by the outermost loop. Once: it would call again until the guest has its turn, and the guest's own outer loop
        may not be running."""
        self.disarm()
        if not self.outer.is_closed():
            self.schedule()

    def notify(self) -> None:
        """Something has happened to the inner loop. Called in the helper thread, now and then in vain."""
        self.outer.call_soon_threadsafe(self.schedule, context=contextvars.Context())

    def disarm(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.armed:
            self.armed = False
            if self.watcher is None and not self.watching.is_closed():
                self.watching.remove_reader(self.fd)
            far.discard(self)

    def is_within(self, loop: object) -> bool:
        outer = self.outer
        while outer is not loop and outer in guests:
            outer = guests[outer].outer
        return outer is loop

    def watches(self) -> Any:
        """The loop that is to watch the inner one: its own outer one, or the outermost one where guests are many deep."""
        deep, loop = 0, self.outer
        while loop in guests:
            deep, loop = deep + 1, guests[loop].outer
        return self.outer if deep < EPOLLS_IN_EPOLLS else loop

    def run(self) -> None:
        inner, outer = self.inner, self.outer
        inner._check_closed()
        check_not_running(inner)
        self.fd = check(inner, outer)
        hooks = self.inner_hooks = self.outer_hooks = agen_hooks()
        if self.fd < 0:
            self.watcher = watching.watcher(inner, self.notify)
        guests[inner] = self
        _core.set_guest(inner, self, outer)
        try:
            setup_nested(inner)
            self.inner_hooks = agen_hooks()
            sys.set_asyncgen_hooks(*hooks)
            events._set_running_loop(outer)
            self.begun = True
            self.schedule()
            exc = _core.block_on(self.done)
        finally:
            try:
                self.done.main = None
                if not self.done.done():
                    self.done.cancel()
                if self.handle is not None:
                    self.handle.cancel()
                self.disarm()
                if self.watcher is not None:
                    self.watcher.stop()
                _core.set_guest(inner, None, None)
                del guests[inner]
                for guest in [one for one in list(far) if one.is_within(inner)]:
                    guest.wake()  # it is watched from outside this loop, which is over there: its next turn looks again
                cleanup(inner)
                signals.guest_ended(outer)
            finally:
                sys.set_asyncgen_hooks(*hooks)
                events._set_running_loop(outer)
        if exc is not None:
            raise exc


guests: dict[Any, Guest] = signals.guests  # by the inner loop
far: set[Guest] = set()  # those that are watched by the outermost loop just now
mains: dict[Any, Any] = {}  # what a loop that is about to run as a guest runs for: the future of its run_until_complete


def check(inner: Any, outer: Any) -> int:
    """The descriptor by which ``inner`` can be watched from ``outer``, -1 if a thread has to; RuntimeError if neither will do."""
    selector: Any = getattr(inner, "_selector", None)
    if checks.supported(outer):
        if hasattr(selector, "fileno"):
            return int(selector.fileno())
        if watching.can_watch(inner):
            return -1
    raise RuntimeError(
        f"{inner!r} cannot run inside {outer!r}: a loop without a pollable selector needs a thread of its own"
    )


def run(inner: Any, outer: Any) -> None:
    """Run ``inner`` until it stops, as a guest of the running loop ``outer``."""
    Guest(inner, outer).run()
