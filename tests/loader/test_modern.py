"""Protocol 2026-07-28, which the SDK's 2.x line speaks: no handshake, no ping, changes only for who listens, questions as results."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support import eventually

pytest.importorskip("mcp")

from aionest.mcp import ProtocolError, sdk

SERVER = Path(__file__).parent.parent.parent / "examples" / "servers" / "modern.py"
ONE = {"one": {"command": sys.executable, "args": [str(SERVER)]}}
needs_2 = pytest.mark.skipif(not sdk.V2, reason="only the SDK's 2.x line speaks it")

SDK_SERVER = """
from mcp.server.mcpserver import Context, MCPServer
server = MCPServer("both")
@server.tool()
def echo(text: str) -> str:
    return text
@server.tool()
async def change(ctx: Context) -> str:
    server.add_tool(lambda: "later", name="later", description="later")
    await ctx.notify_tools_changed()  # tells those who listen, and nobody else
    return "changed"
server.run("stdio")
"""


@needs_2
def test_a_server_without_a_handshake(make_loader):
    loader = make_loader(ONE)
    assert not loader.errors, loader.errors
    status = loader.status["one"]
    assert (status.protocol, status.server, status.version) == ("2026-07-28", "modern", "1.0")
    assert loader.call("one.echo", {"text": "hi"}).text == "hi"
    assert loader.ping("one") > 0
    assert loader.health()["one"].state == "connected"


@needs_2
def test_changes_are_listened_for(make_loader):
    loader = make_loader(ONE)
    eventually(lambda: loader.call("one.listeners").text == "1")
    loader.call("one.change")
    eventually(lambda: "one__later" in loader.tools)
    assert loader.call("one.later").text == "later"


@needs_2
def test_questions_within_a_call(make_loader):
    asked = []

    def elicitation(params):
        asked.append(params.message)
        return {"name": "Ada"}

    assert '"Ada"' in make_loader(ONE, elicitation=elicitation).call("one.ask").text
    assert asked == ["Your name?"]
    with pytest.raises(ProtocolError, match="elicitation"):
        make_loader(ONE).call("one.ask")


@needs_2
def test_a_server_of_the_sdk_that_speaks_both(make_loader):
    both = {"command": sys.executable, "args": ["-c", SDK_SERVER], "connect_timeout": 120}
    loader = make_loader({"old": both, "both": {**both, "protocol": "modern"}})
    assert not loader.errors, loader.errors
    assert loader.status["old"].protocol < loader.status["both"].protocol == "2026-07-28"
    for name in ("old", "both"):
        assert loader.call(f"{name}.echo", {"text": "hi"}).structured == {"result": "hi"}
    loader.call("both.change")
    eventually(lambda: "both__later" in loader.tools)


@pytest.mark.skipif(sdk.V2, reason="2.x speaks it")
@pytest.mark.parametrize("protocol", ["auto", "modern"])
def test_the_line_that_does_not_speak_it_says_so(make_loader, protocol):
    loader = make_loader({"one": {**ONE["one"], "protocol": protocol}})
    assert set(loader.errors) == {"one"} and "2.x" in loader.errors["one"], loader.errors


def test_without_it(make_loader):
    loader = make_loader({"one": {**ONE["one"], "protocol": "legacy"}})
    assert "Method not found" in loader.errors["one"]
