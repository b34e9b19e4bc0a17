"""Tool and ToolResult: validation, texts from a command line, calls, and results of both lines of the SDK."""

from __future__ import annotations

import asyncio
import base64
import copy
import dataclasses
import json
import urllib.request

import pytest

pytest.importorskip("mcp")

from aionest.mcp import ArgumentsError, Tool, ToolResult, ToolSchemaError
from aionest.mcp.errors import UsageError

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "scale": {"type": "number"},
        "exact": {"type": "boolean"},
        "unit": {"$ref": "#/$defs/Unit"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "ids": {"type": "array", "items": {"type": "integer"}},
        "where": {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "mixed": {"type": ["integer", "string"]},
        "level": {"enum": [1, 2, "max", None]},
        "old": {"type": "integer", "nullable": True},
        "any": {},
    },
    "required": ["city"],
    "$defs": {"Unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
    "additionalProperties": False,
}


class Memory:
    def __init__(self):
        self.calls = []

    def call(self, tool, arguments=None, timeout=None, progress=None):
        self.calls.append((tool.name, dict(arguments), timeout, progress))
        return ToolResult([{"type": "text", "text": json.dumps(arguments)}], tool=tool.name)

    async def call_async(self, tool, arguments=None, timeout=None, progress=None):
        await asyncio.sleep(0)
        return self.call(tool, arguments, timeout, progress)


@pytest.fixture
def tool():
    return Tool("weather__forecast", "weather", "forecast", input_schema=SCHEMA, caller=Memory())


def test_a_tool_is_immutable_and_has_no_dict(tool):
    with pytest.raises(dataclasses.FrozenInstanceError):
        tool.name = "other"
    assert not hasattr(tool, "__dict__")
    assert copy.deepcopy(tool) is tool
    assert dataclasses.replace(tool, name="n").original_name == "forecast"


def test_hints():
    assert Tool("a").destructive and not Tool("a").read_only and not Tool("a").idempotent
    read = Tool("a", annotations={"readOnlyHint": True, "destructiveHint": True})
    assert read.read_only and read.idempotent and not read.destructive
    assert not Tool("a", annotations={"destructiveHint": False}).destructive


def test_calls(tool):
    assert json.loads(tool(city="Oslo").text) == {"city": "Oslo"}
    tool.call(city="Oslo", timeout=3)  # without a mapping all keywords are arguments
    tool.call({"city": "Oslo"}, timeout=3)
    tool.call(None, timeout=4)
    asyncio.run(tool.call_async({"self": 1, "tool": 2}))
    asyncio.run(tool.call_async(city="Rome"))
    tool(self=1, arguments=2)
    assert [(arguments, timeout) for _, arguments, timeout, _ in tool.caller.calls] == [
        ({"city": "Oslo"}, None),
        ({"city": "Oslo", "timeout": 3}, None),
        ({"city": "Oslo"}, 3),
        ({}, 4),
        ({"self": 1, "tool": 2}, None),
        ({"city": "Rome"}, None),
        ({"self": 1, "arguments": 2}, None),
    ]
    with pytest.raises(UsageError, match="only a description"):
        Tool("a")()


def test_arguments_that_fit(tool):
    tool.validate({"city": "Oslo", "days": 3, "unit": "celsius", "where": {"lat": 1.5}, "note": None, "level": "max"})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "city: missing; expected string"),
        ({"city": 5}, "city: expected string, got integer 5"),
        ({"city": "x", "days": 0}, "days: expected integer at least 1, at most 14, got integer 0"),
        ({"city": "x", "unit": "kelvin"}, 'unit: expected one of "celsius", "fahrenheit", got string'),
        ({"city": "x", "tags": ["a", 1]}, "tags[1]: expected string, got integer 1"),
        ({"city": "x", "where": {}}, "where.lat: missing; expected number"),
        ({"city": "x", "limit": "no"}, "limit: expected integer or null, got string 'no'"),
        ({"city": "x", "dayz": 1}, "dayz: no such argument; did you mean days?"),
        ({"city": "x", "exact": []}, "exact: expected boolean, got array"),
    ],
)
def test_arguments_that_do_not_fit(tool, arguments, said):
    with pytest.raises(ArgumentsError) as caught:
        tool.validate(arguments)
    assert any(said in line for line in caught.value.problems), caught.value.problems
    assert tool.name in str(caught.value)


