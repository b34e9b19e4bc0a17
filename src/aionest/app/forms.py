"""A form from a tool's JSON schema.

Contract: gives the arguments as the schema wants them; optional fields left empty are left out. What has no widget of its own
is edited as JSON, and what is wrong is said beside the form, with nothing lost. What was given to a tool before is there again
when it is chosen again, though Streamlit drops the state of widgets that are not drawn.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, TypedDict

import streamlit as st

from aionest._untrusted import for_cell, for_label, for_markdown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aionest.mcp import Tool

_YES_NO = {"": "", "yes": True, "no": False}
_MAX = (1 << 53) - 1  # the largest whole number that a browser's number field takes


def key_of(tool: Tool, name: str) -> str:
    """The key of an argument's widget."""
    return f"{tool.name}/{name}"


def _target(reference: str, root: Mapping[str, object]) -> object:
    """What a reference into the schema leads to; None if to nothing."""
    target: object = root
    for part in reference[1:].strip("/").split("/"):
        part = part.replace("~1", "/").replace("~0", "~")
        target = target.get(part) if isinstance(target, dict) else None
    return target


def _alternatives(schema: dict[str, object]) -> list[dict[str, object]]:
    """What ``anyOf`` and the like offer, but for nothing."""
    parts = [one for key in ("anyOf", "oneOf", "allOf") if isinstance(found := schema.get(key), list) for one in found]
    return [one for one in parts if isinstance(one, dict) and one.get("type") != "null"]


def _resolved(schema: object, root: dict[str, object]) -> dict[str, object]:
    """A schema with its own references followed, and the one that matters of ``anyOf`` and the like."""
    for _ in range(16):
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith("#"):
            target = _target(reference, root)
            schema = {**target, **{k: v for k, v in schema.items() if k != "$ref"}} if isinstance(target, dict) else {}
            continue
        if "type" in schema or "enum" in schema or "const" in schema:
            break
        real = _alternatives(schema)
        if len(real) != 1:
            break
        rest = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf", "allOf")}
        schema = {**real[0], **rest}
    return schema if isinstance(schema, dict) else {}


def _kind(schema: dict[str, object]) -> str:
    if isinstance(schema.get("enum"), list) or "const" in schema:
        return "choice"
    kind = schema.get("type")
    if isinstance(kind, list):
        kinds = [one for one in kind if one != "null"]
        kind = kinds[0] if len(kinds) == 1 else None
    if kind == "array":
        items = schema.get("items")
        if isinstance(items, dict) and isinstance(items.get("enum"), list):
            return "choices"
        if isinstance(items, dict) and items.get("type") == "string":
            return "lines"
    return kind if kind in ("string", "integer", "number", "boolean") else "json"


def _written(kind: str, value: object) -> object:
    """A value as the state of its widget."""
    if kind == "json":
        return "" if value is None else json.dumps(value, ensure_ascii=False, indent=1)
    if kind == "lines":
        return "\n".join(map(str, value)) if isinstance(value, list) else ""
    if kind == "choices":
        return value if isinstance(value, list) else []
    if kind == "string":
        return "" if value is None else str(value)
    if kind == "boolean":
        return "" if value is None else "yes" if value else "no"
    if kind in ("integer", "number"):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        most = _MAX if kind == "integer" else sys.float_info.max
        if not abs(value) <= most:  # none that its field could show
            return None
        return int(value) if kind == "integer" else float(value)
    return value


def fill(tool: Tool, given: dict[str, object]) -> None:
    """Put arguments into a tool's form; only before it is drawn in this run, so in callbacks."""
    for name, written in tool.properties.items():
        schema = _resolved(written, tool.input_schema)
        kind = _kind(schema)
        value = _written(kind, given.get(name))
        if kind == "boolean" and (name in tool.required or isinstance(schema.get("default"), bool)):
            value = bool(given.get(name))
        st.session_state[key_of(tool, name)] = value


def arguments(tool: Tool, before: dict[str, object] | None = None) -> tuple[dict[str, object], list[str]]:
    """Draw the widgets; the arguments as they stand, and what is wrong with them.

    :param before: what was given to it last.
    """
    given: dict[str, object] = {}
    problems: list[str] = []
    for name, written in tool.properties.items():
        schema = _resolved(written, tool.input_schema)
        required = name in tool.required
        label = f"{for_label(schema.get('title') or name)}{' *' if required else ''}"
        try:
            value = _draw(tool, name, schema, label, required, before)
        except ValueError as exc:
            problems.append(f"{for_cell(name)}: {exc}")
            continue
        if value is not None:
            given[name] = value
    return given, problems


