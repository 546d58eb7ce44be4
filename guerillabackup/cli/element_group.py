"""The command group `element`: which module has which command, imported when the command runs.

A listing needs little, and starts quickly; what reads elements needs the keyrings and pipelines too.
It joins the modules of its commands.
"""

import importlib
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from guerillabackup.cli import element as _element  # noqa: F401
    from guerillabackup.cli import element_list as _element_list  # noqa: F401

LISTINGS = {"list": "list_elements", "latest": "latest"}
"""Commands of element_list.py."""
OTHERS = ("cat", "delete", "show", "verify")


class ElementGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted((*LISTINGS, *OTHERS))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in LISTINGS:
            module, attribute = "guerillabackup.cli.element_list", LISTINGS[cmd_name]
        elif cmd_name in OTHERS:
            module, attribute = "guerillabackup.cli.element", cmd_name
        else:
            return None
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=ElementGroup)
def element() -> None:
    """List, show, verify, read and delete elements.

    \b
    Example:
      guerillabackup element list
    """
