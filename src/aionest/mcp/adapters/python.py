"""Tools as plain Python functions, with signature, annotations and docstring made from the schema.

Contract: names that are no Python identifiers are left to ``**arguments``.
"""

from __future__ import annotations

import inspect
import keyword
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..tool import Tool

_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "object": dict,
}


def _annotation(schema: Any) -> Any:
    kind = schema.get("type") if isinstance(schema, dict) else None
    return _TYPES.get(kind, Any) if isinstance(kind, str) else Any


def to_function(tool: Tool) -> Callable[..., Any]:
    """A function that calls the tool: required arguments first, by position or name, the others by name.

    It gives the structured result if there is one, else the text, and raises ``ToolFailed`` if the tool reports an error.
    """
    parameters: list[inspect.Parameter] = []
    rest = False
    required = [name for name in tool.required if name in tool.properties]
    for name in [*required, *(n for n in tool.properties if n not in required)]:
        if not name.isidentifier() or keyword.iskeyword(name):
            rest = True
            continue
        schema = tool.properties[name]
        annotation = _annotation(schema)
        if name in required:
            parameters.append(inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation))
        else:
            default = schema.get("default") if isinstance(schema, dict) else None
            kind = (annotation | None) if default is None and annotation is not Any else annotation
            parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind))
    if rest or tool.input_schema.get("additionalProperties"):
        parameters.append(inspect.Parameter("arguments", inspect.Parameter.VAR_KEYWORD))
    signature = inspect.Signature(parameters, return_annotation=Any)

    def function(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        given.update(given.pop("arguments", {}))
        result = tool.call(given, check=True)
        return result.structured if result.structured is not None else result.text

    function.__name__ = tool.name if tool.name.isidentifier() else "tool"
    function.__qualname__ = function.__name__
    function.__doc__ = _docstring(tool)
    function.__signature__ = signature  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in parameters if p.annotation is not inspect.Parameter.empty}
    return function


def _docstring(tool: Tool) -> str:
    lines = [tool.description or tool.title or tool.name, ""]
    for name, schema in tool.properties.items():
        text = schema.get("description", "") if isinstance(schema, dict) else ""
        lines.append(f":param {name}: {text}".rstrip().rstrip(":") if not text else f":param {name}: {text}")
    return "\n".join(lines).strip()
