"""Plain data and the SDK's models, each as the other.

Contract: pure functions; plain data has the protocol's own (camelCase) names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel

from .._json import JsonObject, RequestId
from .failures import OWN_CODES, SAID
from .line import SessionMessage, types


def dump(model: BaseModel) -> JsonObject:
    """An SDK model as a plain dictionary with the protocol's names."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def request_id(item: SessionMessage) -> RequestId | None:
    """The id of a session message that is a request, or None."""
    message = getattr(item.message, "root", item.message)
    found = getattr(message, "id", None) if hasattr(message, "method") else None
    return found if isinstance(found, (int, str)) else None


def as_said(item: SessionMessage) -> SessionMessage:
    """A message that a server has sent; an error is marked as its own, where it could be taken for another's."""
    error = getattr(getattr(item.message, "root", item.message), "error", None)
    if error is not None and error.code in OWN_CODES:
        error.data = {SAID: error.data}
    return item


def is_cancellation(item: SessionMessage) -> bool:
    """Does a session message tell the server that nobody waits for an answer any more?"""
    return notification(item.message) == "notifications/cancelled"


def notification(message: object) -> str:
    """The method of a notification that came in, or an empty string."""
    return str(getattr(getattr(message, "root", message), "method", ""))


def refusal(message: str, code: int = -32603) -> types.ErrorData:
    """What a callback answers when it has failed, or a person has declined (-1)."""
    return types.ErrorData(code=code, message=message)


def sampled(answer: object, params: object = None) -> object:
    """What a sampling callback gave, as the SDK's type: a string is the assistant's text, a mapping holds the fields, None declines."""
    if answer is None:
        return refusal("declined by the person", -1)
    if isinstance(answer, str):
        answer = {"content": {"type": "text", "text": answer}}
    if isinstance(answer, Mapping):
        return types.CreateMessageResult.model_validate({"role": "assistant", "model": "unnamed", **answer})
    return answer


def elicited(answer: object, params: BaseModel | None = None) -> object:
    """What an elicitation callback gave, as the SDK's type: a mapping is accepted content, None declines.

    What it leaves out has the default that the server's question gives, if it gives one.
    """
    if answer is None:
        return types.ElicitResult(action="decline")
    if isinstance(answer, Mapping):
        answer = types.ElicitResult(action="accept", content=dict(answer))
    if isinstance(answer, types.ElicitResult) and answer.action == "accept":
        defaults = _defaults(params)
        if defaults.keys() - (answer.content or {}).keys():
            return answer.model_copy(update={"content": {**defaults, **(answer.content or {})}})
    return answer


def _defaults(params: BaseModel | None) -> JsonObject:
    """Of the fields that a server asks for, the defaults of those that have one which an answer may have in it."""
    schema = dump(params).get("requestedSchema") if params is not None else None
    fields = schema.get("properties") if isinstance(schema, dict) else None
    listed = fields.items() if isinstance(fields, dict) else ()
    return {name: one["default"] for name, one in listed if isinstance(one, dict) and _answers(one.get("default"))}


def _answers(value: object) -> bool:
    """May it be a field's answer? One that may not would make the SDK refuse all of them."""
    if isinstance(value, list):
        return all(isinstance(one, str) for one in value)
    return isinstance(value, (str, int, float, bool))


def rooted(answer: object, params: object = None) -> object:
    """What a roots callback gave, as the SDK's type: an iterable of paths or ``file:`` URIs."""
    if isinstance(answer, (str, os.PathLike)):
        answer = [answer]
    if isinstance(answer, Iterable) and not hasattr(answer, "roots"):
        uris = [str(a) if "://" in str(a) else Path(a).absolute().as_uri() for a in answer]
        return types.ListRootsResult.model_validate({"roots": [{"uri": uri} for uri in uris]})
    return answer
