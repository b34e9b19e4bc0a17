"""Layers of the Python sources: a module imports its own layer and lower ones, and no imports go in a circle.

Imports inside functions count, and so do looks into ``sys.modules``; those for type checkers only do not.
"""

from __future__ import annotations

import ast
from pathlib import Path

SRC = Path(__file__).parent.parent.parent / "src"

# lowest first; a name stands for what is in that package, too
LAYERS = {
    "errors": ["_errors"],
    "engine": [
        "_ending",
        "_frames",
        "_factories",
        "_foreign",
        "_guest",
        "_imports",
        "_owners",
        "_probe",
        "_run",
        "_signals",
        "_support",
    ],
    "scopes": ["_anyio", "_groups", "_kept", "_subprocess"],
    "hosted": ["hosted"],
    "portal": ["_iterate", "_runner", "_streamlit", "portal"],
    "apply": ["_apply", "_shim"],
    "package": [""],
    "mcp": ["mcp"],
    "streamlit": ["streamlit"],
    "examples": ["examples"],
    "cli": ["cli"],
    "app": ["app"],
    "main": ["__main__"],
}

# What goes upwards or in a circle today, importer and imported. This list only ever gets shorter.
EXCEPTIONS = {
    ("_anyio.install", "_anyio.runs"),
    ("_ending", "_anyio.asyncgens"),
    ("_kept", "hosted"),
    ("_run", "_anyio.asyncgens"),
    ("_run", "_apply"),
    ("_run", "_ending"),
    ("_run", "_guest"),
    ("_run", "_kept"),
    ("_run", "_streamlit"),
    ("_run", "hosted"),
    ("_run", "portal"),
    ("_runner", "_apply"),
    ("hosted", "_apply"),
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


IMPORTS = {name: imported_by(name) for name in MODULES}


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
        for one, others in IMPORTS.items()
        for other in others
        if layer_of(other) > layer_of(one)
    }


def in_circles(ignored):
    """Imports among modules that reach each other, less those that are ignored."""
    graph = {one: {o for o in others if (short(one), short(o)) not in ignored} for one, others in IMPORTS.items()}

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
    assert upwards() - EXCEPTIONS == set()


def test_no_imports_go_in_a_circle():
    assert in_circles(EXCEPTIONS) == set()


def test_every_exception_is_still_needed():
    there = {(short(one), short(other)) for one, others in IMPORTS.items() for other in others}
    assert EXCEPTIONS - there == set(), "take these out of EXCEPTIONS"


if __name__ == "__main__":  # what stands in the lists, for those who move things
    print("upwards:", *sorted(upwards()), "in circles:", *sorted(in_circles(EXCEPTIONS)), sep="\n")
