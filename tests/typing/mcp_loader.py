"""What type checkers make of ``aionest.mcp``, and that both lines of the SDK are served alike: never run, checked by `make lint`."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from mcp.shared.session import ProgressFnT
from typing_extensions import assert_type

from aionest.mcp import (
    ServerConfig,
    Tool,
    ToolFailed,
    ToolResult,
    ToolsBundle,
    ToolsConfig,
    ToolsLoader,
    ToolsRetriever,
)
from aionest.mcp._json import JsonObject
from aionest.mcp.sdk import v1, v2
from aionest.mcp.sdk.line import SessionMessage


class Vault:
    """A store of tokens as a user writes it."""

    def get(self, key: str) -> dict[str, Any] | None:
        return None

    def set(self, key: str, value: dict[str, Any]) -> None: ...

    def remove(self, key: str) -> bool:
        return False


class Registry:
    """A retriever as a user writes it."""

    def get(self, name: str) -> ToolsBundle | None:
        return None

    def add(self, bundle: ToolsBundle) -> None: ...

    def remove(self, name: str) -> None: ...


def on_log(server: str, level: str, data: str) -> None: ...


async def sampling(params: object) -> str:
    return ""


def makes() -> None:
    ToolsLoader("mcp.json", tokens=Vault(), on_log=on_log, sampling=sampling, authorize=print)
    ToolsLoader({"time": {"command": "mcp-server-time"}}, tools_retriever=ToolsRetriever())
    ToolsLoader(Registry(), "mcp.json")
    ToolsLoader(config=ToolsConfig.from_dict({"a": {"url": "http://a"}}))
    ToolsLoader(5)  # type: ignore[arg-type]
    ToolsLoader("mcp.json", tokens=object())  # type: ignore[arg-type]


def calls(loader: ToolsLoader) -> None:
    assert_type(loader.load(), dict[str, Tool])
    assert_type(loader.call("a.b", {"x": [1, {"y": None}]}, timeout=5), ToolResult)
    assert_type(loader.submit("a.b"), concurrent.futures.Future[ToolResult])
    assert_type(loader.find("a.b")(city="Oslo"), ToolResult)
    assert_type(loader.find("a.b").call({"city": "Oslo"}, timeout=3), ToolResult)
    assert_type(loader.call("a.b").content, list[dict[str, Any]])
    print(loader.call("a.b").structured["days"][0], loader.find("a.b").input_schema["properties"]["x"]["type"])
    print(loader.resources()["a"][0]["uri"], ServerConfig(name="a", command="b").public()["env"])


async def calls_async(loader: ToolsLoader) -> None:
    assert_type(await loader.call_async("a.b"), ToolResult)
    assert_type(await loader.find("a.b").call_async(city="Oslo"), ToolResult)


def failed(error: ToolFailed) -> None:
    assert_type(error.result, "ToolResult | None")


S = TypeVar("S", contravariant=True)


class Line(Protocol[S]):
    """What the rest of the package calls of the module of a line."""

    NEEDS_2: str

    def parse(self, line: bytes) -> SessionMessage: ...
    def encode(self, message: SessionMessage) -> bytes: ...
    async def negotiate(self, session: S, seconds: float) -> JsonObject: ...
    async def discover(self, session: S) -> JsonObject: ...
    def ignores_probe(self, session: S) -> bool: ...
    def only_probed(self, session: S) -> bool: ...
    def protocol_of(self, session: S) -> str: ...
    async def call_tool(self, session: S, name: str, arguments: JsonObject, progress: ProgressFnT | None) -> object: ...
    async def read_resource(self, session: S, uri: str) -> object: ...
    async def get_prompt(self, session: S, name: str, arguments: dict[str, str]) -> object: ...
    async def listen(self, session: S, on_change: Callable[[], None]) -> None: ...


def lines() -> None:
    one: Line[v1.Session] = v1
    other: Line[v2.Session] = v2
    print(one, other)
