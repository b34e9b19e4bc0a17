"""How a loop with nothing to do is watched from outside where it has no descriptor that another loop could watch.

``watcher()`` gives what watches the completion port of a ``ProactorEventLoop``, or a selector without a descriptor of its own
(``SelectSelector``, ``PollSelector``): a thread that waits in the loop's stead.

Contract
  * ``arm``: from now on the next thing that happens calls ``notify``, once, in the helper thread. Nothing is lost and nothing is
    handled there: what came to a port is put back into it, what a selector would report it still reports.
  * There is no ``disarm``: the helper may wait on while the loop runs, and at worst ``notify`` is called in vain.
  * After ``stop`` there is no thread, nothing of ours is in the port, and ``notify`` is not called any more.
Thread: ``arm`` and ``stop`` the loop's; the helper calls nothing else of the loop's.
"""

from __future__ import annotations

import importlib
import selectors
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_overlapped: Any = importlib.import_module("_overlapped") if sys.platform == "win32" else None
LOOK = 0.5  # seconds after which what a selector has been given meanwhile, by others than its own loop, is seen
_INFINITE = 0xFFFFFFFF
_PLAIN = tuple(getattr(selectors, name) for name in ("SelectSelector", "PollSelector") if hasattr(selectors, name))


class _Watcher:
    """The helper thread and when it waits; what it waits for is up to the subclasses."""

    def __init__(self, notify: Callable[[], Any]) -> None:
        self.notify = notify
        self.lock = threading.Lock()
        self.go = threading.Semaphore(0)  # one for each time that it is to wait, and one to end
        self.waiting = self.ended = False
        self.thread: threading.Thread | None = None

    def arm(self) -> None:
        with self.lock:
            if self.ended:
                return
            waits, self.waiting = self.waiting, True
        if waits:
            self.armed_again()
            return
        if self.thread is None:
            self.thread = threading.Thread(target=self.run, name="aionest-guest", daemon=True)
            self.thread.start()
        self.go.release()

    def stop(self) -> None:
        with self.lock:
            if self.ended:
                return
            self.ended = True
            if self.waiting:
                self.wake()
        self.go.release()
        if self.thread is not None:
            self.thread.join()
        self.close()

    def run(self) -> None:
        while True:
            self.go.acquire()
            if not self.waiting:
                return
            woken = self.wait()
            with self.lock:
                self.waiting, ended = False, self.ended
            if ended:
                while not woken:  # told to while it waited: the wake-up is on its way
                    woken = self.wait()
                return
            try:
                self.notify()
            except RuntimeError:
                pass  # the outer loop is closed: nobody is to be told any more

    def wait(self) -> bool:
        """Wait until something happens, which is False, or for wake(), which is True."""
        raise NotImplementedError

    def wake(self) -> None:
        raise NotImplementedError

    def armed_again(self) -> None:
        """It waits already."""

    def close(self) -> None:
        pass


class _Port(_Watcher):
    """Waits for a completion port."""

    def __init__(self, proactor: Any, notify: Callable[[], Any]) -> None:
        super().__init__(notify)
        self.proactor = proactor

    def wait(self) -> bool:
        try:
            status = _overlapped.GetQueuedCompletionStatus(self.proactor._iocp, _INFINITE)
            if status is None:
                return False
            _, transferred, key, address = status
            if address == id(self):
                return True
            # what became of the operation stands in the operation, which the loop will ask
            _overlapped.PostQueuedCompletionStatus(self.proactor._iocp, transferred, key, address)
            return False
        except (OSError, TypeError):  # the loop was closed by force
            return self.ended

    def wake(self) -> None:
        _overlapped.PostQueuedCompletionStatus(self.proactor._iocp, 0, 0, id(self))


class _Polled(_Watcher):
    """Waits for what is registered with a selector, by another selector of its kind."""

    def __init__(self, selector: Any, notify: Callable[[], Any]) -> None:
        super().__init__(notify)
        self.selector = selector
        self.seen: dict[Any, int] = {}
        self.inside, self.outside = socket.socketpair()
        self.inside.setblocking(False)

    def registered(self) -> dict[Any, int]:
        return {key.fd: key.events for key in list(self.selector._fd_to_key.values())}

    def wait(self) -> bool:
        while True:
            self.seen = self.registered()
            try:
                with type(self.selector)() as own:
                    own.register(self.inside, selectors.EVENT_READ)
                    for fd, events in self.seen.items():
                        own.register(fd, events)
                    ready = [key.fd for key, _ in own.select(LOOK)]
            except (OSError, ValueError):
                return self.ended  # one was closed: its own select() shall say so
            if self.inside.fileno() in ready:
                self.inside.recv(4096)
                if self.ended:
                    return True
            elif ready:
                return False

    def wake(self) -> None:
        self.outside.send(b"\0")

    def armed_again(self) -> None:
        if self.registered() != self.seen:
            self.wake()

    def close(self) -> None:
        self.inside.close()
        self.outside.close()


def watcher(loop: Any, notify: Callable[[], Any]) -> _Watcher | None:
    """What watches ``loop``, or None: it is of another kind. ``notify`` is called in a thread of its own."""
    kind = _kind(loop)
    return None if kind is None else kind(loop._selector, notify)


def can_watch(loop: Any) -> bool:
    return _kind(loop) is not None


def _kind(loop: Any) -> Any:
    selector = getattr(loop, "_selector", None)
    if type(selector) in _PLAIN:
        return _Polled
    return _Port if sys.platform == "win32" and hasattr(selector, "_iocp") else None
