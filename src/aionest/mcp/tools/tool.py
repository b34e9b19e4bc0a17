"""Tool: a tool of a server, as plain data with no trace of the SDK.

Contract: immutable. ``caller`` is what carries a call out: a ``ToolsLoader``, or any ``ToolCaller``.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..._untrusted import for_log
from .. import html
from ..errors import ArgumentsError, ToolSchemaError, UsageError
from .coerce import typed
from .patterns import is_in
from .schema import parts, quick_check, validator_of, without_nulls
from .wording import did_you_mean, problems_of, short

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .result import ToolResult

_BY_KEYWORD: dict[str, object] = {}  # itself, not its like
# pictures only, of kinds that hold no script and no address
_DATA_ICON = re.compile(r"data:(image/(?:png|jpeg|gif|webp));base64,([A-Za-z0-9+/=]{4,200000})")


class ToolCaller(Protocol):
    """What carries calls out."""

    def call(
        self,
        tool: Tool,
        arguments: Mapping[str, object] | None = None,
        *,
        timeout: float | None = None,
        progress: Callable[..., object] | None = None,
    ) -> ToolResult:
        """Call and wait, in any thread."""
        ...

    async def call_async(
        self,
        tool: Tool,
        arguments: Mapping[str, object] | None = None,
        *,
        timeout: float | None = None,
        progress: Callable[..., object] | None = None,
    ) -> ToolResult:
        """Call from a coroutine, on any loop."""
        ...


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Tool:
    """A tool. Call it as ``tool(**arguments)``, ``tool.call(...)`` or ``await tool.call_async(...)``."""

    __slots__ = (
        "__weakref__",
        "_checker",
        "annotations",
        "caller",
        "description",
        "icons",
        "input_schema",
        "meta",
        "name",
        "original_name",
        "output_schema",
        "server",
        "task_support",
        "title",
    )

    name: str
    server: str
    original_name: str
    title: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    annotations: dict[str, Any]
    meta: dict[str, Any]
    icons: list[dict[str, Any]]
    task_support: str
    caller: ToolCaller | None

    # Written out: a dataclass cannot have both defaults and __slots__ with a weak reference slot before Python 3.11.
    def __init__(
        self,
        name: str,
        server: str = "",
        original_name: str = "",
        title: str = "",
        description: str = "",
        input_schema: dict[str, object] | None = None,
        output_schema: dict[str, object] | None = None,
        annotations: dict[str, object] | None = None,
        meta: dict[str, object] | None = None,
        caller: ToolCaller | None = None,
        icons: list[dict[str, object]] | None = None,
        task_support: str = "forbidden",
    ) -> None:
        values = {
            "name": name,
            "server": server,
            "original_name": original_name or name,
            "title": title,
            "description": description,
            "input_schema": {"type": "object"} if input_schema is None else input_schema,
            "output_schema": output_schema,
            "annotations": annotations or {},
            "meta": meta or {},
            "icons": icons or [],
            "task_support": task_support,
            "caller": caller,
            "_checker": None,
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def __copy__(self) -> Tool:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Tool:
        return self  # frameworks copy their tools; a copied loader would be another one

    def _repr_html_(self) -> str:
        return html.tool(self)

    def __repr__(self) -> str:
        return f"<Tool {self.name}({for_log(', '.join(map(str, self.properties)))})>"

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
    def icon(self) -> tuple[str, bytes] | None:
        """The first of its icons that came with it: (media type, data). Those that would have to be fetched are in ``icons`` only."""
        for one in self.icons:
            found = _DATA_ICON.fullmatch(str(one.get("src", ""))) if isinstance(one, dict) else None
            try:
                if found is not None:
                    return found[1], base64.b64decode(found[2], validate=True)
            except ValueError:
                continue
        return None

    @property
    def properties(self) -> dict[str, Any]:
        """The schemas of its arguments, by name."""
        found: dict[str, object] = {}
        for part in parts(self.input_schema, self.input_schema):
            inner = part.get("properties")
            if isinstance(inner, dict):
                found = {**inner, **found}
        return found

    @property
    def required(self) -> list[str]:
        """The arguments that it must have."""
        names = self.input_schema.get("required")
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []

    # -- arguments

    def validate(self, arguments: Mapping[str, object]) -> None:
        """Check arguments against the schema.

        :raises ArgumentsError: they do not fit; it says which, and what is expected.
        :raises ToolSchemaError: the schema itself is wrong.
        """
        given = dict(arguments)
        try:
            if self._checker is None:  # type: ignore[attr-defined]
                object.__setattr__(self, "_checker", (validator_of(self.input_schema), quick_check(self.input_schema)))
            checker, plain = self._checker  # type: ignore[attr-defined]
            if plain is not None and plain(given):
                return
            # a null for what need not be there is the server's to understand
            for one in (given, without_nulls(given, self.input_schema, self.input_schema)):
                errors = sorted(checker.iter_errors(one), key=lambda e: [str(part) for part in e.absolute_path])
                problems = list(
                    dict.fromkeys(
                        line for error in errors for line in problems_of(error, self.input_schema, self.properties)
                    )
                )
                if not problems:
                    return
        except Exception as exc:  # no schema, references that lead nowhere or in circles, patterns that are none
            why = str(getattr(exc, "message", None) or exc or type(exc).__name__).splitlines()[0]
            raise ToolSchemaError(
                f"the input schema of tool {self.name!r} cannot be used ({short(why, 200)}): "
                f"report it to the makers of server {self.server!r}",
                server=self.server or None,
            ) from None
        raise self._misfit(problems)

    def reason(self, result: ToolResult) -> str:
        """What a failed result says, without the server's secrets, for an error."""
        redact = getattr(self.caller, "redact", None)
        said = str(result)
        return (redact(self.server, said) if redact is not None else said) or "it did not say why"

    def coerce(self, strings: Mapping[str, str]) -> dict[str, object]:
        """Give texts from a command line or a form the types that the schema wants.

        Arrays and objects are JSON; an array of plain values may also be given as ``a,b,c``. Where a text may be several
        things it becomes the narrowest, and text only at last: ``"5"``, with the quotes, is text in any case there.

        :raises ArgumentsError: a text cannot be what the schema wants, or a name is unknown.
        """
        found: dict[str, object] = {}
        problems: list[str] = []
        known = self.properties
        for name, text in strings.items():
            schema = self._schema_of(name, known)
            if schema is None:
                problems.append(f"{name}: no such argument; {did_you_mean(name, known)}")
                continue
            try:
                found[name] = typed(text, schema, self.input_schema)
            except ValueError as exc:
                problems.append(f"{name}: {exc}")
        if problems:
            raise self._misfit(problems)
        return found

    def _schema_of(self, name: str, known: dict[str, object]) -> object:
        """The schema of an argument; None if the tool has none of that name."""
        if name in known:
            return known[name]
        patterns = self.input_schema.get("patternProperties")
        for pattern, schema in patterns.items() if isinstance(patterns, dict) else ():
            try:
                if is_in(pattern, name, False):
                    return schema
            except re.error:
                continue
        others = self.input_schema.get("additionalProperties")
        # JSON schema lets everything else through by default, but a name that is not listed is nearly always a typing error
        if isinstance(others, dict) or others is True:
            return others
        return None if known or others is False else {}

    def _misfit(self, problems: list[str]) -> ArgumentsError:
        lines = "; ".join(problems)
        return ArgumentsError(f"arguments of {self.name!r} do not fit: {lines}", problems, server=self.server or None)

    # -- calls

    def call(self, arguments: Mapping[str, object] | None = _BY_KEYWORD, /, **keywords: object) -> ToolResult:
        """Call it and wait: ``tool.call(city="Oslo")``, or ``tool.call({"city": "Oslo"}, timeout=5)``.

        With a mapping (or None) first, the keywords are options of the call (``timeout``, ``progress``, and what the
        loader's ``call`` has); without one they are the arguments.
        """
        given, options = self._split(arguments, keywords)
        return self._caller().call(self, given, **options)

    async def call_async(
        self, arguments: Mapping[str, object] | None = _BY_KEYWORD, /, **keywords: object
    ) -> ToolResult:
        """``call()`` for coroutines of any loop."""
        given, options = self._split(arguments, keywords)
        return await self._caller().call_async(self, given, **options)

    def __call__(self, /, **arguments: object) -> ToolResult:
        return self.call(arguments)

    @staticmethod
    def _split(
        arguments: Mapping[str, object] | None, keywords: dict[str, object]
    ) -> tuple[dict[str, object], dict[str, Any]]:
        return (keywords, {}) if arguments is _BY_KEYWORD else (dict(arguments or {}), keywords)

    def _caller(self) -> ToolCaller:
        if self.caller is None:
            raise UsageError(f"tool {self.name!r} is only a description: it has no loader to call it with")
        return self.caller

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
            **({"icons": self.icons} if self.icons else {}),
            **({"execution": {"taskSupport": self.task_support}} if self.task_support != "forbidden" else {}),
            **({"_meta": self.meta} if self.meta else {}),
        }
