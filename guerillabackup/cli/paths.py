"""The kinds of arguments that are names of files and directories, as a shell completes them.

None needs to be there, and none is looked at before the command itself does: its errors say more.
Touches: click.
"""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class NewOrOldPath(click.Path):
    """A path that is handed to the command as it is; `kind` is what the shell completes, `file` or `dir`."""

    def __init__(self, kind: str) -> None:
        super().__init__(readable=False)
        self._kind = kind

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type=self._kind)]


FILE = NewOrOldPath("file")
DIRECTORY = NewOrOldPath("dir")
