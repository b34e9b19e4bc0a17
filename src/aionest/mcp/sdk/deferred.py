"""When a server that does not take a request now asks to be sent it again.

Contract: pure functions on a response's status and headers, which are a server's and may be anything.
"""

from __future__ import annotations

import re
import time
from datetime import timezone
from email.utils import parsedate_to_datetime

from .line import HTTP

# in the extensions of requests
HAS_TIME = "aionest.has_time"  # may what it is for take so many seconds more?
REPEATABLE = "aionest.repeatable"  # of one of a login: nothing comes of it if it is sent twice
LONGEST = 300.0  # seconds that a server may put a request off
_PUT_OFF = (429, 503)  # of which nothing was done, if the time is named at which it may be
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")  # of seconds; some servers give parts of them


def pause(response: HTTP.Response) -> float | None:
    """Seconds that the server asks to wait before the request, of which nothing was done, is made again."""
    if response.status_code not in _PUT_OFF:
        return None
    said = response.headers.get("retry-after", "").strip()
    try:
        seconds = float(said) if _NUMBER.fullmatch(said) else moment(said) - time.time()
    except (TypeError, ValueError, OverflowError):
        return None
    return max(seconds, 0.0) if seconds <= LONGEST else None


def moment(date: str) -> float:
    """Seconds since the epoch. A date in no zone is meant as all in HTTP."""
    found = parsedate_to_datetime(date)
    return (found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)).timestamp()


__all__ = ["HAS_TIME", "LONGEST", "REPEATABLE", "moment", "pause"]
