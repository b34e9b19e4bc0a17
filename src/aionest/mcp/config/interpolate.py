"""References in configuration values: ``${VAR}`` and its relatives, and .env files.

Contract: ``interpolate`` replaces references once (what comes out is not looked at again) and raises ``Unresolved``, which
names the variable and never any value. Nothing here keeps state; every function may be called from any thread.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from .files import read_text
from .text import FormatError

Inputs = Mapping[str, str] | Callable[[str], str | None] | None
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Unresolved(LookupError):
    """A reference has no value. ``variable`` is its name, ``hint`` says what to do about it."""

    def __init__(self, variable: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.variable = variable
        self.message = message
        self.hint = hint


class Scope:
    """Where references get their values.

    :param workspace: what ``${workspaceFolder}`` means.
    :param environ: the process environment, ``os.environ`` unless given.
    :param extra: values of a .env file; they come before the environment, as the file was named on purpose.
    :param inputs: values for ``${input:id}``, as a mapping or a function of the id.
    :param defaults: values for inputs which ``inputs`` doesn't know.

    ``used`` has the values of variables and inputs that were asked for, by name.
    """

    def __init__(
        self,
        workspace: Path,
        environ: Mapping[str, str] | None = None,
        extra: Mapping[str, str] | None = None,
        inputs: Inputs = None,
        defaults: Mapping[str, str] | None = None,
    ) -> None:
        self.workspace = workspace
        self.environ = os.environ if environ is None else environ
        self.extra = extra or {}
        self.inputs = inputs
        self.defaults = defaults or {}
        self.used: dict[str, str] = {}

    def variable(self, name: str) -> str | None:
        """The value of an environment variable, or None."""
        value = self.extra.get(name)
        value = self.environ.get(name) if value is None else value
        if value is not None:
            self.used[name] = value
        return value

    def input(self, name: str) -> str:
        """The value of an input; raises Unresolved if there is none."""
        value = self.inputs(name) if callable(self.inputs) else (self.inputs or {}).get(name)
        if value is None:
            value = self.defaults.get(name)
        if value is None:
            raise Unresolved(f"input:{name}", f"no value for input {name!r}", "pass it with inputs={...}")
        if not isinstance(value, str):
            raise Unresolved(f"input:{name}", f"the value given for input {name!r} is not text")
        self.used[f"input:{name}"] = value
        return value


def _closing(text: str, start: int) -> int:
    """The index of the brace that ends a reference whose name begins at ``start``; -1 if there is none."""
    depth = 1
    at = start
    while at < len(text):
        if text.startswith("${", at):
            depth += 1
            at += 1
        elif text[at] == "}":
            depth -= 1
            if not depth:
                return at
        at += 1
    return -1


def _one(body: str, scope: Scope) -> str:
    """The value of the reference ``${body}``."""
    fixed = {
        "userHome": lambda: str(Path.home()),
        "workspaceFolder": lambda: str(scope.workspace),
        "workspaceFolderBasename": lambda: scope.workspace.name,
        "pathSeparator": lambda: os.sep,
        "/": lambda: os.sep,
    }.get(body)
    if fixed is not None:
        return fixed()
    if body.startswith("input:"):
        return scope.input(body[6:])
    name, given, default = body.partition(":-")
    prefixed = name.startswith("env:")
    name = name[4:] if prefixed else name
    # names with other characters exist on Windows, so after env: nearly everything goes
    if not (name if prefixed else _NAME.match(name)) or "=" in name or "\0" in name:
        known = "${VAR}, ${VAR:-default}, ${env:VAR}, ${userHome}, ${workspaceFolder} and ${input:id}"
        # the text may be a password with such a beginning, so it isn't quoted
        raise Unresolved("", "an unknown kind of reference", f"known are {known}; write $${{ for a literal ${{")
    value = scope.variable(name)
    if given and not value:
        return interpolate(default, scope)
    if value is None:
        raise Unresolved(name, f"variable {name!r} is not set", f"set it, or write ${{{name}:-default}}")
    return value


def interpolate(text: str, scope: Scope) -> str:
    """The text with its references replaced.

    ``${VAR}``, ``${env:VAR}``, ``${VAR:-default}`` (the default counts for an empty value too, and may contain references),
    ``${userHome}``, ``${workspaceFolder}``, ``${input:id}``; ``$${`` stands for a literal ``${``.

    :raises Unresolved: a variable or input has no value, or the reference is of no known form.
    """
    out: list[str] = []
    at = 0
    while True:
        start = text.find("${", at)
        if start < 0:
            return "".join((*out, text[at:]))
        if start > at and text[start - 1] == "$":
            out.append(text[at : start - 1] + "${")
            at = start + 2
            continue
        end = _closing(text, start + 2)
        if end < 0:
            return "".join((*out, text[at:]))
        out.append(text[at:start])
        out.append(_one(text[start + 2 : end], scope))
        at = end + 1


def has_reference(text: str) -> bool:
    """Whether ``interpolate`` might change the text."""
    return "${" in text


def read_env_file(path: Path) -> dict[str, str]:
    """The variables in a .env file, with python-dotenv's quoting rules and without interpolation.

    :raises OSError: it cannot be read.
    :raises ValueError: a line is not of the form NAME=value; the message has the line's number, not its text.
    """
    from dotenv.parser import parse_stream

    values: dict[str, str] = {}
    try:
        text, _ = read_text(path)
    except FormatError as exc:
        raise ValueError(exc.message) from None
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            raise ValueError(f"line {binding.original.line} is not of the form NAME=value")
        # NAME without = sets nothing
        if binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    return values
