"""What goes over the wire, for somebody who wants to see it: each message that is sent to a server or comes from it.

Contract: nothing is done where nobody wants to see it. What is told is text: the message's JSON without the secrets of the server's
configuration, its first LONGEST characters; a line that is no message as it is. Told in order, of both ways together, beside the session.
Calls are told where they are written and read, so they go their usual way.

On the loop only.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
from pydantic_core import to_json

from ..sdk import encode
from ..sdk.failures import SAID
from ..sdk.shortcut import HttpOut
from ..transport.pipes import Incoming as PipeIn
from ..transport.pipes import Outgoing as PipeOut
from .callbacks import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._json import JsonObject
    from ..auth import Secrets
    from ..sdk.line import Incoming, Outgoing, SessionMessage

LONGEST = 20_000  # characters of a message that are told
_WALKED = 200_000  # bytes of one that is taken apart for its secrets


class Wire:
    """The messages of one server.

    :param function: called with (server, "sent" or "received", text).
    """

    def __init__(self, server: str, secrets: Secrets, function: Callable[[str, str, str], object]) -> None:
        self._server, self._secrets = server, secrets
        self._notifier = Notifier(function)

    def tapped(self, read: Incoming, write: Outgoing) -> tuple[Incoming, Outgoing]:
        """The streams of a session, of which this sees what goes through."""
        if isinstance(read, PipeIn) and isinstance(write, PipeOut):
            read.tap, write.tap = self._received, self._sent
            return read, write
        if isinstance(write, HttpOut):
            return _In(read, self._received), _HttpOut(write, self._sent, self._received)
        return _In(read, self._received), _Out(write, self._sent)

    def _sent(self, line: bytes) -> None:
        self._notifier.notify(self._server, "sent", self._told(line))

    def _received(self, line: bytes) -> None:
        self._notifier.notify(self._server, "received", self._told(line))

    def _told(self, line: bytes) -> str:
        hide = self._secrets.hide
        # what is cut off could begin with a part of a secret, so more is looked through than is told
        text = hide(line[:_WALKED].decode("utf-8", "replace").strip())
        if len(line) <= _WALKED:
            try:
                text = json.dumps(_hidden(_as_sent(json.loads(line)), hide), ensure_ascii=False)
            except (ValueError, RecursionError):
                pass  # it is no message
        more = max(len(line), len(text)) - LONGEST
        return text if more <= 0 else f"{text[:LONGEST]}\u2026 ({more} more)"


def _as_sent(message: object) -> object:
    """Without the mark that the server's own errors have here."""
    error = message.get("error") if isinstance(message, dict) else None
    data = error.get("data") if isinstance(error, dict) else None
    if isinstance(error, dict) and isinstance(data, dict) and SAID in data:
        error.pop("data")
        if data[SAID] is not None:
            error["data"] = data[SAID]
    return message


def _hidden(value: object, hide: Callable[[str], str]) -> object:
    """JSON without secrets, also where they are written with escapes."""
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, dict):
        return {hide(key): _hidden(one, hide) for key, one in value.items()}
    return [_hidden(one, hide) for one in value] if isinstance(value, list) else value


class _In(anyio.abc.ObjectReceiveStream["SessionMessage | Exception"]):
    def __init__(self, inner: Incoming, tell: Callable[[bytes], None]) -> None:
        self._inner, self._tell = inner, tell

    async def receive(self) -> SessionMessage | Exception:
        item = await self._inner.receive()
        self._tell(str(item).encode() if isinstance(item, Exception) else encode(item))
        return item

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __getattr__(self, name: str) -> object:  # newer SDKs ask for the context of what was received last
        return getattr(self._inner, name)


class _Out(anyio.abc.ObjectSendStream["SessionMessage"]):
    def __init__(self, inner: Outgoing, tell: Callable[[bytes], None]) -> None:
        self._inner, self._tell = inner, tell

    async def send(self, item: SessionMessage) -> None:
        self._tell(encode(item))
        await self._inner.send(item)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _HttpOut(_Out):
    """With calls beside the messages."""

    def __init__(self, inner: Outgoing, tell: Callable[[bytes], None], tell_received: Callable[[bytes], None]) -> None:
        super().__init__(inner, tell)
        assert isinstance(inner, HttpOut)
        self._asked = inner
        self._tell_received = tell_received

    async def ask(self, number: int, line: bytes, headers: Mapping[str, str]) -> JsonObject | None:
        self._tell(line)
        found = await self._asked.ask(number, line, headers)
        if found is not None:
            self._tell_received(to_json({"jsonrpc": "2.0", "id": number, "result": found}))
        return found

    async def hand_over(self, item: SessionMessage) -> None:
        await self._asked.hand_over(item)  # it was told already


__all__ = ["Wire"]
