"""A tool of a server, and the result of a call: plain data, with no trace of the SDK.

Contract: immutable. ``caller`` is what carries a call out (a ``ToolsLoader``, or anything with its ``call`` and ``acall``).
Validation never runs code of the schema and never fetches anything, wherever its references lead.
"""

from __future__ import annotations

import base64
import difflib
import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from .errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from typing_extensions import Self

__all__ = ["ArgumentsError", "Tool", "ToolCaller", "ToolResult", "ToolSchemaError"]

_DEPTH = 32  # references that are followed before a schema counts as circular
_SHOWN = 120  # characters of a value that an error quotes
_BY_KEYWORD: Any = object()


class ArgumentsError(UsageError):
    """The arguments do not fit the tool's schema. ``problems`` has a line for each."""

    code = "arguments"

    def __init__(self, message: str, problems: list[str], *, server: str | None = None) -> None:
        super().__init__(message, server=server)
        self.problems = problems


class ToolSchemaError(UsageError):
    """The tool's own schema is no JSON schema: its server is at fault."""

    code = "schema"


class ToolCaller(Protocol):
    """What carries calls out."""

    def call(
        self,
        tool: Tool,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        progress: Callable[..., Any] | None = None,
    ) -> ToolResult:
        """Call and wait, in any thread."""
        ...

    async def acall(
        self,
        tool: Tool,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        progress: Callable[..., Any] | None = None,
    ) -> ToolResult:
        """Call from a coroutine, on any loop."""
        ...


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Tool:
    """A tool. Call it as ``tool(**arguments)``, ``tool.call(...)`` or ``await tool.acall(...)``."""

    __slots__ = (
        "__weakref__",
        "_checker",
        "annotations",
        "caller",
        "description",
        "input_schema",
        "meta",
        "name",
        "original_name",
        "output_schema",
        "server",
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
    caller: Any

    # Written out: a dataclass cannot have both defaults and __slots__ with a weak reference slot before Python 3.11.
    def __init__(
        self,
        name: str,
        server: str = "",
        original_name: str = "",
        title: str = "",
        description: str = "",
        input_schema: dict[str, Any] | None = None,
        output_schema: dict[str, Any] | None = None,
        annotations: dict[str, Any] | None = None,
        meta: dict[str, Any] | None = None,
        caller: ToolCaller | Any = None,
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
            "caller": caller,
            "_checker": None,
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def __copy__(self) -> Tool:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Tool:
        return self  # frameworks copy their tools; a copied loader would be another one

    def __repr__(self) -> str:
        return f"<Tool {self.name}({', '.join(self.properties)})>"

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
        found: dict[str, Any] = {}
        for part in _parts(self.input_schema, self.input_schema):
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

    def validate(self, arguments: Mapping[str, Any]) -> None:
        """Check arguments against the schema.

        :raises ArgumentsError: they do not fit; it says which, and what is expected.
        :raises ToolSchemaError: the schema itself is wrong.
        """
        given = dict(arguments)
        try:
            if self._checker is None:  # type: ignore[attr-defined]
                object.__setattr__(self, "_checker", (_checker(self.input_schema), _plain(self.input_schema)))
            checker, plain = self._checker  # type: ignore[attr-defined]
            if plain is not None and plain(given):
                return
            errors = sorted(checker.iter_errors(given), key=lambda e: [str(part) for part in e.absolute_path])
            problems = list(dict.fromkeys(line for error in errors for line in self._problems(error)))
        except Exception as exc:  # no schema, references that lead nowhere or in circles, patterns that are none
            why = str(getattr(exc, "message", None) or exc or type(exc).__name__).splitlines()[0]
            raise ToolSchemaError(
                f"the input schema of tool {self.name!r} cannot be used ({_short(why, 200)}): "
                f"report it to the makers of server {self.server!r}",
                server=self.server or None,
            ) from None
        if problems:
            raise self._misfit(problems)

    def _said(self, result: ToolResult) -> str:
        """What a failed result says, without the server's secrets, for an error."""
        hide = getattr(self.caller, "_hide", None)
        said = str(result)
        return (hide(self.server, said) if hide is not None else said) or "it did not say why"

    def coerce(self, strings: Mapping[str, str]) -> dict[str, Any]:
        """Give texts from a command line or a form the types that the schema wants.

        Arrays and objects are JSON; an array of plain values may also be given as ``a,b,c``. Where a text may be several
        things it becomes the narrowest, and text only at last: ``"5"``, with the quotes, is text in any case there.

        :raises ArgumentsError: a text cannot be what the schema wants, or a name is unknown.
        """
        found: dict[str, Any] = {}
        problems: list[str] = []
        known = self.properties
        for name, text in strings.items():
            schema = self._schema_of(name, known)
            if schema is None:
                near = difflib.get_close_matches(name, list(known), 2)
                hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known) or 'none'}"
                problems.append(f"{name}: no such argument; {hint}")
                continue
            try:
                found[name] = _typed(text, schema, self.input_schema)
            except ValueError as exc:
                problems.append(f"{name}: {exc}")
        if problems:
            raise self._misfit(problems)
        return found

    def _schema_of(self, name: str, known: dict[str, Any]) -> Any:
        """The schema of an argument; None if the tool has none of that name."""
        if name in known:
            return known[name]
        patterns = self.input_schema.get("patternProperties")
        for pattern, schema in patterns.items() if isinstance(patterns, dict) else ():
            try:
                if re.search(pattern, name):
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

    def _problems(self, error: Any) -> list[str]:
        """An error of jsonschema in plain words, with the path of each part that is wrong."""
        path = _path(error.absolute_path)
        value, rule = error.instance, error.validator_value
        schema = error.schema if isinstance(error.schema, dict) else {}
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        if value is None and schema.get("nullable") is True and error.validator in ("type", "enum"):
            return []  # OpenAPI's word for it, which JSON schema does not know
        if error.validator == "required":
            return [
                f"{_path([*error.absolute_path, name])}: missing; expected {_expected(properties.get(name), self.input_schema)}"
                for name in rule
                if name not in value
            ]
        if error.validator in ("additionalProperties", "unevaluatedProperties") and isinstance(value, dict):
            known = list(properties) or list(self.properties)
            lines = []
            for name in value:
                if name in properties or any(re.search(p, name) for p in schema.get("patternProperties") or {}):
                    continue
                near = difflib.get_close_matches(name, known, 2)
                hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known) or 'none'}"
                lines.append(f"{_path([*error.absolute_path, name])}: no such argument; {hint}")
            if lines and rule is False:
                return lines
        where = path or "(arguments)"
        if error.validator in ("type", "enum", "const", "anyOf", "oneOf") or error.validator in _LIMITS:
            return [f"{where}: expected {_expected(schema, self.input_schema)}, got {_got(value)}"]
        return [f"{where}: {_short(error.message, 300)}"]

    # -- calls

    def call(self, arguments: Mapping[str, Any] | None = _BY_KEYWORD, /, **keywords: Any) -> ToolResult:
        """Call it and wait: ``tool.call(city="Oslo")``, or ``tool.call({"city": "Oslo"}, timeout=5)``.

        With a mapping (or None) first, the keywords are options of the call (``timeout``, ``progress``, and what the
        loader's ``call`` has); without one they are the arguments.
        """
        given, options = self._split(arguments, keywords)
        return self._caller().call(self, given, **options)  # type: ignore[no-any-return]

    async def acall(self, arguments: Mapping[str, Any] | None = _BY_KEYWORD, /, **keywords: Any) -> ToolResult:
        """``call()`` for coroutines of any loop."""
        given, options = self._split(arguments, keywords)
        return await self._caller().acall(self, given, **options)  # type: ignore[no-any-return]

    def __call__(self, /, **arguments: Any) -> ToolResult:
        return self.call(arguments)

    @staticmethod
    def _split(arguments: Any, keywords: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        return (keywords, {}) if arguments is _BY_KEYWORD else (dict(arguments or {}), keywords)

    def _caller(self) -> Any:
        if self.caller is None:
            raise UsageError(f"tool {self.name!r} is a description only: nothing is there to call it with")
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
            **({"_meta": self.meta} if self.meta else {}),
        }


