"""A trip wire: what this package uses of the MCP SDK is there, with the parameters it is called with, on each line of it."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path

import pytest

pytest.importorskip("mcp")

from sdk_uses import uses

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
# private names that look like the SDK's, by what they are
OTHERS = {
    "config/errors.py": {"_replace"},  # of a named tuple
    "catalog/feeder.py": {"_get_running_loop"},  # asyncio's
    "transport/asking.py": {"_inner", "_posts"},  # of ours, which the base class in another file has
    "transport/client.py": {"_request"},  # of the HTTP library's errors
    "transport/jobs.py": {"_handle"},  # of a process
    "transport/process.py": {"_pipe"},  # of our module guardian
}
MCP = Path(aionest.mcp.__file__).parent
FILES = sorted(file for file in MCP.rglob("*.py") if file.name != "surface.py")


@pytest.mark.parametrize("name", surface.of_line(), ids=lambda name: name.path)
def test_the_sdk_has_what_is_relied_on(name):
    if name.newer and not name.is_there():
        pytest.skip("an early release of the line")
    assert name.is_there(), name.without


def test_what_is_not_there_is_noticed():
    def name(path):
        return surface.Name(0, path, "", "")

    assert name("mcp:ClientSession.call_tool").is_there() and name("mcp.types:Tool").is_there()
    for path in ("mcp:Missing", "mcp.missing:Tool", "mcp:ClientSession.missing", "mcp:Missing.call_tool"):
        assert not name(path).is_there(), path


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(MCP).as_posix())
def test_every_name_that_the_code_uses_is_in_the_table(file):
    known = {name.attribute for name in surface.SURFACE}
    found = uses(file.read_text()) - known
    assert found == OTHERS.get(file.relative_to(MCP).as_posix(), set())


@pytest.mark.parametrize(
    "code",
    [
        "from mcp.client import new",
        "from mcp import types\nx = types.new",
        "from .line import types\ndef f(x: types.other): return types.new()",
        "import importlib\nx = importlib.import_module('mcp.shared').new",
        "import importlib\nsdk = importlib.import_module('mcp.shared')\ndef f(): return sdk.new",
        "class A(B):\n def new(self): return self.context.new",
    ],
)
def test_a_name_of_the_sdk_is_found(code):
    assert uses(code) - {"types", "shared"} == {"new"}


@pytest.mark.parametrize(
    "code", ["session._new", "getattr(session, '_new', 0)", "self._new = 1", "super()._new()", "class A(B): x = B._new"]
)
def test_a_private_name_is_found(code):
    assert uses(code) == {"_new"}


def test_names_of_one_s_own_are_not_found():
    ours = "class A:\n def __init__(self): self._a = 1\n def f(self): return self._a, other._a\n"
    assert uses(ours) == set()
    assert uses(ours + "class B(C):\n def f(self): return self._a, super()._a") == {"_a"}
    assert uses("if TYPE_CHECKING:\n from mcp import new\nx: types.new") == set()


def test_doctor_tells_what_is_missing(monkeypatch):
    assert list(surface.report()) == ["SDK"] and surface.report()["SDK"].startswith(f"{line.VERSION}: all ")
    lost = surface.Name(0, "mcp:ClientSession._gone", "shortcut", "calls are slow")
    monkeypatch.setattr(surface, "SURFACE", (*surface.SURFACE, lost))
    found = surface.report()
    assert found["lacks mcp:ClientSession._gone"] == "calls are slow" and found["SDK"].startswith(
        f"{line.VERSION}: 1 of "
    )


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
