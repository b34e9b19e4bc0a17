"""A trip wire: what this package uses of the MCP SDK is there, with the parameters it is called with, on each line of it."""

from __future__ import annotations

import inspect
import logging
import re
from pathlib import Path

import pytest

pytest.importorskip("mcp")

import aionest.mcp
from aionest.mcp import sdk
from aionest.mcp.sdk import line, surface

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
# of our own classes that the sdk package has
OURS = {
    "_usual",
    "_send_line",
    "_asked",
    "_pipe",
    "_http",
    "_on_pipe",
    "_loop",
    "_session",
    "_call_tool",
    "_send_request",
    "_answer",
    "_watch",
    "_ended",
    "_watched",
    "_give_up",
    "_held",
    "_order",
    "_waiting",
    "_validators",
    "_assume_complete",
    "_answered",
    "_table",
    "_others",
    "_unanswered",
}


@pytest.mark.parametrize("name", surface.of_line(), ids=lambda name: name.path)
def test_the_sdk_has_what_is_relied_on(name):
    assert name.is_there(), name.without


def test_what_is_not_there_is_noticed():
    def name(path):
        return surface.Name(0, path, "", "")

    assert name("mcp:ClientSession.call_tool").is_there() and name("mcp.types:Tool").is_there()
    for path in ("mcp:Missing", "mcp.missing:Tool", "mcp:ClientSession.missing", "mcp:Missing.call_tool"):
        assert not name(path).is_there(), path


def test_every_private_name_that_the_code_uses_is_in_the_table():
    known = {name.attribute for name in surface.SURFACE}
    for file in (Path(aionest.mcp.__file__).parent / "sdk").glob("*.py"):
        used = set(re.findall(r"(?:self|session|made|dispatcher)\.(_[a-z]\w*)", file.read_text()))
        assert used <= known | OURS, file.name


def test_doctor_tells_what_is_missing(monkeypatch):
    assert list(surface.report()) == ["SDK"] and line.VERSION in surface.report()["SDK"]
    lost = surface.Name(0, "mcp:ClientSession._gone", "shortcut", "calls are slow")
    monkeypatch.setattr(surface, "SURFACE", (*surface.SURFACE, lost))
    assert surface.report()["lacks mcp:ClientSession._gone"] == "calls are slow"


def test_what_steps_aside_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr(surface, "_told", set())
    with caplog.at_level(logging.INFO, logger="aionest.mcp"):
        for _ in range(3):
            surface.step_aside("shortcut", "no _request_id")
    assert len(caplog.records) == 1 and "no _request_id" in caplog.text


def test_an_instance_that_lacks_something_is_noticed():
    class ClientSession:
        pass

    found = {name.attribute for name in surface.absent("lists", ClientSession())}
    assert found == (
        {"_dispatcher", "_stamp", "_absorb_tool_listing"} if sdk.V2 else {"send_request", "_tool_output_schemas"}
    )


@pytest.mark.parametrize("method", SESSION)
def test_a_session_method_takes_what_it_is_given(method):
    parameters = inspect.signature(getattr(sdk.ClientSession, method)).parameters
    assert SESSION[method] <= set(parameters)


def test_a_session_takes_the_callbacks():
    names = {"sampling_callback", "elicitation_callback", "list_roots_callback", "logging_callback", "message_handler"}
    assert names <= set(inspect.signature(sdk.ClientSession.__init__).parameters)


def test_transports_take_what_they_are_given():
    taken = set(inspect.signature(line.sse_client).parameters)
    assert {"headers", "timeout", "auth", "httpx_client_factory"} <= taken
    assert "http_client" in inspect.signature(line.streamable_http_client).parameters


def test_a_line_is_parsed_and_written():
    message = sdk.parse(b'{"jsonrpc":"2.0","method":"notifications/message","params":{"a":1}}')
    assert sdk.notification(message.message) == "notifications/message"
    assert b'"params":{"a":1}' in sdk.encode(message)
    with pytest.raises(ValueError):
        sdk.parse(b"junk")