# -- schemas


def _checker(schema: dict[str, Any]) -> Any:
    """A validator: of the draft that the schema names, else of the newest by whose rules it is a schema."""
    import jsonschema
    from jsonschema_specifications import REGISTRY  # without it, references to other documents would be fetched

    newest = jsonschema.Draft202012Validator
    if "$schema" in schema:
        drafts = [jsonschema.validators.validator_for(schema, default=newest)]
    else:
        drafts = [newest, jsonschema.Draft7Validator, jsonschema.Draft4Validator]
    first: Exception | None = None
    for draft in drafts:
        try:
            draft.check_schema(schema)
        except jsonschema.SchemaError as exc:
            first = first or exc
            continue
        return draft(schema, registry=REGISTRY)
    assert first is not None
    raise first


_SAYS_NOTHING = {"$schema", "title", "description", "default", "examples"}
_EXACTLY = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),)}


def _plain(schema: dict[str, Any]) -> Callable[[dict[str, Any]], bool] | None:
    """For a schema of plain types and nothing else, a quick test that arguments fit; else None.

    What fails it is left to the validator, which is thirty times as slow and has the last word.
    """
    known = _SAYS_NOTHING | {"type", "properties", "required", "additionalProperties"}
    if (
        schema.get("type") != "object"
        or schema.keys() - known
        or schema.get("additionalProperties", True) not in (True, False)
    ):
        return None
    types: dict[str, tuple[type, ...]] = {}
    for name, one in schema.get("properties", {}).items():
        kind = one.get("type") if isinstance(one, dict) else None
        if not isinstance(kind, str) or kind not in _EXACTLY or one.keys() - _SAYS_NOTHING - {"type"}:
            return None
        types[name] = _EXACTLY[kind]
    required = schema.get("required", [])
    if not isinstance(required, list):
        return None

    def fits(given: dict[str, Any]) -> bool:
        for name, value in given.items():
            if type(value) not in types.get(name, ()):
                return False
        for name in required:
            if name not in given:
                return False
        return True

    return fits


