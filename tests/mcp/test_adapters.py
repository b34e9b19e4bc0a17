"""Tools in the forms of other libraries: what they look like there, and that calls arrive."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import inspect
import json
import sys
import threading
from types import SimpleNamespace
from typing import Any, Literal

import pytest

pytest.importorskip("mcp")

from aionest.mcp import ArgumentsError, Tool, ToolResult
from aionest.mcp.adapters.anthropic import anthropic_block, call_anthropic, call_anthropic_async, to_anthropic
from aionest.mcp.adapters.openai import call_openai, call_openai_async, openai_message, to_openai
from aionest.mcp.adapters.python import to_async_function, to_function
from aionest.mcp.catalog import ToolsBundle
from aionest.mcp.errors import ServerUnavailable, ToolFailed, ToolNotFound

IMAGE = {"type": "image", "data": base64.b64encode(b"png").decode(), "mimeType": "image/png"}
LINK = {"type": "resource_link", "uri": "demo://1", "name": "one"}
MIXED = [
    {"type": "text", "text": "look"},
    IMAGE,
    {"type": "resource", "resource": {"uri": "demo://2", "text": "embedded", "mimeType": "text/plain"}},
    {"type": "resource", "resource": {"uri": "demo://3", "blob": IMAGE["data"], "mimeType": "image/png"}},
    LINK,
    {"type": "audio", "data": "AA==", "mimeType": "audio/wav"},
    {"type": "image", "data": "PHN2Zy8+", "mimeType": "image/svg+xml"},
]
SVG, REST = "[image image/svg+xml]", "[resource_link demo://1]\n[audio audio/wav]"
SCHEMA = {
    "type": "object",
    "properties": {
        "unit": {"$ref": "#/$defs/Unit", "default": "celsius"},
        "city": {"type": "string", "description": "Where"},
        "days": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "config": {"type": "string"},
        "from": {"type": "string"},
    },
    "required": ["city", "days"],
    "$defs": {"Unit": {"enum": ["celsius", "fahrenheit"]}},
    "additionalProperties": False,
}


class Memory:
    """Echoes its arguments, or does what the city says."""

    def call(self, tool, arguments=None, timeout=None, progress=None):
        tool.validate(arguments)
        self.last, self.timeout = arguments, timeout
        city = arguments.get("city")
        if city == "down":
            raise ServerUnavailable("server 'weather' is down", server="weather")
        if city == "fail":
            return ToolResult([{"type": "text", "text": "no such city"}], is_error=True)
        if city == "all":
            return ToolResult(MIXED)
        if city == "image":
            return ToolResult([{"type": "text", "text": "look"}, IMAGE])
        return ToolResult([{"type": "text", "text": json.dumps(arguments)}], structured=dict(arguments), tool=tool.name)

    async def call_async(self, tool, arguments=None, timeout=None, progress=None):
        await asyncio.sleep(0)
        return self.call(tool, arguments, timeout, progress)


@pytest.fixture
def tool():
    return Tool(
        "weather__forecast", "weather", "forecast", description="The forecast", input_schema=SCHEMA,
        annotations={"readOnlyHint": True}, caller=Memory(),
    )  # fmt: skip


ARGUMENTS = {"city": "Oslo", "days": 2}


# -- LangChain


@pytest.fixture
def langchain(tool):
    pytest.importorskip("langchain_core")
    from aionest.mcp.adapters.langchain import to_langchain

    return to_langchain(tool)


def test_langchain_both_forms(langchain, tool):
    from langchain_core.tools import StructuredTool

    assert isinstance(langchain, StructuredTool) and langchain.func and langchain.coroutine
    assert langchain.name == "weather__forecast" and langchain.args_schema["required"] == ["city", "days"]
    assert json.loads(langchain.invoke(ARGUMENTS)) == ARGUMENTS
    assert json.loads(asyncio.run(langchain.ainvoke(ARGUMENTS))) == ARGUMENTS
    found = []
    thread = threading.Thread(target=lambda: found.append(langchain.invoke(ARGUMENTS)))
    thread.start()
    thread.join()
    assert json.loads(found[0]) == ARGUMENTS


def test_langchain_messages_have_the_artifact(langchain):
    call = {"type": "tool_call", "id": "1", "name": langchain.name, "args": ARGUMENTS}
    for message in (langchain.invoke(call), asyncio.run(langchain.ainvoke(call))):
        assert message.tool_call_id == "1" and message.artifact["structuredContent"] == ARGUMENTS
    message = langchain.invoke({**call, "args": {"city": "image", "days": 1}})
    assert message.content[0]["text"] == "look" and message.content[1]["base64"] == IMAGE["data"]


def test_langchain_leaves_arguments_alone(langchain, tool):
    given = {**ARGUMENTS, "config": "mine", "from": "x"}
    assert json.loads(langchain.invoke(given)) == given
    assert json.loads(asyncio.run(langchain.ainvoke(given))) == given
    odd = {"type": "object", "properties": {name: {} for name in ("run_manager", "self", "callbacks", "args")}}
    from aionest.mcp.adapters.langchain import to_langchain

    other = to_langchain(Tool("odd", input_schema=odd, caller=Memory()))
    given = dict.fromkeys(odd["properties"], "mine")
    assert json.loads(other.invoke(given)) == given
    assert json.loads(asyncio.run(other.ainvoke(given))) == given


def test_langchain_has_all_of_a_result(langchain, tool):
    def brief(content):
        return [block.get("text") or block["mime_type"] for block in content]

    found = langchain.invoke({"city": "all", "days": 1})
    assert brief(found) == ["look", "image/png", "embedded", "image/png", *REST.split("\n"), "image/svg+xml"]
    assert found[3] == {"type": "image", "base64": IMAGE["data"], "mime_type": "image/png"}
    from aionest.mcp.adapters.langchain import _content

    assert _content(ToolResult([MIXED[0], LINK, LINK])) == "look\n[resource_link demo://1]\n[resource_link demo://1]"
    assert brief(_content(ToolResult([IMAGE], structured={"a": 1}))) == ['{"a": 1}', "image/png"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"city": "fail", "days": 1}, "no such city"),
        ({"city": "down", "days": 1}, "is down"),
        ({"city": 1}, "expected string"),
    ],
)
def test_langchain_errors(tool, langchain, arguments, said):
    from langchain_core.tools import ToolException

    from aionest.mcp.adapters.langchain import to_langchain

    assert said in langchain.invoke(arguments)
    assert said in asyncio.run(langchain.ainvoke(arguments))
    message = langchain.invoke({"type": "tool_call", "id": "1", "name": langchain.name, "args": arguments})
    assert message.status == "error"
    expected = ToolException if "fail" in arguments.values() else (ServerUnavailable, ArgumentsError)
    with pytest.raises(expected, match=said):
        to_langchain(tool, handle_tool_error=False).invoke(arguments)


def test_langchain_bundle(tool, langchain):
    assert [each.name for each in ToolsBundle("weather", {tool.name: tool}).to_langchain()] == [tool.name]


@pytest.mark.parametrize(("module", "name"), [("langchain_core", "langchain"), ("strands", "strands")])
def test_a_missing_library_is_named(module, name, monkeypatch):
    for one in [module, *(found for found in sys.modules if found.startswith(f"{module}."))]:
        monkeypatch.setitem(sys.modules, one, None)
    spec = importlib.util.find_spec(f"aionest.mcp.adapters.{name}")
    adapter = importlib.util.module_from_spec(spec)  # as it is imported where nobody has done so
    with pytest.raises(ImportError, match="pip install"):
        spec.loader.exec_module(adapter)
        getattr(adapter, f"to_{name}")(Tool("a"))


# -- Strands


def test_strands(tool):
    pytest.importorskip("strands")
    from strands.types.tools import AgentTool

    from aionest.mcp.adapters.strands import to_strands

    found = to_strands(tool)
    assert isinstance(found, AgentTool) and found.tool_name == tool.name
    assert found.tool_spec["inputSchema"]["json"]["required"] == ["city", "days"]

    async def last(arguments):
        events = [event async for event in found.stream({"toolUseId": "7", "name": tool.name, "input": arguments}, {})]
        return events[-1].tool_result

    good = asyncio.run(last(ARGUMENTS))
    assert (
        good["status"] == "success" and good["toolUseId"] == "7" and json.loads(good["content"][0]["text"]) == ARGUMENTS
    )
    image = asyncio.run(last({"city": "image", "days": 1}))
    assert image["content"][1]["image"] == {"format": "png", "source": {"bytes": b"png"}}
    every = asyncio.run(last({"city": "all", "days": 1}))["content"]
    assert every[0] == {"text": f"look\nembedded\n{REST}\n{SVG}"} and [*map(len, every)] == [1, 1, 1]
    for arguments in ({"city": "fail", "days": 1}, {"city": "down", "days": 1}, {}):
        assert asyncio.run(last(arguments))["status"] == "error"


def test_a_strands_agent_calls_it(tool):
    strands = pytest.importorskip("strands")
    from strands.models.model import Model

    from aionest.mcp.adapters.strands import to_strands

    class Scripted(Model):
        turns = 0

        def update_config(self, **config):
            pass

        def get_config(self):
            return {}

        def structured_output(self, *args, **kwargs):
            raise NotImplementedError

        async def stream(self, messages, tool_specs=None, system_prompt=None, **kwargs):
            self.turns += 1
            yield {"messageStart": {"role": "assistant"}}
            if self.turns == 1:
                use = {"toolUse": {"toolUseId": "1", "name": tool_specs[0]["name"]}}
                yield {"contentBlockStart": {"start": use}}
                yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps(ARGUMENTS)}}}}
            else:
                yield {"contentBlockStart": {"start": {}}}
                yield {"contentBlockDelta": {"delta": {"text": "done"}}}
            yield {"contentBlockStop": {}}
            yield {"messageStop": {"stopReason": "tool_use" if self.turns == 1 else "end_turn"}}

    agent = strands.Agent(model=Scripted(), tools=[to_strands(tool)], callback_handler=None)
    assert "done" in str(agent("what is the weather?"))
    assert tool.caller.last == ARGUMENTS


# -- OpenAI and Anthropic


def test_openai(tool):
    described = to_openai(tool)
    assert described["function"]["name"] == tool.name and described["function"]["parameters"]["required"] == [
        "city",
        "days",
    ]
    assert to_openai(tool, responses=True)["name"] == tool.name
    assert to_openai(Tool("a", input_schema={}))["function"]["parameters"] == {"type": "object", "properties": {}}
    call = {"id": "1", "type": "function", "function": {"name": tool.name, "arguments": json.dumps(ARGUMENTS)}}
    as_object = SimpleNamespace(id="1", function=SimpleNamespace(**call["function"]))
    item = {"type": "function_call", "call_id": "2", "name": tool.name, "arguments": json.dumps(ARGUMENTS)}
    for tools in ({tool.name: tool}, [tool], ToolsBundle("weather", {tool.name: tool})):
        for one in (call, as_object, item):
            assert call_openai(tools, one, timeout=5).structured == ARGUMENTS
            assert tool.caller.timeout == 5
    result = asyncio.run(call_openai_async([tool], call))
    assert openai_message(call, result) == {"role": "tool", "tool_call_id": "1", "content": result.text}
    assert openai_message(item, result)["call_id"] == "2"
    whole = f"look\n[image image/png]\nembedded\n[resource demo://3 image/png]\n{REST}\n{SVG}"
    assert openai_message(call, ToolResult(MIXED))["content"] == whole
    assert openai_message(item, ToolResult(MIXED))["output"] == whole


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("no", "{}", ToolNotFound),
        (None, "{", ArgumentsError),
        (None, "[]", ArgumentsError),
        (None, '{"city": 1}', ArgumentsError),
    ],
)
def test_openai_calls_that_are_wrong(tool, name, arguments, error):
    with pytest.raises(error):
        call_openai([tool], {"id": "1", "function": {"name": name or tool.name, "arguments": arguments}})


def test_anthropic(tool):
    assert to_anthropic(tool)["input_schema"]["required"] == ["city", "days"]
    use = {"type": "tool_use", "id": "1", "name": tool.name, "input": {"city": "image", "days": 1}}
    block = anthropic_block(use, call_anthropic([tool], use))
    assert block["tool_use_id"] == "1" and not block["is_error"]
    assert [part["type"] for part in block["content"]] == ["text", "image"]
    every = anthropic_block(use, ToolResult(MIXED))["content"]
    assert every[0]["text"] == f"look\nembedded\n{REST}\n{SVG}"
    assert [part["type"] for part in every[1:]] == ["image", "image"]
    failed = {**use, "input": {"city": "fail", "days": 1}}
    assert anthropic_block(failed, asyncio.run(call_anthropic_async([tool], SimpleNamespace(**failed))))["is_error"]
    with pytest.raises(ToolNotFound):
        call_anthropic([tool], {**use, "name": "no"})
    with pytest.raises(ArgumentsError):
        call_anthropic([tool], {**use, "input": None})


# -- plain functions


def test_the_signature(tool):
    function = to_function(tool)
    signature = inspect.signature(function)
    assert [*signature.parameters] == ["city", "days", "unit", "tags", "note", "config", "arguments"]
    assert signature.parameters["city"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert signature.parameters["unit"].kind is inspect.Parameter.KEYWORD_ONLY
    assert signature.parameters["unit"].default == "celsius"
    assert function.__annotations__ == {
        "city": str,
        "days": int,
        "unit": Literal["celsius", "fahrenheit"],
        "tags": list[str] | None,
        "note": str | None,
        "config": str | None,
        "arguments": Any,
        "return": Any,
    }
    assert function.__name__ == "weather__forecast"
    assert function.__doc__.startswith("The forecast") and ":param city: Where" in function.__doc__


def test_functions_call(tool):
    function = to_function(tool)
    assert function("Oslo", 2) == ARGUMENTS == function(days=2, city="Oslo")
    assert function("Oslo", 2, tags=None, note=None) == {**ARGUMENTS, "note": None}  # null is for note alone
    assert function("Oslo", 2, **{"from": "x"}) == {**ARGUMENTS, "from": "x"}
    assert asyncio.run(to_async_function(tool)("Oslo", 2)) == ARGUMENTS
    assert inspect.iscoroutinefunction(to_async_function(tool))
    assert function("image", 1) == "look\n[image image/png]"
    with pytest.raises(TypeError):
        function("Oslo")
    with pytest.raises(TypeError):
        function("Oslo", 2, "celsius")
    with pytest.raises(ArgumentsError):
        function("Oslo", "2")
    with pytest.raises(ToolFailed, match="no such city") as caught:
        function("fail", 1)
    assert caught.value.result.is_error


def test_odd_names():
    schema = {"properties": {"class": {}, "arguments": {}, "b-c": {}}, "required": ["class", "arguments"]}
    function = to_function(Tool("3-d", input_schema=schema, caller=Memory()))
    assert function.__name__ == "tool"
    assert function(arguments=1, **{"class": 2, "b-c": 3}) == {"arguments": 1, "class": 2, "b-c": 3}
    assert to_function(Tool("a", caller=Memory()))(x=1) == {"x": 1}
