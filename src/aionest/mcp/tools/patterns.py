"""Patterns of schemas, which servers write: looked for in linear time.

Python's own engine may take hours for a few letters, holds the interpreter meanwhile, and cannot be stopped. Here pydantic's does
the work. It does not know lookarounds and references back: what has these is the server's to check, as it does in any case.

Contract: pure functions. Raises ``re.error`` for what is no pattern in either engine.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import SchemaError, SchemaValidator, core_schema


@functools.lru_cache(maxsize=256)
def _engine(pattern: str) -> SchemaValidator | None:
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError:
        re.compile(pattern)  # is it one at all?
        return None


def is_in(pattern: str, text: str, unknown: bool) -> bool:
    """Is it found in a text?

    :param unknown: the answer where that cannot be told in bounded time.
    """
    engine = _engine(pattern)
    if engine is None:
        return unknown
    try:
        return engine.isinstance_python(text)
    except ValueError:  # no Unicode
        return unknown


def _pattern(validator: Any, pattern: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if validator.is_type(instance, "string") and not is_in(pattern, instance, True):
        yield ValidationError(f"{instance[:200]!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if validator.is_type(instance, "object"):
        for pattern, inner in patterns.items():
            for name, value in instance.items():
                if is_in(pattern, name, False):
                    yield from validator.descend(value, inner, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if not validator.is_type(instance, "object"):
        return
    properties, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    more = [name for name in instance if name not in properties and not any(is_in(one, name, True) for one in patterns)]
    if validator.is_type(allowed, "object"):
        for name in more:
            yield from validator.descend(instance[name], allowed, path=name)
    elif not allowed and more:
        names = ", ".join(map(repr, more))
        yield ValidationError(
            f"Additional properties are not allowed ({names} {'was' if len(more) == 1 else 'were'} unexpected)"
        )


def _has(schema: Any, word: str) -> bool:
    if isinstance(schema, dict):
        return word in schema or any(_has(one, word) for one in schema.values())
    return isinstance(schema, list) and any(_has(one, word) for one in schema)


def safe(draft: Any, schema: Any) -> Any:
    """A draft's validator that looks for patterns as this module does."""
    import jsonschema

    changed: dict[str, Any] = {"pattern": _pattern}
    if _has(schema, "patternProperties"):
        changed |= {"patternProperties": _pattern_properties, "additionalProperties": _additional_properties}
        if "unevaluatedProperties" in draft.VALIDATORS:  # it looks for them itself
            changed["unevaluatedProperties"] = lambda *_: ()
    extend: Any = jsonschema.validators.extend
    return extend(draft, changed)


def has_patterns(schema: Any) -> bool:
    """Does it have any?"""
    return _has(schema, "pattern") or _has(schema, "patternProperties")


__all__ = ["has_patterns", "is_in", "safe"]
