"""OpenTelemetry: each call is a span, the child of its caller's."""

import sys

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aionest.mcp import ToolsLoader

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

with ToolsLoader({"notes": {"command": sys.executable, "args": ["-m", "aionest.examples.notes"]}}) as loader:
    with trace.get_tracer("mine").start_as_current_span("work"):
        loader.call("notes.read", {"id": 1})
        loader.call("notes.read", {"id": 9})

for span in exporter.get_finished_spans():
    if span.instrumentation_scope.name != "mcp-python-sdk":  # the SDK's 2.x line has spans of its own
        print(span.name, span.status.status_code.name, dict(span.attributes or {}).get("mcp.server.name"))

# Output:
# tools/call read UNSET notes
# tools/call read ERROR notes
# work UNSET None
