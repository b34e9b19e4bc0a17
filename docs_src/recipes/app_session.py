"""One session for all threads of a process: opened when needed, again when it was lost, and in each forked worker."""

import threading

from session import open_session

import aionest

_lock = threading.Lock()
_held = None


def session():
    global _held
    with _lock:
        if _held is None or not _held.is_open:
            _held = aionest.portal().enter(open_session())
        return _held


def ask(word):
    held = session()
    return held.call(held.value.ask, word, timeout=10)
