"""Plain data and the SDK's models, each as the other.

Contract: pure functions; plain data has the protocol's own (camelCase) names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .line import types


def dump(model: Any) -> dict[str, Any]:
    """An SDK model as a plain dictionary with the protocol's names."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)  # type: ignore[no-any-return]


def request_id(item: Any) -> Any:
    """The id of a session message that is a request, or None."""
    message = getattr(item.message, "root", item.message)
    return getattr(message, "id", None) if hasattr(message, "method") else None


def is_cancellation(item: Any) -> bool:
    """Does a session message tell the server that nobody waits for an answer any more?"""
    return getattr(getattr(item.message, "root", item.message), "method", "") == "notifications/cancelled"


def notification(message: Any) -> str:
    """The method of a notification that came in, or an empty string."""
    return str(getattr(getattr(message, "root", message), "method", ""))


def refusal(message: str) -> Any:
    """What a callback answers when it has failed."""
    return types.ErrorData(code=-32603, message=message)


def sampled(answer: Any) -> Any:
    """What a sampling callback gave, as the SDK's type: a string is the assistant's text, a mapping holds the fields."""
    if isinstance(answer, str):
        answer = {"content": {"type": "text", "text": answer}}
    if isinstance(answer, Mapping):
        return types.CreateMessageResult.model_validate({"role": "assistant", "model": "unnamed", **answer})
    return answer


def elicited(answer: Any) -> Any:
    """What an elicitation callback gave, as the SDK's type: a mapping is accepted content, None declines."""
    if answer is None:
        return types.ElicitResult(action="decline")
    if isinstance(answer, Mapping):
        return types.ElicitResult(action="accept", content=dict(answer))
    return answer


def rooted(answer: Any) -> Any:
    """What a roots callback gave, as the SDK's type: an iterable of paths or ``file:`` URIs."""
    if isinstance(answer, (str, os.PathLike)):
        answer = [answer]
    if isinstance(answer, Iterable) and not hasattr(answer, "roots"):
        uris = [str(a) if "://" in str(a) else Path(a).absolute().as_uri() for a in answer]
        return types.ListRootsResult.model_validate({"roots": [{"uri": uri} for uri in uris]})
    return answer
