"""What can be wrong with a configuration, and where it says so.

Contract: no text of an error holds a value of the configuration. A ``Source`` knows the file and the line of a field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..errors import UsageError
from .interpolate import Inputs


class ConfigError(UsageError):
    """A problem of a configuration; a ValueError. Its text never holds secrets.

    :param message: what is wrong.
    :param file: where, as far as known; so are ``server``, ``field`` and ``line``.
    :param hint: what to do about it.
    """

    code = "config"

    def __init__(
        self,
        message: str,
        *,
        file: Path | None = None,
        server: str | None = None,
        field: str | None = None,
        line: int | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, server=server)
        self.message = message
        self.file = file
        self.field = field
        self.line = line
        self.hint = hint

    def __str__(self) -> str:
        where = "" if self.file is None else f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        what = [f"server {self.server!r}"] if self.server is not None else []
        what += [f"field {self.field!r}"] if self.field else []
        text = f"{where}{', '.join(what)}{': ' if what else ''}{self.message}"
        return f"{text}. {self.hint}" if self.hint else text

    def __reduce__(self) -> tuple[object, ...]:
        return make_error, (self.message, self.file, self.server, self.field, self.line, self.hint)


def make_error(
    message: str, file: Path | None, server: str | None, field: str | None, line: int | None, hint: str
) -> ConfigError:
    return ConfigError(message, file=file, server=server, field=field, line=line, hint=hint)


Errors = list[ConfigError]


def combined(errors: list[ConfigError]) -> ConfigError:
    """One error to raise for all."""
    first = errors[0]
    if len(errors) > 1:
        more = "; ".join(f"field {e.field!r}: {e.message}" if e.field else e.message for e in errors[1:])
        first = make_error(f"{first.message}; {more}", first.file, first.server, first.field, first.line, first.hint)
    return first


class Problem(NamedTuple):
    field: str | None
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Source:
    """Where a server was read from. Lines don't count when configurations are compared."""

    file: Path | None = field(default=None, compare=False)
    workspace: Path | None = None
    line: Callable[..., int | None] | None = field(default=None, compare=False, repr=False)
    inputs: Inputs = field(default=None, compare=False, repr=False)
    defaults: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    # how the file calls a server's field
    written: Callable[[str, str], str] | None = field(default=None, compare=False, repr=False)

    def error(self, server: str | None, problem: Problem) -> ConfigError:
        if self.written is not None and server is not None and problem.field:
            name, rest = re.fullmatch(r"([^.\[]*)(.*)", problem.field, re.DOTALL).groups()  # type: ignore[union-attr]
            problem = problem._replace(field=self.written(server, name) + rest)
        keys = [int(k) if k.isdigit() else k for k in re.findall(r"[^.\[\]]+", problem.field or "")]
        line = self.line(server, keys) if self.line is not None and server is not None else None
        return make_error(problem.message, self.file, server, problem.field, line, problem.hint)