def test_all_problems_are_listed_once(tool):
    with pytest.raises(ArgumentsError) as caught:
        tool.validate({"days": "a", "exact": 3, "odd1": 1, "odd2": 2})
    assert sorted(line.split(":")[0] for line in caught.value.problems) == ["city", "days", "exact", "odd1", "odd2"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}},
        {"type": "object", "properties": {"a": {"$ref": "https://example.invalid/schema.json"}}},
        {"type": "object", "properties": {"a": {"$ref": "file:///etc/hostname"}}},
        {"$ref": "#"},
        {"type": "object", "properties": {"a": {"type": "integer", "pattern": "["}}},
        {"type": "object", "properties": {"a": {"pattern": "("}}},
        {"$schema": ["what"], "type": "object", "properties": {"a": {"type": 7}}},
        {"properties": 5},
        {"required": "a"},
    ],
)
def test_a_wrong_schema_is_said_to_be_wrong_and_nothing_is_fetched(schema, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("fetched")

    monkeypatch.setattr(urllib.request, "urlopen", never)
    tool = Tool("bad", "srv", input_schema=schema)
    with pytest.raises(ToolSchemaError, match="srv"):
        tool.validate({"a": "x"})
    tool.properties, tool.required, repr(tool)
    try:
        tool.coerce({"a": "x"})
    except ArgumentsError:
        pass


def test_a_schema_of_an_old_draft_is_usable():
    tool = Tool("a", input_schema={"properties": {"n": {"type": "number", "minimum": 0, "exclusiveMinimum": True}}})
    tool.validate({"n": 1})
    with pytest.raises(ArgumentsError):
        tool.validate({"n": 0})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("city", "5", "5"),
        ("city", "", ""),
        ("city", '"q"', '"q"'),
        ("days", "5", 5),
        ("days", " -3 ", -3),
        ("days", "5.0", 5),
        ("scale", "1", 1),
        ("scale", "1.5", 1.5),
        ("scale", "1e3", 1000.0),
        ("exact", "true", True),
        ("exact", "No", False),
        ("exact", "0", False),
        ("unit", "celsius", "celsius"),
        ("tags", "a,b", ["a", "b"]),
        ("tags", '["a,b", "c"]', ["a,b", "c"]),
        ("tags", "", []),
        ("ids", "1, 2", [1, 2]),
        ("ids", "[1, 2]", [1, 2]),
        ("where", '{"lat": 1}', {"lat": 1}),
        ("note", "null", None),
        ("note", '"null"', "null"),
        ("note", "", ""),
        ("limit", "7", 7),
        ("limit", "null", None),
        ("limit", "", None),
        ("mixed", "7", 7),
        ("mixed", '"7"', "7"),
        ("mixed", "seven", "seven"),
        ("level", "1", 1),
        ("level", "max", "max"),
        ("level", "null", None),
        ("old", "null", None),
        ("old", "4", 4),
        ("any", '{"a": [1]}', {"a": [1]}),
        ("any", "plain", "plain"),
    ],
)
def test_texts_become_what_the_schema_wants(tool, name, text, value):
    found = tool.coerce({name: text})
    assert found == {name: value} and type(found[name]) is type(value)
    tool.validate({"city": "x", **(found if name not in ("days",) else {})})


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("days", "many", "days: expected integer"),
        ("days", "1.5", "days: expected integer"),
        ("days", "1_000", "days: expected integer"),
        ("days", "9" * 5000, "days: expected integer"),
        ("scale", "nan", "scale: expected number"),
        ("exact", "maybe", "exact: expected boolean"),
        ("unit", "celsus", "did you mean celsius?"),
        ("ids", "1,b", "ids: expected integer"),
        ("ids", "[1", "not valid JSON"),
        ("where", "{lat: 1}", "not valid JSON"),
        ("where", "[1]", "where: expected object"),
        ("cities", "x", "cities: no such argument; did you mean city?"),
        ("zzz", "x", "zzz: no such argument; there are: city, days"),
    ],
)
def test_texts_that_cannot(tool, name, text, said):
    with pytest.raises(ArgumentsError) as caught:
        tool.coerce({name: text})
    assert said in caught.value.problems[0] and len(caught.value.problems[0]) < 400


def test_names_that_are_not_listed():
    assert Tool("a").coerce({"x": "1"}) == {"x": 1}
    others = {"properties": {"y": {}}, "additionalProperties": {"type": "string"}}
    assert Tool("a", input_schema=others).coerce({"x": "1"}) == {"x": "1"}
    assert Tool("a", input_schema={"patternProperties": {"^n_": {"type": "integer"}}}).coerce({"n_a": "1"}) == {
        "n_a": 1
    }
    with pytest.raises(ArgumentsError):
        Tool("a", input_schema={"additionalProperties": False}).coerce({"x": "1"})
    deep = {"allOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": {"properties": {"n": {"type": "integer"}}}}}
    assert Tool("a", input_schema=deep).coerce({"n": "1"}) == {"n": 1}


BLOCKS = [
    {"type": "text", "text": "one"},
    {"type": "image", "data": base64.b64encode(b"png").decode(), "mimeType": "image/png"},
    {"type": "image", "data": "!", "mimeType": "image/png"},
    {"type": "audio", "data": "AA==", "mimeType": "audio/wav"},
    {"type": "resource", "resource": {"uri": "file:///a", "text": "two"}},
    {"type": "resource", "resource": {"uri": "file:///b", "blob": "anBn", "mimeType": "image/jpeg"}},
    {"type": "resource_link", "uri": "file:///c", "name": "c"},
]


