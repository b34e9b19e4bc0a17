"""Commands as typer has them, with help of our own and suggestions for what is misspelt.

Contract: help looks the same with every release of typer, says no types that go without saying, and ends with examples. Commands
are imported when their group is used, the MCP SDK when one of them runs (``lib``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from . import layout, suggest

_Function = TypeVar("_Function", bound=Callable[..., object])


class App(typer.Typer):
    """A group of commands."""

    def __init__(self, cls: type[TyperGroup] | None = None, **more: Any) -> None:
        super().__init__(
            cls=cls or Group, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, **more
        )

    def command(  # type: ignore[override]
        self, name: str | None = None, *, examples: str = "", **more: Any
    ) -> Callable[[_Function], _Function]:
        """A command, with examples for its help, a line each."""
        return super().command(name, cls=Command, epilog=examples or None, **more)


# contexts and commands are of click, or of typer's own copy of it, as its release has it


class Command(TyperCommand):
    """A command with help of ours."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """All of the help."""
        formatter.write(_help(self, ctx))


class Group(TyperGroup):
    """The same of a group; a command that there is not is told with what was meant."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """All of the help."""
        formatter.write(_help(self, ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is meant."""
        try:
            return super().resolve_command(ctx, args)
        except Exception as exc:  # an error of click's, which newer releases of typer have a copy of
            message = getattr(exc, "message", None)
            if not isinstance(message, str) or not args or args[0].startswith("-"):
                raise
            meant = suggest.hint(args[0], self.commands)
            exc.message = (  # type: ignore[attr-defined]
                f"no command {args[0]!r}{meant or '; there are: ' + ', '.join(self.commands)}"
            )
            raise


def _help(command: Command | Group, ctx: Any) -> str:
    arguments, options = _parameters(command, ctx)
    commands = [
        (name, one.get_short_help_str(1000)) for name, one in getattr(command, "commands", {}).items() if not one.hidden
    ]
    examples = (command.epilog or "").strip().splitlines()
    return layout.page(ctx.command_path, command.help or "", commands, arguments, options, examples)


def _parameters(command: Command | Group, ctx: Any) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Arguments and options, each with what is to be said of it."""
    arguments, options = [], []
    for one in command.get_params(ctx):
        text = getattr(one, "help", None) or ""
        if one.param_type_name == "argument":
            name = (one.metavar or one.name).upper() + ("..." if one.nargs == -1 else "")
            arguments.append((name if one.required else f"[{name}]", text))
        elif not getattr(one, "hidden", False):
            names = ", ".join([*sorted(one.opts, key=len), *one.secondary_opts])
            if not getattr(one, "is_flag", False):
                names += f" {one.metavar or str(one.name).upper()}"
            variable = f" [${one.envvar}]" if isinstance(one.envvar, str) else ""
            options.append((names, (text or " ") + variable))
    return arguments, options