def _resolved(schema: Any, root: dict[str, Any]) -> dict[str, Any]:
    """The schema that a chain of references within the document ends at. An empty one if it leads nowhere."""
    for _ in range(_DEPTH):
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        target: Any = root if reference.startswith("#") else None
        for step in reference[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            target = target.get(step) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            return beside
        schema = {**target, **beside}
    return {}


def _parts(schema: Any, root: dict[str, Any], depth: int = 0) -> list[dict[str, Any]]:
    """A schema and all that it is made of by allOf, anyOf and oneOf."""
    own = _resolved(schema, root)
    found = [own]
    for key in ("allOf", "anyOf", "oneOf"):
        inner = own.get(key)
        if isinstance(inner, list) and depth < _DEPTH // 4:
            for part in inner:
                found += _parts(part, root, depth + 1)
    return found


def _kinds(schema: Any, root: dict[str, Any], depth: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """What a value may be: (type, or "values" or "any") with the schema that says so."""
    own = _resolved(schema, root)
    found: list[tuple[str, dict[str, Any]]] = []
    if isinstance(own.get("enum"), list) or "const" in own:
        found.append(("values", own))
    elif isinstance(own.get("type"), str):
        found.append((own["type"], own))
    elif isinstance(own.get("type"), list):
        found += [(str(kind), own) for kind in own["type"]]
    elif depth < _DEPTH // 4:
        for key in ("anyOf", "oneOf", "allOf"):
            inner = own.get(key)
            for part in inner if isinstance(inner, list) else ():
                found += _kinds(part, root, depth + 1)
        concrete = [kind for kind in found if kind[0] != "any"]
        found = concrete or found
    if not found:
        guess = "object" if "properties" in own else "array" if "items" in own else "any"
        found.append((guess, own))
    if own.get("nullable") is True:  # of OpenAPI, and some servers make their schemas from that
        found.append(("null", own))
    return found


def _values(schema: dict[str, Any]) -> list[Any]:
    return list(schema["enum"]) if isinstance(schema.get("enum"), list) else [schema.get("const")]


_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "of at least {} characters",
    "maxLength": "of at most {} characters",
    "minItems": "with at least {} items",
    "maxItems": "with at most {} items",
    "pattern": "that matches {}",
}


def _expected(schema: Any, root: dict[str, Any]) -> str:
    """What a schema asks for, in a few words."""
    words = []
    for kind, own in _kinds(schema, root):
        if kind == "values":
            values = _values(own)
            shown = ", ".join(json.dumps(value, ensure_ascii=False, default=str) for value in values[:20])
            words.append(f"one of {shown}{', ...' if len(values) > 20 else ''}" if len(values) > 1 else shown)
            continue
        word = "any value" if kind == "any" else kind
        if kind == "array":
            inner = _resolved(own.get("items"), root).get("type")
            word += f" of {inner}" if isinstance(inner, str) else ""
        if kind != "null":
            limits = [
                text.format(own[key]) for key, text in _LIMITS.items() if key in own and not isinstance(own[key], bool)
            ]
            word += f" {', '.join(limits)}" if limits else ""
        words.append(word)
    return " or ".join(dict.fromkeys(words))


def _got(value: Any) -> str:
    kind = (
        "null" if value is None
        else "boolean" if isinstance(value, bool)
        else "integer" if isinstance(value, int)
        else "number" if isinstance(value, float)
        else "string" if isinstance(value, str)
        else "array" if isinstance(value, list)
        else "object" if isinstance(value, dict)
        else type(value).__name__
    )  # fmt: skip
    return kind if value is None or isinstance(value, (list, dict)) else f"{kind} {_short(repr(value))}"


def _short(text: str, limit: int = _SHOWN) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _path(parts: Any) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


# -- texts to values

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_ORDER = ("values", "null", "boolean", "integer", "number", "array", "object", "any", "string")
_MISS: Any = object()


def _not_json(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return _MISS


def _typed(text: str, schema: Any, root: dict[str, Any]) -> Any:
    """The value that a text stands for. :raises ValueError: none that the schema allows."""
    kinds = _kinds(schema, root)
    names = {kind for kind, _ in kinds}
    if names == {"string"}:
        return text
    if "string" in names and text[:1] == text[-1:] == '"' and isinstance(_json(text), str):
        return _json(text)  # the way to say that 5 is meant as text
    # digits are numbers rather than booleans where both would do
    order = sorted(kinds, key=lambda one: _ORDER.index(one[0]) if one[0] in _ORDER else len(_ORDER))
    if names & {"integer", "number"} and _NUMBER.fullmatch(text.strip()):
        order = [one for one in order if one[0] != "boolean"] + [one for one in order if one[0] == "boolean"]
    for kind, own in order:
        value = _as(kind, text, own, names, root)
        if value is not _MISS:
            return value
    note = ""
    if names & {"array", "object"} and text.lstrip()[:1] in ("[", "{") and _json(text) is _MISS:
        note = " (it is no valid JSON)"
    allowed = [str(value) for kind, own in kinds if kind == "values" for value in _values(own)]
    near = difflib.get_close_matches(text, allowed, 1)
    note += f"; did you mean {near[0]}?" if near else ""
    raise ValueError(
        f"expected {_expected(schema, root)}{' as JSON' if 'object' in names else ''}, got {_short(repr(text))}{note}"
    )


def _as(kind: str, text: str, schema: dict[str, Any], kinds: set[str], root: dict[str, Any]) -> Any:
    """The text as a value of that type, or ``_MISS``."""
    bare = text.strip()
    if kind == "values":
        parsed = _json(text)
        for value in _values(schema):
            if (
                value == text
                if isinstance(value, str)
                else (parsed is not _MISS and json.dumps(value) == json.dumps(parsed))
            ):
                return value
            if isinstance(value, bool) and bare.lower() in (_YES if value else _NO)[:3]:
                return value
    elif kind == "null":
        if bare in ("null", "None") or (not bare and "string" not in kinds and "values" not in kinds):
            return None
    elif kind == "boolean":
        if bare.lower() in _YES + _NO:
            return bare.lower() in _YES
    elif kind in ("integer", "number"):
        try:
            if _INTEGER.fullmatch(bare):
                return int(bare)
            if _NUMBER.fullmatch(bare) and math.isfinite(float(bare)):
                value = float(bare)
                if kind == "number":
                    return value
                return int(value) if value.is_integer() else _MISS
        except ValueError:  # more digits than Python takes
            return _MISS
    elif kind == "array":
        value = _json(text)
        if isinstance(value, list):
            return value
        items = schema.get("items")
        if bare[:1] in ("[", "{") or "string" in kinds or {k for k, _ in _kinds(items, root)} & {"array", "object"}:
            return _MISS
        return [_typed(part.strip(), items, root) for part in text.split(",")] if bare else []
    elif kind == "object":
        value = _json(text)
        if isinstance(value, dict):
            return value
    elif kind == "any":
        value = _json(text)
        return text if value is _MISS else value
    elif kind == "string":
        return text
    return _MISS


# -- results


@dataclass(frozen=True)
class ToolResult:
    """What a call gave.

    ``content`` holds the protocol's blocks (text, image, audio, resource, resource_link) as dictionaries.
    """

    content: list[dict[str, Any]] = field(default_factory=list)
    structured: Any = None
    is_error: bool = False
    server: str = ""
    tool: str = ""
    duration: float = 0.0  # seconds
    meta: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_sdk(cls, result: Any, *, server: str = "", tool: str = "", duration: float = 0.0) -> Self:
        """From the SDK's result, of either line, or from a dictionary with the protocol's names."""
        raw = result if isinstance(result, dict) else result.model_dump(mode="json", by_alias=True)
        return cls(
            # fields that are not set say nothing; None within structured content may well
            content=[_set_only(block) for block in raw.get("content") or []],
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
        return "\n".join(text for block in self.content if (text := _text_of(block)) is not None)

    @property
    def images(self) -> list[tuple[str, bytes]]:
        """Images in it: (media type, data). One whose data is broken is left out."""
        return [image for block in self.content if (image := _image_of(block)) is not None]

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {
            "server": self.server,
            "tool": self.tool,
            "isError": self.is_error,
            "content": self.content,
            "structuredContent": self.structured,
            "seconds": round(self.duration, 6),
            **({"_meta": self.meta} if self.meta else {}),
        }

    def __str__(self) -> str:
        """Its texts, or else the structured content; and what kinds of other things it has."""
        return self._shown()

    def _shown(self, carried: Collection[str] = ()) -> str:
        """As text, but for images of these media types, which are handed over beside it."""
        found = [] if self.text or self.structured is None else [_json_of(self.structured)]
        for block in self.content:
            text, image = _text_of(block), _image_of(block) if carried else None
            if text is not None:
                found += [text] if self.text else []
            elif image is None or image[0] not in carried:
                found.append(_described(block))
        return "\n".join(found)


def _text_of(block: dict[str, Any]) -> str | None:
    """The text of a block that is one, or that has one embedded."""
    if block.get("type") == "text":
        return str(block.get("text", ""))
    resource = block.get("resource") if block.get("type") == "resource" else None
    return str(resource["text"]) if isinstance(resource, dict) and "text" in resource else None


def _image_of(block: dict[str, Any]) -> tuple[str, bytes] | None:
    """The image of a block that is one, or that has one embedded: (media type, data). None if its data is broken."""
    kind, data = block.get("mimeType") or "image/png", block.get("data")
    if block.get("type") == "resource" and isinstance(block.get("resource"), dict):
        kind, data = block["resource"].get("mimeType") or "", block["resource"].get("blob")
    elif block.get("type") != "image":
        return None
    if not isinstance(data, str) or not str(kind).startswith("image/"):
        return None
    try:
        return str(kind), base64.b64decode("".join(data.split()), validate=True)
    except ValueError:
        return None


def _json_of(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _set_only(block: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _set_only(value) if key in ("resource", "annotations") and isinstance(value, dict) else value
        for key, value in block.items()
        if value is not None
    }


def _described(block: dict[str, Any]) -> str:
    inner = block.get("resource") if isinstance(block.get("resource"), dict) else block
    assert isinstance(inner, dict)
    said = [str(block.get("type", "?")), *(str(inner[key]) for key in ("uri", "mimeType") if inner.get(key))]
    return f"[{' '.join(said)}]"
