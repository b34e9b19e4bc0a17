"""Names of the MCP SDK that sources use, found by their syntax.

Contract: what is found is what is imported of ``mcp``, attributes of its modules and of an ``OAuthContext``, and every private name
that no class of the file gives to its objects. Annotations, and what is for type checkers only, are no use.
"""

from __future__ import annotations

import ast

LOOKS = ("getattr", "hasattr", "setattr", "delattr")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def is_of_sdk(module: str | None) -> bool:
    return module is not None and module.split(".")[0] == "mcp"


def _imported(node: ast.AST) -> str | None:
    """The module that a call of ``import_module`` gives."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
        first = node.args[0]
        return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
    return None


class Uses(ast.NodeVisitor):
    """What one file uses: ``found``."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: set[str] = set()
        self.modules: set[str] = set()  # variables that are modules of the SDK
        self.own: list[set[str]] = []  # what the classes around define, with their bases of this file
        self.classes: dict[str, set[str]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and any(a.name == "types" for a in node.names):
                self.modules.add("types")
            elif isinstance(node, ast.Import):
                self.modules |= {a.asname or "mcp" for a in node.names if is_of_sdk(a.name)}
            elif isinstance(node, ast.Assign) and is_of_sdk(_imported(node.value)):
                self.modules |= {t.id for t in node.targets if isinstance(t, ast.Name)}
            elif isinstance(node, ast.ClassDef):
                self.classes[node.name] = defined(node).union(
                    *(self.classes.get(b.id, set()) for b in node.bases if isinstance(b, ast.Name))
                )
        self.of_file: set[str] = set().union(*self.classes.values())
        for node in tree.body:
            self.visit(node)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) == "TYPE_CHECKING":
            for one in node.orelse:
                self.visit(one)
        else:
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for one in [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults), *node.body]:
            self.visit(one)

    visit_FunctionDef = visit_AsyncFunctionDef = _function

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.own.append(self.classes[node.name])
        self.generic_visit(node)
        self.own.pop()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if not node.level and is_of_sdk(node.module):
            self.found |= {a.name for a in node.names}

    def visit_Attribute(self, node: ast.Attribute) -> None:
        at, name = node.value, node.attr
        if (isinstance(at, ast.Name) and at.id in self.modules) or is_of_sdk(_imported(at)):
            self.found.add(name)
        elif isinstance(at, ast.Attribute) and at.attr == "context":  # a login's
            self.found.add(name)
        elif is_private(name) and name not in self._ours(at):
            self.found.add(name)
        self.generic_visit(node)

    def _ours(self, at: ast.expr) -> set[str]:
        """The names that are none of the SDK's on such an object."""
        if isinstance(at, ast.Name) and at.id in ("self", "cls") and self.own:
            return self.own[-1]
        return set() if ast.unparse(at) == "super()" else self.of_file

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in LOOKS and len(node.args) > 1:
            second = node.args[1]
            if isinstance(second, ast.Constant) and isinstance(second.value, str) and is_private(second.value):
                self.found.add(second.value)
        self.generic_visit(node)


def uses(source: str) -> set[str]:
    """The names of the SDK in a file's text."""
    return Uses(ast.parse(source)).found


def defined(cls: ast.ClassDef) -> set[str]:
    """Names that a class gives itself and its instances."""
    found: set[str] = set()
    for node in cls.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.add(node.name)
            if node.name in ("__init__", "__new__") or not cls.bases:  # nobody else has given it any
                found |= {
                    one.attr
                    for one in ast.walk(node)
                    if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store)
                }
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {t.id for t in targets if isinstance(t, ast.Name)}
            if any(isinstance(t, ast.Name) and t.id == "__slots__" for t in targets):
                found |= {c.value for c in ast.walk(node) if isinstance(c, ast.Constant)}
    return found
