"""``select.kqueue`` on Linux, on top of the library beside it, so that the standard library's own ``KqueueSelector`` is there.

``install()`` is called where the interpreter starts (a ``.pth`` file), before anybody has imported ``selectors``.
"""

from __future__ import annotations

import ctypes
import errno
import math
import os
import select
import sys
import time
import weakref


class _Event(ctypes.Structure):
    _fields_ = (
        ("ident", ctypes.c_size_t),
        ("filter", ctypes.c_short),
        ("flags", ctypes.c_ushort),
        ("fflags", ctypes.c_uint),
        ("data", ctypes.c_ssize_t),
        ("udata", ctypes.c_void_p),
    )


class _Timeout(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


NAMES = {
    "KQ_FILTER_READ": -1,
    "KQ_FILTER_WRITE": -2,
    "KQ_EV_ADD": 0x1,
    "KQ_EV_DELETE": 0x2,
    "KQ_EV_ERROR": 0x4000,
    "KQ_EV_EOF": 0x8000,
}
library = ctypes.CDLL(os.path.join(sys.prefix, "lib", "libkqueue.so"), use_errno=True)
library.kevent.argtypes = (
    ctypes.c_int,
    ctypes.POINTER(_Event),
    ctypes.c_int,
    ctypes.POINTER(_Event),
    ctypes.c_int,
    ctypes.POINTER(_Timeout),
)
queues: weakref.WeakSet[Kqueue] = weakref.WeakSet()


class Kevent:
    def __init__(self, ident, filter=-1, flags=1, fflags=0, data=0, udata=0):  # noqa: A002
        self.ident = ident if isinstance(ident, int) else ident.fileno()
        self.filter, self.flags, self.fflags, self.data, self.udata = filter, flags, fflags, data, udata


def failed():
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


class Kqueue:
    """As CPython's ``select.kqueue``: EINTR is gone round, a forked child's is closed."""

    def __init__(self):
        self._fd = library.kqueue()
        if self._fd < 0:
            raise failed()
        queues.add(self)

    @property
    def closed(self):
        return self._fd < 0

    def close(self):
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close

    def fileno(self):
        if self._fd < 0:
            raise ValueError("I/O operation on closed kqueue object")
        return self._fd

    def control(self, changelist, max_events, timeout=None):
        fd = self.fileno()
        if timeout is not None and not timeout >= 0:
            raise ValueError("timeout must be a non-negative number")
        changes = [_Event(c.ident, c.filter, c.flags, c.fflags, c.data, c.udata) for c in changelist or ()]
        given, found = (_Event * len(changes))(*changes), (_Event * max_events)()
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            ns = math.ceil(timeout * 1e9) if timeout is not None else 0
            limit = None if timeout is None else ctypes.byref(_Timeout(ns // 10**9, ns % 10**9))
            n = library.kevent(fd, given, len(changes), found, max_events, limit)
            if n >= 0:
                return [Kevent(e.ident, e.filter, e.flags, e.fflags, e.data) for e in found[:n]]
            if ctypes.get_errno() != errno.EINTR:
                raise failed()
            if end is not None and (timeout := end - time.monotonic()) < 0:
                return []


def in_child():
    for queue in list(queues):
        queue._fd = -1  # the descriptor itself is gone already


def install():
    assert "selectors" not in sys.modules, "selectors has been imported without kqueue"
    for name, value in NAMES.items():
        setattr(select, name, value)
    select.kevent = type("select.kevent", (Kevent,), {"__module__": "select"})
    # the engine knows the standard library's by its full name
    select.kqueue = type("select.kqueue", (Kqueue,), {"__module__": "select"})
    os.register_at_fork(after_in_child=in_child)
