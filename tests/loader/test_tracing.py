"""OpenTelemetry spans around calls: children of the caller's, with errors, in every thread and loop."""

from __future__ import annotations

import asyncio
import sys

import pytest
from servers import SERVER

pytest.importorskip("mcp")
pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aionest.mcp import CallTimeout

ONE = {"one": {"command": sys.executable, "args": [str(SERVER)]}}


@pytest.fixture(scope="session")
def exporter():
    """The provider is one of the process, and set once."""
    found = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(found))
    trace.set_tracer_provider(provider)
    return found


@pytest.fixture
def spans(exporter):
    exporter.clear()

    def spans():
        return [one for one in exporter.get_finished_spans() if one.name.startswith("tools/call ")
                and one.instrumentation_scope.name == "aionest.mcp"]  # fmt: skip

    return spans


def test_a_span_is_the_child_of_its_callers(make_loader, spans):
    loader = make_loader(ONE)
    tracer = trace.get_tracer("test")
    with tracer.start_as_current_span("here") as parent:
        loader.call("one.echo", {"text": "secret text"})

    async def main():
        with tracer.start_as_current_span("there") as parent:
            await loader.call_async("one.add", {"a": 1})
            return parent

    other = asyncio.run(main())
    echo, add = spans()
    assert echo.parent.span_id == parent.get_span_context().span_id
    assert add.parent.span_id == other.get_span_context().span_id
    assert (echo.name, echo.kind) == ("tools/call echo", trace.SpanKind.CLIENT)
    assert echo.attributes["gen_ai.tool.name"] == "echo" and echo.attributes["mcp.server.name"] == "one"
    assert "secret text" not in str(echo.to_json())
    assert echo.status.status_code is trace.StatusCode.UNSET


def test_errors_are_in_the_span(make_loader, spans):
    loader = make_loader(ONE)
    loader.call("one.fail", {"message": "no"})
    with pytest.raises(CallTimeout):
        loader.call("one.sleep", {"seconds": 60}, timeout=0.2)
    fail, sleep = spans()
    assert fail.status.status_code is sleep.status.status_code is trace.StatusCode.ERROR
    assert fail.attributes["error.type"] == "tool_error"
    assert any(event.name == "exception" for event in sleep.events)
