"""What a server was asked, and what else was sent to it: what a message that says badly what it answers may be the answer to.

Contract
  * A number that no request has had is nobody's, and says as much as none.
  * Some servers answer also what is no request (notifications, answers to their own questions), which has no number: each of these
    takes one answer without a number, unless what was asked after it is answered already; then those like it take none any
    more. So it fails nobody who waits.

On the session's loop only.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Collection
from typing import NamedTuple

from .._json import RequestId

MOST = 1000  # of what is no request, that may still be answered
_DIGITS = 18  # of the largest number


class Table(NamedTuple):
    """The requests of a session.

    :param waiting: the ids of those in flight.
    :param following: the number that the next one gets; None is not known.
    :param answered: the number of the one that was answered last.
    """

    waiting: Collection[RequestId]
    following: int | None = None
    answered: int = -1


class Asked:
    """The requests of a session, and what else is sent.

    :param table: None is not known.
    """

    def __init__(self, table: Callable[[], Table | None]) -> None:
        self._table = table
        self._answered = -1
        self._others: collections.deque[tuple[int, str]] = collections.deque()  # the next request's number at each
        self._unanswered: set[str] = set()  # kinds of these that the server takes without a word

    def requests(self) -> Collection[RequestId] | None:
        """The ids of those in flight; None is not known."""
        found = self._table()
        return found.waiting if found is not None else None

    def is_given(self, number: RequestId) -> bool:
        """May a request, also one that is over, have had that number?"""
        found = self._table()
        if found is None or found.following is None:
            return True
        if isinstance(number, str):
            try:
                number = int(number[: 2 * _DIGITS])  # as the SDK reads it
            except ValueError:
                return False
        return 0 <= number < found.following

    def answered(self, number: RequestId) -> None:
        """A request is answered."""
        self._answered = number if isinstance(number, int) else self._answered

    def sent_other(self, kind: str) -> None:
        """Something that is no request is sent.

        :param kind: the method, or nothing.
        """
        found = self._table()
        if found is not None and found.following is not None and kind not in self._unanswered:
            self._others.append((found.following, kind))
            if len(self._others) > MOST:
                self._others.popleft()

    def takes(self) -> bool:
        """Is an answer without a number for something that was no request? It is asked once for each."""
        found = self._table()
        latest = max(self._answered, found.answered) if found is not None else -1
        while self._others:
            following, kind = self._others.popleft()
            if latest < following and kind not in self._unanswered:
                return True
            self._unanswered.add(kind)
        return False


def known(requests: Collection[RequestId] | None) -> Asked:
    """Just these, of any numbers; None is not known."""
    return Asked(lambda: None if requests is None else Table(requests))


__all__ = ["Asked", "Table", "known"]
