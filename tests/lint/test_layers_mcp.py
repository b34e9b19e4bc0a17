"""The packages of aionest.mcp: each knows only those below it, and no file, class or function is too long to be read."""

from __future__ import annotations

import ast
import functools
import re
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


OUTSIDE = [MCP.parent / "streamlit.py", *(MCP.parent / "cli").rglob("*.py"), *(MCP.parent / "app").rglob("*.py")]
API = (MCP.parents[2] / "docs" / "api.md").read_text()


def module_file(name):
    path = MCP.parents[1].joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def exported(name):
    """What a module has in ``__all__``; of one without, which the documentation takes whole, what has no underscore."""
    tree = parsed(module_file(name))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return set(ast.literal_eval(node.value))
    assert f".. automodule:: {name}\n" in API, f"{name} has no __all__"
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")}


def taken(source, package=()):
    """What a text imports of ``aionest.mcp`` and ``aionest.streamlit``, in programs within strings, too: modules and names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                if f"{module}.".startswith(("aionest.mcp.", "aionest.streamlit.")):
                    yield module, alias.name
                elif whole in ("aionest.mcp", "aionest.streamlit"):
                    yield whole, None
        elif isinstance(node, ast.Import):
            yield from (
                (alias.name, None)
                for alias in node.names
                if f"{alias.name}.".startswith(("aionest.mcp.", "aionest.streamlit."))
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "import" in node.value:
            try:
                yield from taken(node.value)
            except SyntaxError:
                continue


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path.relative_to(MCP.parent).as_posix())
def test_what_is_imported_from_outside_is_public(path):
    """``streamlit``, the command line and the app go through what is in ``__all__`` and in the documentation."""
    package = path.relative_to(MCP.parents[1]).parts[:-1]
    for module, name in taken(path.read_text(), package):
        assert name is not None, f"a name of {module} is to be imported, not the module"
        assert name in exported(module), f"{module}.{name}"
        assert re.search(rf"[. ]{name}\b", API) or f"automodule:: {module}" in API, (
            f"{module}.{name} is not in docs/api.md"
        )


def test_the_rule_of_imports_is_looked_at():
    found = [
        *taken("from aionest.mcp.config import a\nx = 'import sys; from aionest.mcp import b'\nfrom .mcp import c")
    ]
    assert found == [("aionest.mcp.config", "a"), ("aionest.mcp", "b")]
    assert [*taken("from ..mcp import c\nfrom .. import mcp", ("aionest", "cli"))] == [
        ("aionest.mcp", "c"),
        ("aionest.mcp", None),
    ]
    assert "splits" in exported("aionest.mcp.tools") and "to_openai" in exported("aionest.mcp.adapters.openai")


def test_what_the_commands_import_late_is_where_the_type_checker_finds_it():
    tree = ast.parse((MCP.parent / "cli" / "lib.py").read_text())
    (homes,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_HOMES"
    ]
    assert homes == {name: module for module, name in taken(ast.unparse(tree))}


def test_nobody_outside_uses_what_is_not_public():
    """Nor attributes of their objects."""
    for path in OUTSIDE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                assert getattr(node.value, "id", "") not in ("loader", "config", "tool", "connection"), (
                    path,
                    node.attr,
                )
