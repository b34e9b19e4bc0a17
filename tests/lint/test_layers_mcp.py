"""The packages of aionest.mcp: each knows only those below it, and no file, class or function is too long to be read."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

MCP = Path(__file__).parents[2] / "src" / "aionest" / "mcp"
LAYERS = {
    "_json": -1, "html": -1, "notebook": -1, "errors": 0, "_threads": 0, "config": 1, "tools": 2, "adapters": 3, "sdk": 3, "auth": 4,
    "catalog": 4, "transport": 5, "session": 6, "wanted": 7, "servers": 8, "loader": 9, "__init__": 10,
}  # fmt: skip
# a face that names the type of what stands above it
TYPES = {
    ("session", "wanted"),
    ("errors", "tools"),
    ("html", "errors"),
    ("html", "session"),
    ("html", "tools"),
    ("notebook", "session"),
}
FILE, CLASS, FUNCTION = 600, 400, 60
LONG: set[str] = set()  # it only shrinks
FILES = sorted(MCP.rglob("*.py"))


@functools.cache
def parsed(path):
    return ast.parse(path.read_text())


def layer(path):
    return path.relative_to(MCP).parts[0].removesuffix(".py")


def imported(path):
    """What a file imports of the package, by layers; and whether only for types."""
    tree = parsed(path)
    typing = {
        id(one)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for one in ast.walk(node)
    }
    package = [*path.relative_to(MCP).parts[:-1]]
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = package[: len(package) - node.level + 1] if node.level <= len(package) + 1 else None
        if base is None or node.level > len(package) + 1:
            continue
        target = [*base, *(node.module.split(".") if node.module else [])]
        for name in [target[0]] if target else [alias.name for alias in node.names]:
            yield name, id(node) in typing


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(MCP).as_posix())
def test_a_layer_knows_only_those_below_it(path):
    mine = layer(path)
    for name, for_types in imported(path):
        known = name == mine or LAYERS[name] < LAYERS[mine]
        assert known or (for_types and (mine, name) in TYPES), name


def test_the_rule_is_looked_at():
    assert {name for name, _ in imported(MCP / "session" / "link.py")} >= {
        "sdk",
        "auth",
        "config",
        "errors",
        "transport",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(MCP).as_posix())
def test_nothing_is_too_long(path):
    text = path.read_text()
    long = [path.name] if len(text.splitlines()) > FILE else []
    for node in ast.walk(parsed(path)):
        most = CLASS if isinstance(node, ast.ClassDef) else FUNCTION
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.end_lineno - node.lineno + 1 > most:
                long.append(f"{path.name}:{node.name}")
    assert set(long) <= LONG
    assert ast.get_docstring(parsed(path)), "a header says what the file is for"


def test_the_face_is_thin():
    """Of the methods of ``ToolsLoader``, its own and those about servers are counted, each for themselves; it inherits no others."""
    counted = {}
    for file, name in (("loader.py", "ToolsLoader"), ("servers.py", "ServersMethods")):
        (face,) = [n for n in parsed(MCP / file).body if isinstance(n, ast.ClassDef)]
        methods = [n for n in face.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
        assert face.name == name
        counted[name] = len(methods), [ast.unparse(base) for base in face.bases]
    (own, bases), (of_servers, no_bases) = counted["ToolsLoader"], counted["ServersMethods"]
    assert bases == ["ServersMethods"] and no_bases == []
    assert own <= 30 and of_servers <= 22
    assert len((MCP / "loader.py").read_text().splitlines()) < 450


def test_nobody_outside_uses_what_is_not_public():
    """``streamlit``, the command line and the app go through public names of ``aionest.mcp``."""
    outside = [MCP.parent / "streamlit.py", *(MCP.parent / "cli").rglob("*.py"), *(MCP.parent / "app").rglob("*.py")]
    for path in outside:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aionest.mcp"):
                assert not any(part.startswith("_") for part in node.module.split(".")), path
                assert not any(alias.name.startswith("_") for alias in node.names), path
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                assert getattr(node.value, "id", "") not in ("loader", "config", "tool", "connection"), (
                    path,
                    node.attr,
                )
