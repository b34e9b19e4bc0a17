"""Texts of a command line or a form as the values that a schema wants.

Contract: pure functions. A text becomes the narrowest thing that it may be, and text only at last.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from typing import Any

from .schema import kinds, values_of
from .wording import expected, short

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_ORDER = ("values", "null", "boolean", "integer", "number", "array", "object", "any", "string")
_MISS: Any = object()


def _not_json(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return _MISS


def typed(text: str, schema: Any, root: dict[str, Any]) -> Any:
    """The value that a text stands for. :raises ValueError: none that the schema allows."""
    allowed = kinds(schema, root)
    names = {kind for kind, _ in allowed}
    if names == {"string"}:
        return text
    if "string" in names and text[:1] == text[-1:] == '"' and isinstance(_json(text), str):
        return _json(text)  # the way to say that 5 is meant as text
    # digits are numbers rather than booleans where both would do
    order = sorted(allowed, key=lambda one: _ORDER.index(one[0]) if one[0] in _ORDER else len(_ORDER))
    if names & {"integer", "number"} and _NUMBER.fullmatch(text.strip()):
        order = [one for one in order if one[0] != "boolean"] + [one for one in order if one[0] == "boolean"]
    for kind, own in order:
        value = _as(kind, text, own, names, root)
        if value is not _MISS:
            return value
    note = ""
    if names & {"array", "object"} and text.lstrip()[:1] in ("[", "{") and _json(text) is _MISS:
        note = " (not valid JSON)"
    words = [str(value) for kind, own in allowed if kind == "values" for value in values_of(own)]
    near = difflib.get_close_matches(text, words, 1)
    note += f"; did you mean {near[0]}?" if near else ""
    raise ValueError(
        f"expected {expected(schema, root)}{' as JSON' if 'object' in names else ''}, got {short(repr(text))}{note}"
    )


def _as(kind: str, text: str, schema: dict[str, Any], names: set[str], root: dict[str, Any]) -> Any:
    """The text as a value of that type, or ``_MISS``."""
    bare = text.strip()
    if kind == "values":
        parsed = _json(text)
        for value in values_of(schema):
            if (
                value == text
                if isinstance(value, str)
                else (parsed is not _MISS and json.dumps(value) == json.dumps(parsed))
            ):
                return value
            if isinstance(value, bool) and bare.lower() in (_YES if value else _NO)[:3]:
                return value
    elif kind == "null":
        if bare in ("null", "None") or (not bare and "string" not in names and "values" not in names):
            return None
    elif kind == "boolean":
        if bare.lower() in _YES + _NO:
            return bare.lower() in _YES
    elif kind in ("integer", "number"):
        try:
            if _INTEGER.fullmatch(bare):
                return int(bare)
            if _NUMBER.fullmatch(bare) and math.isfinite(float(bare)):
                value = float(bare)
                if kind == "number":
                    return value
                return int(value) if value.is_integer() else _MISS
        except ValueError:  # more digits than Python takes
            return _MISS
    elif kind == "array":
        value = _json(text)
        if isinstance(value, list):
            return value
        items = schema.get("items")
        if bare[:1] in ("[", "{") or "string" in names or {k for k, _ in kinds(items, root)} & {"array", "object"}:
            return _MISS
        return [typed(part.strip(), items, root) for part in text.split(",")] if bare else []
    elif kind == "object":
        value = _json(text)
        if isinstance(value, dict):
            return value
    elif kind == "any":
        value = _json(text)
        return text if value is _MISS else value
    elif kind == "string":
        return text
    return _MISS
