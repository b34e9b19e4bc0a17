"""Tools as plain Python functions, with signature, annotations and docstring made from the schema.

Contract: arguments that are left out are not sent, so the server's own defaults hold. Names that are not Python identifiers
can be given through ``**``.
"""

from __future__ import annotations

import functools
import inspect
import keyword
import operator
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ..errors import ToolFailed
from ..tools.schema import kinds, resolved, values_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..tools import Tool, ToolResult

F = TypeVar("F", bound="Callable[..., object]")
_ANYTHING = Any  # as an annotation of what is made here
_TYPES: dict[str, type] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


def _annotation(schema: object, root: dict[str, object], depth: int = 0) -> object:
    found: list[object] = []
    for kind, own in kinds(schema, root):
        one: object = _TYPES.get(kind, _ANYTHING)
        if kind == "values":
            values = values_of(own)
            fits = values and all(value is None or isinstance(value, (str, int)) for value in values)
            one = Literal[tuple(values)] if fits else _ANYTHING  # type: ignore[valid-type]
        elif kind == "array" and isinstance(own.get("items"), dict) and depth < 4:
            one = list[_annotation(own["items"], root, depth + 1)]  # type: ignore[misc]
        elif kind == "object":
            one = dict[str, Any]
        if one is _ANYTHING:
            return _ANYTHING
        found.append(one)
    return functools.reduce(operator.or_, found) if found else _ANYTHING


def to_function(tool: Tool) -> Callable[..., Any]:
    """A function that calls the tool: required arguments first, by position or name, the others by name.

    It gives the structured result if there is one, else the text, and raises ``ToolFailed`` if the tool reports an error.
    """
    signature = _signature(tool)

    def function(*args: object, **kwargs: object) -> object:
        return _outcome(tool, tool.call(_given(tool, signature, args, kwargs)))

    return _dressed(function, tool, signature)


def to_async_function(tool: Tool) -> Callable[..., Any]:
    """``to_function()`` as a coroutine function, for any loop."""
    signature = _signature(tool)

    async def function(*args: object, **kwargs: object) -> object:
        return _outcome(tool, await tool.call_async(_given(tool, signature, args, kwargs)))

    return _dressed(function, tool, signature)


def _signature(tool: Tool) -> inspect.Signature:
    root, properties = tool.input_schema, tool.properties
    required = [name for name in dict.fromkeys(tool.required) if name in properties]
    usable = [name for name in properties if name.isidentifier() and not keyword.iskeyword(name)]
    # a required argument that has no usable name could not be seen in the order of positions
    positional = all(name in usable for name in required)
    parameters: list[inspect.Parameter] = []
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if positional else inspect.Parameter.KEYWORD_ONLY
    for name in required:
        if name in usable:
            parameters.append(inspect.Parameter(name, kind, annotation=_annotation(properties[name], root)))
    parameters += [_optional(name, properties[name], root) for name in usable if name not in required]
    others = root.get("additionalProperties")
    if len(usable) < len(properties) or others is True or isinstance(others, dict) or not properties:
        name = "arguments"
        while name in properties:
            name = f"_{name}"
        parameters.append(inspect.Parameter(name, inspect.Parameter.VAR_KEYWORD, annotation=_ANYTHING))
    return inspect.Signature(parameters, return_annotation=_ANYTHING)


def _optional(name: str, schema: object, root: dict[str, object]) -> inspect.Parameter:
    annotation = _annotation(schema, root)
    default = resolved(schema, root).get("default")
    if default is None and annotation is not _ANYTHING:
        annotation = operator.or_(annotation, None)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _given(
    tool: Tool, signature: inspect.Signature, args: tuple[object, ...], kwargs: dict[str, object]
) -> dict[str, object]:
    given = dict(signature.bind(*args, **kwargs).arguments)
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            given.update(given.pop(parameter.name, {}))
    return {name: value for name, value in given.items() if value is not None or not _left_out(tool, name)}


def _left_out(tool: Tool, name: str) -> bool:
    """Does None for it mean that it is not given? So it does where the schema has no null."""
    if name in tool.required or name not in tool.properties:
        return False
    root = tool.input_schema
    for kind, own in kinds(tool.properties[name], root):
        if kind in ("null", "any") or (kind == "values" and None in values_of(own)):
            return False
    return True


def _outcome(tool: Tool, result: ToolResult) -> object:
    if result.is_error:
        raise ToolFailed(f"tool {tool.name!r} failed: {tool.reason(result)}", server=tool.server or None, result=result)
    return result.structured if result.structured is not None else str(result)


def _dressed(function: F, tool: Tool, signature: inspect.Signature) -> F:
    name = tool.name.replace("-", "_")
    function.__name__ = function.__qualname__ = name if name.isidentifier() and not keyword.iskeyword(name) else "tool"
    function.__doc__ = _docstring(tool)
    function.__dict__["__signature__"] = signature
    function.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()} | {"return": _ANYTHING}
    return function


def _docstring(tool: Tool) -> str:
    lines = [tool.description or tool.title or tool.name, ""]
    for name, schema in tool.properties.items():
        text = str(resolved(schema, tool.input_schema).get("description") or "")
        lines.append(f":param {name}: {' '.join(text.split())}".rstrip())
    return "\n".join(lines).strip()
