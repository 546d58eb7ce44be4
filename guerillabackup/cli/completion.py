"""`guerillabackup completion`: the script that lets a shell complete our commands.

Touches: click.
"""

import click

from guerillabackup.cli.common import PROGRAM, Invocation, shared, write_text


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@shared(
    example="guerillabackup completion bash > /etc/bash_completion.d/guerillabackup\n"
    "guerillabackup completion fish > ~/.config/fish/completions/guerillabackup.fish"
)
def completion(invocation: Invocation, shell: str) -> None:
    """Print the completion script for a shell."""
    from click.shell_completion import get_completion_class

    from guerillabackup.cli.main import COMPLETION_VARIABLE, cli

    kind = get_completion_class(shell)
    assert kind is not None
    completer = kind(cli, {}, PROGRAM, COMPLETION_VARIABLE)
    script = completer.source_template % completer.source_vars()
    if invocation.as_json:
        invocation.write_record({"shell": shell, "script": script})
    else:
        write_text(script)
