"""`guerillabackup completion`: the script that lets a shell complete our commands.

Touches: click.
"""

import click

from guerillabackup.cli.common import PROGRAM, Invocation, shared, write_text

_BASH = """\
%(complete_func)s() {
    local kind value
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
        dir) compopt -o dirnames ;;
        file) compopt -o default ;;
        plain)
            # What was begun with a quote needs no other.
            [[ ${COMP_WORDS[COMP_CWORD]} == [\\"\\']* ]] || printf -v value %%q "$value"
            COMPREPLY+=("$value")
            ;;
        esac
    done < <(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" %(complete_var)s=bash_complete "$1")
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""
"""In place of click's, which leaves blanks in names unquoted."""


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
    template = _BASH if shell == "bash" else completer.source_template
    script = template % completer.source_vars()
    if invocation.as_json:
        invocation.write_record({"shell": shell, "script": script})
    else:
        write_text(script)
