"""Layers of the Python sources: a module imports its own layer and lower ones, and no imports go in a circle.

Imports inside functions count, and so do looks into ``sys.modules``; those for type checkers only do not.
"""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

SRC = Path(__file__).parent.parent.parent / "src"

# Lowest first. A name stands for what is in that package, too. docs/how-it-works.md draws them.
LAYERS = {
    "errors": ["_errors", "_near", "_platform", "_times", "_untrusted"],
    "engine": ["_engine"],
    "scopes": ["_scopes"],
    "hosted": ["_hosted"],
    "runs": ["_runs"],
    "portal": ["_portal"],
    "entry": ["_entry"],
    "package": [""],
    "mcp": ["mcp"],
    "streamlit": ["streamlit"],
    "examples": ["examples"],
    "cli": ["cli"],
    "app": ["app"],
    "main": ["__main__"],
}


def modules():
    found = {}
    for path in (SRC / "aionest").rglob("*.py"):
        name = ".".join(path.relative_to(SRC).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imported_by(name):
    """The project's modules that this one imports, wherever it does."""
    path = MODULES[name]
    tree = ast.parse(path.read_text())
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for_checkers = {
        below
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for part in node.body
        for below in ast.walk(part)
    }
    found = set()
    for node in ast.walk(tree):
        if node in for_checkers:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                base = ".".join([*above[: len(above) - node.level + 1], *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full in MODULES or alias.name == "_core" else base)
        elif isinstance(node, (ast.Call, ast.Subscript)) and ast.unparse(node).startswith("sys.modules"):
            found |= {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return {n for n in found if n in MODULES} - {name}


@functools.cache
def imports():
    """By module: read by the first test that asks, not by every process that collects the tests."""
    return {name: imported_by(name) for name in MODULES}


def layer_of(name):
    """The number of its layer: that of the longest name in the table which it is, or is below."""
    name = name.removeprefix("aionest").removeprefix(".")
    fitting = [
        (len(entry), number)
        for number, entries in enumerate(LAYERS.values())
        for entry in entries
        if name == entry or (entry and name.startswith(f"{entry}."))
    ]
    assert fitting, f"aionest.{name} is in no layer: add it to LAYERS in {Path(__file__).name}"
    return max(fitting)[1]


def short(name):
    return name.removeprefix("aionest.")


def upwards():
    return {
        (short(one), short(other))
        for one, others in imports().items()
        for other in others
        if layer_of(other) > layer_of(one)
    }


def in_circles():
    """Imports among modules that reach each other."""

    graph = imports()

    def reached(start):
        seen, todo = set(), list(graph[start])
        while todo:
            if (name := todo.pop()) not in seen:
                seen.add(name)
                todo += graph[name]
        return seen

    reach = {name: reached(name) for name in graph}
    return {(short(one), short(other)) for one in graph for other in graph[one] if one in reach[other]}


def test_no_import_goes_upwards():
    assert upwards() == set()


def test_no_imports_go_in_a_circle():
    assert in_circles() == set()


def test_below_the_package_there_are_no_modules_but_in_layers():
    """A stranger finds a behaviour by the name of a layer: nothing private lies loose beside them, but what all of them use."""
    loose = {path.name for path in (SRC / "aionest").glob("_*.py")}
    assert loose == {
        "__init__.py",
        "__main__.py",
        "_errors.py",
        "_near.py",
        "_platform.py",
        "_times.py",
        "_untrusted.py",
    }


def test_a_layer_is_one_row_of_the_table_and_says_what_it_is():
    for name, path in MODULES.items():
        assert layer_of(name) is not None
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text())), f"{name} does not say what it is"


def test_docstrings_have_one_form():
    """``:param x:``, ``:raises X:``, ``:return:``: what the documentation renders."""
    section = re.compile(r"^ +(Args|Parameters|Raises|Returns|Yields):$", re.M)
    assert [name for name, path in MODULES.items() if section.search(path.read_text())] == []


def test_the_map_in_the_docs_names_every_module_of_the_engine():
    text = (SRC.parent / "docs" / "how-it-works.md").read_text()
    for package in (path.name for path in (SRC / "aionest").glob("_*") if (path / "__init__.py").exists()):
        (row,) = re.findall(rf"^\| `{package}` \|.*$", text, re.M)
        modules = {path.stem for path in (SRC / "aionest" / package).glob("*.py")} - {"__init__"}
        assert {name for name in modules if f"`{name}`" not in row} == set(), package
        assert f"\n    {package} " in text, f"{package} is not drawn"


if __name__ == "__main__":  # what is wrong, for those who move things
    print("upwards:", *sorted(upwards()), "in circles:", *sorted(in_circles()), sep="\n")
