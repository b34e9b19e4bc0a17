"""Texts of a command line or a form as the values that a schema wants.

Contract: pure functions. A text becomes the narrowest thing that it may be, and text only at last.
"""

from __future__ import annotations

import difflib
import json
import math
import re

from .schema import kinds, values_of
from .wording import expected, short

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_ORDER = ("values", "null", "boolean", "integer", "number", "array", "object", "any", "string")
_MISS = object()


def _not_json(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _json(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return _MISS


def typed(text: str, schema: object, root: dict[str, object]) -> object:
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
        order.sort(key=lambda one: one[0] == "boolean")
    for kind, own in order:
        value = _as(kind, text, own, names, root)
        if value is not _MISS:
            return value
    as_json = " as JSON" if "object" in names else ""
    raise ValueError(f"expected {expected(schema, root)}{as_json}, got {short(repr(text))}{_note(text, allowed)}")


def _note(text: str, allowed: list[tuple[str, dict[str, object]]]) -> str:
    """What may help whoever wrote this text."""
    note = ""
    if text.lstrip()[:1] in ("[", "{") and _json(text) is _MISS and {kind for kind, _ in allowed} & {"array", "object"}:
        note = " (not valid JSON)"
    words = [str(value) for kind, own in allowed if kind == "values" for value in values_of(own)]
    near = difflib.get_close_matches(text, words, 1)
    return f"{note}; did you mean {near[0]}?" if near else note


def _as(kind: str, text: str, schema: dict[str, object], names: set[str], root: dict[str, object]) -> object:
    """The text as a value of that type, or ``_MISS``."""
    bare = text.strip()
    if kind == "values":
        return _as_one_of(text, values_of(schema))
    if kind == "null":
        empty = not bare and "string" not in names and "values" not in names
        return None if bare in ("null", "None") or empty else _MISS
    if kind == "boolean":
        return bare.lower() in _YES if bare.lower() in _YES + _NO else _MISS
    if kind in ("integer", "number"):
        return _as_number(bare, kind)
    if kind == "array":
        return _as_array(text, schema.get("items"), names, root)
    if kind == "object":
        value = _json(text)
        return value if isinstance(value, dict) else _MISS
    if kind == "any":
        value = _json(text)
        return text if value is _MISS else value
    return text if kind == "string" else _MISS


def _as_one_of(text: str, values: list[object]) -> object:
    parsed = _json(text)
    for value in values:
        if isinstance(value, str):
            same = value == text
        else:
            same = parsed is not _MISS and json.dumps(value) == json.dumps(parsed)
        if same or (isinstance(value, bool) and text.strip().lower() in (_YES if value else _NO)[:3]):
            return value
    return _MISS


def _as_number(bare: str, kind: str) -> object:
    try:
        if _INTEGER.fullmatch(bare):
            return int(bare)
        if not _NUMBER.fullmatch(bare) or not math.isfinite(float(bare)):
            return _MISS
        value = float(bare)
        if kind == "number":
            return value
        return int(value) if value.is_integer() else _MISS
    except ValueError:  # more digits than Python takes
        return _MISS


def _as_array(text: str, items: object, names: set[str], root: dict[str, object]) -> object:
    value, bare = _json(text), text.strip()
    if isinstance(value, list):
        return value
    if bare[:1] in ("[", "{") or "string" in names or {k for k, _ in kinds(items, root)} & {"array", "object"}:
        return _MISS
    return [typed(part.strip(), items, root) for part in text.split(",")] if bare else []
