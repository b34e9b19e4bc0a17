"""Patterns of schemas, which servers write: looked for in linear time.

Python's own engine may take hours for a few letters, holds the interpreter meanwhile, and cannot be stopped. Here pydantic's does
the work. It does not know lookarounds and references back: what has these is the server's to check, as it does in any case.

Contract: pure functions. Raises ``re.error`` for what is no pattern in either engine.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from pydantic_core import SchemaError, SchemaValidator, core_schema

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator


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


class _Checking(Protocol):
    """What jsonschema gives to the function of a keyword, as far as it is relied on."""

    def descend(
        self, instance: object, schema: object, path: object = None, schema_path: object = None
    ) -> Iterator[ValidationError]:
        """What is wrong with a part."""
        ...


def _pattern(validator: _Checking, pattern: str, instance: object, schema: object) -> Iterator[ValidationError]:
    from jsonschema import ValidationError

    if isinstance(instance, str) and not is_in(pattern, instance, True):
        yield ValidationError(f"{instance[:200]!r} does not match {pattern!r}")


def _pattern_properties(
    validator: _Checking, patterns: Mapping[str, object], instance: object, schema: object
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, inner in patterns.items():
            for name, value in instance.items():
                if is_in(pattern, name, False):
                    yield from validator.descend(value, inner, path=name, schema_path=pattern)


def _additional_properties(
    validator: _Checking, allowed: object, instance: object, schema: Mapping[str, Mapping[str, object]]
) -> Iterator[ValidationError]:
    from jsonschema import ValidationError

    if not isinstance(instance, dict):
        return
    properties, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    more = [name for name in instance if name not in properties and not any(is_in(one, name, True) for one in patterns)]
    if isinstance(allowed, dict):
        for name in more:
            yield from validator.descend(instance[name], allowed, path=name)
    elif not allowed and more:
        names = ", ".join(map(repr, more))
        yield ValidationError(
            f"Additional properties are not allowed ({names} {'was' if len(more) == 1 else 'were'} unexpected)"
        )


def _has(schema: object, word: str) -> bool:
    if isinstance(schema, dict):
        return word in schema or any(_has(one, word) for one in schema.values())
    return isinstance(schema, list) and any(_has(one, word) for one in schema)


def safe(draft: type[Validator], schema: object) -> type[Validator]:
    """A draft's validator that looks for patterns as this module does."""
    import jsonschema

    changed: dict[str, object] = {"pattern": _pattern}
    if _has(schema, "patternProperties"):
        changed |= {"patternProperties": _pattern_properties, "additionalProperties": _additional_properties}
        if "unevaluatedProperties" in draft.VALIDATORS:  # it looks for them itself
            changed["unevaluatedProperties"] = lambda *_: ()
    made: type[Validator] = jsonschema.validators.extend(draft, changed)  # type: ignore[no-untyped-call]
    return made


def has_patterns(schema: object) -> bool:
    """Does it have any?"""
    return _has(schema, "pattern") or _has(schema, "patternProperties")


__all__ = ["has_patterns", "is_in", "safe"]
