"""Schemas that are made to take for ever: what is said of them, and the check of arguments and results, take bounded time."""

from __future__ import annotations

import pytest

pytest.importorskip("mcp")

from aionest.mcp.errors import Unanswerable
from aionest.mcp.sdk.outputs import check, compiled
from aionest.mcp.tools import schema as schemas
from aionest.mcp.tools.patterns import MOST

MANY = 12
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def referring(word, number=MANY):
    """A definition that is made of itself, many times."""
    return {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/x"}, "b": {"type": "string"}},
        "required": ["b"],
        "$defs": {"x": {word: [{"$ref": "#/$defs/x"}] * number}},
    }


def doubling(levels):
    """Definitions that each name the next one twice."""
    steps = {f"x{i}": {"allOf": [{"$ref": f"#/$defs/x{i + 1}"}] * 2} for i in range(levels)}
    return {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/x0"}},
        "$defs": {**steps, f"x{levels}": {"type": "string"}},
    }


@pytest.mark.parametrize("word", ["anyOf", "oneOf", "allOf"])
def test_what_is_made_of_itself_is_looked_at_once(word):
    circle = referring(word)
    assert len(schemas.parts(circle["properties"]["a"], circle)) <= 2
    assert {kind for kind, _ in schemas.kinds(circle["properties"]["a"], circle)} == {"any"}
    assert schemas.without_nulls({"a": {"c": None}, "b": None}, circle, circle) == {"a": {"c": None}, "b": None}
    own = {"type": "object", word: [{"$ref": "#"}] * MANY, "properties": {"a": {"type": "string"}}}
    assert schemas.without_nulls({"a": None}, own, own) == {}


def test_members_without_number():
    names = [f"p{i}" for i in range(20_000)]
    wide = {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": names[1:]}
    assert schemas.without_nulls(dict.fromkeys(names[:2]), wide, wide) == {"p1": None}


@pytest.mark.parametrize("levels", [3, 40])
def test_definitions_that_double(levels):
    validator = schemas.validator_of(doubling(levels))
    assert 0 < len(list(validator.iter_errors({"a": 5}))) < MOST and validator.is_valid({"a": "text"})
    # and the next value is checked as ever
    assert list(schemas.validator_of(doubling(3)).iter_errors({"a": 5}))
    validator = compiled("one", doubling(levels))
    check(validator, "one", {"a": "text"})
    if levels == 3:
        with pytest.raises(Unanswerable):
            check(validator, "one", {"a": 5})


def test_references_in_circles_are_told():
    with pytest.raises(Unanswerable, match="Invalid schema"):
        check(compiled("one", referring("anyOf")), "one", {"a": 5, "b": ""})


def test_references_within_references_end_before_the_stack_does():
    tree = {"$defs": {"t": {"properties": {"a": {"$ref": "#/$defs/t"}, "b": {"type": "null"}}}}, "$ref": "#/$defs/t"}
    validator, deep = schemas.validator_of(tree), {}
    for _ in range(150):
        deep = {"a": deep}
    assert validator.is_valid(deep)  # the server's to check
    assert not validator.is_valid({"a": {"b": 1}})
    circle = schemas.validator_of({"$ref": "#"})
    with pytest.raises(RecursionError, match="in circles"):
        circle.is_valid({})
    assert validator.is_valid(deep)


@pytest.mark.parametrize("where", ["properties", "$defs", "items"])
def test_a_part_of_another_draft_is_checked_in_bounded_time_too(where):
    slow = {"$schema": DRAFT_7, "type": "string", "pattern": "^(a+)+$"}
    schema = {
        "properties": {"type": "object", "properties": {"a": slow}},
        "$defs": {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": slow}},
        "items": {"type": "object", "properties": {"a": {"type": "array", "items": slow}}},
    }[where]
    text = "a" * 40 + "!"
    value = {"a": [text] if where == "items" else text}
    assert list(schemas.validator_of(schema).iter_errors(value))
    with pytest.raises(Unanswerable, match="does not match"):
        check(compiled("one", schema), "one", value)
