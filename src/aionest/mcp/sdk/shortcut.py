"""What the short ways of tool calls on both lines of the SDK share (``shortcut_v1``, ``shortcut_v2``): the lines on the pipe, and who waits.

Contract: only what is plainly a result is one; all else is for the SDK to judge. Keeps no state. On the session's loop only.
"""

from __future__ import annotations

import asyncio
import types
from typing import Any

from pydantic_core import from_json, to_json

_RESULT = {"jsonrpc", "id", "result"}


def line_of(number: int, params: dict[str, Any]) -> bytes:
    """The line that asks for a tool call. Raises what ``to_json`` does where the arguments cannot be written."""
    message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
    return to_json(message, by_alias=True, exclude_none=True, inf_nan_mode="null") + b"\n"


def result_of(line: bytes) -> tuple[int, dict[str, Any]] | None:
    """The request's number and the result, if the line is a JSON-RPC message with these and nothing else; or None."""
    try:
        message = from_json(line)
    except ValueError:
        return None
    if type(message) is not dict or message.keys() != _RESULT or message["jsonrpc"] != "2.0":
        return None
    number, result = message["id"], message["result"]
    return (number, result) if type(number) is int and type(result) is dict else None


class Waiting:
    """In the SDK's table of requests: what takes the answer, instead of a stream."""

    __slots__ = ("answer",)

    def __init__(self, answer: asyncio.Future[Any]) -> None:
        self.answer = answer

    def send_nowait(self, answer: Any) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


def is_pipe(incoming: Any, outgoing: Any) -> bool:
    """Are these the streams of a server that is a process?"""
    return hasattr(outgoing, "send_line") and hasattr(incoming, "direct")


def is_own(method: Any, *modules: str) -> bool:
    """Is it the SDK's own method, of these modules, and not what somebody has put around it, who wants to see the calls?"""
    plain = type(method) is types.FunctionType and not hasattr(method, "__wrapped__")
    return plain and method.__module__ in modules


__all__ = ["Waiting", "is_own", "is_pipe", "line_of", "result_of"]
