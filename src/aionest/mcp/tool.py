"""A tool of a server, and the result of a call: plain data, with no trace of the SDK.

Contract: immutable. ``caller`` is what carries a call out (a ``ToolsLoader``). Validation never runs code of the schema
and never fetches anything.
"""

from __future__ import annotations

import difflib
import functools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


class ArgumentsError(UsageError):
    """The arguments do not fit the tool's schema. ``problems`` has a line for each."""

    code = "arguments"

    def __init__(self, message: str, problems: list[str], *, server: str | None = None) -> None:
        super().__init__(message, server=server)
        self.problems = problems


class ToolSchemaError(UsageError):
    """The tool's own schema is no JSON schema: its server is at fault."""

    code = "schema"


@functools.lru_cache(maxsize=1024)
def _validator(schema_text: str) -> Any:
    import jsonschema

    schema = json.loads(schema_text)
    cls = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    cls.check_schema(schema)
    return cls(schema)


@dataclass(frozen=True, eq=False)
class Tool:
    """A tool. Call it as ``tool(**arguments)``, ``tool.call(...)`` or ``await tool.acall(...)``."""

    name: str
    server: str
    original_name: str
    title: str = ""
    description: str = ""
    input_schema: dict[str, Any] = field(default_factory=lambda: {"type": "object"})
    output_schema: dict[str, Any] | None = None
    annotations: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    caller: Any = field(default=None, repr=False)

    @property
    def read_only(self) -> bool:
        """Does the server say that it changes nothing?"""
        return bool(self.annotations.get("readOnlyHint"))

    @property
    def idempotent(self) -> bool:
        """Does the server say that calling twice is as calling once?"""
        return self.read_only or bool(self.annotations.get("idempotentHint"))

    @property
    def destructive(self) -> bool:
        """May it destroy something? Unless the server says otherwise, what is not read-only may."""
        return not self.read_only and bool(self.annotations.get("destructiveHint", True))

    @property
    def properties(self) -> dict[str, Any]:
        """The schemas of its arguments, by name."""
        found = self.input_schema.get("properties")
        return found if isinstance(found, dict) else {}

    @property
    def required(self) -> list[str]:
        """The arguments that it must have."""
        return [name for name in self.input_schema.get("required") or [] if isinstance(name, str)]

    def validate(self, arguments: Mapping[str, Any]) -> None:
        """Check arguments against the schema.

        :raises ArgumentsError: they do not fit; it says which, and what is expected.
        :raises ToolSchemaError: the schema itself is wrong.
        """
        import jsonschema

        try:
            validator = _validator(json.dumps(self.input_schema, sort_keys=True))
            errors = sorted(validator.iter_errors(dict(arguments)), key=lambda e: [str(p) for p in e.absolute_path])
        except jsonschema.SchemaError as exc:
            raise ToolSchemaError(
                f"tool {self.name!r} has a schema that is none ({exc.message}): report it to the makers of server {self.server!r}",
                server=self.server,
            ) from None
        except Exception as exc:  # references that lead nowhere, patterns that are none
            raise ToolSchemaError(
                f"the schema of tool {self.name!r} cannot be used: {exc}", server=self.server
            ) from None
        if not errors:
            return
        problems = []
        for error in errors:
            path = ".".join(str(part) for part in error.absolute_path)
            text = error.message
            if error.validator == "additionalProperties":
                extra = [name for name in arguments if name not in self.properties]
                near = [n for name in extra for n in difflib.get_close_matches(name, list(self.properties), 1)]
                text += f" (did you mean {', '.join(near)}?)" if near else ""
            problems.append(f"{path}: {text}" if path else text)
        raise ArgumentsError(
            f"arguments of {self.name!r} do not fit: " + "; ".join(problems), problems, server=self.server
        )

    def coerce(self, strings: Mapping[str, str]) -> dict[str, Any]:
        """Give texts from a command line or a form the types that the schema wants.

        :raises ArgumentsError: a text cannot be what the schema wants, or a name is unknown.
        """
        found: dict[str, Any] = {}
        problems: list[str] = []
        closed = self.input_schema.get("additionalProperties") is not True
        for name, text in strings.items():
            schema = self.properties.get(name)
            if schema is None and closed and self.properties:
                near = difflib.get_close_matches(name, list(self.properties), 2)
                problems.append(
                    f"{name}: no such argument"
                    + (f", did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(self.properties)}")
                )
                continue
            try:
                found[name] = _typed(text, schema if isinstance(schema, dict) else {})
            except ValueError as exc:
                problems.append(f"{name}: {exc}")
        if problems:
            raise ArgumentsError(
                f"arguments of {self.name!r} do not fit: " + "; ".join(problems), problems, server=self.server
            )
        return found

    def call(self, arguments: Mapping[str, Any] | None = None, **options: Any) -> ToolResult:
        """Call it; see ``ToolsLoader.call`` for the options."""
        return self.caller.call(self, arguments, **options)  # type: ignore[no-any-return]

    async def acall(self, arguments: Mapping[str, Any] | None = None, **options: Any) -> ToolResult:
        """Call it from a coroutine; see ``ToolsLoader.acall`` for the options."""
        return await self.caller.acall(self, arguments, **options)  # type: ignore[no-any-return]

    def __call__(self, **arguments: Any) -> ToolResult:
        return self.call(arguments)

    def to_json(self) -> dict[str, Any]:
        """What it is, as JSON."""
        return {
            "name": self.name,
            "server": self.server,
            "tool": self.original_name,
            "title": self.title,
            "description": self.description,
            "inputSchema": self.input_schema,
            "outputSchema": self.output_schema,
            "annotations": self.annotations,
        }


