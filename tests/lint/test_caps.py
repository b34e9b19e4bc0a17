"""How big things may be: a file 600 lines, a function 60, a class 400, and 20 ways through a function.

What is bigger today is named below. These lists only ever get shorter: what is cut down is taken out. Functions and classes
go by their qualified names, files by theirs, so that moving them changes nothing here.
``python tests/lint/test_caps.py`` prints the lists as they would be.
"""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PYTHON = sorted((ROOT / "src" / "aionest").rglob("*.py"))
C = sorted([*(ROOT / "src" / "core").glob("*.[ch]")])

CAPS = {"file": 600, "function": 60, "class": 400, "complexity": 20}
BIGGER: dict[str, set[str]] = {
    "file": set(),
    "function": set(),
    "class": set(),
    "complexity": set(),
}


def lines(node):
    """Without what stands before it: decorators are not counted, nor is a docstring."""
    doc = ast.get_docstring(node, clean=False)
    said = node.body[0].end_lineno - node.body[0].lineno + 1 if doc else 0
    return node.end_lineno - node.lineno + 1 - said


BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.comprehension, ast.match_case)


def complexity(function):
    """McCabe's: one, and one more for each place where the way forks. Functions inside are counted on their own."""
    number, todo = 1, list(ast.iter_child_nodes(function))
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        number += isinstance(node, BRANCHES)
        number += len(node.ifs) if isinstance(node, ast.comprehension) else 0
        number += len(node.values) - 1 if isinstance(node, ast.BoolOp) else 0
        todo += ast.iter_child_nodes(node)
    return number


def python_sizes(path):
    text = path.read_text()
    yield "file", path.name if path.name != "__init__.py" else f"{path.parent.name}/__init__.py", text.count("\n")

    def below(node, name):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                yield "class", name + child.name, lines(child)
                yield from below(child, f"{name}{child.name}.")
            elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield "function", name + child.name, lines(child)
                yield "complexity", name + child.name, complexity(child)
                yield from below(child, f"{name}{child.name}.")
            else:
                yield from below(child, name)

    yield from below(ast.parse(text), "")


def c_sizes(path):
    text = path.read_text()
    yield "file", path.name, text.count("\n")
    # a function begins with its name in the first column, and ends with a brace there
    for name, body in re.findall(r"^(\w+)\([^;{}]*?\)\n\{\n(.*?)^\}", text, re.S | re.M):
        yield "function", name, body.count("\n") + 2
        ways = re.findall(
            r"\b(?:if|for|while|case)\b|&&|\|\||\?", re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\])*"', "", body, flags=re.S)
        )
        yield "complexity", name, 1 + len(ways)


@functools.cache
def offenders():
    found = {kind: set() for kind in CAPS}
    for paths, sizes in ((PYTHON, python_sizes), (C, c_sizes)):
        for path in paths:
            for kind, name, size in sizes(path):
                if size > CAPS[kind]:
                    found[kind].add(name)
    return found


@pytest.mark.parametrize("kind", CAPS)
def test_nothing_new_is_bigger(kind):
    new = offenders()[kind] - BIGGER[kind]
    assert not new, f"of more than {CAPS[kind]}: {sorted(new)}; cut it down"


@pytest.mark.parametrize("kind", CAPS)
def test_what_was_cut_down_is_taken_out_of_the_list(kind):
    assert BIGGER[kind] - offenders()[kind] == set()


if __name__ == "__main__":
    print("BIGGER: dict[str, set[str]] = {")
    for kind, names in offenders().items():
        lines_of_kind = "".join(f'        "{name}",\n' for name in sorted(names))
        print(f'    "{kind}": {{\n{lines_of_kind}    }},' if names else f'    "{kind}": set(),')
    print("}")
