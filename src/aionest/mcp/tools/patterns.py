"""What takes bounded time of schemas, which servers write: patterns are looked for in linear time, references followed so often.

Python's own engine may take hours for a few letters, holds the interpreter meanwhile, and cannot be stopped. Here pydantic's does
the work. It does not know lookarounds and references back: what has these is the server's to check, as it does in any case. So is
what takes more references: forty definitions, each of which names the next one twice, are followed a million million times.

Contract: pure functions. Raises ``re.error`` for what is no pattern in either engine.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from pydantic_core import SchemaError, SchemaValidator, core_schema

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator
    from referencing import Registry


MOST = 10_000  # references that are followed to check one value
NESTED = 50  # of them, one in another: near Python's own limit what the library has in Rust aborts
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


class _Effort(threading.local):
    """Of the value that this thread checks at the moment."""

    at_work = False
    left = 0

    def __init__(self) -> None:
        self.under_way: list[tuple[int, int]] = []  # for each reference, in which schema it is and what is checked


_effort = _Effort()


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


def _counted(follow: Callable[..., Iterator[ValidationError] | None]) -> Callable[..., Iterator[ValidationError]]:
    """A keyword that is a reference, followed as long as there is time. :raises RecursionError: in circles."""

    def reference(validator: object, to: object, value: object, schema: object) -> Iterator[ValidationError]:
        _effort.left -= 1
        here, under_way = (id(schema), id(value)), _effort.under_way
        if _effort.left < 0:
            return
        if len(under_way) >= NESTED:
            if here in under_way:
                raise RecursionError("its references lead in circles")
            return
        under_way.append(here)
        try:
            yield from follow(validator, to, value, schema) or ()
        finally:
            under_way.pop()

    return reference


def _limited(find: Callable[..., Iterator[ValidationError]]) -> Callable[..., Iterator[ValidationError]]:
    """A validator's ``iter_errors``, with its count of references."""

    def iter_errors(*given: object) -> Iterator[ValidationError]:
        if _effort.at_work:  # for a part of a value
            yield from find(*given)
            return
        _effort.at_work, _effort.left = True, MOST
        try:
            yield from find(*given)
        finally:
            _effort.at_work = False

    return iter_errors


def _safe(draft: type[Validator], schema: object) -> type[Validator]:
    """A draft's validator that takes bounded time, as this module says. For a schema ``_of_one_draft``."""
    import jsonschema

    changed: dict[str, object] = {"pattern": _pattern}
    for name in _REFERENCES:
        if name in draft.VALIDATORS:
            changed[name] = _counted(draft.VALIDATORS[name])
    if _has(schema, "patternProperties"):
        changed |= {"patternProperties": _pattern_properties, "additionalProperties": _additional_properties}
        if "unevaluatedProperties" in draft.VALIDATORS:  # it looks for them itself
            changed["unevaluatedProperties"] = lambda *_: ()
    made: type[Validator] = jsonschema.validators.extend(draft, changed)  # type: ignore[no-untyped-call]
    made.iter_errors = _limited(made.iter_errors)  # type: ignore[method-assign]
    return made


def _of_one_draft(schema: dict[str, object]) -> dict[str, object]:
    """The schema without what has a part of it checked by the library's own validator of another draft."""

    def inner(value: object, top: bool) -> object:
        if isinstance(value, dict):
            return {
                key: one if key in ("const", "enum", "default", "examples") else inner(one, False)
                for key, one in value.items()
                if top or key != "$schema" or not isinstance(one, str)
            }
        return [inner(one, False) for one in value] if isinstance(value, list) else value

    found = inner(schema, True)
    assert isinstance(found, dict)
    return found


def bounded(
    validator: Validator, schema: dict[str, object], registry: Registry[bool | Mapping[str, object]]
) -> Validator:
    """In place of a validator for a schema, one that takes bounded time; that itself where it does so, too."""
    if not any(_has(schema, word) for word in ("pattern", "patternProperties", *_REFERENCES)):
        return validator
    return _safe(type(validator), schema)(_of_one_draft(schema), registry=registry)


__all__ = ["bounded", "is_in"]
