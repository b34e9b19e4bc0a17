"""``Any`` only where a value really can be anything: how often each package says it, which may only become less.

All of the name counts: annotations, imports, ``typing.Any``, and what stands in a text that is a type. Where a value is only passed
on, or looked at by ``isinstance``, ``object`` says so; what is relied on of somebody else's object is a ``Protocol``.
``python tests/lint/test_any.py`` prints the table as it would be.
"""

from __future__ import annotations

import ast
import functools
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "aionest"
MOST = {
    "__init__.py": 2,
    "_engine": 291,
    "_entry": 60,
    "_hosted": 5,
    "_portal": 81,
    "_runs": 101,
    "_scopes": 158,
    "app": 5,
    "cli": 21,
    "examples": 77,
    "mcp": 55,
    "streamlit.py": 7,
}
VALUES = {"_ANYTHING"}  # what tools' functions are annotated with, where a schema says nothing
SLACK = 3  # so that whoever takes one out need not come here


def count(tree):
    """How often a tree has the name."""
    found = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found += node.id == "Any"
        elif isinstance(node, ast.Attribute):
            found += node.attr == "Any"
        elif isinstance(node, ast.ImportFrom):
            found += sum(alias.name == "Any" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "Any" in node.value:
            found += in_text(node.value)
    return found


def in_text(text):
    """Of a text that is a type: TypeVar("F", bound="Callable[..., Any]")."""
    try:
        inner = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        return 0
    return count(inner) if isinstance(inner, (ast.Subscript, ast.BinOp, ast.Name, ast.Attribute)) else 0


@functools.cache
def counted():
    found = Counter()
    for path in sorted(PACKAGE.rglob("*.py")):
        found[path.relative_to(PACKAGE).parts[0]] += count(ast.parse(path.read_text()))
    return {name: number for name, number in found.items() if number}


def test_it_only_becomes_less():
    now = counted()
    more = {name: number for name, number in now.items() if number > MOST.get(name, 0)}
    assert not more, f"more Any than {MOST}: an object that is narrowed, a Protocol or a TypeVar says more"


def test_the_table_follows():
    now = counted()
    assert not {name for name, most in MOST.items() if most > now.get(name, 0) + SLACK}, "write down what is left"


def test_it_is_not_hidden_under_another_name():
    """No alias is Any and nothing else, and none is imported under another name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id == "Any":
                assert {target.id for target in node.targets} <= VALUES, path
            if isinstance(node, ast.ImportFrom):
                assert not any(alias.name == "Any" and alias.asname for alias in node.names), path


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("from typing import Any", 1),
        ("x: Any", 1),
        ("def f(a: dict[str, Any], *b: typing.Any) -> 'list[Any]': ...", 3),
        ("'''Any thread.'''", 0),
        ("x: object", 0),
    ],
)
def test_all_of_it_is_counted(text, number):
    assert count(ast.parse(text)) == number


if __name__ == "__main__":
    print(counted())