def test_a_result_of_the_installed_sdk():
    types = pytest.importorskip("mcp.types")
    raw = {"content": BLOCKS, "structuredContent": {"a": None, "b": [1]}, "isError": True, "_meta": {"k": 1}}
    result = ToolResult.from_sdk(types.CallToolResult.model_validate(raw), server="s", tool="t", duration=0.5)
    assert result.text == "one\ntwo"
    assert result.images == [("image/png", b"png"), ("image/jpeg", b"jpg")]
    assert result.structured == {"a": None, "b": [1]} and result.is_error and result.meta == {"k": 1}
    assert [block["type"] for block in result.content] == [block["type"] for block in BLOCKS]
    assert "annotations" not in result.content[0]
    assert json.loads(json.dumps(result.to_json()))["seconds"] == 0.5


@pytest.mark.parametrize(
    "raw",
    [
        {"content": []},
        {"content": [BLOCKS[0]]},
        {"content": [{"type": "text", "text": ""}, BLOCKS[0]], "isError": False},
        {"content": [{"type": "text", "text": "ü\n"}], "structuredContent": {"a": None, "b": [1]}, "isError": True},
        {"content": [{"type": "text", "text": "x"}], "structuredContent": None},
        {"content": [{"type": "text", "text": "x"}], "_meta": {"k": 1}},
        {"content": [{"type": "text", "text": "x", "_meta": {"k": 1}}]},
        {"content": [{"type": "text", "text": "x", "annotations": {"priority": 0.5}}]},
        {"content": [{"type": "text", "text": "x", "annotations": None}]},
        {"content": [{"type": "text", "text": "x", "more": 1}], "others": [2]},
        {"content": BLOCKS, "isError": False},
    ],
)
def test_the_quick_way_to_a_result_is_the_same(raw):
    from aionest.mcp import sdk

    model = sdk.types.CallToolResult.model_validate(raw)
    assert ToolResult.from_sdk(sdk.dump_result(model)) == ToolResult.from_sdk(model)


def test_results_of_both_lines():
    pydantic = pytest.importorskip("pydantic")

    class V1(pydantic.BaseModel):
        content: list[dict]
        structuredContent: dict | None = None
        isError: bool = False

    class V2(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(alias_generator=pydantic.alias_generators.to_camel, populate_by_name=True)
        content: list[dict]
        structured_content: dict | None = None
        is_error: bool = False

    one = ToolResult.from_sdk(V1(content=[{"type": "text", "text": "x"}], structuredContent={"a": 1}, isError=True))
    two = ToolResult.from_sdk(V2(content=[{"type": "text", "text": "x"}], structured_content={"a": 1}, is_error=True))
    assert one == two and two.is_error and two.structured == {"a": 1}


def test_results_as_text():
    assert str(ToolResult([], structured={"ü": 1})) == '{"ü": 1}'
    assert str(ToolResult([BLOCKS[3], BLOCKS[6]])) == "[audio audio/wav]\n[resource_link file:///c]"
    assert str(ToolResult()) == ""
    lines = ["one", "[image image/png]", "[image image/png]", "[audio audio/wav]", "two"]
    lines += ["[resource file:///b image/jpeg]", "[resource_link file:///c]"]
    assert str(ToolResult(BLOCKS)).splitlines() == lines
    assert str(ToolResult([BLOCKS[6]], structured={"a": 1})) == '{"a": 1}\n[resource_link file:///c]'
    assert str(ToolResult([{"type": "text", "text": ""}], structured=[1])) == "[1]"


OPTIONALS = {
    "type": "object",
    "properties": {
        "must": {"type": "string"},
        "text": {"type": "string"},
        "many": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
        "item": {"anyOf": [{"$ref": "#/$defs/Item"}, {"type": "boolean"}]},
        "kind": {"enum": ["a", "b"]},
    },
    "required": ["must"],
    "additionalProperties": False,
    "$defs": {
        "Item": {
            "type": "object",
            "properties": {"id": {"type": "integer"}, "note": {"type": "string", "minLength": 2}},
            "required": ["id"],
        }
    },
}


@pytest.mark.parametrize(
    "given",
    [
        {"text": None},
        {"kind": None},
        {"text": None, "kind": None, "many": None, "item": None},
        {"many": [{"id": 1, "note": None}]},
        {"item": {"id": 1, "note": None}},
    ],
)
def test_null_for_what_need_not_be_there_goes_to_the_server(given):
    memory = Memory()
    given = {"must": "x", **given}
    one = Tool("t", input_schema=OPTIONALS, caller=memory)
    one.validate(given)
    one.call(given)
    assert memory.calls[0][1] == given


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"must": None}, "must: expected string, got null"),
        ({"must": "x", "txet": None}, "txet: no such argument"),
        ({"must": "x", "many": [None]}, "many[0]: expected object, got null"),
        ({"must": "x", "many": [{"id": None}]}, "many[0].id: expected integer, got null"),
        ({"must": "x", "text": None, "kind": "c"}, "kind: expected one of"),
        ({"must": "x", "item": {"id": 1, "note": "y"}}, "item: expected"),
    ],
)
def test_null_for_what_must_be_there_is_refused(given, said):
    with pytest.raises(ArgumentsError) as found:
        Tool("t", input_schema=OPTIONALS).validate(given)
    assert said in str(found.value) and len(found.value.problems) == 1
