"""OpenTelemetry: each call is a span, the child of its caller's."""

import sys
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aionest.mcp import ToolsLoader

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

SERVER = Path(__file__).parents[2] / "examples" / "servers" / "bare.py"
with ToolsLoader(config={"notes": {"command": sys.executable, "args": [str(SERVER)]}}) as loader:
    with trace.get_tracer("mine").start_as_current_span("work"):
        loader.call("notes.add", {"a": 1})
        loader.call("notes.fail")

for span in exporter.get_finished_spans():
    if span.instrumentation_scope.name != "mcp-python-sdk":  # the SDK's 2.x line has spans of its own
        print(span.name, span.status.status_code.name, dict(span.attributes or {}).get("mcp.server.name"))

# Output:
# tools/call add UNSET notes
# tools/call fail ERROR notes
# work UNSET None
