"""1.x: results with addresses that are no URLs. The SDK refuses all of a result for one such link, when the call has long had its effect.

Contract: the SDK's own reading comes first; only what that says of addresses is overruled, and the address stays as it was written.
"""

from __future__ import annotations

from mcp import types
from pydantic import TypeAdapter, ValidationError

from .._json import JsonObject

_BLOCK: TypeAdapter[types.ContentBlock] = TypeAdapter(types.ContentBlock)
_ANY = "about:blank"  # in place of an address, while the rest is looked at


def tool_result(answer: JsonObject) -> types.CallToolResult:
    """An answer as the SDK's result."""
    try:
        return types.CallToolResult.model_validate(answer)
    except ValidationError:
        content = answer.get("content")
        if not isinstance(content, list):
            raise
        blocks = [_block(one) for one in content]
        made = types.CallToolResult.model_validate({**answer, "content": []})
        made.content = blocks
        return made


def _block(one: object) -> types.ContentBlock:
    inner = one.get("resource") if isinstance(one, dict) else None
    if isinstance(one, dict) and isinstance(one.get("uri"), str):
        made = _BLOCK.validate_python({**one, "uri": _ANY})
        if isinstance(made, types.ResourceLink):
            made.uri = one["uri"]
        return made
    if isinstance(one, dict) and isinstance(inner, dict) and isinstance(inner.get("uri"), str):
        made = _BLOCK.validate_python({**one, "resource": {**inner, "uri": _ANY}})
        if isinstance(made, types.EmbeddedResource):
            made.resource.uri = inner["uri"]
        return made
    return _BLOCK.validate_python(one)


__all__ = ["tool_result"]
