"""OpenTelemetry spans around calls, where its API is installed.

Contract: without the API, or a provider, nothing is done, and neither is ever a requirement. A span is
the child of the caller's, in whatever thread or loop that is. Arguments and results are not recorded.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import ModuleType

    from ..tools import Tool, ToolResult
    from .connection import Connection

    Ended = Callable[[ToolResult], None]


@functools.lru_cache(maxsize=1)
def _api() -> ModuleType | None:
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    found: ModuleType = trace
    return found


class _Nothing:
    """The span that is none."""

    def __enter__(self) -> Ended:
        return self._ended

    def __exit__(self, *exc: object) -> None: ...

    @staticmethod
    def _ended(result: ToolResult) -> None: ...


_nothing = _Nothing()


def span(tool: Tool, connection: Connection) -> AbstractContextManager[Ended]:
    """A context manager around a call; it gives what is to be called with the result."""
    api = _api()
    if api is None or isinstance(api.get_tracer_provider(), api.ProxyTracerProvider):  # nobody has set one
        return _nothing
    return _span(api, tool, connection)


@contextlib.contextmanager
def _span(api: ModuleType, tool: Tool, connection: Connection) -> Iterator[Ended]:
    attributes = {
        "rpc.system": "mcp",
        "mcp.method.name": "tools/call",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool.original_name,
        "mcp.server.name": tool.server,
        "mcp.transport": connection.config.transport,
    }
    tracer = api.get_tracer("aionest.mcp")
    with tracer.start_as_current_span(
        f"tools/call {tool.original_name}", kind=api.SpanKind.CLIENT, attributes=attributes
    ) as one:

        def ended(result: ToolResult) -> None:
            if result.is_error:
                one.set_attribute("error.type", "tool_error")
                one.set_status(api.Status(api.StatusCode.ERROR, "the tool reported an error"))

        yield ended
