"""Groups of commands whose modules are imported when a command is called, not when its name is listed.

What a command imports is what its user waits for: `mainspring data status` needs no table engine.
"""

from collections.abc import Mapping
from importlib import import_module

import click

from mainspring.cli.garbage import look_for_garbage
from mainspring.errors import nearest

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """A group made from a table: name -> (module of `mainspring.cli`, one line of help).

    The module holds the command as ``NAME_command``.
    """

    def __init__(self, *args: object, table: Mapping[str, tuple[str, str]], **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]  # what click's own groups take, handed on
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, sorted."""
        return sorted(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in self.table:
            return None
        module = import_module(f"mainspring.cli.{self.table[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        if not isinstance(command, click.Group):
            look_for_garbage()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command where there is none."""
        if args and args[0] not in self.table and not args[0].startswith("-"):
            raise click.UsageError(f"There is no command `{args[0]}`. {nearest(args[0], self.table)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(self.table.items())])
