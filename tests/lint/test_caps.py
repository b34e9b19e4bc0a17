"""How big things may be: a file 600 lines, a function 60, a class 400, and 20 ways through a function.

What is bigger today is named below, by its path, with the size that it may have, which is never raised; what has come under the cap is
taken off the list, which has nothing of the package itself.
``python tests/lint/test_caps.py`` prints the list as it would be.
"""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FOLDERS = ("src/core", "src/aionest", "tests", "tools", "benchmarks", "examples", "docs_src")

CAPS = {"file": 600, "function": 60, "class": 400, "complexity": 20}
BIGGER: dict[str, dict[str, int]] = {
    "file": {
        "tests/apply/test_run_ends.py": 882,
        "tests/cli/test_cli.py": 722,
        "tests/core/test_foreign_greenlets.py": 754,
        "tests/core/test_foreign_loops.py": 1254,
        "tests/core/test_nested.py": 649,
        "tests/core/test_runloop.py": 647,
        "tests/cpython/test_runner.py": 713,
        "tests/hosted/test_hosted.py": 979,
        "tests/isolated/test_children.py": 698,
        "tests/kqueue/test_loops.py": 667,
        "tests/loader/test_config.py": 1361,
        "tests/portal/test_portal_calls.py": 603,
        "tests/scopes/test_left_elsewhere.py": 621,
        "tests/scopes/test_sessions.py": 687,
    },
    "function": {
        "tests/apply/test_run_ends.py: test_what_other_threads_post_while_a_loop_closes_runs_or_is_told": 69,
        "tests/loader/test_http_faults.py: Handler.do_POST": 66,
        "tests/oracle/chaos.py: work": 95,
        "tests/scopes/test_random_order.py: test_entered_used_and_left_by_any_thread": 91,
        "tests/scopes/test_sessions.py: test_entered_used_and_left_in_any_order": 63,
    },
    "class": {},
    "complexity": {
        "tests/lint/test_layers.py: imported_by": 25,
        "tests/loader/test_http_faults.py: Handler.do_POST": 25,
        "tests/oracle/chaos.py: work": 52,
    },
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
    yield "file", "", text.count("\n")

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
    yield "file", "", text.count("\n")
    # a function begins with its name in the first column, and ends with a brace there
    for name, body in re.findall(r"^(\w+)\([^;{}]*?\)\n\{\n(.*?)^\}", text, re.S | re.M):
        yield "function", name, body.count("\n") + 2
        ways = re.findall(
            r"\b(?:if|for|while|case)\b|&&|\|\||\?", re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\])*"', "", body, flags=re.S)
        )
        yield "complexity", name, 1 + len(ways)


SIZES = {".py": python_sizes, ".c": c_sizes, ".h": c_sizes}


@functools.cache
def offenders():
    """Kind -> path, or path: name -> size."""
    found = {kind: {} for kind in CAPS}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.*")):
            for kind, name, size in SIZES[path.suffix](path) if path.suffix in SIZES else ():
                if size > CAPS[kind]:
                    where = path.relative_to(ROOT).as_posix() + (name and f": {name}")
                    found[kind][where] = max(size, found[kind].get(where, 0))
    return found


@pytest.mark.parametrize("kind", CAPS)
def test_nothing_is_bigger_than_its_ceiling(kind):
    bigger = {name: size for name, size in offenders()[kind].items() if size > BIGGER[kind].get(name, CAPS[kind])}
    assert not bigger, f"of more than {CAPS[kind]}, or than the list has: {bigger}; cut it down"


@pytest.mark.parametrize("kind", CAPS)
def test_what_was_cut_down_is_taken_off_the_list(kind):
    assert not BIGGER[kind].keys() - offenders()[kind].keys()


def test_the_list_has_nothing_of_the_package():
    assert not [name for names in BIGGER.values() for name in names if name.startswith("src/")]


if __name__ == "__main__":
    print("BIGGER: dict[str, dict[str, int]] = {")
    for kind, sizes in offenders().items():
        lines_of_kind = "".join(f'        "{name}": {size},\n' for name, size in sorted(sizes.items()))
        print(f'    "{kind}": {{\n{lines_of_kind}    }},' if sizes else f'    "{kind}": {{}},')
    print("}")
