"""A server's answers to requests under way, taken from the line that they come as.

Contract: only what is plainly a result is one; all else is for the SDK to judge. Keeps no state; any thread.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

_RESULT = {"jsonrpc", "id", "result"}


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


__all__ = ["result_of"]
