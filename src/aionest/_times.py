"""One check of the timeouts that are given to us."""

from __future__ import annotations

import threading


def seconds_of(timeout: float | None) -> float | None:
    """Check a timeout before anything is started."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or None, not {type(timeout).__qualname__}")
    if timeout != timeout:
        raise ValueError("timeout must be a number of seconds, not nan")
    return None if timeout > threading.TIMEOUT_MAX else max(0.0, timeout)
