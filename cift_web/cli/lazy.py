"""A group that imports a command when it is asked for: a user's command need not load what operators use."""

from importlib import import_module
from typing import Any, cast

import click


class LazyGroup(click.Group):
    """`lazy` maps the name of a command to `module:attribute`; others are added as usual."""

    def __init__(self, *args: Any, lazy: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, sorted."""
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, or None."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._lazy[cmd_name].partition(":")
        return cast(click.Command, getattr(import_module(module), attribute))
