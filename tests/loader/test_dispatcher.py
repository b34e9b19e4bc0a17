"""Tool calls on the SDK's 2.x line over pipes, by a dispatcher of our own: the same on the wire, the same outcomes as by the SDK's."""

from __future__ import annotations

import functools
import json
import sys

import pytest
from servers import SERVER

pytest.importorskip("mcp")

from aionest.mcp import sdk
from aionest.mcp.transport.pipes import Outgoing

if not sdk.V2:
    pytest.skip("the 1.x line has no dispatcher: see test_direct.py", allow_module_level=True)

from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from opentelemetry import trace

from aionest.mcp.sdk import v2
from aionest.mcp.sdk.shortcut_v2 import DirectDispatcher

ONE = {"one": {"command": sys.executable, "args": [str(SERVER)]}}


@pytest.fixture
def sent(monkeypatch):
    """The calls that go to servers."""
    found = []
    send_line = Outgoing.send_line

    async def noting(self, data, *args):
        message = json.loads(data)
        if message["method"] == "tools/call":
            found.append(message)
        await send_line(self, data, *args)

    monkeypatch.setattr(Outgoing, "send_line", noting)
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        {"text": "plain"},
        {"text": "é\u2028\U0001f600", "more": {"a": None, "b": [1, 2.5, True, None], "c": {}}},
        {"text": "", "number": 10**30, "nan": float("nan"), "inf": float("-inf")},
    ],
)
@pytest.mark.parametrize("progress", [None, lambda *args: None])
def test_the_request_is_the_sdks(make_loader, sent, monkeypatch, arguments, progress):
    results = [make_loader(ONE).call("one.echo", arguments, progress=progress)]
    monkeypatch.setattr(DirectDispatcher, "of", classmethod(lambda cls, *streams: None))
    results.append(make_loader(ONE).call("one.echo", arguments, progress=progress))
    mine, sdks = sent
    if sdks["params"].get("_meta") == {}:  # releases before 2.1 write it
        del sdks["params"]["_meta"]
    assert mine == sdks
    assert results[0].content == results[1].content


@pytest.mark.parametrize("how", ["wrapped", "replaced", "later"])
def test_who_has_wrapped_the_sdk_sees_the_calls(make_loader, monkeypatch, taken, how):
    loader = make_loader(ONE) if how == "later" else None
    seen = []
    original = JSONRPCDispatcher.send_raw_request

    async def watched(self, method, *args, **keywords):
        seen.append(method)
        return await original(self, method, *args, **keywords)

    plain = how == "replaced"
    monkeypatch.setattr(JSONRPCDispatcher, "send_raw_request", watched if plain else functools.wraps(original)(watched))
    loader = loader or make_loader(ONE)
    seen.clear()
    taken.clear()
    assert loader.call("one.echo", {"text": "hi"}).text == "hi"
    assert seen == ["tools/call"] and not any(taken)


def test_where_calls_are_traced_the_sdk_makes_its_spans(make_loader, monkeypatch, taken):
    loader = make_loader(ONE)
    monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    taken.clear()
    assert loader.call("one.echo", {"text": "hi"}).text == "hi"
    assert taken == [False]


def test_the_callers_trace_goes_along(make_loader, sent):
    """Also where nothing is recorded here: the server's spans belong to it."""
    loader = make_loader(ONE)
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    span = trace.NonRecordingSpan(trace.SpanContext(0x1234, 0x5678, is_remote=True, trace_flags=flags))
    with trace.use_span(span):
        loader.call("one.echo", {"text": "hi"})
    assert f"{0x1234:032x}-{0x5678:016x}" in sent[-1]["params"]["_meta"]["traceparent"]


def test_an_sdk_that_keeps_its_requests_otherwise(make_loader, monkeypatch):
    monkeypatch.delattr(JSONRPCDispatcher, "_final_write")
    loader = make_loader(ONE)
    assert type(loader._fleet.connections["one"].link.session._dispatcher) is JSONRPCDispatcher
    monkeypatch.undo()
    assert loader.call("one.echo", {"text": "hi"}).text == "hi"


def test_a_release_without_the_dispatcher(make_loader, monkeypatch):
    monkeypatch.setattr(v2, "DirectDispatcher", None)
    assert make_loader(ONE).call("one.echo", {"text": "hi"}).text == "hi"
