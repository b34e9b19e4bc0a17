"""Definitions of inputs, ``${input:id}``, and servers' fields that move from one file to another.

Contract: pure functions on plain data.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

Definitions = list[dict[str, object]]


def input_list(root: Mapping[object, object], at: tuple[str, ...]) -> list[object]:
    holder: object = root.get("mcp") if at[:1] == ("mcp",) else root
    found = holder.get("inputs") if isinstance(holder, Mapping) else None
    return found if isinstance(found, list) else []


def input_definitions(root: Mapping[object, object], at: tuple[str, ...]) -> Definitions:
    return [dict(d) for d in input_list(root, at) if isinstance(d, Mapping) and isinstance(d.get("id"), str)]


def with_inputs(value: object, renamed: Mapping[str, str]) -> object:
    """A server's fields with other ids of inputs."""
    if isinstance(value, str):
        return re.sub(
            r"(?<!\$)\$\{input:([^}]*)\}", lambda found: f"${{input:{renamed.get(found[1], found[1])}}}", value
        )
    if isinstance(value, dict):
        return {key: with_inputs(part, renamed) for key, part in value.items()}
    return [with_inputs(part, renamed) for part in value] if isinstance(value, list) else value


def rebased(value: object, workspace: Path) -> object:
    """A server's fields that mean the same in a file elsewhere."""
    here = str(workspace).replace("${", "$${")

    def replace(one: object) -> object:
        if isinstance(one, str):
            one = re.sub(r"(?<!\$)\$\{workspaceFolder\}", lambda _: here, one)
            return re.sub(r"(?<!\$)\$\{workspaceFolderBasename\}", lambda _: workspace.name, one)
        if isinstance(one, dict):
            return {key: replace(part) for key, part in one.items()}
        return [replace(part) for part in one] if isinstance(one, list) else one

    made = replace(value)
    if not isinstance(made, dict):
        return made
    for key in ("cwd", "env_file", "envFile"):
        text = made.get(key)
        if isinstance(text, str) and text and not text.startswith(("~", "${")) and not os.path.isabs(text):
            made[key] = os.path.join(here, text)
    return made


def input_ids(value: object) -> set[str]:
    """The ids of all ``${input:id}`` in a value and its parts."""
    if isinstance(value, str):
        return set(re.findall(r"(?<!\$)\$\{input:([^}]*)\}", value))
    if isinstance(value, Mapping):
        value = list(value.values())
    return set().union(*map(input_ids, value)) if isinstance(value, (list, tuple)) else set()
