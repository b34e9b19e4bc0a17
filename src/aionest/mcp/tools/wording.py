"""What a schema asks for and what a value is, in a few plain words.

Contract: pure functions.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..._near import either
from .patterns import is_in
from .schema import kinds, resolved, values_of

if TYPE_CHECKING:
    from jsonschema import ValidationError

_SHOWN = 120  # characters of a value that an error quotes
LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "of at least {} characters",
    "maxLength": "of at most {} characters",
    "minItems": "with at least {} items",
    "maxItems": "with at most {} items",
    "pattern": "that matches {}",
}


def expected(schema: object, root: dict[str, object]) -> str:
    """What a schema asks for, in a few words."""
    words = []
    for kind, own in kinds(schema, root):
        if kind == "values":
            values = values_of(own)
            shown = ", ".join(json.dumps(value, ensure_ascii=False, default=str) for value in values[:20])
            words.append(f"one of {shown}{', ...' if len(values) > 20 else ''}" if len(values) > 1 else shown)
            continue
        word = "any value" if kind == "any" else kind
        if kind == "array":
            inner = resolved(own.get("items"), root).get("type")
            word += f" of {inner}" if isinstance(inner, str) else ""
        if kind != "null":
            limits = [
                text.format(own[key]) for key, text in LIMITS.items() if key in own and not isinstance(own[key], bool)
            ]
            word += f" {', '.join(limits)}" if limits else ""
        words.append(word)
    return " or ".join(dict.fromkeys(words))


def got(value: object) -> str:
    kind = (
        "null" if value is None
        else "boolean" if isinstance(value, bool)
        else "integer" if isinstance(value, int)
        else "number" if isinstance(value, float)
        else "string" if isinstance(value, str)
        else "array" if isinstance(value, list)
        else "object" if isinstance(value, dict)
        else type(value).__name__
    )  # fmt: skip
    return kind if value is None or isinstance(value, (list, dict)) else f"{kind} {short(repr(value))}"


def short(text: str, limit: int = _SHOWN) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def path_of(parts: Iterable[object]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint at the names that there are."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 2)
    return f"did you mean {either(near)}?" if near else f"there are: {', '.join(names) or 'none'}"


def problems_of(error: ValidationError, root: dict[str, object], arguments: Iterable[str]) -> list[str]:
    """An error of jsonschema in plain words, with the path of each part that is wrong.

    :param root: the whole schema.
    :param arguments: the names of all arguments.
    """
    value: object = error.instance
    schema: Mapping[str, object] = error.schema if isinstance(error.schema, dict) else {}
    if value is None and schema.get("nullable") is True and error.validator in ("type", "enum"):
        return []  # OpenAPI's word for it, which JSON schema does not know
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    if error.validator == "required" and isinstance(error.validator_value, list) and isinstance(value, dict):
        missing = [name for name in error.validator_value if name not in value]
        return [
            f"{path_of([*error.absolute_path, name])}: missing; expected {expected(properties.get(name), root)}"
            for name in missing
        ]
    if error.validator in ("additionalProperties", "unevaluatedProperties") and isinstance(value, dict):
        lines = _unknown(error.absolute_path, value, schema, properties, list(properties) or list(arguments))
        if lines and error.validator_value is False:
            return lines
    where = path_of(error.absolute_path) or "(arguments)"
    if error.validator in ("type", "enum", "const", "anyOf", "oneOf") or error.validator in LIMITS:
        return [f"{where}: expected {expected(schema, root)}, got {got(value)}"]
    return [f"{where}: {short(error.message, 300)}"]


def _unknown(
    at: Iterable[object],
    value: Iterable[str],
    schema: Mapping[str, object],
    properties: Mapping[str, object],
    known: list[str],
) -> list[str]:
    """A line for each name that the schema does not have."""
    patterns = schema.get("patternProperties")
    patterns = patterns if isinstance(patterns, dict) else {}
    return [
        f"{path_of([*at, name])}: no such argument; {did_you_mean(name, known)}"
        for name in value
        if name not in properties and not any(is_in(pattern, name, True) for pattern in patterns)
    ]
