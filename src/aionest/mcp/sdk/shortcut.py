"""What the short ways of tool calls on both lines of the SDK share (``shortcut_v1``, ``shortcut_v2``): the messages, and who waits.

Contract: only what is plainly a result is one; all else is for the SDK to judge. Keeps no state. On the session's loop only.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar, runtime_checkable

from pydantic_core import from_json, to_json

from .._json import JsonObject
from .asked import Table
from .line import SessionMessage

A = TypeVar("A")
_RESULT = {"jsonrpc", "id", "result"}


def line_of(number: int, params: JsonObject) -> bytes:
    """The line that asks for a tool call. Raises what ``to_json`` does where the arguments cannot be written."""
    message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
    return to_json(message, by_alias=True, exclude_none=True, inf_nan_mode="null") + b"\n"


def result_of(line: bytes) -> tuple[int, JsonObject] | None:
    """The request's number and the result, if the line is a JSON-RPC message with these and nothing else; or None."""
    try:
        message = from_json(line)
    except ValueError:
        return None
    if type(message) is not dict or message.keys() != _RESULT or message["jsonrpc"] != "2.0":
        return None
    number, result = message["id"], message["result"]
    return (number, result) if type(number) is int and type(result) is dict else None


class Waiting(Generic[A]):
    """In the SDK's table of requests: what takes the answer, instead of a stream."""

    __slots__ = ("answer",)

    def __init__(self, answer: asyncio.Future[A]) -> None:
        self.answer = answer

    def send_nowait(self, answer: A) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class Taker(Protocol):
    """What takes answers past the session."""

    def table(self) -> Table:
        """The requests in flight."""
        ...

    def take(self, line: bytes) -> bool:
        """Hand a line to who waits for just that. False: it is something else."""
        ...


@runtime_checkable
class PipeIn(Protocol):
    """The incoming stream of a server that is a process."""

    direct: Taker | None


@runtime_checkable
class PipeOut(Protocol):
    """Its outgoing stream."""

    async def send_line(self, line: bytes) -> None:
        """Send what is a line already."""


@runtime_checkable
class HttpOut(Protocol):
    """The outgoing stream of a server that is reached by HTTP, which takes calls beside the messages (``transport.asking``)."""

    async def ask(self, number: int, line: bytes, headers: Mapping[str, str]) -> JsonObject | None:
        """The result of a call, or None: it is to be handed over."""
        ...

    async def hand_over(self, item: SessionMessage) -> None:
        """The message of a call which was asked for in vain."""


def is_pipe(incoming: object, outgoing: object) -> bool:
    """Are these the streams of a server that is a process?"""
    return isinstance(incoming, PipeIn) and isinstance(outgoing, PipeOut)


def is_own(method: object, *modules: str) -> bool:
    """Is it the SDK's own method, of these modules, and not what somebody has put around it, who wants to see the calls?"""
    plain = isinstance(method, types.FunctionType) and not hasattr(method, "__wrapped__")
    return plain and method.__module__ in modules


__all__ = ["HttpOut", "PipeIn", "PipeOut", "Taker", "Waiting", "is_own", "is_pipe", "line_of", "result_of"]
