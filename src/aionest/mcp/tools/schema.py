"""JSON schemas of tools: what validates arguments, and what a schema says of a value.

Contract: pure functions. No code of a schema is run and nothing is fetched, wherever its references lead; those that lead
nowhere or in circles say nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .patterns import bounded

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

DEPTH = 32  # references that are followed before a schema counts as circular


def validator_of(schema: dict[str, object]) -> Validator:
    """A validator: of the draft that the schema names, else of the newest by whose rules it is a schema."""
    import jsonschema
    from jsonschema_specifications import REGISTRY  # without it, references to other documents would be fetched

    newest = jsonschema.Draft202012Validator
    if "$schema" in schema:
        drafts: list[type[Validator]] = [jsonschema.validators.validator_for(schema, default=newest)]
    else:
        drafts = [newest, jsonschema.Draft7Validator, jsonschema.Draft4Validator]
    first: Exception | None = None
    for draft in drafts:
        try:
            draft.check_schema(schema)
        except jsonschema.SchemaError as exc:
            first = first or exc
            continue
        return bounded(draft(schema, registry=REGISTRY), schema, REGISTRY)
    assert first is not None
    raise first


_SAYS_NOTHING = {"$schema", "title", "description", "default", "examples"}
_EXACTLY = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),)}


def quick_check(schema: dict[str, object]) -> Callable[[dict[str, object]], bool] | None:
    """For a schema of plain types and nothing else, a quick test that arguments fit; else None.

    What fails it is left to the validator, which is thirty times as slow and has the last word.
    """
    known = _SAYS_NOTHING | {"type", "properties", "required", "additionalProperties"}
    if (
        schema.get("type") != "object"
        or schema.keys() - known
        or schema.get("additionalProperties", True) not in (True, False)
    ):
        return None
    types: dict[str, tuple[type, ...]] = {}
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        return None
    for name, one in properties.items():
        kind = one.get("type") if isinstance(one, dict) else None
        if not isinstance(kind, str) or kind not in _EXACTLY or one.keys() - _SAYS_NOTHING - {"type"}:
            return None
        types[name] = _EXACTLY[kind]
    required = schema.get("required", [])
    if not isinstance(required, list):
        return None

    def fits(given: dict[str, object]) -> bool:
        for name, value in given.items():
            if type(value) not in types.get(name, ()):
                return False
        for name in required:
            if name not in given:
                return False
        return True

    return fits


def resolved(schema: object, root: dict[str, object]) -> dict[str, object]:
    """The schema that a chain of references within the document ends at. An empty one if it leads nowhere."""
    for _ in range(DEPTH):
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        target: object = root if reference.startswith("#") else None
        for step in reference[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            target = target.get(step) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            return beside
        schema = {**target, **beside}
    return {}


def _mark(schema: object) -> object:
    """What tells that a part was looked at before: it has nothing new to say, and could be there in circles."""
    reference = schema.get("$ref") if isinstance(schema, dict) and len(schema) == 1 else None
    return reference if isinstance(reference, str) else id(schema)


def parts(
    schema: object, root: dict[str, object], depth: int = 0, seen: set[object] | None = None
) -> list[dict[str, object]]:
    """A schema and all that it is made of by allOf, anyOf and oneOf, each once."""
    own = resolved(schema, root)
    found = [own]
    seen = {_mark(schema)} if seen is None else seen
    for key in ("allOf", "anyOf", "oneOf"):
        inner = own.get(key)
        if isinstance(inner, list) and depth < DEPTH // 4:
            for part in inner:
                if _mark(part) not in seen:
                    seen.add(_mark(part))
                    found += parts(part, root, depth + 1, seen)
    return found


def kinds(
    schema: object, root: dict[str, object], depth: int = 0, seen: set[object] | None = None
) -> list[tuple[str, dict[str, object]]]:
    """What a value may be: (type, or "values" or "any") with the schema that says so."""
    own = resolved(schema, root)
    seen = {_mark(schema)} if seen is None else seen
    found: list[tuple[str, dict[str, object]]] = []
    if isinstance(own.get("enum"), list) or "const" in own:
        found.append(("values", own))
    elif isinstance(named := own.get("type"), str):
        found.append((named, own))
    elif isinstance(named, list):
        found += [(str(kind), own) for kind in named]
    elif depth < DEPTH // 4:
        for key in ("anyOf", "oneOf", "allOf"):
            inner = own.get(key)
            for part in inner if isinstance(inner, list) else ():
                if _mark(part) not in seen:
                    seen.add(_mark(part))
                    found += kinds(part, root, depth + 1, seen)
        concrete = [kind for kind in found if kind[0] != "any"]
        found = concrete or found
    if not found:
        guess = "object" if "properties" in own else "array" if "items" in own else "any"
        found.append((guess, own))
    if own.get("nullable") is True:  # of OpenAPI, and some servers make their schemas from that
        found.append(("null", own))
    return found


def values_of(schema: dict[str, object]) -> list[object]:
    values = schema.get("enum")
    return list(values) if isinstance(values, list) else [schema.get("const")]


def without_nulls(value: object, schema: object, root: dict[str, object]) -> object:
    """A value without the nulls that stand for members which need not be there, as many programs write them.

    Only what the schema lists as a property, and does not require, is taken for such a member.
    """
    if isinstance(value, dict):
        listed = _properties(schema, root)
        return {
            name: without_nulls(one, listed.get(name, (None, False))[0], root)
            for name, one in value.items()
            if one is not None or not listed.get(name, (None, False))[1]
        }
    if isinstance(value, list):
        items = [part["items"] for part in parts(schema, root) if isinstance(part.get("items"), dict)]
        return [without_nulls(one, {"anyOf": items}, root) for one in value] if items else value
    return value


def _properties(schema: object, root: dict[str, object]) -> dict[str, tuple[object, bool]]:
    """The members of an object: what each may be, and whether it need not be there."""
    every = parts(schema, root)
    own = every[0]
    all_of = own.get("allOf")
    joined = [resolved(one, root) for one in all_of] if isinstance(all_of, list) else []
    always = {name for part in (own, *joined) for name in _required(part)}
    found: dict[str, tuple[list[object], bool]] = {}
    for part in every:
        inner, needed = part.get("properties"), _required(part)
        for name, one in inner.items() if isinstance(inner, dict) else ():
            schemas, optional = found.get(name, ([], False))
            found[name] = ([*schemas, one], optional or (name not in always and name not in needed))
    return {
        name: (schemas[0] if len(schemas) == 1 else {"anyOf": schemas}, optional)
        for name, (schemas, optional) in found.items()
    }


def _required(schema: dict[str, object]) -> set[str]:
    names = schema.get("required")
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
