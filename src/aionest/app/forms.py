"""A form from a tool's JSON schema.

Contract: gives the arguments as the schema wants them; optional fields left empty are left out. What has no widget of its own
is edited as JSON, and what is wrong is said beside the form, with nothing lost.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    from aionest.mcp import Tool


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "string")
    if kind is None:
        for part in [*(schema.get("anyOf") or []), *(schema.get("oneOf") or [])]:
            if isinstance(part, dict) and part.get("type") not in (None, "null"):
                return str(part["type"])
        return "json" if "enum" not in schema else "string"
    return str(kind)


def arguments(tool: Tool) -> tuple[dict[str, Any], list[str]]:
    """Draw the widgets; the arguments as they stand, and what is wrong with them."""
    given: dict[str, Any] = {}
    problems: list[str] = []
    for name, schema in tool.properties.items():
        schema = schema if isinstance(schema, dict) else {}
        required = name in tool.required
        label = f"{schema.get('title') or name}{' *' if required else ''}"
        text = schema.get("description")
        key = f"{tool.name}/{name}"
        default = schema.get("default")
        kind = _kind(schema)
        if "enum" in schema:
            options = list(schema["enum"])
            index = options.index(default) if default in options else (0 if required else None)
            value = st.selectbox(label, options, index=index, help=text, key=key)
            if value is not None:
                given[name] = value
        elif kind == "boolean":
            if required or default is not None:
                given[name] = st.checkbox(label, value=bool(default), help=text, key=key)
            else:
                chosen = st.selectbox(label, ["", "true", "false"], help=text, key=key)
                if chosen:
                    given[name] = chosen == "true"
        elif kind == "integer":
            number = st.number_input(
                label, value=default, step=1, help=text, key=key, placeholder="" if required else "optional"
            )
            if number is not None:
                given[name] = int(number)
        elif kind == "number":
            start = float(default) if default is not None else None
            number = st.number_input(label, value=start, help=text, key=key, format="%g")
            if number is not None:
                given[name] = number
        elif kind == "string":
            long = schema.get("format") == "textarea" or (schema.get("maxLength") or 0) > 200
            draw = st.text_area if long else st.text_input
            value = draw(label, value=default or "", help=text, key=key)
            if value or required:
                given[name] = value
        else:
            written_default = json.dumps(default) if default is not None else ""
            written = st.text_area(f"{label} (JSON)", value=written_default, help=text, key=key, height=100)
            if written.strip():
                try:
                    given[name] = json.loads(written)
                except ValueError as exc:
                    problems.append(f"{name}: {exc}")
    return given, problems
