"""Results of tools against the schemas that they declare: as the SDK checks them, but for patterns, which the server writes.

The SDK's validators look for a pattern with Python's own engine, which may take hours for a few letters and holds the interpreter
meanwhile. And 1.x makes a validator for each result, which takes longer than the call.

Contract
  * What is wrong is told as ``Unanswerable``, or on 2.x by the SDK itself, in the same words.
  * No reference of a schema is fetched.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .._json import Json, JsonObject
from ..errors import Unanswerable
from ..tools import patterns

if TYPE_CHECKING:
    from jsonschema.protocols import Validator
    from referencing import Registry


@functools.lru_cache(maxsize=1)
def _registry() -> Registry[bool | Mapping[str, object]]:
    """What makes a validator fetch nothing; the SDK's schemas refer to nothing outside of them."""
    from referencing import Registry

    return Registry()


def bounded(validator: Validator, schema: JsonObject) -> Validator:
    """In place of the SDK's validator, one that takes bounded time; that itself where it does so, too."""
    return patterns.bounded(validator, schema, _registry())


def compiled(name: str, schema: JsonObject) -> Validator:
    """A validator for a tool's results. Raises ``Unanswerable`` for what is no schema."""
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    draft = validator_for(schema)
    try:
        draft.check_schema(schema)
    except SchemaError as exc:
        raise Unanswerable(f"Invalid schema for tool {name}: {exc}") from None
    return bounded(draft(schema, registry=_registry()), schema)


def check(validator: Validator, name: str, value: Mapping[str, Json]) -> None:
    """Raise ``Unanswerable`` if a tool's structured content is not what its schema says."""
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    try:
        error = best_match(validator.iter_errors(value))
    except (Unresolvable, RecursionError) as exc:
        raise Unanswerable(f"Invalid schema for tool {name}: {exc}") from exc
    if error is not None:
        raise Unanswerable(f"Invalid structured content returned by tool {name}: {error}") from error


__all__ = ["bounded", "check", "compiled"]