def _kinds(schema: dict[str, Any]) -> list[str]:
    kinds = schema.get("type")
    if isinstance(kinds, str):
        return [kinds]
    if isinstance(kinds, list):
        return [str(one) for one in kinds]
    found: list[str] = []
    for key in ("anyOf", "oneOf"):
        for part in schema.get(key) or []:
            if isinstance(part, dict):
                found += _kinds(part)
    if not found and "enum" in schema:
        found = ["string" if isinstance(one, str) else "json" for one in schema["enum"]]
    return found


def _typed(text: str, schema: dict[str, Any]) -> Any:
    kinds = _kinds(schema)
    if not kinds:
        try:
            return json.loads(text)
        except ValueError:
            return text
    for kind in sorted(set(kinds), key=lambda k: k == "string"):  # a text fits always, so it comes last
        if kind == "null" and text in ("null", ""):
            return None
        if kind == "boolean" and text.lower() in ("true", "yes", "on", "1", "false", "no", "off", "0"):
            return text.lower() in ("true", "yes", "on", "1")
        if kind == "integer":
            try:
                return int(text)
            except ValueError:
                continue
        if kind == "number":
            try:
                value = float(text)
            except ValueError:
                continue
            return int(value) if value.is_integer() and "." not in text and "e" not in text.lower() else value
        if kind in ("array", "object", "json"):
            try:
                value = json.loads(text)
            except ValueError:
                if kind == "array" and not text.lstrip().startswith(("[", "{")):
                    items = schema.get("items")
                    return [
                        _typed(part.strip(), items if isinstance(items, dict) else {"type": "string"})
                        for part in text.split(",")
                    ]
                continue
            if kind == "json" or isinstance(value, list if kind == "array" else dict):
                return value
        if kind == "string":
            return text
    raise ValueError(f"{text!r} is no {' or '.join(dict.fromkeys(kinds))}")


@dataclass(frozen=True)
class ToolResult:
    """What a call gave. ``content`` holds the protocol's blocks as plain dictionaries."""

    content: list[dict[str, Any]]
    structured: Any = None
    is_error: bool = False
    server: str = ""
    tool: str = ""
    duration: float = 0.0  # seconds
    meta: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_sdk(cls, result: Any, *, server: str = "", tool: str = "", duration: float = 0.0) -> ToolResult:
        """From the SDK's result, of either line."""
        raw = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        return cls(
            content=list(raw.get("content") or []),
            structured=raw.get("structuredContent"),
            is_error=bool(raw.get("isError")),
            server=server,
            tool=tool,
            duration=duration,
            meta=raw.get("_meta") or {},
        )

    @property
    def text(self) -> str:
        """All texts in it, joined by line ends."""
        found = []
        for block in self.content:
            if block.get("type") == "text":
                found.append(str(block.get("text", "")))
            elif block.get("type") == "resource" and "text" in block.get("resource", {}):
                found.append(str(block["resource"]["text"]))
        return "\n".join(found)

    @property
    def images(self) -> list[tuple[str, bytes]]:
        """Images in it: (media type, data)."""
        import base64

        return [
            (str(block.get("mimeType", "image/png")), base64.b64decode(block.get("data", "")))
            for block in self.content
            if block.get("type") == "image"
        ]

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {
            "server": self.server,
            "tool": self.tool,
            "isError": self.is_error,
            "content": self.content,
            "structuredContent": self.structured,
            "seconds": round(self.duration, 6),
        }

    def __str__(self) -> str:
        return self.text or (json.dumps(self.structured) if self.structured is not None else "")


__all__ = ["ArgumentsError", "Tool", "ToolResult", "ToolSchemaError"]