class _Options(TypedDict):
    """What all widgets are given."""

    help: str | None
    key: str


def _draw(
    tool: Tool, name: str, schema: dict[str, object], label: str, required: bool, before: dict[str, object] | None
) -> object:
    """One widget; its value, None if there is none.

    :raises ValueError: what is written there is no JSON.
    """
    kind = _kind(schema)
    key = key_of(tool, name)
    state = st.session_state
    start = before[name] if before is not None and name in before else schema.get("default")
    if before is not None and name not in before:
        start = None  # it was left empty
    text = schema.get("description")
    options: _Options = {"help": for_markdown(text) if isinstance(text, str) else None, "key": key}
    if kind == "choice":
        return _one_of(_choices(schema), label, required, start, options)
    if kind == "choices":
        items = schema.get("items")
        return _some_of(_choices(items) if isinstance(items, dict) else [], label, required, start, options)
    if kind == "boolean" and (required or isinstance(schema.get("default"), bool)):
        if not isinstance(state.get(key), bool):
            state[key] = bool(start)
        return st.checkbox(label, **options)
    if kind == "boolean":
        if state.get(key) not in _YES_NO:
            state[key] = _written(kind, start if isinstance(start, bool) else None)
        chosen = _YES_NO[st.selectbox(label, list(_YES_NO), **options) or ""]
        return None if chosen == "" else chosen
    if key not in state:
        state[key] = _written(kind, start)
    return _field(kind, schema, label, required, options)


def _choices(schema: Mapping[str, object]) -> list[object]:
    """The values that a schema lists."""
    values = schema.get("enum")
    return list(values) if isinstance(values, list) else [schema.get("const")]


def _one_of(choices: list[object], label: str, required: bool, start: object, options: _Options) -> object:
    """A list to choose from; the choice, None if there is none yet."""
    key, state = options["key"], st.session_state
    if key not in state or (state[key] is not None and state[key] not in choices):
        state[key] = start if start in choices else choices[0] if required and choices else None
    return st.selectbox(label, choices, index=None, format_func=_option, placeholder="optional", **options)


def _some_of(choices: list[object], label: str, required: bool, start: object, options: _Options) -> object:
    """A list to choose several from; the choices, None if there are none."""
    key, state = options["key"], st.session_state
    if key not in state:
        state[key] = [one for one in start if one in choices] if isinstance(start, list) else []
    several: list[object] = st.multiselect(label, choices, format_func=_option, **options)
    return several if several or required else None


def _field(kind: str, schema: dict[str, object], label: str, required: bool, options: _Options) -> object:
    """A widget to type into; its value, None if it is empty.

    :raises ValueError: what is written there is no JSON.
    """
    hint = "" if required else "optional"
    if kind == "integer":
        number = st.number_input(
            label, value=None, step=1, min_value=-_MAX, max_value=_MAX, placeholder=hint or "a number", **options
        )
        return None if number is None else int(number)
    if kind == "number":
        return _short(
            st.number_input(label, value=None, step=None, format="%.15g", placeholder=hint or "a number", **options)
        )
    if kind == "string":
        long = schema.get("format") == "textarea" or (_number(schema.get("maxLength")) or 0) > 200
        if long:
            typed = st.text_area(label, placeholder=hint, height=100, **options)
        else:
            secret = schema.get("format") == "password"
            typed = st.text_input(label, placeholder=hint, type="password" if secret else "default", **options)
        return typed or None  # an empty field was not filled in; the check says so of one that is required
    if kind == "lines":
        typed = st.text_area(f"{label} (one per line)", placeholder=hint, height=100, **options)
        lines = [line for line in typed.splitlines() if line.strip()]
        return lines if lines or required else None
    typed = st.text_area(f"{label} (JSON)", placeholder=hint, height=100, **options)
    if not typed.strip():
        return None
    try:
        return json.loads(typed)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _short(number: float | None) -> float | int | None:
    """A number as a person would write it: a browser's field knows 3.0 only, though 3 was meant."""
    return int(number) if number is not None and number.is_integer() and abs(number) <= _MAX else number


def _number(value: object) -> float | None:
    return value if isinstance(value, (int, float)) else None


def _option(value: object) -> str:
    return for_cell(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
