"""A group of commands whose bare name lists: `mainspring models`, `mainspring incidents --open`."""

import click

__all__ = ["ListedByDefault"]


class ListedByDefault(click.Group):
    """Takes what is no subcommand for what to list: `mainspring models late-flights@champion`."""

    #: The subcommand that the bare name stands for.
    default = "list"

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, args if args[0] in self.commands else [self.default, *args])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        asks_help = args and args[0] in ctx.help_option_names
        known = args and (args[0] in self.commands or not args[0].startswith("-"))
        return super().parse_args(ctx, args if known or asks_help else [self.default, *args])
