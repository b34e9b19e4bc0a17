"""A trip wire: what this package uses of the MCP SDK is there, with the parameters it is called with, on each line of it."""

from __future__ import annotations

import inspect

import pytest

pytest.importorskip("mcp")

from aionest.mcp import _compat

SESSION = {
    "initialize": set(),
    "call_tool": {"name", "arguments", "progress_callback"},
    "list_tools": {"params"},
    "list_resources": {"params"},
    "list_resource_templates": {"params"},
    "list_prompts": {"params"},
    "get_prompt": {"name", "arguments"},
    "read_resource": {"uri"},
    "send_ping": set(),
}


@pytest.mark.parametrize("method", SESSION)
def test_a_session_method_takes_what_it_is_given(method):
    parameters = inspect.signature(getattr(_compat.ClientSession, method)).parameters
    assert SESSION[method] <= set(parameters)


def test_a_session_takes_the_callbacks():
    names = {"sampling_callback", "elicitation_callback", "list_roots_callback", "logging_callback", "message_handler"}
    assert names <= set(inspect.signature(_compat.ClientSession.__init__).parameters)


def test_transports_take_what_they_are_given():
    assert {"headers", "timeout", "auth"} <= set(inspect.signature(_compat.sse_client).parameters)
    assert "http_client" in inspect.signature(_compat.streamable_http_client).parameters
    assert {"headers", "auth"} <= set(inspect.signature(_compat.create_mcp_http_client).parameters)


@pytest.mark.parametrize(
    "name", ["CreateMessageResult", "ElicitResult", "ListRootsResult", "Root", "PaginatedRequestParams", "TextContent"]
)
def test_a_type_is_there(name):
    assert inspect.isclass(getattr(_compat.types, name))


def test_a_line_is_parsed_and_written():
    message = _compat.parse(b'{"jsonrpc":"2.0","method":"notifications/message","params":{"a":1}}')
    assert _compat.notification(message.message) == "notifications/message"
    assert b'"params":{"a":1}' in _compat.encode(message)
    with pytest.raises(ValueError):
        _compat.parse(b"junk")


def test_a_list_of_tools_can_be_read_as_it_is():
    names = ["_dispatcher", "_stamp", "_absorb_tool_listing"] if _compat.V2 else ["_tool_output_schemas"]
    source = inspect.getsource(_compat.ClientSession)
    assert all(f"self.{name}" in source for name in names)
